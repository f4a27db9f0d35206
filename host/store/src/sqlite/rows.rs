//! Writing what a plan asks for, each table in few statements.

use std::sync::LazyLock;

use cairn_model::{Access, StreamKey, Timestamp, Version};
use sqlx::sqlite::SqliteConnection;

use super::log::signed;
use super::multi::{Bound, MultiRow};
use crate::error::Error;
use crate::plan::{ClaimKey, EventRow, Kept, KeptKey, Writes};

static EVENTS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "INSERT INTO event_store (position, tenant, aggregate, id, version, type, schema_version, data, metadata,
         recorded_at, hash) VALUES ",
        11,
        "",
    )
});

static CLAIMS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new("INSERT OR REPLACE INTO claims (tenant, claim, aggregate, id) VALUES ", 4, "")
});

static FREED: LazyLock<MultiRow> =
    LazyLock::new(|| MultiRow::new("DELETE FROM claims WHERE (tenant, claim) IN (VALUES ", 2, ")"));

static ACCESS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "INSERT OR REPLACE INTO access (tenant, aggregate, id, version, owner, parent_aggregate, parent_id, inherits,
         entries) VALUES ",
        9,
        "",
    )
});

static KEPT: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "INSERT INTO idempotency (tenant, principal, key, payload_hash, command_id, recorded_at, id, version, position,
         created, body) VALUES ",
        11,
        "",
    )
});

/// Writes all of it, inside the transaction that the connection is in.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &Writes<'_>,
    recorded_at: Timestamp,
) -> Result<(), Error> {
    events(connection, &writes.events, recorded_at).await?;
    let (put, freed): (Vec<_>, Vec<_>) = writes.claims.iter().partition(|claim| claim.holder.is_some());
    for (range, mut query) in FREED.chunks(freed.len()) {
        for claim in &freed[range] {
            query = bind_claim(query, &claim.key);
        }
        query.execute(&mut *connection).await?;
    }
    for (range, mut query) in CLAIMS.chunks(put.len()) {
        for claim in &put[range] {
            if let Some(holder) = &claim.holder {
                query =
                    bind_claim(query, &claim.key).bind(holder.aggregate.clone()).bind(holder.id.to_string());
            }
        }
        query.execute(&mut *connection).await?;
    }
    let changed: Vec<_> =
        writes.access.iter().map(|write| (write.stream, write.version, write.access)).collect();
    access(connection, &changed).await?;
    kept(connection, &writes.kept, recorded_at).await
}

async fn events(
    connection: &mut SqliteConnection,
    events: &[EventRow<'_>],
    recorded_at: Timestamp,
) -> Result<(), Error> {
    let recorded_at: std::sync::Arc<str> = recorded_at.to_string().into();
    for (range, mut query) in EVENTS.chunks(events.len()) {
        for event in &events[range] {
            query = query
                .bind(signed(event.position))
                .bind(event.stream.tenant.clone())
                .bind(event.stream.aggregate.clone())
                .bind(event.stream.id.to_string())
                .bind(signed(event.version))
                .bind(event.event_type.clone())
                .bind(i64::from(event.schema_version))
                .bind(event.data)
                .bind(event.metadata)
                .bind(recorded_at.clone())
                .bind(event.hash.0.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind_claim<'q>(query: Bound<'q>, key: &ClaimKey) -> Bound<'q> {
    query.bind(key.tenant.clone()).bind(key.claim.clone())
}

/// Writes access rows; also used where they come back from the log.
pub(super) async fn access(
    connection: &mut SqliteConnection,
    rows: &[(&StreamKey, Version, &Access)],
) -> Result<(), Error> {
    for (range, mut query) in ACCESS.chunks(rows.len()) {
        for (stream, version, access) in &rows[range] {
            let parent = access.parent.as_ref();
            query = query
                .bind(stream.tenant.clone())
                .bind(stream.aggregate.clone())
                .bind(stream.id.to_string())
                .bind(signed(*version))
                .bind(access.owner.map(|owner| owner.to_string()))
                .bind(parent.map(|parent| parent.aggregate.clone()))
                .bind(parent.map(|parent| parent.id.to_string()))
                .bind(access.inherits)
                // Names and numbers: nothing in it can fail to serialize.
                .bind(serde_json::to_string(&access.entries).unwrap_or_default());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn kept(
    connection: &mut SqliteConnection,
    rows: &[(KeptKey, Kept)],
    recorded_at: Timestamp,
) -> Result<(), Error> {
    for (range, mut query) in KEPT.chunks(rows.len()) {
        for (key, kept) in &rows[range] {
            query = query
                .bind(key.tenant.clone())
                .bind(key.principal.to_string())
                .bind(key.key.clone())
                .bind(kept.payload_hash.0.as_slice())
                .bind(kept.command_id.to_string())
                .bind(recorded_at.to_string())
                .bind(kept.id.to_string())
                .bind(signed(kept.version))
                .bind(signed(kept.position))
                .bind(kept.created)
                .bind(&*kept.body);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
