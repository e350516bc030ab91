-- A random id of each row, so that whoever has read one sees when the database went back behind it. Rows that an older
-- version writes have none.
ALTER TABLE changes ADD COLUMN id TEXT;
