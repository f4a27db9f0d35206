//! Finding out whether a batch was written whose commit was not answered.

use std::time::{Duration, Instant};

use cairn_model::chain::Hash;
use sqlx::postgres::PgConnection;

use super::connect::within;
use super::lock;
use super::types::key;
use super::writer::Writer;
use crate::error::Error;
use crate::log::signed;
use crate::plan::Plan;
use crate::written::Failure;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

impl Writer {
    /// A commit failed: finds out whether it happened. `Ok` says that it did.
    ///
    /// The session in which it was sent has the log's lock until its transaction has ended in one way or the other; so
    /// whoever gets the lock on another connection sees the end of it.
    pub(super) async fn settle(&mut self, plan: &Plan<'_>, cause: Error) -> Result<(), Failure> {
        tracing::warn!(%cause, "a commit was not answered; its outcome is looked up");
        let start = Instant::now();
        loop {
            self.disconnect();
            match self.happened(plan).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Failure::NotWritten(cause)),
                Err(Error::Closed) => return Err(Failure::Unknown(cause)),
                Err(error) if start.elapsed() >= self.settle_limit => {
                    tracing::error!(%error, "the outcome of a commit cannot be looked up");
                    return Err(Failure::Unknown(cause));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn happened(&mut self, plan: &Plan<'_>) -> Result<bool, Error> {
        self.begin().await?;
        let limit = self.connect.limit;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        within(limit, lock(connection)).await?;
        let happened = within(limit, is_there(connection, plan)).await?;
        self.commit().await?;
        Ok(happened)
    }
}

/// Whether what the plan writes is in the log.
async fn is_there(connection: &mut PgConnection, plan: &Plan<'_>) -> Result<bool, sqlx::Error> {
    if !plan.writes.events.is_empty() {
        let hash: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM event_store WHERE position = $1")
            .bind(signed(plan.tail.position))
            .fetch_optional(connection)
            .await?;
        return Ok(hash.and_then(|hash| hash.try_into().ok()).map(Hash) == Some(plan.tail.hash));
    }
    let Some((own, kept)) = plan.writes.kept.first() else { return Ok(false) };
    let found = sqlx::query(
        "SELECT 1 FROM idempotency WHERE key = $1 AND principal = $2 AND tenant = $3 AND command_id = $4
         AND position = $5",
    )
    .bind(key(&own.key))
    .bind(own.principal)
    .bind(&*own.tenant)
    .bind(kept.command_id)
    .bind(signed(kept.position))
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}
