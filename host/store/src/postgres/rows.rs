//! Writing what a plan asks for, all of it in one statement of as many parts as there are kinds of rows. There are few
//! different texts, and each stays prepared.

use std::sync::{Arc, OnceLock};

use cairn_model::{Access, StreamKey, StreamRef, Timestamp, Version};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use super::types::{Moment, key};
use crate::error::Error;
use crate::log::signed;
use crate::plan::{AccessWrite, ClaimKey, Kept, KeptKey, Writes};

/// What a statement may consist of. `?` is a parameter; `$1` is the time of everything.
const PARTS: [(&str, &str); 7] = [
    (
        "events",
        "INSERT INTO event_store (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data,
                                  metadata, hash)
         SELECT w.position, w.version, $1, w.id, w.schema_version, w.tenant, w.aggregate, w.type, w.data, w.metadata, w.hash
         FROM unnest(?::int8[], ?::int8[], ?::uuid[], ?::int8[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
                     ?::bytea[])
             AS w (position, version, id, schema_version, tenant, aggregate, type, data, metadata, hash)",
    ),
    (
        "freed_claims",
        "DELETE FROM claims AS c USING unnest(?::text[], ?::text[]) AS w (claim, tenant)
         WHERE c.claim = w.claim AND c.tenant = w.tenant",
    ),
    (
        "new_claims",
        "INSERT INTO claims (claim, tenant, aggregate, id)
         SELECT w.claim, w.tenant, w.aggregate, w.id
         FROM unnest(?::text[], ?::text[], ?::text[], ?::uuid[]) AS w (claim, tenant, aggregate, id)",
    ),
    (
        "moved_claims",
        "INSERT INTO claims (claim, tenant, aggregate, id)
         SELECT w.claim, w.tenant, w.aggregate, w.id
         FROM unnest(?::text[], ?::text[], ?::text[], ?::uuid[]) AS w (claim, tenant, aggregate, id)
         ON CONFLICT (claim, tenant) DO UPDATE SET aggregate = excluded.aggregate, id = excluded.id",
    ),
    (
        "new_access",
        "INSERT INTO access (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
         SELECT w.id, w.aggregate, w.tenant, w.version, w.owner, w.parent_aggregate, w.parent_id, w.inherits, w.entries
         FROM unnest(?::uuid[], ?::text[], ?::text[], ?::int8[], ?::uuid[], ?::text[], ?::uuid[], ?::bool[], ?::text[])
             AS w (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)",
    ),
    (
        "changed_access",
        "INSERT INTO access (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
         SELECT w.id, w.aggregate, w.tenant, w.version, w.owner, w.parent_aggregate, w.parent_id, w.inherits, w.entries
         FROM unnest(?::uuid[], ?::text[], ?::text[], ?::int8[], ?::uuid[], ?::text[], ?::uuid[], ?::bool[], ?::text[])
             AS w (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
         ON CONFLICT (id, aggregate, tenant) DO UPDATE SET version = excluded.version, owner = excluded.owner,
             parent_aggregate = excluded.parent_aggregate, parent_id = excluded.parent_id,
             inherits = excluded.inherits, entries = excluded.entries",
    ),
    (
        "kept",
        "INSERT INTO idempotency (key, principal, tenant, payload_hash, command_id, recorded_at, id, version, position,
                                  created, body)
         SELECT w.key, w.principal, w.tenant, w.payload_hash, w.command_id, $1, w.id, w.version, w.position, w.created,
                w.body
         FROM unnest(?::text[], ?::uuid[], ?::text[], ?::bytea[], ?::uuid[], ?::uuid[], ?::int8[], ?::int8[], ?::bool[],
                     ?::bytea[])
             AS w (key, principal, tenant, payload_hash, command_id, id, version, position, created, body)",
    ),
];

/// The place of the access rows that may be there already among the parts.
const CHANGED_ACCESS: usize = 5;

/// Statements by the parts that they have; few of them are ever used.
static TEXTS: [OnceLock<Arc<str>>; 1 << PARTS.len()] = [const { OnceLock::new() }; 1 << PARTS.len()];

