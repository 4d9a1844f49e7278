-- Older keys of a record, each until its own end. What is over may lie here for a while.
CREATE TABLE old_hashes (
    key_hash    BLOB    PRIMARY KEY,
    key_id      TEXT    NOT NULL,
    valid_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX old_hashes_by_key ON old_hashes (key_id);

-- Whose usage there is, without a look at every period.
CREATE INDEX usage_stats_of_all_time ON usage_stats (key_id) WHERE bucket = 'total';
