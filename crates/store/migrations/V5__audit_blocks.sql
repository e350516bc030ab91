-- Audit events that tell of no change: lines of JSON, written together, at most a second after the first of them.
CREATE TABLE audit_blocks (
    instance TEXT   NOT NULL REFERENCES instances (id),
    id       TEXT   NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    events   TEXT   NOT NULL,
    PRIMARY KEY (instance, id)
);
