-- The bytes of components that were active, by their SHA-256: every host goes on with what the log says is active.
CREATE TABLE components (
    digest     bytea PRIMARY KEY,
    bytes      bytea NOT NULL,
    created_at timestamptz NOT NULL
);
