-- Seats are leases in the database: whoever opens or closes a session first changes the instance's row here.

CREATE TABLE seats (
    instance TEXT   NOT NULL PRIMARY KEY REFERENCES instances (id),
    -- Moves with everything that may take a permission to open a session back.
    version  BIGINT NOT NULL,
    -- Sessions that are not closed.
    live     BIGINT NOT NULL
);

ALTER TABLE api_sessions ADD COLUMN ends_at BIGINT NOT NULL DEFAULT 0;
-- When it ends even if busy; null is never.
ALTER TABLE api_sessions ADD COLUMN final_end BIGINT;
-- The process that last wrote its timer.
ALTER TABLE api_sessions ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE api_sessions ADD COLUMN calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
-- Ids of the applications that use it, each after a blank.
ALTER TABLE api_sessions ADD COLUMN applications TEXT NOT NULL DEFAULT '';
-- What was closed together.
ALTER TABLE api_sessions ADD COLUMN close_id TEXT;

INSERT INTO seats (instance, version, live)
    SELECT i.id, 0, (SELECT COUNT(*) FROM api_sessions s WHERE s.instance = i.id AND s.closed_at IS NULL)
    FROM instances i;

CREATE INDEX api_sessions_by_end ON api_sessions (instance, ends_at) WHERE closed_at IS NULL;
CREATE INDEX api_sessions_due ON api_sessions (ends_at) WHERE closed_at IS NULL;
CREATE INDEX api_sessions_by_user ON api_sessions (instance, user_id) WHERE closed_at IS NULL;
CREATE INDEX api_sessions_closed ON api_sessions (instance, closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX api_sessions_closed_together ON api_sessions (instance, close_id) WHERE close_id IS NOT NULL;
