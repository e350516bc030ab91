-- What two administrators may change at once is guarded by the version that each has read.
ALTER TABLE users ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE roles ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- Lists are read a page at a time, by key and in the order of an index: none is ever sorted as a whole.
CREATE INDEX application_secrets_of ON application_secrets (instance, application, created_at);
CREATE INDEX users_by_role ON users (instance, role);
CREATE INDEX reference_tokens_of_application ON reference_tokens (instance, application, id);
CREATE INDEX reference_tokens_of_user ON reference_tokens (instance, user_id, id);
DROP INDEX reference_tokens_by_user;
CREATE INDEX api_sessions_of_user ON api_sessions (instance, user_id, id) WHERE closed_at IS NULL;
DROP INDEX api_sessions_by_user;
CREATE INDEX api_sessions_live_by_id ON api_sessions (instance, id) WHERE closed_at IS NULL;
