-- Which instance of a read model queries read. What may be deleted are the instances themselves.
CREATE TABLE read_models (
    projection TEXT PRIMARY KEY,
    active     INTEGER NOT NULL,
    previous   INTEGER,
    form       TEXT NOT NULL,
    digest     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
