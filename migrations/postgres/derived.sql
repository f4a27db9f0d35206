-- What is a function of the log. It may be deleted or dropped at any moment, so it is no migration: it is made anew
-- whenever it is missing.

-- Whoever reads `readable(aggregate, id)` knows the id: with the id in front the key helps for nothing else.
CREATE TABLE IF NOT EXISTS access (
    id               uuid NOT NULL,
    aggregate        text COLLATE "C" NOT NULL,
    tenant           text COLLATE "C" NOT NULL,
    version          int8 NOT NULL,
    owner            uuid,
    parent_aggregate text COLLATE "C",
    parent_id        uuid,
    inherits         bool NOT NULL,
    entries          text NOT NULL,
    PRIMARY KEY (id, aggregate, tenant)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE IF NOT EXISTS claims (
    claim     text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    aggregate text COLLATE "C" NOT NULL,
    id        uuid NOT NULL,
    PRIMARY KEY (claim, tenant)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE IF NOT EXISTS snapshots (
    id            uuid NOT NULL,
    aggregate     text COLLATE "C" NOT NULL,
    tenant        text COLLATE "C" NOT NULL,
    state_version int8 NOT NULL,
    digest        bytea NOT NULL,
    version       int8 NOT NULL,
    state         bytea NOT NULL,
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (id, aggregate, tenant, state_version, digest, version)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Whose turn it is to append to a stream that several hosts write at once; see store/turns.rs. The first host of the queue
-- has the turn. It is a hint: nobody misses it when it is gone.
CREATE UNLOGGED TABLE IF NOT EXISTS turns (
    id        uuid NOT NULL,
    aggregate text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    queue     uuid[] NOT NULL,
    served    bool NOT NULL,
    ends_at   timestamptz NOT NULL,
    PRIMARY KEY (id, aggregate, tenant)
) WITH (fillfactor = 10);

-- A change of this function is a function with another name: hosts of two releases may be at work.
--
-- Takes the log's lock and answers what a batch rests on. Each statement of a function sees what was committed when it
-- begins, and so the second one, which begins under the lock, sees the log's end. The kinds of rows:
-- 0 the log's last event, with the hash at position `seen`, and whether access and claims are whole;
-- 1 the head of a stream, 2 the holder of a claim, 3 a kept answer, each with its number among those that were asked for;
-- 4 what was appended behind `seen`, with its stream's head; one row more than is worth remembering says that it is too much;
-- 5 whose turn it is at a stream, with the microseconds that are left of it.
CREATE OR REPLACE FUNCTION cairn_facts_2(
    seen int8, changes_limit int8,
    head_ids uuid[], head_aggregates text[], head_tenants text[],
    claim_names text[], claim_tenants text[],
    kept_keys text[], kept_principals uuid[], kept_tenants text[],
    turn_ids uuid[], turn_aggregates text[], turn_tenants text[]
) RETURNS TABLE (
    o_kind int4, o_n int8, o_version int8, o_position int8, o_access int8, o_flag bool, o_name text, o_tenant text,
    o_id uuid, o_command uuid, o_hash bytea, o_bytes bytea, o_at timestamptz,
    o_ids uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7161120822695587687);
    RETURN QUERY
        SELECT 0, 0::int8, 0::int8, e.position, 0::int8,
               EXISTS (SELECT 1 FROM claims AS c WHERE c.claim = '' AND c.tenant = '')
               AND EXISTS (SELECT 1 FROM access AS a WHERE a.id = '00000000-0000-0000-0000-000000000000'
                   AND a.aggregate = '' AND a.tenant = ''),
               NULL::text, NULL::text, m.rebuild, NULL::uuid, e.hash,
               (SELECT s.hash FROM event_store AS s WHERE s.position = seen), e.recorded_at, NULL::uuid[]
        FROM log_meta AS m
        LEFT JOIN LATERAL (
            SELECT l.position, l.hash, l.recorded_at FROM event_store AS l ORDER BY l.position DESC LIMIT 1
        ) AS e ON true
        UNION ALL
        SELECT 1, w.n, e.version, e.position, a.version, NULL, NULL, NULL, NULL, NULL, NULL, NULL, e.recorded_at, NULL
        FROM unnest(head_ids, head_aggregates, head_tenants) WITH ORDINALITY AS w (id, aggregate, tenant, n)
        CROSS JOIN LATERAL (
            SELECT s.version, s.position, s.recorded_at FROM event_store AS s
            WHERE s.id = w.id AND s.aggregate = w.aggregate AND s.tenant = w.tenant
            ORDER BY s.version DESC LIMIT 1
        ) AS e
        LEFT JOIN access AS a ON a.id = w.id AND a.aggregate = w.aggregate AND a.tenant = w.tenant
        UNION ALL
        SELECT 2, w.n, NULL, NULL, NULL, NULL, c.aggregate, NULL, c.id, NULL, NULL, NULL, NULL, NULL
        FROM unnest(claim_names, claim_tenants) WITH ORDINALITY AS w (claim, tenant, n)
        JOIN claims AS c ON c.claim = w.claim AND c.tenant = w.tenant
        UNION ALL
        SELECT 3, w.n, i.version, i.position, NULL, i.created, NULL, NULL, i.id, i.command_id, i.payload_hash, i.body, NULL,
               NULL
        FROM unnest(kept_keys, kept_principals, kept_tenants) WITH ORDINALITY AS w (key, principal, tenant, n)
        JOIN idempotency AS i ON i.key = w.key AND i.principal = w.principal AND i.tenant = w.tenant
        UNION ALL
        (SELECT 4, 0::int8, e.version, e.position, a.version, NULL, e.aggregate, e.tenant, e.id, NULL, NULL, NULL,
                e.recorded_at, NULL
        FROM event_store AS e
        LEFT JOIN access AS a ON a.id = e.id AND a.aggregate = e.aggregate AND a.tenant = e.tenant
        WHERE e.position > seen ORDER BY e.position LIMIT changes_limit + 1);
    IF cardinality(turn_ids) > 0 THEN
        RETURN QUERY
            SELECT 5, w.n, NULL::int8, (extract(epoch FROM t.ends_at - clock_timestamp()) * 1000000)::int8, NULL::int8, t.served,
                   NULL::text, NULL::text, NULL::uuid, NULL::uuid, NULL::bytea, NULL::bytea, NULL::timestamptz, t.queue
            FROM unnest(turn_ids, turn_aggregates, turn_tenants) WITH ORDINALITY AS w (id, aggregate, tenant, n)
            JOIN turns AS t ON t.id = w.id AND t.aggregate = w.aggregate AND t.tenant = w.tenant;
    END IF;
END
$$;

-- What finds out whether there is room on the disk. PLAIN: what is compressed takes none.
CREATE UNLOGGED TABLE IF NOT EXISTS probe (filler TEXT NOT NULL);
ALTER TABLE probe ALTER COLUMN filler SET STORAGE PLAIN;
