-- The audit as a chain. Events wait in audit_events and audit_blocks until the sealer takes them out of there and into a
-- seal, which names the one before by its hash.

-- Whom an event is about, by the name they go by: taken apart from the chain when the event is sealed.
ALTER TABLE audit_events ADD COLUMN login TEXT;

CREATE TABLE audit_seals (
    instance TEXT   NOT NULL REFERENCES instances (id),
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    -- When the earliest and the latest of its events were.
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    events_count BIGINT NOT NULL,
    -- Of everything in the row, about.
    bytes    BIGINT NOT NULL,
    -- SHA-256 in hexadecimal: of the seal before this one, and of this one.
    previous TEXT   NOT NULL,
    hash     TEXT   NOT NULL,
    -- A line for each event: id, time, kind and hash. This is what the seal's hash covers.
    contents TEXT   NOT NULL,
    -- The events, a line of JSON each.
    events   TEXT   NOT NULL,
    -- What identifies people, a line of JSON each, found from an event by its digest; outside of the chain.
    people   TEXT   NOT NULL,
    PRIMARY KEY (instance, number)
);

CREATE INDEX audit_seals_by_time ON audit_seals (instance, last_at, first_at, number);

-- What identifies a person in the audit is sealed under a key of that person; erasing the person erases the key.
CREATE TABLE audit_people (
    instance TEXT NOT NULL REFERENCES instances (id),
    user_id  TEXT NOT NULL,
    -- Null: erased.
    key      BYTEA,
    PRIMARY KEY (instance, user_id)
);

-- What checkpoints are signed with: PKCS #8 under the master key. Kept for good, so that old checkpoints can be checked.
CREATE TABLE audit_keys (
    instance    TEXT   NOT NULL REFERENCES instances (id),
    kid         TEXT   NOT NULL,
    private_key BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    replaced_at BIGINT,
    PRIMARY KEY (instance, kid)
);

-- A signature over a seal's number and hash, and so over everything before it.
CREATE TABLE audit_checkpoints (
    instance TEXT   NOT NULL REFERENCES instances (id),
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    jws      TEXT   NOT NULL,
    PRIMARY KEY (instance, number)
);
