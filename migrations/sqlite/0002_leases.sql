-- Who does what only one may do at a time. There is one process, so a lease has no end here; its epoch goes on.
CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For taking old answers away.
CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);
