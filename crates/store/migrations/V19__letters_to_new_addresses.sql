-- How many letters a person caused to go to addresses that are not theirs yet, on the newest day of such a letter.
CREATE TABLE new_address_letters (
    instance TEXT   NOT NULL,
    user_id  TEXT   NOT NULL,
    -- Days since 1970-01-01, UTC.
    day      BIGINT NOT NULL,
    letters  BIGINT NOT NULL,
    PRIMARY KEY (instance, user_id),
    FOREIGN KEY (instance, user_id) REFERENCES users (instance, id)
);
