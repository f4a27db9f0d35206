//! The last state of streams, kept in memory: as this process is the only writer, what it wrote is the present.

use std::collections::HashMap;

use cairn_model::{Position, StreamKey, Timestamp, Version};

/// Where a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its version; 0 where it does not exist.
    pub version: Version,
    /// The version at which its access last changed; 0 where it has none.
    pub access_version: Version,
    /// The position of its last event.
    pub position: Position,
    /// When its last event was recorded; long ago where nobody looked.
    pub recorded_at: Timestamp,
}

/// A bounded cache in two generations: when the young one is full it becomes the old one, and what was not asked for
/// since the last time falls out. It costs one map entry per stream and no list to keep in order.
#[derive(Debug)]
pub(crate) struct HeadCache {
    young: HashMap<StreamKey, Head>,
    old: HashMap<StreamKey, Head>,
    generation_limit: usize,
}

impl HeadCache {
    /// A cache of at most `limit` heads.
    pub fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_limit: (limit / 2).max(1) }
    }

    /// The stream's head, if it is known.
    pub fn get(&mut self, stream: &StreamKey) -> Option<Head> {
        if let Some(head) = self.young.get(stream) {
            return Some(*head);
        }
        let (stream, head) = self.old.remove_entry(stream)?;
        self.insert(stream, head);
        Some(head)
    }

    /// Remembers a head.
    pub fn insert(&mut self, stream: StreamKey, head: Head) {
        if self.young.len() >= self.generation_limit && !self.young.contains_key(&stream) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream, head);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn stream(number: u128) -> StreamKey {
        StreamKey::new("default", "file", Uuid::from_u128(number))
    }

    #[test]
    fn it_never_holds_more_than_its_limit_and_keeps_what_is_in_use() {
        let mut cache = HeadCache::new(10);
        for number in 0..100 {
            cache.insert(stream(number), Head { version: 1, ..Head::default() });
            assert!(cache.get(&stream(0)).is_some(), "asked for all the time, at {number}");
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert!(cache.get(&stream(1)).is_none());
    }

    #[test]
    fn the_newest_head_wins_over_an_old_one() {
        let mut cache = HeadCache::new(4);
        cache.insert(stream(0), Head { version: 1, ..Head::default() });
        cache.insert(stream(1), Head::default());
        cache.insert(stream(2), Head::default());
        cache.insert(stream(0), Head { version: 2, ..Head::default() });
        assert_eq!(cache.get(&stream(0)).map(|head| head.version), Some(2));
    }
}
