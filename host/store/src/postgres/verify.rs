//! Checking the hash chain.

use cairn_model::chain::Hash;
use cairn_model::{Position, RecordedEvent};

use super::Log;
use super::log::event;
use crate::error::Error;
use crate::log::{Names, signed};
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
        let query = sqlx::query(
            "SELECT position, tenant, aggregate, id, version, type, schema_version, data, metadata, recorded_at, hash
             FROM event_store WHERE position BETWEEN $1 AND $2 ORDER BY position LIMIT $3",
        )
        .bind(signed(from))
        .bind(signed(head))
        .bind(CHUNK);
        let rows = self.connect.bounded(query.fetch_all(&self.readers)).await?;
        let mut names = Names::default();
        Ok(rows.iter().map(|row| event(row, &mut names).ok()).collect())
    }

    async fn hash_before(&self, position: Position) -> Result<Option<Hash>, Error> {
        if position <= 1 {
            return Ok(Some(Hash::ZERO));
        }
        let query =
            sqlx::query_scalar("SELECT hash FROM event_store WHERE position = $1").bind(signed(position - 1));
        let hash: Option<Vec<u8>> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Hash))
    }
}
