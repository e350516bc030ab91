-- A random id of each row, so that whoever has read one sees when the database went back behind it. Rows that an older
-- version writes have none.
ALTER TABLE changes ADD COLUMN id TEXT;

-- That of the newest row, so that one small question tells of all instances whether something is new.
ALTER TABLE instances ADD COLUMN feed_id TEXT;
