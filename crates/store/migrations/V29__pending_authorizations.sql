-- Authorization requests whose user has proved something and has a page left to answer. Before that, a request is sealed into the
-- addresses of its pages, and nothing is stored.
CREATE TABLE pending_authorizations (
    instance   TEXT   NOT NULL REFERENCES instances (id),
    id         TEXT   NOT NULL,
    -- Who has proved something.
    user_id    TEXT   NOT NULL,
    -- Digest of the form cookie of the browser that sent the request.
    browser    BYTEA  NOT NULL,
    -- JSON.
    request    TEXT   NOT NULL,
    -- The sign-in after which nothing but consent was missing, and when that was.
    session    TEXT,
    met_at     BIGINT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (instance, id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX pending_authorizations_by_end ON pending_authorizations (instance, expires_at);
CREATE INDEX pending_authorizations_by_user ON pending_authorizations (instance, user_id);
