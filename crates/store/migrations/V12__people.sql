-- What people see of themselves on the profile site.

-- Where a sign-in was last proved from.
ALTER TABLE identity_sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';

CREATE INDEX identity_sessions_by_user ON identity_sessions (instance, user_id) WHERE ended_at IS NULL;

-- A person's picture as it is served: PNG, made by us from what was sent.
CREATE TABLE pictures (
    instance TEXT   NOT NULL,
    user_id  TEXT   NOT NULL,
    -- Pixels of a side.
    size     BIGINT NOT NULL,
    png      BYTEA  NOT NULL,
    PRIMARY KEY (instance, user_id, size),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);
