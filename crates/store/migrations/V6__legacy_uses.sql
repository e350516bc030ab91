-- Who still uses Basic and ErpLogin, through which application: written in batches.
CREATE TABLE legacy_uses (
    instance      TEXT   NOT NULL REFERENCES instances (id),
    application   TEXT   NOT NULL,
    scheme        TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    uses          BIGINT NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    PRIMARY KEY (instance, application, scheme, user_id)
);
