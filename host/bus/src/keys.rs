//! The names of everything in Redis. The braces make one hash slot of them, so that one script may touch them all.

use uuid::Uuid;

/// The names under one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The stream of all events; an aggregate type's is this, a colon and the type.
    pub events: String,
    /// A hash: whose streams these are, which relay may write, and how far each stream reaches.
    pub relay: String,
    /// The channel of wake-ups.
    pub head: String,
    /// What the keys of the cache begin with.
    pub cache: String,
}

impl Keys {
    pub fn new(namespace: &str, log_id: Uuid) -> Self {
        let base = format!("{{{namespace}}}");
        Self {
            events: format!("{base}:events"),
            relay: format!("{base}:relay"),
            head: format!("{base}:head"),
            // Without the braces: values of the cache may live in any slot.
            cache: format!("{namespace}:cache:{log_id}:"),
        }
    }

    /// The stream of an aggregate type.
    pub fn aggregate(&self, aggregate: &str) -> String {
        format!("{}:{aggregate}", self.events)
    }
}
