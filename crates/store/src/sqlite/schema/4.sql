-- What each gateway has of the keys' budgets. Amounts are whole pico-dollars, below zero in debt; text as elsewhere.
CREATE TABLE budget_leases (
    key_id     TEXT    NOT NULL,
    replica    TEXT    NOT NULL,
    amount     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, replica)
) STRICT, WITHOUT ROWID;
