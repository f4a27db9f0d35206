-- The log and what cannot be computed from it. Everything that can be stands in derived.sql.

-- Rows are never changed and rarely deleted: pages are filled, and frozen as soon as they are looked at, so that no later
-- vacuum has to come back to them.
CREATE TABLE event_store (
    position       int8 PRIMARY KEY WITH (fillfactor = 100),
    version        int8 NOT NULL,
    recorded_at    timestamptz NOT NULL,
    id             uuid NOT NULL,
    schema_version int4 NOT NULL,
    tenant         text COLLATE "C" NOT NULL,
    aggregate      text COLLATE "C" NOT NULL,
    type           text COLLATE "C" NOT NULL,
    data           text COLLATE "C" NOT NULL,
    metadata       text COLLATE "C" NOT NULL,
    hash           bytea NOT NULL
) WITH (fillfactor = 100, autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.02);

-- There is no other index: each one more is paid by every append, and whoever filters by type or aggregate reads
-- along the positions anyway. The id is in front because it decides nearly every comparison.
CREATE UNIQUE INDEX event_store_stream ON event_store (id, version, aggregate, tenant);

-- Against accidents; it costs an append nothing. Whoever has to (to erase somebody's data) says so in his session.
CREATE FUNCTION cairn_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('cairn.change_events', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'events are not changed' USING HINT = 'SET cairn.change_events = on, if you mean it';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER event_store_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON event_store
FOR EACH STATEMENT EXECUTE FUNCTION cairn_events_stay();

-- One row. `barrier` is counted up to see whether commits are possible. `rebuild` is made anew whenever access and claims
-- are emptied: who fills them again does so under it, and what hosts remember of them is worth nothing any more.
CREATE TABLE log_meta (
    one        bool PRIMARY KEY DEFAULT true CHECK (one),
    log_id     uuid NOT NULL,
    created_at timestamptz NOT NULL,
    barrier    int8 NOT NULL DEFAULT 0,
    rebuild    uuid
);

-- Answers kept under the keys that clients sent.
CREATE TABLE idempotency (
    key          text COLLATE "C" NOT NULL,
    principal    uuid NOT NULL,
    tenant       text COLLATE "C" NOT NULL,
    payload_hash bytea NOT NULL,
    command_id   uuid NOT NULL,
    recorded_at  timestamptz NOT NULL,
    id           uuid NOT NULL,
    version      int8 NOT NULL,
    position     int8 NOT NULL,
    created      bool NOT NULL,
    body         bytea NOT NULL,
    PRIMARY KEY (key, principal, tenant)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- For taking old answers away.
CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);

-- Keys of the API. Only their SHA-256 is kept.
CREATE TABLE access_keys (
    id         uuid PRIMARY KEY,
    hash       bytea NOT NULL UNIQUE,
    principal  text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- How far each policy has reacted; its position, states and commands move in one transaction.
CREATE TABLE policy_positions (
    policy   text COLLATE "C" PRIMARY KEY,
    position int8 NOT NULL
);

CREATE TABLE policy_states (
    policy    text COLLATE "C" NOT NULL,
    id        uuid NOT NULL,
    aggregate text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    state     text NOT NULL,
    PRIMARY KEY (policy, id, aggregate, tenant)
);

-- Commands of policies that are still to be sent.
CREATE TABLE policy_outbox (
    policy         text COLLATE "C" NOT NULL,
    position       int8 NOT NULL,
    idx            int8 NOT NULL,
    stage          int8 NOT NULL,
    tenant         text NOT NULL,
    aggregate      text NOT NULL,
    id             uuid NOT NULL,
    command        text NOT NULL,
    payload        text NOT NULL,
    at             timestamptz,
    on_behalf_of   uuid,
    correlation_id text NOT NULL,
    depth          int8 NOT NULL,
    attempts       int8 NOT NULL DEFAULT 0,
    PRIMARY KEY (policy, position, idx)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Who does what only one may do at a time, by this server's clock.
CREATE TABLE leases (
    name       text COLLATE "C" PRIMARY KEY,
    holder     uuid NOT NULL,
    epoch      int8 NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
