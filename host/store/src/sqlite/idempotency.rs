//! Taking old answers away.

use cairn_model::Timestamp;

use super::Log;
use super::log::signed;
use crate::error::Error;
use crate::options::PRUNE_PIECE;

impl Log {
    /// Deletes answers that were kept before this time, at most `limit`, in pieces between which batches are written.
    pub(crate) async fn prune_idempotency(&self, older_than: Timestamp, limit: u64) -> Result<u64, Error> {
        let mut deleted = 0;
        while deleted < limit {
            let piece = PRUNE_PIECE.min(limit - deleted);
            let mut writer = self.turn().await;
            let mut transaction = writer.begin().await?;
            let done = sqlx::query(
                "DELETE FROM idempotency WHERE (tenant, principal, key) IN (
                     SELECT tenant, principal, key FROM idempotency WHERE recorded_at < ? LIMIT ?)",
            )
            .bind(older_than.to_string())
            .bind(signed(piece))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            transaction.commit().await?;
            deleted += done;
            if done < piece {
                break;
            }
        }
        Ok(deleted)
    }
}
