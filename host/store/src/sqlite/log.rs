//! Reading events.

use cairn_model::chain::Hash;
use cairn_model::stream::parse_id;
use cairn_model::{Name, Position, RecordedEvent, StreamKey, Timestamp, Version};
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Log;
use super::multi::Bound;
use crate::error::Error;
use crate::log::{LogFilter, Names, READ_LIMIT_BYTES};
pub(crate) use crate::log::{signed, unsigned};

/// An event from a row of `position, tenant, aggregate, id, version, type, schema_version, data, metadata,
/// recorded_at, hash`. Every text must be the one that the store would write: otherwise an
/// event could be changed without a change to its hash.
pub(crate) fn event(row: &SqliteRow, names: &mut Names) -> Result<RecordedEvent, Error> {
    let position = unsigned(row.try_get(0)?);
    let damaged = |what: &str| Error::Damaged(format!("{what} of the event at position {position}"));
    let recorded_at: &str = row.try_get(9)?;
    let time = Timestamp::parse(recorded_at).ok_or_else(|| damaged("recorded_at"))?;
    if time.to_string() != recorded_at {
        return Err(damaged("recorded_at"));
    }
    let hash: &[u8] = row.try_get(10)?;
    Ok(RecordedEvent {
        position,
        stream: StreamKey {
            tenant: names.get(row.try_get(1)?),
            aggregate: names.get(row.try_get(2)?),
            id: parse_id(row.try_get(3)?).ok_or_else(|| damaged("id"))?,
        },
        version: unsigned(row.try_get(4)?),
        event_type: names.get(row.try_get(5)?),
        schema_version: u32::try_from(row.try_get::<i64, _>(6)?).map_err(|_| damaged("schema_version"))?,
        data: row.try_get(7)?,
        metadata: row.try_get(8)?,
        recorded_at: time,
        hash: Hash(hash.try_into().map_err(|_| damaged("hash"))?),
    })
}

/// The few events of the host's own streams are found by the streams' index and then put in order.
const HOST_PAGE: &str = "
    SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
    FROM event_store INDEXED BY event_store_stream
    WHERE tenant = 'cairn' AND aggregate = ? AND +position > ? ORDER BY +position LIMIT ?";

impl Log {
    pub(crate) async fn read_host_log(
        &self,
        aggregate: &str,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let query =
            sqlx::query(HOST_PAGE).bind(aggregate.to_owned()).bind(signed(after)).bind(i64::from(limit));
        self.collect(query).await
    }

    pub(crate) async fn read_log(&self, filter: &LogFilter) -> Result<Vec<RecordedEvent>, Error> {
        let types = if filter.event_types.is_empty() {
            None
        } else {
            Some(serde_json::to_string(&filter.event_types).unwrap_or_default())
        };
        let whole_stream = filter.tenant.is_some() && filter.aggregate.is_some() && filter.id.is_some();
        // Positions and versions of a stream grow together, so a single stream is read along its own index.
        let sql = if whole_stream {
            "SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
             FROM event_store
             WHERE tenant = ?1 AND aggregate = ?2 AND id = ?3 AND +position > ?4
             AND (?5 IS NULL OR type IN (SELECT value FROM json_each(?5)))
             ORDER BY version LIMIT ?6"
        } else {
            "SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
             FROM event_store NOT INDEXED
             WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR aggregate = ?2) AND (?3 IS NULL OR id = ?3)
             AND position > ?4 AND (?5 IS NULL OR type IN (SELECT value FROM json_each(?5)))
             ORDER BY position LIMIT ?6"
        };
        let query = sqlx::query(sql)
            .bind(filter.tenant.clone())
            .bind(filter.aggregate.clone())
            .bind(filter.id.map(|id| id.to_string()))
            .bind(signed(filter.after))
            .bind(types)
            .bind(i64::from(filter.limit));
        self.collect(query).await
    }

    pub(crate) async fn read_stream(
        &self,
        stream: &StreamKey,
        after: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let query = sqlx::query(
            "SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
             FROM event_store WHERE tenant = ? AND aggregate = ? AND id = ? AND version > ?
             ORDER BY version LIMIT ?",
        )
        .bind(stream.tenant.clone())
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .bind(signed(after))
        .bind(i64::from(limit));
        self.collect(query).await
    }

    async fn collect(&self, query: Bound<'_>) -> Result<Vec<RecordedEvent>, Error> {
        let mut connection = self.readers.acquire().await?;
        let mut rows = query.fetch(&mut *connection);
        let mut names = Names::default();
        let mut events = Vec::new();
        let mut bytes = 0;
        while bytes < READ_LIMIT_BYTES
            && let Some(row) = rows.try_next().await?
        {
            let event = event(&row, &mut names)?;
            bytes += event.data.len() + event.metadata.len();
            events.push(event);
        }
        Ok(events)
    }

    pub(crate) async fn version_at(&self, stream: &StreamKey, at: Timestamp) -> Result<Version, Error> {
        let version: Option<i64> = sqlx::query_scalar(
            "SELECT version FROM event_store WHERE tenant = ? AND aggregate = ? AND id = ? AND recorded_at <= ?
             ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.tenant.clone())
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .bind(at.to_string())
        .fetch_optional(&self.readers)
        .await?;
        Ok(version.map_or(0, unsigned))
    }

    pub(crate) async fn head_of(&self, stream: &StreamKey) -> Result<(Version, Position), Error> {
        let head: Option<(i64, i64)> = sqlx::query_as(
            "SELECT version, position FROM event_store WHERE tenant = ? AND aggregate = ? AND id = ?
             ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.tenant.clone())
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .fetch_optional(&self.readers)
        .await?;
        Ok(head.map_or((0, 0), |(version, position)| (unsigned(version), unsigned(position))))
    }

    pub(crate) async fn streams(
        &self,
        after: Option<&StreamKey>,
        limit: u32,
    ) -> Result<Vec<StreamKey>, Error> {
        // A stream that exists has a version 1.
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT tenant, aggregate, id FROM event_store
             WHERE (tenant, aggregate, id) > (?, ?, ?) AND version = 1
             ORDER BY tenant, aggregate, id LIMIT ?",
        )
        .bind(after.map_or_else(|| Name::from(""), |stream| stream.tenant.clone()))
        .bind(after.map_or_else(|| Name::from(""), |stream| stream.aggregate.clone()))
        .bind(after.map_or_else(String::new, |stream| stream.id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        let mut names = Names::default();
        rows.into_iter()
            .map(|(tenant, aggregate, id)| {
                let id = parse_id(&id).ok_or_else(|| Error::Damaged(format!("the id `{id}` of a stream")))?;
                Ok(StreamKey { tenant: names.get(&tenant), aggregate: names.get(&aggregate), id })
            })
            .collect()
    }
}
