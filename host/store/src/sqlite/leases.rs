//! Leases on SQLite. There is one process, so whoever asks gets the lease; the epoch tells it from those before it.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::Log;
use super::log::{signed, unsigned};
use crate::error::Error;
use crate::lease::Fence;

impl Log {
    pub(crate) async fn lease(&self, name: &str, holder: Uuid, _ttl: Duration) -> Result<Option<u64>, Error> {
        // Whoever has it keeps it: nothing runs out.
        let held: Option<i64> = sqlx::query_scalar("SELECT epoch FROM leases WHERE name = ? AND holder = ?")
            .bind(name)
            .bind(holder.to_string())
            .fetch_optional(&self.readers)
            .await?;
        if let Some(epoch) = held {
            return Ok(Some(unsigned(epoch)));
        }
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        let epoch: i64 = sqlx::query_scalar(
            "INSERT INTO leases (name, holder, epoch) VALUES (?1, ?2, 1)
             ON CONFLICT (name) DO UPDATE SET holder = ?2, epoch = epoch + (holder <> ?2) RETURNING epoch",
        )
        .bind(name)
        .bind(holder.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(unsigned(epoch)))
    }

    pub(crate) async fn release(&self, name: &str, holder: Uuid) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("UPDATE leases SET holder = '' WHERE name = ? AND holder = ?")
            .bind(name)
            .bind(holder.to_string())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// Checks, inside the transaction that the connection is in, that the lease is still held under this epoch.
pub(super) async fn check(connection: &mut SqliteConnection, fence: Option<&Fence>) -> Result<(), Error> {
    let Some(fence) = fence else { return Ok(()) };
    let held = sqlx::query("SELECT 1 FROM leases WHERE name = ? AND epoch = ?")
        .bind(fence.lease.clone())
        .bind(signed(fence.epoch))
        .fetch_optional(connection)
        .await?;
    match held {
        Some(_) => Ok(()),
        None => Err(Error::Superseded { lease: fence.lease.clone(), epoch: fence.epoch }),
    }
}
