//! Writing what a plan asks for, all of it in one statement. Its text is always the same, so it is prepared once.

use cairn_model::{Access, StreamKey, StreamRef, Timestamp, Version};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;

use super::types::{Moment, key};
use crate::error::Error;
use crate::log::signed;
use crate::plan::{ClaimKey, Kept, KeptKey, Writes};

/// Claims that are freed and claims that are taken are never the same, so it does not matter which part runs first.
const WRITE: &str = "
    WITH events AS (
        INSERT INTO event_store (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data,
                                 metadata, hash)
        SELECT w.position, w.version, $1, w.id, w.schema_version, w.tenant, w.aggregate, w.type, w.data, w.metadata, w.hash
        FROM unnest($2::int8[], $3::int8[], $4::uuid[], $5::int8[], $6::text[], $7::text[], $8::text[], $9::text[],
                    $10::text[], $11::bytea[])
            AS w (position, version, id, schema_version, tenant, aggregate, type, data, metadata, hash)
    ), freed AS (
        DELETE FROM claims AS c USING unnest($12::text[], $13::text[]) AS w (claim, tenant)
        WHERE c.claim = w.claim AND c.tenant = w.tenant
    ), taken AS (
        INSERT INTO claims (claim, tenant, aggregate, id)
        SELECT w.claim, w.tenant, w.aggregate, w.id
        FROM unnest($14::text[], $15::text[], $16::text[], $17::uuid[]) AS w (claim, tenant, aggregate, id)
        ON CONFLICT (claim, tenant) DO UPDATE SET aggregate = excluded.aggregate, id = excluded.id
    ), changed AS (
        INSERT INTO access (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
        SELECT w.id, w.aggregate, w.tenant, w.version, w.owner, w.parent_aggregate, w.parent_id, w.inherits, w.entries
        FROM unnest($18::uuid[], $19::text[], $20::text[], $21::int8[], $22::uuid[], $23::text[], $24::uuid[],
                    $25::bool[], $26::text[])
            AS w (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
        ON CONFLICT (id, aggregate, tenant) DO UPDATE SET version = excluded.version, owner = excluded.owner,
            parent_aggregate = excluded.parent_aggregate, parent_id = excluded.parent_id,
            inherits = excluded.inherits, entries = excluded.entries
    )
    INSERT INTO idempotency (key, principal, tenant, payload_hash, command_id, recorded_at, id, version, position, created,
                             body)
    SELECT w.key, w.principal, w.tenant, w.payload_hash, w.command_id, $1, w.id, w.version, w.position, w.created, w.body
    FROM unnest($27::text[], $28::uuid[], $29::text[], $30::bytea[], $31::uuid[], $32::uuid[], $33::int8[], $34::int8[],
                $35::bool[], $36::bytea[])
        AS w (key, principal, tenant, payload_hash, command_id, id, version, position, created, body)";

/// Access rows alone, for bringing them back from the log.
const ACCESS: &str = "
    INSERT INTO access (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
    SELECT w.id, w.aggregate, w.tenant, w.version, w.owner, w.parent_aggregate, w.parent_id, w.inherits, w.entries
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int8[], $5::uuid[], $6::text[], $7::uuid[], $8::bool[], $9::text[])
        AS w (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
    ON CONFLICT (id, aggregate, tenant) DO UPDATE SET version = excluded.version, owner = excluded.owner,
        parent_aggregate = excluded.parent_aggregate, parent_id = excluded.parent_id,
        inherits = excluded.inherits, entries = excluded.entries";

type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// Writes all of it, inside the transaction that the connection is in.
pub(super) async fn write(
    connection: &mut PgConnection,
    writes: &Writes<'_>,
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(WRITE).bind(Moment(recorded_at));
    let query = bind_events(query, writes);
    let query = bind_claims(query, &writes.claims);
    let query = bind_access(query, &writes.access);
    bind_kept(query, &writes.kept).execute(connection).await?;
    Ok(())
}

/// Writes access rows, each stream once.
pub(super) async fn access(
    connection: &mut PgConnection,
    rows: &[(&StreamKey, Version, &Access)],
) -> Result<(), Error> {
    bind_access(sqlx::query(ACCESS), rows).execute(connection).await?;
    Ok(())
}

fn bind_events<'q>(query: Bound<'q>, writes: &Writes<'_>) -> Bound<'q> {
    let events = &writes.events;
    query
        .bind(events.iter().map(|event| signed(event.position)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| signed(event.version)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.stream.id).collect::<Vec<_>>())
        // PostgreSQL refuses what does not fit into its 31 bits.
        .bind(events.iter().map(|event| i64::from(event.schema_version)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.stream.tenant).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.stream.aggregate).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &**event.event_type).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.data).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.metadata).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.hash.0.as_slice()).collect::<Vec<_>>())
}

fn bind_claims<'q>(query: Bound<'q>, claims: &[(ClaimKey, Option<StreamRef>)]) -> Bound<'q> {
    let freed = || claims.iter().filter(|(_, holder)| holder.is_none()).map(|(own, _)| own);
    let taken = || claims.iter().filter_map(|(own, holder)| holder.as_ref().map(|holder| (own, holder)));
    query
        .bind(freed().map(|own| key(&own.claim)).collect::<Vec<_>>())
        .bind(freed().map(|own| &*own.tenant).collect::<Vec<_>>())
        .bind(taken().map(|(own, _)| key(&own.claim)).collect::<Vec<_>>())
        .bind(taken().map(|(own, _)| &*own.tenant).collect::<Vec<_>>())
        .bind(taken().map(|(_, holder)| &*holder.aggregate).collect::<Vec<_>>())
        .bind(taken().map(|(_, holder)| holder.id).collect::<Vec<_>>())
}

fn bind_access<'q>(query: Bound<'q>, rows: &[(&StreamKey, Version, &Access)]) -> Bound<'q> {
    let parents = || rows.iter().map(|(_, _, access)| access.parent.as_ref());
    // Names and numbers: nothing in it can fail to serialize.
    let entries =
        rows.iter().map(|(_, _, access)| serde_json::to_string(&access.entries).unwrap_or_default());
    query
        .bind(rows.iter().map(|(stream, _, _)| stream.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(stream, _, _)| &*stream.aggregate).collect::<Vec<_>>())
        .bind(rows.iter().map(|(stream, _, _)| &*stream.tenant).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, version, _)| signed(*version)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, access)| access.owner).collect::<Vec<_>>())
        .bind(parents().map(|parent| parent.map(|parent| &*parent.aggregate)).collect::<Vec<_>>())
        .bind(parents().map(|parent| parent.map(|parent| parent.id)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, access)| access.inherits).collect::<Vec<_>>())
        .bind(entries.collect::<Vec<_>>())
}

fn bind_kept<'q>(query: Bound<'q>, rows: &[(KeptKey, Kept)]) -> Bound<'q> {
    query
        .bind(rows.iter().map(|(own, _)| key(&own.key)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(own, _)| own.principal).collect::<Vec<_>>())
        .bind(rows.iter().map(|(own, _)| &*own.tenant).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| kept.payload_hash.0.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| kept.command_id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| kept.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| signed(kept.version)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| signed(kept.position)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| kept.created).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, kept)| &*kept.body).collect::<Vec<_>>())
}
