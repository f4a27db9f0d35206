//! What a store tells everybody who waits: how far the log is, and whether access and claims are whole.

use std::sync::atomic::{AtomicBool, Ordering};

use cairn_model::Position;
use tokio::sync::watch;

/// The store's present, as far as this process knows it.
#[derive(Debug)]
pub(crate) struct Published {
    committed: watch::Sender<Position>,
    facts_intact: watch::Sender<bool>,
    /// Whether the last batch could not be written.
    failing: AtomicBool,
}

impl Published {
    pub fn new(position: Position, facts_intact: bool) -> Self {
        Self {
            committed: watch::Sender::new(position),
            facts_intact: watch::Sender::new(facts_intact),
            failing: AtomicBool::new(false),
        }
    }

    /// The position of the last committed event.
    pub fn head(&self) -> Position {
        *self.committed.borrow()
    }

    pub fn committed(&self) -> watch::Receiver<Position> {
        self.committed.subscribe()
    }

    pub fn facts_intact(&self) -> watch::Receiver<bool> {
        self.facts_intact.subscribe()
    }

    /// Says how far the log is. It never goes back.
    pub fn reached(&self, position: Position) {
        self.committed.send_if_modified(|known| {
            let moved = *known < position;
            *known = position.max(*known);
            moved
        });
    }

    /// Says whether access and claims are whole.
    pub fn facts_are(&self, intact: bool) {
        self.facts_intact.send_if_modified(|known| std::mem::replace(known, intact) != intact);
    }

    /// Says whether the last batch could be written.
    pub fn writing_fails(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Whether the last batch could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}
