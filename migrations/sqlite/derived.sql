-- What is a function of the log. It may be deleted or dropped at any moment, so it is no migration: it is made anew
-- whenever it is missing.

-- Whoever reads `readable(aggregate, id)` knows the id: with the id in front the key helps for nothing else.
CREATE TABLE IF NOT EXISTS access (
    id               TEXT NOT NULL,
    aggregate        TEXT NOT NULL,
    tenant           TEXT NOT NULL,
    version          INTEGER NOT NULL,
    owner            TEXT,
    parent_aggregate TEXT,
    parent_id        TEXT,
    inherits         INTEGER NOT NULL,
    entries          TEXT NOT NULL,
    PRIMARY KEY (id, aggregate, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS claims (
    tenant    TEXT NOT NULL,
    claim     TEXT NOT NULL,
    aggregate TEXT NOT NULL,
    id        TEXT NOT NULL,
    PRIMARY KEY (tenant, claim)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS snapshots (
    tenant        TEXT NOT NULL,
    aggregate     TEXT NOT NULL,
    id            TEXT NOT NULL,
    state_version INTEGER NOT NULL,
    digest        BLOB NOT NULL,
    version       INTEGER NOT NULL,
    state         BLOB NOT NULL,
    recorded_at   TEXT NOT NULL,
    PRIMARY KEY (tenant, aggregate, id, state_version, digest, version)
) STRICT;
