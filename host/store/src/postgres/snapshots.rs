//! Keeping and finding snapshots.

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{StreamKey, Timestamp, Version};
use sqlx::postgres::PgConnection;

use super::Log;
use super::types::Moment;
use crate::error::Error;
use crate::log::{signed, unsigned};
use crate::snapshots::{KEEP, NewSnapshot};

/// Writes snapshots inside the transaction that the connection is in.
pub(super) async fn write(
    connection: &mut PgConnection,
    snapshots: &[NewSnapshot],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    for snapshot in snapshots {
        sqlx::query(
            "INSERT INTO snapshots (id, aggregate, tenant, state_version, digest, version, state, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id, aggregate, tenant, state_version, digest, version)
             DO UPDATE SET state = excluded.state, recorded_at = excluded.recorded_at",
        )
        .bind(snapshot.stream.id)
        .bind(&*snapshot.stream.aggregate)
        .bind(&*snapshot.stream.tenant)
        .bind(i64::from(snapshot.state_version))
        .bind(snapshot.digest.0.as_slice())
        .bind(signed(snapshot.version))
        .bind(&*snapshot.state)
        .bind(Moment(recorded_at))
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "DELETE FROM snapshots
             WHERE id = $1 AND aggregate = $2 AND tenant = $3 AND state_version = $4 AND digest = $5
             AND version <= (SELECT version FROM snapshots
                 WHERE id = $1 AND aggregate = $2 AND tenant = $3 AND state_version = $4 AND digest = $5
                 ORDER BY version DESC LIMIT 1 OFFSET $6)",
        )
        .bind(snapshot.stream.id)
        .bind(&*snapshot.stream.aggregate)
        .bind(&*snapshot.stream.tenant)
        .bind(i64::from(snapshot.state_version))
        .bind(snapshot.digest.0.as_slice())
        .bind(KEEP)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

impl Log {
    pub(crate) async fn snapshot(
        &self,
        stream: &StreamKey,
        state_version: u32,
        digest: Hash,
        up_to: Version,
    ) -> Result<Option<(Version, Bytes)>, Error> {
        let query = sqlx::query_as(
            "SELECT version, state FROM snapshots
             WHERE id = $1 AND aggregate = $2 AND tenant = $3 AND state_version = $4 AND digest = $5 AND version <= $6
             ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.id)
        .bind(&*stream.aggregate)
        .bind(&*stream.tenant)
        .bind(i64::from(state_version))
        .bind(digest.0.as_slice())
        .bind(signed(up_to));
        let found: Option<(i64, Vec<u8>)> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        Ok(found.map(|(version, state)| (unsigned(version), state.into())))
    }
}
