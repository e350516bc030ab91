-- 1: the hash is of the password in Unicode's form NFC. 0: of the bytes as they were typed, as hashes were made before.
ALTER TABLE users ADD COLUMN password_nfc BIGINT NOT NULL DEFAULT 0;
