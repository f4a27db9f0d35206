//! What a decision was based on: `wasm` notes it down, `store` checks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::stream::{StreamKey, Version};

/// Something that a decision read and that must not have changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Another stream's version; 0 is its absence.
    Stream(StreamKey, Version),
    /// The version at which a stream's access last changed; 0 where it has none.
    Access(StreamKey, Version),
}

/// A flag shared by all appends that were decided on each other's uncommitted events: when one of them is refused,
/// those behind it are refused too, whatever their expected version says.
#[derive(Clone, Debug, Default)]
pub struct Lineage(Arc<AtomicBool>);

impl Lineage {
    /// Whether an append of this lineage was refused.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says that an append of this lineage was refused.
    pub fn break_off(&self) {
        self.0.store(true, Ordering::Release);
    }
}
