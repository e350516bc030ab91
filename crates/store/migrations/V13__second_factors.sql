-- What people prove besides a password. Whoever has a row in one of the first two tables signs in in two steps.

-- One authenticator app (RFC 6238) for each person.
CREATE TABLE authenticator_apps (
    instance      TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    -- 160 random bits under the master key.
    sealed_secret BYTEA  NOT NULL,
    -- The newest time step whose code was accepted: each is good once, and none before it.
    last_step     BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (instance, user_id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE TABLE passkeys (
    instance     TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    -- The credential id that the authenticator chose.
    credential   BYTEA  NOT NULL,
    name         TEXT   NOT NULL,
    -- Public key, signature counter and backup state as JSON; compared when a use is written down.
    record       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    PRIMARY KEY (instance, id),
    UNIQUE (instance, credential),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX passkeys_by_user ON passkeys (instance, user_id);

-- A code that was used has no row any more.
CREATE TABLE recovery_codes (
    instance TEXT  NOT NULL,
    user_id  TEXT  NOT NULL,
    digest   BYTEA NOT NULL,
    PRIMARY KEY (instance, user_id, digest),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

-- Challenges that a passkey answered, until they would not be accepted anyway: none is answered twice.
CREATE TABLE spent_challenges (
    instance   TEXT   NOT NULL REFERENCES instances (id),
    digest     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (instance, digest)
);
