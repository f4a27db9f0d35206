//! Checking the hash chain, one page of the log after the other.

use cairn_model::chain::{self, Hash};
use cairn_model::{Position, RecordedEvent};
use serde::Serialize;

/// How many events are read at once.
pub(crate) const CHUNK: i64 = 1000;

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

/// The chain as far as it has been checked.
#[derive(Debug)]
pub(crate) struct Checker {
    /// The position that has to come next.
    pub next: Position,
    previous: Hash,
    checked: u64,
}

impl Checker {
    /// Begins at a position; `previous` is the hash of the event before it, `None` if there is none where there should be.
    pub fn new(from: Position, previous: Option<Hash>) -> Result<Self, Verification> {
        match previous {
            Some(previous) => Ok(Self { next: from, previous, checked: 0 }),
            None => Err(Self { next: from, previous: Hash::ZERO, checked: 0 }.broken()),
        }
    }

    /// Takes the next events, `None` for one that cannot be read. At least one, or the log has an end here.
    pub fn take(&mut self, events: Vec<Option<RecordedEvent>>) -> Result<(), Verification> {
        if events.is_empty() {
            return Err(self.broken());
        }
        for event in events {
            match event {
                Some(event) if event.position == self.next && chain::verify(&event, self.previous) => {
                    self.previous = event.hash;
                }
                _ => return Err(self.broken()),
            }
            self.checked += 1;
            self.next += 1;
        }
        Ok(())
    }

    /// Everything was as it should be.
    pub fn whole(&self) -> Verification {
        Verification { valid: true, checked: self.checked, first_invalid_position: None }
    }

    fn broken(&self) -> Verification {
        Verification { valid: false, checked: self.checked, first_invalid_position: Some(self.next) }
    }
}
