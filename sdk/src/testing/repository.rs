//! Aggregates in memory.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::world::record;
use crate::cqrs::Repository;
use crate::domain::AggregateRoot;
use crate::events::RecordedEvent;
use crate::shared::{Context, Fault, StreamRef};

/// Why an aggregate was not found or not saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// Somebody else saved it in between.
    #[error("the stream is at version {present}, not at {expected}")]
    VersionConflict {
        /// The version that the aggregate was loaded at.
        expected: u64,
        /// The version that is stored.
        present: u64,
    },
    /// An event cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A repository that keeps events in memory.
#[derive(Debug, Default)]
pub struct InMemoryRepository {
    streams: BTreeMap<StreamRef, Vec<RecordedEvent>>,
    position: i64,
}

impl<A: AggregateRoot> Repository<A> for InMemoryRepository {
    type Error = RepositoryError;

    fn find_by_id(&self, id: Uuid) -> Result<Option<A>, RepositoryError> {
        match self.streams.get(&StreamRef::of::<A>(id)) {
            Some(events) => Ok(Some(self.rebuild_from_events(id, events)?)),
            None => Ok(None),
        }
    }

    fn save(&mut self, aggregate: &mut A, ctx: &Context) -> Result<(), RepositoryError> {
        let stream = StreamRef::of::<A>(aggregate.id());
        let known = self.streams.entry(stream.clone()).or_default();
        let present = known.len() as u64;
        let expected = aggregate.version() - aggregate.uncommitted_events().len() as u64;
        if present != expected {
            return Err(RepositoryError::VersionConflict { expected, present });
        }
        for (version, event) in (present + 1..).zip(aggregate.uncommitted_events()) {
            self.position += 1;
            let actor = ctx.principal().id;
            known.push(record(stream.clone(), version, self.position, ctx.now(), actor, event.clone()));
        }
        aggregate.mark_events_as_committed();
        Ok(())
    }
}
