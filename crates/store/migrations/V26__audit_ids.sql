-- The lowest and the highest id of the rows and blocks that a seal was made of, so that one that is put in again is found. Null:
-- the seal is of calls, which never waited, or of a version before this one.
ALTER TABLE audit_seals ADD COLUMN first_id TEXT;
ALTER TABLE audit_seals ADD COLUMN last_id TEXT;

CREATE INDEX audit_seals_by_id ON audit_seals (instance, last_id, first_id);
