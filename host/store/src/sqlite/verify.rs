//! Checking the hash chain.

use cairn_model::chain::{self, Hash};
use cairn_model::{Position, RecordedEvent};
use serde::Serialize;
use sqlx::Row;

use super::Backend;
use super::log::{Names, event, signed};
use crate::error::Error;

/// How many events are read at once.
const CHUNK: i64 = 1000;

/// What checking the chain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether every event is what was appended after the one before it.
    pub valid: bool,
    /// How many events were found to be.
    pub checked: u64,
    /// The smallest position whose event is missing or is not.
    pub first_invalid_position: Option<Position>,
}

impl Backend {
    /// Checks the events from `from` to `head`, both included.
    pub(crate) async fn verify(&self, from: Position, head: Position) -> Result<Verification, Error> {
        let from = from.max(1);
        let mut checked = 0;
        let invalid = |checked, position| Verification {
            valid: false,
            checked,
            first_invalid_position: Some(position),
        };
        let Some(mut previous) = self.hash_before(from).await? else { return Ok(invalid(0, from)) };
        let mut next = from;
        while next <= head {
            let events = self.chunk(next, head).await?;
            if events.is_empty() {
                return Ok(invalid(checked, next));
            }
            for event in events {
                match event {
                    Some(event) if event.position == next && chain::verify(&event, previous) => {
                        previous = event.hash;
                    }
                    _ => return Ok(invalid(checked, next)),
                }
                checked += 1;
                next += 1;
            }
        }
        Ok(Verification { valid: true, checked, first_invalid_position: None })
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
