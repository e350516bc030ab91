-- A chain of its own for what is refused to strangers: they can make it as long as they like, so it is pruned by age and size,
-- and the main chain is not. Its tables are those of the main chain, which older versions go on with.
CREATE TABLE refusal_blocks (
    instance TEXT   NOT NULL REFERENCES instances (id),
    id       TEXT   NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    events   TEXT   NOT NULL,
    code     TEXT,
    PRIMARY KEY (instance, id)
);

CREATE TABLE refusal_seals (
    instance TEXT   NOT NULL REFERENCES instances (id),
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    events_count BIGINT NOT NULL,
    bytes    BIGINT NOT NULL,
    previous TEXT   NOT NULL,
    hash     TEXT   NOT NULL,
    contents TEXT   NOT NULL,
    events   TEXT   NOT NULL,
    people   TEXT   NOT NULL,
    first_id TEXT,
    last_id  TEXT,
    PRIMARY KEY (instance, number)
);

CREATE INDEX refusal_seals_by_time ON refusal_seals (instance, last_at, first_at, number);
CREATE INDEX refusal_seals_by_id ON refusal_seals (instance, last_id, first_id);
-- How much they take together is read from the index alone.
CREATE INDEX refusal_seals_by_size ON refusal_seals (instance, bytes);

CREATE TABLE refusal_checkpoints (
    instance TEXT   NOT NULL REFERENCES instances (id),
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    jws      TEXT   NOT NULL,
    PRIMARY KEY (instance, number)
);

CREATE TABLE refusal_memory (
    instance   TEXT   PRIMARY KEY REFERENCES instances (id),
    secret     BYTEA  NOT NULL,
    version    BIGINT NOT NULL,
    head       BIGINT NOT NULL,
    signed     BIGINT NOT NULL,
    remembered BYTEA  NOT NULL
);
