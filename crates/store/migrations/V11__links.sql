-- One-time links of every purpose. A link dies with the epoch of its user: whatever ends the user's tokens ends it too.
CREATE TABLE links (
    instance   TEXT   NOT NULL,
    digest     BYTEA  NOT NULL,
    kind       TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    user_epoch BIGINT NOT NULL,
    -- The address that is confirmed.
    address    TEXT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (instance, digest),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX links_by_user ON links (instance, user_id, kind);
CREATE INDEX links_by_end ON links (instance, expires_at);
CREATE INDEX users_by_email ON users (instance, lower(email)) WHERE email IS NOT NULL;

-- Set-up links that are on their way. The old table stays for the version before this one.
INSERT INTO links (instance, digest, kind, user_id, user_epoch, address, expires_at)
SELECT l.instance, l.digest, 'set-up', l.user_id, u.epoch, NULL, l.expires_at
FROM set_up_links l JOIN users u ON u.instance = l.instance AND u.id = l.user_id;
