//! Taking in events of an exported log.

use std::collections::HashMap;
use std::sync::LazyLock;

use cairn_model::chain::Hash;
use cairn_model::{Position, RecordedEvent, StreamKey, Version};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::log::{signed, unsigned};
use super::multi::{MultiRow, Script};
use super::rows::EVENTS;
use super::writer::{Writer, tail};
use super::{Log, policies};
use crate::error::Error;
use crate::import::{ImportError, Imported, compare, follow, known, streams};

/// As for appends, but each event brings its own time.
/// A stream that does not exist gives no row.
static VERSIONS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, aggregate, id, n) AS (VALUES ",
        4,
        ") SELECT w.n, e.version
           FROM wanted AS w
           CROSS JOIN event_store AS e ON e.position = (
               SELECT position FROM event_store AS s
               WHERE s.tenant = w.tenant AND s.aggregate = w.aggregate AND s.id = w.id
               ORDER BY s.version DESC LIMIT 1)",
    )
});

impl Log {
    pub(crate) async fn import(&self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        let mut writer = self.turn().await;
        let done = writer.import(events).await;
        self.tell(&writer);
        done
    }
}

impl Writer {
    async fn import(&mut self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        let done = self.try_import(events).await;
        if let Err(ImportError::Store(_)) = done {
            self.disconnect().await;
        }
        done
    }

    async fn try_import(&mut self, events: &[RecordedEvent]) -> Result<Imported, ImportError> {
        self.refresh().await?;
        let mut transaction = self.begin().await?;
        // What is remembered may be older than the transaction.
        let before = tail(&mut transaction).await?;
        let (old, new) = events.split_at(known(events, &before));
        compare(old, &hashes(&mut transaction, old).await?)?;
        let mut after = before;
        if !new.is_empty() {
            after = follow(new, before, versions(&mut transaction, &streams(new)).await?)?;
            insert(&mut transaction, new).await?;
            lose_facts(&mut transaction).await?;
            policies::pass_by(&mut transaction, after.position).await?;
            transaction.commit().await?;
            self.imported(after);
        }
        Ok(Imported { imported: new.len() as u64, skipped: old.len() as u64, head: after.position })
    }
}

async fn hashes(
    connection: &mut SqliteConnection,
    events: &[RecordedEvent],
) -> Result<HashMap<Position, Hash>, Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(HashMap::new()) };
    let rows = sqlx::query("SELECT position, hash FROM event_store WHERE position BETWEEN ? AND ?")
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

async fn versions<'a>(
    connection: &mut SqliteConnection,
    streams: &[&'a StreamKey],
) -> Result<HashMap<&'a StreamKey, Version>, Error> {
    let mut script = Script::default();
    script.rows(&VERSIONS, streams, |row, index, stream| {
        row.bind(stream.tenant.clone())
            .bind(stream.aggregate.clone())
            .bind(stream.id.to_string())
            .bind(signed(index as u64));
    });
    let mut versions = HashMap::new();
    for row in script.fetch_all(connection).await? {
        let index = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        if let Some(stream) = streams.get(index) {
            versions.insert(*stream, unsigned(row.try_get(1)?));
        }
    }
    Ok(versions)
}

async fn insert(connection: &mut SqliteConnection, events: &[RecordedEvent]) -> Result<(), Error> {
    let mut script = Script::default();
    script.rows(&EVENTS, events, |row, _, event| {
        row.bind(signed(event.position))
            .bind(event.stream.tenant.clone())
            .bind(event.stream.aggregate.clone())
            .bind(event.stream.id.to_string())
            .bind(signed(event.version))
            .bind(event.event_type.clone())
            .bind(i64::from(event.schema_version))
            .bind(&event.data)
            .bind(&event.metadata)
            .bind(event.recorded_at.to_string())
            .bind(event.hash.0.as_slice());
    });
    Ok(script.execute(connection).await?)
}

/// Takes the rows away that say that access and claims are whole.
async fn lose_facts(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::raw_sql(
        "DELETE FROM claims WHERE tenant = '' AND claim = '';
         DELETE FROM access WHERE id = '' AND aggregate = '' AND tenant = ''",
    )
    .execute(connection)
    .await?;
    Ok(())
}
