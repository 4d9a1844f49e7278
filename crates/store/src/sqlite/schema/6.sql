-- What was claimed about a key, and until when: whoever is first tells people of it.
CREATE TABLE claims (
    key_id TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (key_id, name)
) STRICT, WITHOUT ROWID;
