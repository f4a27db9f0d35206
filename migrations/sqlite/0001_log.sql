-- The log and what cannot be computed from it. Everything that can be stands in derived.sql.

-- Ids are lowercase UUIDs; times are RFC 3339 with six digits and Z, so their texts sort as the times do.
CREATE TABLE event_store (
    position       INTEGER PRIMARY KEY,
    tenant         TEXT NOT NULL,
    aggregate      TEXT NOT NULL,
    id             TEXT NOT NULL,
    version        INTEGER NOT NULL,
    type           TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    data           TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    recorded_at    TEXT NOT NULL,
    hash           BLOB NOT NULL
) STRICT;

-- There is no other index: each one more is paid by every append, and whoever filters by type or aggregate reads
-- along the positions anyway.
CREATE UNIQUE INDEX event_store_stream ON event_store (tenant, aggregate, id, version);

-- One row. `barrier` is counted up where a commit failed, so that its remains in the write-ahead log are overwritten.
CREATE TABLE log_meta (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    log_id     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    barrier    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Answers kept under the keys that clients sent.
CREATE TABLE idempotency (
    tenant       TEXT NOT NULL,
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    payload_hash BLOB NOT NULL,
    command_id   TEXT NOT NULL,
    recorded_at  TEXT NOT NULL,
    id           TEXT NOT NULL,
    version      INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    body         BLOB NOT NULL,
    PRIMARY KEY (tenant, principal, key)
) STRICT, WITHOUT ROWID;

-- Keys of the API. Only their SHA-256 is kept.
CREATE TABLE access_keys (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    principal  TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;

-- How far each policy has reacted; its position, states and commands move in one transaction.
CREATE TABLE policy_positions (
    policy   TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_states (
    policy    TEXT NOT NULL,
    tenant    TEXT NOT NULL,
    aggregate TEXT NOT NULL,
    id        TEXT NOT NULL,
    state     TEXT NOT NULL,
    PRIMARY KEY (policy, tenant, aggregate, id)
) STRICT;

-- Commands of policies that are still to be sent.
CREATE TABLE policy_outbox (
    policy         TEXT NOT NULL,
    position       INTEGER NOT NULL,
    idx            INTEGER NOT NULL,
    stage          INTEGER NOT NULL,
    tenant         TEXT NOT NULL,
    aggregate      TEXT NOT NULL,
    id             TEXT NOT NULL,
    command        TEXT NOT NULL,
    payload        TEXT NOT NULL,
    at             TEXT,
    on_behalf_of   TEXT,
    correlation_id TEXT NOT NULL,
    depth          INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (policy, position, idx)
) STRICT;
