-- Names of models, prices, beta flags: few rows, read whole. What a kind has in its rows is JSON.
CREATE TABLE config (
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL,
    members TEXT    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
