//! Leases, by the database's clock.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::Log;
use crate::error::Error;
use crate::lease::Fence;
use crate::log::{signed, unsigned};

impl Log {
    pub(crate) async fn lease(&self, name: &str, holder: Uuid, ttl: Duration) -> Result<Option<u64>, Error> {
        let ttl = PgInterval {
            months: 0,
            days: 0,
            microseconds: i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX),
        };
        // The clock is read again behind the wait for the row.
        let query = sqlx::query_scalar(
            "INSERT INTO leases AS l (name, holder, epoch, expires_at) VALUES ($1, $2, 1, clock_timestamp() + $3)
             ON CONFLICT (name) DO UPDATE SET holder = $2, expires_at = clock_timestamp() + $3,
                 epoch = CASE WHEN l.holder = $2 THEN l.epoch ELSE l.epoch + 1 END
             WHERE l.holder = $2 OR l.expires_at <= clock_timestamp()
             RETURNING l.epoch",
        )
        .bind(name)
        .bind(holder)
        .bind(ttl);
        let epoch: Option<i64> = self.connect.bounded(query.fetch_optional(&self.writers)).await?;
        Ok(epoch.map(unsigned))
    }

    /// The nil id holds nothing, so whoever comes next counts the epoch up, the same host included.
    pub(crate) async fn release(&self, name: &str, holder: Uuid) -> Result<(), Error> {
        let query = sqlx::query(
            "UPDATE leases SET holder = $3, expires_at = '-infinity' WHERE name = $1 AND holder = $2",
        )
        .bind(name)
        .bind(holder)
        .bind(Uuid::nil());
        self.connect.bounded(query.execute(&self.writers)).await?;
        Ok(())
    }
}

/// Checks, inside the transaction that the connection is in, that the lease is still held under this epoch. Until the
/// transaction ends nobody else can take it.
pub(super) async fn check(connection: &mut PgConnection, fence: Option<&Fence>) -> Result<(), Error> {
    let Some(fence) = fence else { return Ok(()) };
    let held = sqlx::query("SELECT 1 FROM leases WHERE name = $1 AND epoch = $2 FOR SHARE")
        .bind(&*fence.lease)
        .bind(signed(fence.epoch))
        .fetch_optional(connection)
        .await?;
    match held {
        Some(_) => Ok(()),
        None => Err(Error::Superseded { lease: fence.lease.clone(), epoch: fence.epoch }),
    }
}
