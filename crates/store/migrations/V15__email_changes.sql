-- A person's wish to be known by another e-mail address, while the addresses are asked: one for each person. It dies with
-- the epoch of its user, like a link.
CREATE TABLE email_changes (
    instance    TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    user_epoch  BIGINT NOT NULL,
    -- By what the user was known when it was asked; nothing where there was no address.
    old_address TEXT,
    new_address TEXT   NOT NULL,
    -- Of the code that was sent to each address; nothing once it has said yes, or where it is not asked.
    old_digest  BYTEA,
    new_digest  BYTEA,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, user_id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE UNIQUE INDEX email_changes_by_old ON email_changes (instance, old_digest) WHERE old_digest IS NOT NULL;
CREATE UNIQUE INDEX email_changes_by_new ON email_changes (instance, new_digest) WHERE new_digest IS NOT NULL;
CREATE INDEX email_changes_by_end ON email_changes (instance, expires_at);
