CREATE TABLE reference_tokens (
    instance     TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    digest       BYTEA  NOT NULL,
    kind         TEXT   NOT NULL,
    application  TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    tail         TEXT   NOT NULL,
    description  TEXT   NOT NULL,
    scope        TEXT   NOT NULL,
    created_by   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT,
    revoke_reason TEXT,
    PRIMARY KEY (instance, id),
    UNIQUE (instance, digest),
    FOREIGN KEY (instance, application) REFERENCES applications (instance, id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX reference_tokens_by_user ON reference_tokens (instance, user_id);

-- Access tokens of services that were revoked one by one; a user's die with their authorization.
CREATE TABLE revoked_tokens (
    instance   TEXT   NOT NULL REFERENCES instances (id),
    id         TEXT   NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (instance, id)
);
