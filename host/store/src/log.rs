//! What is read of the log and how numbers and names of rows become ours, on both databases.

use std::sync::Arc;

use cairn_model::{Name, Position};
use uuid::Uuid;

/// A read stops once it has so many bytes of data and metadata.
pub(crate) const READ_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// Which events to read. The default is the first thousand of all.
#[derive(Clone, Debug)]
pub struct LogFilter {
    /// Only this tenant's.
    pub tenant: Option<Name>,
    /// Only those of this aggregate type.
    pub aggregate: Option<Name>,
    /// Only those of aggregates with this id.
    pub id: Option<Uuid>,
    /// Only those of these types; empty: all.
    pub event_types: Vec<Name>,
    /// Only those behind this position.
    pub after: Position,
    /// At most so many.
    pub limit: u32,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { tenant: None, aggregate: None, id: None, event_types: Vec::new(), after: 0, limit: 1000 }
    }
}

/// A number of a database as ours; negative ones are never written.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number of ours as a database's; nothing here ever counts beyond 63 bits.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Gives equal names of rows that follow each other one allocation.
#[derive(Default)]
pub(crate) struct Names(Vec<Name>);

impl Names {
    /// The name with this text.
    pub fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.iter().find(|name| &***name == text) {
            return name.clone();
        }
        let name: Name = Arc::from(text);
        if self.0.len() < 64 {
            self.0.push(name.clone());
        }
        name
    }
}
