-- The bytes of components that were active, by their SHA-256: a host goes on with what the log says is active.
CREATE TABLE components (
    digest     BLOB PRIMARY KEY,
    bytes      BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
