//! Reading events.

use cairn_model::chain::Hash;
use cairn_model::{Name, Position, RecordedEvent, StreamKey, Timestamp, Version};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use uuid::Uuid;

use super::Log;
use super::connect::within;
use super::types::Moment;
use crate::error::Error;
use crate::log::{LogFilter, Names, READ_LIMIT_BYTES, signed, unsigned};

/// An event from a row of `position, tenant, aggregate, id, version, type, schema_version, data, metadata,
/// recorded_at, hash`.
pub(super) fn event(row: &PgRow, names: &mut Names) -> Result<RecordedEvent, Error> {
    let position = unsigned(row.try_get(0)?);
    let damaged = |what: &str| Error::Damaged(format!("{what} of the event at position {position}"));
    let hash: &[u8] = row.try_get(10)?;
    Ok(RecordedEvent {
        position,
        stream: StreamKey {
            tenant: names.get(row.try_get(1)?),
            aggregate: names.get(row.try_get(2)?),
            id: row.try_get(3)?,
        },
        version: unsigned(row.try_get(4)?),
        event_type: names.get(row.try_get(5)?),
        schema_version: u32::try_from(row.try_get::<i32, _>(6)?).map_err(|_| damaged("schema_version"))?,
        data: row.try_get(7)?,
        metadata: row.try_get(8)?,
        recorded_at: row.try_get::<Moment, _>(9).map_err(|_| damaged("recorded_at"))?.0,
        hash: Hash(hash.try_into().map_err(|_| damaged("hash"))?),
    })
}

/// Along the positions. The plan must not depend on which filters are used.
const PAGE: &str = "
    SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
    FROM event_store
    WHERE position > $1 AND ($2::text IS NULL OR tenant = $2) AND ($3::text IS NULL OR aggregate = $3)
    AND ($4::uuid IS NULL OR id = $4) AND ($5::text[] IS NULL OR type = ANY ($5))
    ORDER BY position LIMIT $6";

/// Versions and positions of a stream grow together, so a single stream is read along its own index.
const STREAM_PAGE: &str = "
    SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
    FROM event_store
    WHERE position + 0 > $1 AND tenant = $2 AND aggregate = $3 AND id = $4 AND ($5::text[] IS NULL OR type = ANY ($5))
    ORDER BY version LIMIT $6";

/// Along the index of the host's own streams.
const HOST_PAGE: &str = "
    SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
    FROM event_store WHERE tenant = 'cairn' AND aggregate = $1 AND position > $2 ORDER BY position LIMIT $3";

impl Log {
    pub(crate) async fn read_host_log(
        &self,
        aggregate: &str,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Error> {
        let query = sqlx::query(HOST_PAGE).bind(aggregate).bind(signed(after)).bind(i64::from(limit));
        self.collect(query).await
    }

    pub(crate) async fn read_log(&self, filter: &LogFilter) -> Result<Vec<RecordedEvent>, Error> {
        let whole_stream = filter.tenant.is_some() && filter.aggregate.is_some() && filter.id.is_some();
        let types: Option<Vec<&str>> =
            (!filter.event_types.is_empty()).then(|| filter.event_types.iter().map(|name| &**name).collect());
        let query = sqlx::query(if whole_stream { STREAM_PAGE } else { PAGE })
            .bind(signed(filter.after))
            .bind(filter.tenant.as_deref())
            .bind(filter.aggregate.as_deref())
            .bind(filter.id)
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
             FROM event_store WHERE id = $1 AND aggregate = $2 AND tenant = $3 AND version > $4
             ORDER BY version LIMIT $5",
        )
        .bind(stream.id)
        .bind(&*stream.aggregate)
        .bind(&*stream.tenant)
        .bind(signed(after))
        .bind(i64::from(limit));
        self.collect(query).await
    }

    async fn collect(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<RecordedEvent>, Error> {
        within(self.connect.limit, async {
            let mut names = Names::default();
            let mut events = Vec::new();
            let mut bytes = 0;
            let mut connection = self.readers.acquire().await?;
            let mut rows = query.fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                let event = event(&row, &mut names)?;
                bytes += event.data.len() + event.metadata.len();
                events.push(event);
                if bytes >= READ_LIMIT_BYTES {
                    drop(rows);
                    // The rest of the answer would have to be read before the connection could be used again.
                    connection.close_on_drop();
                    break;
                }
            }
            Ok::<_, Error>(events)
        })
        .await
    }

    pub(crate) async fn version_at(&self, stream: &StreamKey, at: Timestamp) -> Result<Version, Error> {
        let query = sqlx::query_scalar(
            "SELECT version FROM event_store
             WHERE id = $1 AND aggregate = $2 AND tenant = $3 AND recorded_at <= $4 ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.id)
        .bind(&*stream.aggregate)
        .bind(&*stream.tenant)
        .bind(Moment(at));
        let version: Option<i64> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        Ok(version.map_or(0, unsigned))
    }

    pub(crate) async fn head_of(&self, stream: &StreamKey) -> Result<(Version, Position), Error> {
        let query = sqlx::query_as(
            "SELECT version, position FROM event_store WHERE id = $1 AND aggregate = $2 AND tenant = $3
             ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.id)
        .bind(&*stream.aggregate)
        .bind(&*stream.tenant);
        let head: Option<(i64, i64)> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        Ok(head.map_or((0, 0), |(version, position)| (unsigned(version), unsigned(position))))
    }

    pub(crate) async fn streams(
        &self,
        after: Option<&StreamKey>,
        limit: u32,
    ) -> Result<Vec<StreamKey>, Error> {
        // A stream that exists has a version 1, and the index has them in this order.
        let query = sqlx::query_as(
            "SELECT id, aggregate, tenant FROM event_store
             WHERE version = 1 AND id >= $1 AND (id, aggregate, tenant) > ($1, $2, $3)
             ORDER BY id, aggregate, tenant LIMIT $4",
        )
        .bind(after.map_or_else(Uuid::nil, |stream| stream.id))
        .bind(after.map_or("", |stream| &*stream.aggregate))
        .bind(after.map_or("", |stream| &*stream.tenant))
        .bind(i64::from(limit));
        let rows: Vec<(Uuid, String, String)> = self.connect.bounded(query.fetch_all(&self.readers)).await?;
        let mut names = Names::default();
        let stream = |(id, aggregate, tenant): (Uuid, String, String)| -> StreamKey {
            let (tenant, aggregate): (Name, Name) = (names.get(&tenant), names.get(&aggregate));
            StreamKey { tenant, aggregate, id }
        };
        Ok(rows.into_iter().map(stream).collect())
    }
}
