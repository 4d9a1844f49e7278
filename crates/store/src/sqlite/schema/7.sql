-- The buckets of the keys' limits. `full` and `spent` are whole numbers beyond INTEGER's range, hence text; `nanos` is the
-- window that `spent` is in parts of.
CREATE TABLE rates (
    key_id TEXT    NOT NULL,
    rate   TEXT    NOT NULL,
    full   TEXT    NOT NULL,
    nanos  TEXT    NOT NULL,
    spent  TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (key_id, rate)
) STRICT, WITHOUT ROWID;
