-- Strangers' wrong guesses at an account, of which nodes lease blocks: when the account's bucket is full again.
CREATE TABLE guess_leases (
    instance TEXT   NOT NULL REFERENCES instances (id),
    -- A digest under the instance's root secret: made-up logins are no text here.
    account  BYTEA  NOT NULL,
    full_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, account)
);

CREATE INDEX guess_leases_by_end ON guess_leases (instance, full_at);

-- Networks from which a legacy client of a user was right.
CREATE TABLE known_networks (
    instance TEXT   NOT NULL,
    -- A digest of login and network under the instance's root secret.
    network  BYTEA  NOT NULL,
    user_id  TEXT   NOT NULL,
    seen_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, network),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);

CREATE INDEX known_networks_by_user ON known_networks (instance, user_id, seen_at);
CREATE INDEX known_networks_by_age ON known_networks (instance, seen_at);

-- The newest day on which a user was told of an attack.
CREATE TABLE attack_letters (
    instance TEXT   NOT NULL,
    user_id  TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    -- Days since 1970-01-01, UTC.
    day      BIGINT NOT NULL,
    PRIMARY KEY (instance, user_id, kind),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);
