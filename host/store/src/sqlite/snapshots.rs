//! Keeping and finding snapshots.

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{StreamKey, Timestamp, Version};
use sqlx::sqlite::SqliteConnection;

use super::Log;
use super::log::{signed, unsigned};
use crate::error::Error;
use crate::snapshots::{KEEP, NewSnapshot};

/// Writes snapshots inside the transaction that the connection is in.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    snapshots: &[NewSnapshot],
    recorded_at: Timestamp,
) -> Result<(), Error> {
    for snapshot in snapshots {
        sqlx::query(
            "INSERT OR REPLACE INTO snapshots
             (tenant, aggregate, id, state_version, digest, version, state, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(snapshot.stream.tenant.clone())
        .bind(snapshot.stream.aggregate.clone())
        .bind(snapshot.stream.id.to_string())
        .bind(i64::from(snapshot.state_version))
        .bind(snapshot.digest.0.as_slice())
        .bind(signed(snapshot.version))
        .bind(&*snapshot.state)
        .bind(recorded_at.to_string())
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "DELETE FROM snapshots
             WHERE tenant = ?1 AND aggregate = ?2 AND id = ?3 AND state_version = ?4 AND digest = ?5
             AND version <= (SELECT version FROM snapshots
                 WHERE tenant = ?1 AND aggregate = ?2 AND id = ?3 AND state_version = ?4 AND digest = ?5
                 ORDER BY version DESC LIMIT 1 OFFSET ?6)",
        )
        .bind(snapshot.stream.tenant.clone())
        .bind(snapshot.stream.aggregate.clone())
        .bind(snapshot.stream.id.to_string())
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
        let found: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT version, state FROM snapshots
             WHERE tenant = ? AND aggregate = ? AND id = ? AND state_version = ? AND digest = ? AND version <= ?
             ORDER BY version DESC LIMIT 1",
        )
        .bind(stream.tenant.clone())
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .bind(i64::from(state_version))
        .bind(digest.0.as_slice())
        .bind(signed(up_to))
        .fetch_optional(&self.readers)
        .await?;
        Ok(found.map(|(version, state)| (unsigned(version), state.into())))
    }
}
