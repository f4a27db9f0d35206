//! Taking in events of an exported log, under the lock of everybody who appends.

use std::collections::HashMap;

use cairn_model::chain::Hash;
use cairn_model::{Position, RecordedEvent, StreamKey, Version, ids};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::connect::within;
use super::types::Moment;
use super::writer::{ATTEMPTS, Writer, is_about_connection};
use super::{Log, policies};
use crate::error::Error;
use crate::import::{ImportError, Imported, compare, follow, known, streams};
use crate::log::{signed, unsigned};
use crate::plan::Tail;
use crate::written::Failure;

/// As for appends, but each event brings its own time.
const EVENTS: &str = "
    INSERT INTO event_store (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data, metadata, hash)
    SELECT w.position, w.version, w.recorded_at, w.id, w.schema_version, w.tenant, w.aggregate, w.type, w.data, w.metadata,
           w.hash
    FROM unnest($1::int8[], $2::int8[], $3::timestamptz[], $4::uuid[], $5::int8[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::bytea[])
        AS w (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data, metadata, hash)";

const VERSIONS: &str = "
    SELECT w.n, e.version
    FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS w (id, aggregate, tenant, n)
    CROSS JOIN LATERAL (
        SELECT s.version FROM event_store AS s WHERE s.id = w.id AND s.aggregate = w.aggregate AND s.tenant = w.tenant
        ORDER BY s.version DESC LIMIT 1
    ) AS e";

/// The rows that say that access and claims are whole.
const LOSE_FACTS: &str = "
    DELETE FROM claims WHERE claim = '' AND tenant = '';
    DELETE FROM access WHERE id = '00000000-0000-0000-0000-000000000000' AND aggregate = '' AND tenant = ''";

impl Log {
    pub(crate) async fn import(&self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        let mut writer = self.writer.lock().await;
        let done = writer.import(events).await;
        // There may be no batch of appends soon.
        writer.rest().await;
        self.published.reached(writer.tail.position);
        self.published.facts_are(writer.facts_intact);
        done
    }
}

impl Writer {
    /// A connection that turns out to be none is replaced by another one. That is safe even where it broke while committing:
    /// what is there already is skipped.
    async fn import(&mut self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.try_import(events).await {
                Err(ImportError::Store(error)) => {
                    self.disconnect();
                    if attempts == 0 || !is_about_connection(&error) {
                        return Err(error.into());
                    }
                }
                done => return done,
            }
        }
    }

    async fn try_import(&mut self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        match self.facts(&[]).await {
            Ok(_) | Err(Failure::FactsLost) => {}
            Err(Failure::NotWritten(error) | Failure::Unknown(error)) => return Err(error.into()),
        }
        let (old, new) = events.split_at(known(events, &self.tail));
        match self.examine(old, new).await {
            Ok(after) if !new.is_empty() => self.put(new, after).await?,
            Err(ImportError::Store(error)) => return Err(error.into()),
            // Nothing to write: the lock is given back.
            examined => {
                self.commit().await?;
                examined?;
            }
        }
        Ok(Imported { imported: new.len() as u64, skipped: old.len() as u64, head: self.tail.position })
    }

    /// Whether the old events are the log's own and the new ones continue it. Answers its end with them.
    async fn examine(&mut self, old: &[RecordedEvent], new: &[RecordedEvent]) -> Result<Tail, ImportError> {
        let limit = self.connect.limit;
        let before = self.tail;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        compare(old, &within(limit, hashes(connection, old)).await?)?;
        follow(new, before, within(limit, versions(connection, &streams(new))).await?)
    }

    async fn put(&mut self, events: &[RecordedEvent], after: Tail) -> Result<(), Error> {
        let limit = self.connect.limit;
        let rebuild = ids::new_id(self.now());
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        within(limit, insert(connection, events)).await?;
        within(limit, lose_facts(connection, rebuild)).await?;
        // After `log_meta`: policies that begin meanwhile wait for its row.
        within(limit, policies::pass_by(connection, after.position)).await?;
        self.commit().await?;
        self.imported(after, rebuild);
        Ok(())
    }
}

async fn hashes(
    connection: &mut PgConnection,
    events: &[RecordedEvent],
) -> Result<HashMap<Position, Hash>, Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(HashMap::new()) };
    let rows = sqlx::query("SELECT position, hash FROM event_store WHERE position BETWEEN $1 AND $2")
        .bind(signed(first.position))
        .bind(signed(last.position))
        .fetch_all(connection)
        .await?;
    let mut hashes = HashMap::with_capacity(rows.len());
    for row in &rows {
        // A hash that is none is equal to none.
        if let Ok(hash) = row.try_get::<&[u8], _>(1)?.try_into() {
            hashes.insert(unsigned(row.try_get(0)?), Hash(hash));
        }
    }
    Ok(hashes)
}

/// The versions of streams; one that does not exist has none.
async fn versions<'a>(
    connection: &mut PgConnection,
    streams: &[&'a StreamKey],
) -> Result<HashMap<&'a StreamKey, Version>, Error> {
    if streams.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(VERSIONS)
        .bind(streams.iter().map(|stream| stream.id).collect::<Vec<_>>())
        .bind(streams.iter().map(|stream| &*stream.aggregate).collect::<Vec<_>>())
        .bind(streams.iter().map(|stream| &*stream.tenant).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let mut versions = HashMap::with_capacity(rows.len());
    for row in &rows {
        let index = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or(usize::MAX);
        if let Some(stream) = streams.get(index) {
            versions.insert(*stream, unsigned(row.try_get(1)?));
        }
    }
    Ok(versions)
}

async fn insert(connection: &mut PgConnection, events: &[RecordedEvent]) -> Result<(), Error> {
    sqlx::query(EVENTS)
        .bind(events.iter().map(|event| signed(event.position)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| signed(event.version)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| Moment(event.recorded_at)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.stream.id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| i64::from(event.schema_version)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.stream.tenant).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.stream.aggregate).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.event_type).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.data).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.metadata).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.hash.0.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Says that access and claims are not whole, and that whoever is filling them has to begin again.
async fn lose_facts(connection: &mut PgConnection, rebuild: Uuid) -> Result<(), Error> {
    sqlx::query("UPDATE log_meta SET rebuild = $1").bind(rebuild).execute(&mut *connection).await?;
    sqlx::raw_sql(LOSE_FACTS).execute(connection).await?;
    Ok(())
}
