//! Writing what a plan asks for: a statement for each table.

use std::sync::{Arc, LazyLock};

use cairn_model::{Access, StreamKey, Timestamp, Version};

use super::log::signed;
use super::multi::{MultiRow, Script};
use crate::plan::{EventRow, Kept, KeptKey, Writes};

/// Also used where events are imported.
pub(super) static EVENTS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert(
        "INSERT INTO event_store (position, tenant, aggregate, id, version, type, schema_version, data, metadata,
         recorded_at, hash)",
        11,
        0,
        "",
    )
});

static CLAIMS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert("INSERT OR REPLACE INTO claims (tenant, claim, aggregate, id)", 4, 0, "")
});

static FREED: LazyLock<MultiRow> =
    LazyLock::new(|| MultiRow::new("DELETE FROM claims WHERE (tenant, claim) IN (VALUES ", 2, ")"));

static ACCESS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert(
        "INSERT OR REPLACE INTO access (tenant, aggregate, id, version, owner, parent_aggregate, parent_id, inherits,
         entries)",
        9,
        0,
        "",
    )
});

static KEPT: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert(
        "INSERT INTO idempotency (tenant, principal, key, payload_hash, command_id, recorded_at, id, version, position,
         created, body)",
        11,
        0,
        "",
    )
});

/// Adds what writes all of it.
pub(super) fn write(script: &mut Script, writes: &Writes<'_>, recorded_at: Timestamp) {
    let recorded_at: Arc<str> = recorded_at.to_string().into();
    events(script, &writes.events, &recorded_at);
    let freed: Vec<_> = writes.claims.iter().filter(|claim| claim.holder.is_none()).collect();
    script.rows(&FREED, freed, |row, _, claim| {
        row.bind(&*claim.key.tenant).bind(&claim.key.claim);
    });
    let put: Vec<_> = writes
        .claims
        .iter()
        .filter_map(|claim| claim.holder.as_ref().map(|holder| (&claim.key, holder)))
        .collect();
    script.rows(&CLAIMS, put, |row, _, (key, holder)| {
        row.bind(&*key.tenant).bind(&key.claim).bind(&*holder.aggregate).bind(holder.id.to_string());
    });
    let changed: Vec<_> =
        writes.access.iter().map(|write| (write.stream, write.version, write.access)).collect();
    access(script, &changed);
    kept(script, &writes.kept, &recorded_at);
}

fn events(script: &mut Script, events: &[EventRow<'_>], recorded_at: &Arc<str>) {
    script.rows(&EVENTS, events, |row, _, event| {
        row.bind(signed(event.position))
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
    });
}

/// Adds what writes access rows; also used where they come back from the log.
pub(super) fn access(script: &mut Script, rows: &[(&StreamKey, Version, &Access)]) {
    script.rows(&ACCESS, rows, |row, _, (stream, version, access)| {
        let parent = access.parent.as_ref();
        row.bind(stream.tenant.clone())
            .bind(stream.aggregate.clone())
            .bind(stream.id.to_string())
            .bind(signed(*version))
            .bind(access.owner.map(|owner| owner.to_string()))
            .bind(parent.map(|parent| parent.aggregate.clone()))
            .bind(parent.map(|parent| parent.id.to_string()))
            .bind(access.inherits)
            // Names and numbers: nothing in it can fail to serialize.
            .bind(serde_json::to_string(&access.entries).unwrap_or_default());
    });
}

fn kept(script: &mut Script, rows: &[(KeptKey, Kept)], recorded_at: &Arc<str>) {
    script.rows(&KEPT, rows, |row, _, (key, kept)| {
        row.bind(key.tenant.clone())
            .bind(key.principal.to_string())
            .bind(&key.key)
            .bind(kept.payload_hash.0.as_slice())
            .bind(kept.command_id.to_string())
            .bind(recorded_at.clone())
            .bind(kept.id.to_string())
            .bind(signed(kept.version))
            .bind(signed(kept.position))
            .bind(kept.created)
            .bind(&*kept.body);
    });
}
