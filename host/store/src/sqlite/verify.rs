//! Checking the hash chain.

use cairn_model::chain::Hash;
use cairn_model::{Position, RecordedEvent};
use sqlx::Row;

use super::Log;
use super::log::{event, signed};
use crate::error::Error;
use crate::log::Names;
use crate::verify::{CHUNK, Checker, Verification};

impl Log {
    /// Checks the events from `from` to `head`, both included.
    pub(crate) async fn verify(&self, from: Position, head: Position) -> Result<Verification, Error> {
        let from = from.max(1);
        let mut checker = match Checker::new(from, self.hash_before(from).await?) {
            Ok(checker) => checker,
            Err(broken) => return Ok(broken),
        };
        while checker.next <= head {
            if let Err(broken) = checker.take(self.chunk(checker.next, head).await?) {
                return Ok(broken);
            }
        }
        Ok(checker.whole())
    }

    /// Events from a position; `None` for one that cannot be read.
    async fn chunk(&self, from: Position, head: Position) -> Result<Vec<Option<RecordedEvent>>, Error> {
        let rows = sqlx::query(
            "SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
             FROM event_store WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?",
        )
            .bind(signed(from))
            .bind(signed(head))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
        let mut names = Names::default();
        Ok(rows.iter().map(|row| event(row, &mut names).ok()).collect())
    }

    async fn hash_before(&self, position: Position) -> Result<Option<Hash>, Error> {
        if position <= 1 {
            return Ok(Some(Hash::ZERO));
        }
        let row = sqlx::query("SELECT hash FROM event_store WHERE position = ?")
            .bind(signed(position - 1))
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let hash: &[u8] = row.try_get(0)?;
        Ok(hash.try_into().ok().map(Hash))
    }
}
