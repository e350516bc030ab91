-- What an installation remembers of each chain, so that nobody who only writes to the database can cut its end off or write it
-- anew. Written with every seal and every checkpoint.
CREATE TABLE audit_memory (
    instance   TEXT   PRIMARY KEY REFERENCES instances (id),
    -- 256 random bits under the master key: what is remembered is sealed under them, and waiting events carry codes of them.
    secret     BYTEA  NOT NULL,
    -- Counts the writes: two that write at once are told apart by it.
    version    BIGINT NOT NULL,
    -- The numbers of the newest seal and the newest checkpoint, to find them by. Believed only where they are the sealed ones.
    head       BIGINT NOT NULL,
    signed     BIGINT NOT NULL,
    -- Numbers and hashes of both, sealed.
    remembered BYTEA  NOT NULL
);

-- Over instance, id and content of what waits for its seal. Null: a version wrote it that knew of no codes.
ALTER TABLE audit_events ADD COLUMN code TEXT;
ALTER TABLE audit_blocks ADD COLUMN code TEXT;
