//! Taking in events of a log that was exported: they keep their positions, times and hashes.
//!
//! What may be taken in is decided here, from what the back end found; writing it is for the back ends.

use std::collections::{HashMap, HashSet};

use cairn_model::chain::{self, Hash};
use cairn_model::{Position, RecordedEvent, StreamKey, Version};
use thiserror::Error;

use crate::backend::on_log;
use crate::error::Error;
use crate::plan::Tail;
use crate::store::Store;

/// The longest name (of a tenant, an aggregate type, an event type) that every database takes, in bytes.
const NAME_LIMIT_BYTES: usize = 1024;

/// The highest version of a schema that every database takes.
const SCHEMA_VERSION_LIMIT: u32 = i32::MAX.unsigned_abs();

/// What became of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// How many events are new.
    pub imported: u64,
    /// How many were there already.
    pub skipped: u64,
    /// The log's last position.
    pub head: Position,
}

/// Why nothing was imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The log has another event at this position.
    #[error("the log has another event at position {position}")]
    Differs {
        /// Where.
        position: Position,
    },
    /// The event cannot be what was appended after the one before it.
    #[error("the event at position {position} {reason}")]
    Invalid {
        /// The event's position, as it says itself.
        position: Position,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store could not do it. It may be done all the same; importing the same again finds out.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Takes in events of another log, in the order of their positions, all of them or none, in one transaction; how many
    /// that is, is the caller's choice. Those up to the log's end have to be the log's own and are skipped, so an import that
    /// was broken off goes on. Those behind it have to continue the log.
    ///
    /// With new events access and claims are not whole any more ([`Store::facts_intact`]), and policies count as having
    /// reacted to everything up to the log's end: the events were decided, and reacted to, elsewhere.
    ///
    /// # Errors
    /// [`ImportError`]; nothing is written then, except perhaps where the store itself failed.
    pub async fn import(&self, events: Vec<RecordedEvent>) -> Result<Imported, ImportError> {
        in_order(&events)?;
        on_log!(self.backend(), log => log.import(&events).await)
    }
}

/// Whether positions follow each other.
fn in_order(events: &[RecordedEvent]) -> Result<(), ImportError> {
    let wrong = events.windows(2).find(|pair| pair[1].position.checked_sub(1) != Some(pair[0].position));
    match (events.first(), wrong) {
        (Some(first), _) if first.position == 0 => Err(invalid(first, "has a position that no event has")),
        (_, Some(pair)) => Err(invalid(&pair[1], "does not follow the one before it")),
        _ => Ok(()),
    }
}

/// How many of the events the log should have already.
pub(crate) fn known(events: &[RecordedEvent], tail: &Tail) -> usize {
    events.iter().take_while(|event| event.position <= tail.position).count()
}

/// Whether the events are the log's own, which has these hashes at their positions.
pub(crate) fn compare(events: &[RecordedEvent], hashes: &HashMap<Position, Hash>) -> Result<(), ImportError> {
    match events.iter().find(|event| hashes.get(&event.position) != Some(&event.hash)) {
        Some(event) => Err(ImportError::Differs { position: event.position }),
        None => Ok(()),
    }
}

/// Whether the events continue the log, whose streams have these versions. Answers its end with them.
pub(crate) fn follow<'a>(
    events: &'a [RecordedEvent],
    mut tail: Tail,
    mut versions: HashMap<&'a StreamKey, Version>,
) -> Result<Tail, ImportError> {
    for event in events {
        if event.position.checked_sub(1) != Some(tail.position) {
            return Err(invalid(event, "does not follow the log's last one"));
        }
        if !chain::verify(event, tail.hash) {
            return Err(invalid(event, "has a hash that does not follow from it and the one before it"));
        }
        if event.recorded_at < tail.recorded_at {
            return Err(invalid(event, "was recorded before the one before it"));
        }
        let version = versions.entry(&event.stream).or_default();
        if event.version.checked_sub(1) != Some(*version) {
            return Err(invalid(event, "has a version that does not follow its stream's last one"));
        }
        *version = event.version;
        let names = [&event.stream.tenant, &event.stream.aggregate, &event.event_type];
        if names.iter().any(|name| name.is_empty() || name.len() > NAME_LIMIT_BYTES || name.contains('\0')) {
            return Err(invalid(event, "has a name that is empty, too long or has a NUL in it"));
        }
        if event.schema_version > SCHEMA_VERSION_LIMIT {
            return Err(invalid(event, "has a schema version that is too high"));
        }
        tail = Tail { position: event.position, hash: event.hash, recorded_at: event.recorded_at };
    }
    Ok(tail)
}

/// The streams of the events, each once.
pub(crate) fn streams(events: &[RecordedEvent]) -> Vec<&StreamKey> {
    let mut seen = HashSet::new();
    events.iter().map(|event| &event.stream).filter(|stream| seen.insert(*stream)).collect()
}

fn invalid(event: &RecordedEvent, reason: &'static str) -> ImportError {
    ImportError::Invalid { position: event.position, reason }
}
