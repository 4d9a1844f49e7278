-- Answers that callers may go on from. What was said is text that only the gateway reads.
CREATE TABLE turns (
    id         TEXT    PRIMARY KEY NOT NULL,
    key_id     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    payload    TEXT    NOT NULL
) STRICT;
CREATE INDEX turns_expires_at ON turns (expires_at, id);
