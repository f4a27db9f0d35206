//! Taking old answers away.

use cairn_model::Timestamp;

use super::Log;
use super::types::Moment;
use crate::error::Error;
use crate::log::signed;
use crate::options::PRUNE_PIECE;

impl Log {
    /// Deletes answers that were kept before this time, at most `limit`, in pieces. Appends need not wait for it.
    pub(crate) async fn prune_idempotency(&self, older_than: Timestamp, limit: u64) -> Result<u64, Error> {
        let mut deleted = 0;
        while deleted < limit {
            let piece = PRUNE_PIECE.min(limit - deleted);
            let query = sqlx::query(
                "DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM idempotency WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2))",
            )
            .bind(Moment(older_than))
            .bind(signed(piece));
            let done = self.connect.bounded(query.execute(&self.writers)).await?.rows_affected();
            deleted += done;
            if done < piece {
                break;
            }
        }
        Ok(deleted)
    }
}