/// The statement of these parts. All of them see what was there before, and no row is touched by two: it does not matter
/// which one runs first.
fn statement(present: [bool; PARTS.len()]) -> Arc<str> {
    let index = present.iter().enumerate().fold(0, |sum, (bit, present)| sum | usize::from(*present) << bit);
    let text = TEXTS[index].get_or_init(|| {
        let parts = PARTS.iter().zip(present).filter(|(_, present)| *present);
        let all: Vec<_> = parts.map(|((name, text), _)| format!("{name} AS ({text})")).collect();
        let mut number = 1;
        let text = format!(
            "{} SELECT",
            if all.is_empty() { String::new() } else { format!("WITH {}", all.join(", ")) }
        );
        let mut numbered = String::with_capacity(text.len() + 64);
        for part in text.split_inclusive('?') {
            numbered.push_str(part.trim_end_matches('?'));
            if part.ends_with('?') {
                number += 1;
                numbered.push_str(&format!("${number}"));
            }
        }
        numbered.into()
    });
    text.clone()
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

type AccessRow<'a> = (&'a StreamKey, Version, &'a Access);

fn row<'a>(write: &AccessWrite<'a>) -> AccessRow<'a> {
    (write.stream, write.version, write.access)
}

/// Writes all of it, inside the transaction that the connection is in.
pub(super) async fn write(
    connection: &mut PgConnection,
    writes: &Writes<'_>,
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let (mut freed, mut taken, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for claim in &writes.claims {
        match &claim.holder {
            None => freed.push(&claim.key),
            Some(holder) if claim.is_there => moved.push((&claim.key, holder)),
            Some(holder) => taken.push((&claim.key, holder)),
        }
    }
    let new: Vec<_> = writes.access.iter().filter(|write| !write.is_there).map(row).collect();
    let changed: Vec<_> = writes.access.iter().filter(|write| write.is_there).map(row).collect();
    let present = [
        !writes.events.is_empty(),
        !freed.is_empty(),
        !taken.is_empty(),
        !moved.is_empty(),
        !new.is_empty(),
        !changed.is_empty(),
        !writes.kept.is_empty(),
    ];
    let mut query = sqlx::query(AssertSqlSafe(statement(present))).bind(Moment(recorded_at));
    if !writes.events.is_empty() {
        query = bind_events(query, writes);
    }
    if !freed.is_empty() {
        query = bind_freed(query, &freed);
    }
    for claims in [&taken, &moved] {
        if !claims.is_empty() {
            query = bind_claims(query, claims);
        }
    }
    for access in [&new, &changed] {
        if !access.is_empty() {
            query = bind_access(query, access);
        }
    }
    if !writes.kept.is_empty() {
        query = bind_kept(query, &writes.kept);
    }
    query.execute(connection).await?;
    Ok(())
}

/// Writes access rows, each stream once; also used where they come back from the log.
pub(super) async fn access(connection: &mut PgConnection, rows: &[AccessRow<'_>]) -> Result<(), Error> {
    let mut present = [false; PARTS.len()];
    present[CHANGED_ACCESS] = true;
    let query = sqlx::query(AssertSqlSafe(statement(present))).bind(Moment(Timestamp::default()));
    bind_access(query, rows).execute(connection).await?;
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

fn bind_freed<'q>(query: Bound<'q>, claims: &[&ClaimKey]) -> Bound<'q> {
    query
        .bind(claims.iter().map(|own| key(&own.claim)).collect::<Vec<_>>())
        .bind(claims.iter().map(|own| &*own.tenant).collect::<Vec<_>>())
}

fn bind_claims<'q>(query: Bound<'q>, claims: &[(&ClaimKey, &StreamRef)]) -> Bound<'q> {
    query
        .bind(claims.iter().map(|(own, _)| key(&own.claim)).collect::<Vec<_>>())
        .bind(claims.iter().map(|(own, _)| &*own.tenant).collect::<Vec<_>>())
        .bind(claims.iter().map(|(_, holder)| &*holder.aggregate).collect::<Vec<_>>())
        .bind(claims.iter().map(|(_, holder)| holder.id).collect::<Vec<_>>())
}

fn bind_access<'q>(query: Bound<'q>, rows: &[AccessRow<'_>]) -> Bound<'q> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_along_the_parts() {
        let mut present = [false; PARTS.len()];
        present[1] = true;
        present[2] = true;
        let text = statement(present);
        assert!(text.starts_with("WITH freed_claims AS (DELETE"), "{text}");
        assert!(text.contains("unnest($2::text[], $3::text[])"), "{text}");
        assert!(text.contains("unnest($4::text[], $5::text[], $6::text[], $7::uuid[])"), "{text}");
        assert!(text.ends_with(") SELECT"), "{text}");
    }
}
