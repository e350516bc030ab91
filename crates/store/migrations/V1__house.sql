-- One text for SQLite and PostgreSQL. Times are microseconds since 1970 (BIGINT), flags are 0 or 1 (BIGINT),
-- ids are UUIDs in lower-case hyphenated text. The instance comes first in every key.

CREATE TABLE instances (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    settings    TEXT   NOT NULL,
    -- 256 random bits under the master key: what is derived (refresh tokens, form tokens) is derived from these.
    root_secret BYTEA  NOT NULL,
    -- The newest number of the change feed; drawn under this row's lock, so no change commits behind a later one.
    feed        BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE changes (
    instance TEXT   NOT NULL REFERENCES instances (id),
    number   BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (instance, number)
);

CREATE TABLE signing_keys (
    instance    TEXT   NOT NULL REFERENCES instances (id),
    kid         TEXT   NOT NULL,
    algorithm   TEXT   NOT NULL,
    -- PKCS #8 under the master key.
    private_key BYTEA  NOT NULL,
    signs_from  BIGINT NOT NULL,
    retired_at  BIGINT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, kid)
);

CREATE TABLE roles (
    instance TEXT NOT NULL REFERENCES instances (id),
    name     TEXT NOT NULL,
    -- JSON: patterns of entity sets that may be read and updated.
    permits  TEXT NOT NULL,
    PRIMARY KEY (instance, name)
);

CREATE TABLE users (
    instance       TEXT   NOT NULL REFERENCES instances (id),
    id             TEXT   NOT NULL,
    login          TEXT   NOT NULL,
    login_folded   TEXT   NOT NULL,
    user_type      TEXT   NOT NULL,
    is_admin       BIGINT NOT NULL,
    enabled        BIGINT NOT NULL,
    name           TEXT   NOT NULL,
    email          TEXT,
    email_verified BIGINT NOT NULL,
    locale         TEXT,
    role           TEXT,
    password_hash  TEXT,
    epoch          BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (instance, id),
    -- Logins are never given out again: a deleted user's row stays.
    UNIQUE (instance, login_folded),
    FOREIGN KEY (instance, role) REFERENCES roles (instance, name)
);

CREATE TABLE set_up_links (
    instance   TEXT   NOT NULL,
    digest     BYTEA  NOT NULL,
    user_id    TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (instance, digest),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE TABLE applications (
    instance    TEXT   NOT NULL REFERENCES instances (id),
    id          TEXT   NOT NULL,
    uri         TEXT   NOT NULL,
    -- The record as JSON with the documented attribute names.
    record      TEXT   NOT NULL,
    system_user TEXT,
    epoch       BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, id),
    UNIQUE (instance, uri),
    FOREIGN KEY (instance, system_user) REFERENCES users (instance, id)
);

CREATE TABLE application_secrets (
    instance    TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    application TEXT   NOT NULL,
    label       TEXT   NOT NULL,
    digest      BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    PRIMARY KEY (instance, id),
    FOREIGN KEY (instance, application) REFERENCES applications (instance, id)
);

CREATE TABLE identity_sessions (
    instance   TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    secret     BYTEA  NOT NULL,
    user_id    TEXT   NOT NULL,
    user_epoch BIGINT NOT NULL,
    auth_time  BIGINT NOT NULL,
    amr        TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    ended_at   BIGINT,
    PRIMARY KEY (instance, id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX identity_sessions_by_end ON identity_sessions (instance, ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE consents (
    instance    TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    application TEXT   NOT NULL,
    scope       TEXT   NOT NULL,
    granted_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, user_id, application)
);

-- One authorization, one row for life: the code first, then the family of refresh tokens.
CREATE TABLE authorizations (
    instance        TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    application     TEXT   NOT NULL,
    user_id         TEXT   NOT NULL,
    session         TEXT   NOT NULL,
    scope           TEXT   NOT NULL,
    auth_time       BIGINT NOT NULL,
    amr             TEXT   NOT NULL,
    application_epoch BIGINT NOT NULL,
    user_epoch      BIGINT NOT NULL,
    code_digest     BYTEA  NOT NULL,
    code_expires_at BIGINT NOT NULL,
    redirect_uri    TEXT   NOT NULL,
    nonce           TEXT,
    challenge       TEXT,
    -- 0 until the code is redeemed.
    generation      BIGINT NOT NULL,
    rotated_at      BIGINT NOT NULL,
    proven          BIGINT NOT NULL,
    refresh_until   BIGINT,
    ended_at        BIGINT,
    end_reason      TEXT,
    PRIMARY KEY (instance, id)
);

CREATE INDEX authorizations_by_session ON authorizations (instance, session);
CREATE INDEX authorizations_by_end ON authorizations (instance, ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE api_sessions (
    instance     TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    seat         TEXT   NOT NULL,
    opened_at    BIGINT NOT NULL,
    last_call    BIGINT NOT NULL,
    closed_at    BIGINT,
    close_reason TEXT,
    PRIMARY KEY (instance, id)
);

-- At most one live session per key.
CREATE UNIQUE INDEX api_sessions_live ON api_sessions (instance, key) WHERE closed_at IS NULL;

CREATE TABLE audit_events (
    instance    TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    outcome     TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    actor       TEXT,
    application TEXT,
    user_id     TEXT,
    token       TEXT,
    session     TEXT,
    address     TEXT,
    user_agent  TEXT,
    request     TEXT,
    detail      TEXT,
    PRIMARY KEY (instance, id)
);
