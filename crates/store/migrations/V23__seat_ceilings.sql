-- The application that a session was opened through: it counts there, whichever use it later. Of sessions that are there
-- already it is the first that uses them.
ALTER TABLE api_sessions ADD COLUMN opened_by TEXT NOT NULL DEFAULT '';
UPDATE api_sessions SET opened_by = SUBSTR(applications, 2, 36) WHERE closed_at IS NULL;

CREATE INDEX api_sessions_by_opener ON api_sessions (instance, opened_by) WHERE closed_at IS NULL;
