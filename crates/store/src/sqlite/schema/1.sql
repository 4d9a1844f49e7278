-- Times are milliseconds since the Unix epoch. The columns of api_keys repeat what is searched or changed by itself;
-- the rest of a record is JSON, so that a new field needs no migration.
CREATE TABLE api_keys (
    key_id       TEXT    PRIMARY KEY,
    key_hash     BLOB    NOT NULL UNIQUE,
    user_id      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    is_active    INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    version      INTEGER NOT NULL,
    record       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_age ON api_keys (created_at, key_id);

-- Money is text: whole pico-dollars do not fit 64 bits, and must not become doubles.
CREATE TABLE usage (
    request_id            TEXT    NOT NULL,
    round                 INTEGER NOT NULL,
    key_id                TEXT    NOT NULL,
    user_id               TEXT    NOT NULL,
    ts                    INTEGER NOT NULL,
    surface               TEXT    NOT NULL,
    requested_model       TEXT    NOT NULL,
    resolved_model        TEXT    NOT NULL,
    base_model            TEXT    NOT NULL,
    lane                  TEXT    NOT NULL,
    target                TEXT    NOT NULL,
    region                TEXT    NOT NULL,
    stream                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    reasoning_tokens      INTEGER,
    cost_pico_usd         TEXT,
    estimated             INTEGER NOT NULL,
    status                TEXT    NOT NULL,
    http_status           INTEGER NOT NULL,
    error_type            TEXT,
    stop_reason           TEXT,
    attempts              INTEGER NOT NULL,
    latency_ms            INTEGER NOT NULL,
    ttft_ms               INTEGER,
    upstream_request_id   TEXT,
    session               TEXT,
    PRIMARY KEY (request_id, round)
) STRICT;

CREATE INDEX usage_by_key ON usage (key_id, ts, request_id, round);
CREATE INDEX usage_by_age ON usage (ts, request_id, round);

CREATE TABLE usage_stats (
    key_id                TEXT    NOT NULL,
    bucket                TEXT    NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cache_read_tokens     INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    reasoning_tokens      INTEGER NOT NULL,
    unpriced_requests     INTEGER NOT NULL,
    estimated_requests    INTEGER NOT NULL,
    cost_pico_usd         TEXT    NOT NULL,
    PRIMARY KEY (key_id, bucket)
) STRICT, WITHOUT ROWID;
