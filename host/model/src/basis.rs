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
///
/// A decision that read another stream's uncommitted state rests on that stream's lineage as well. A version alone would
/// not do: when an append is refused, the next one of its stream may give the same version to another event.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    broken: Arc<AtomicBool>,
    rests_on: Option<Arc<[Self]>>,
}

impl Lineage {
    /// Whether an append of this lineage was refused, or one of a lineage that it rests on.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
            || self.rests_on.iter().flat_map(|others| others.iter()).any(Self::is_broken)
    }

    /// Says that an append of this lineage was refused. Those that it rests on are not harmed by that.
    pub fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// The same lineage for one append that rests on others too.
    #[must_use]
    pub fn resting_on(&self, others: Vec<Self>) -> Self {
        // What the others rest on is left out: an append that rests on a refused one is refused before this one.
        let others: Arc<[Self]> = others.into_iter().map(|other| Self { rests_on: None, ..other }).collect();
        let rests_on = if others.is_empty() { None } else { Some(others) };
        Self { broken: self.broken.clone(), rests_on }
    }

    /// Whether both are the same lineage.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.broken, &other.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_falls_with_what_it_rests_on_and_not_the_other_way_round() {
        let (own, other) = (Lineage::default(), Lineage::default());
        let both = own.resting_on(vec![other.clone()]);
        assert!(both.is_same(&own) && !both.is_same(&other));
        own.break_off();
        assert!(both.is_broken() && !other.is_broken());
        let own = Lineage::default();
        let both = own.resting_on(vec![other.clone()]);
        other.break_off();
        assert!(both.is_broken() && !own.is_broken());
    }
}
