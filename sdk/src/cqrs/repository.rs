//! Where aggregates come from and go to.
//!
//! The host has its own repository over the event store and the resident aggregates; plugins never see it. This trait
//! names the same operations for the in-memory one in [`crate::testing`].

use uuid::Uuid;

use crate::domain::AggregateRoot;
use crate::events::RecordedEvent;
use crate::shared::{Context, Fault};

/// A store of aggregates of one type.
pub trait Repository<A: AggregateRoot> {
    /// What can go wrong.
    type Error;

    /// The aggregate, folded from its events; `None` where it has none.
    ///
    /// # Errors
    /// When its events cannot be read.
    fn find_by_id(&self, id: Uuid) -> Result<Option<A>, Self::Error>;

    /// Stores the uncommitted events and marks them as committed.
    ///
    /// # Errors
    /// When somebody else stored events of the aggregate in between.
    fn save(&mut self, aggregate: &mut A, ctx: &Context) -> Result<(), Self::Error>;

    /// Folds events from the first on.
    ///
    /// # Errors
    /// When one of them cannot be read.
    fn rebuild_from_events(&self, id: Uuid, events: &[RecordedEvent]) -> Result<A, Fault> {
        let mut aggregate = A::new(id);
        for event in events {
            aggregate.replay(&event.decode()?);
        }
        Ok(aggregate)
    }
}
