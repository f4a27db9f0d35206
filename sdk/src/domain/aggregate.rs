//! Aggregates: state that is folded from events and on which decisions are made.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::securable::{Permissions, Subject};
use crate::events::{DomainEvent, EventEnvelope};
use crate::shared::{Context, StreamRef, Timestamp};

/// Something with an identity and a life in time.
pub trait Entity {
    /// Which one it is.
    fn id(&self) -> Uuid;

    /// When it came to be.
    fn created_at(&self) -> Timestamp;

    /// When it last changed.
    fn updated_at(&self) -> Timestamp;
}

/// What the SDK keeps inside of an aggregate. It stands outside of the state (`#[serde(skip)]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Root<E> {
    version: u64,
    uncommitted: Vec<E>,
}

impl<E> Default for Root<E> {
    fn default() -> Self {
        Self { version: 0, uncommitted: Vec::new() }
    }
}

impl<E> Root<E> {
    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// The state of one aggregate.
///
/// Its serde form is what callers see and what snapshots keep. It is made by [`Self::new`] and changed by
/// [`Self::apply`] alone, so that the same events always give the same state.
pub trait AggregateRoot: Entity + Clone + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// What can happen to it.
    type Event: DomainEvent;

    /// The type's name in paths and in the log: `file`.
    const NAME: &'static str;
    /// What it is, in one sentence.
    const DESCRIPTION: &'static str;
    /// Changes whenever the form of snapshots changes; snapshots of another version are ignored.
    const STATE_VERSION: u32 = 1;
    /// A snapshot is taken every so many events; 0 takes none.
    const SNAPSHOT_EVERY: u32 = 100;

    /// The aggregate before its first event.
    fn new(id: Uuid) -> Self;

    /// The field of type [`Root`].
    fn root(&self) -> &Root<Self::Event>;

    /// The field of type [`Root`], to be changed by the SDK.
    fn root_mut(&mut self) -> &mut Root<Self::Event>;

    /// Folds an event into the state. It decides nothing and cannot fail: what happened, happened.
    fn apply(&mut self, event: &EventEnvelope<Self::Event>);

    /// Who may do what with it. Without access (or with an empty one) it is nobody's: administrators and policies alone
    /// reach it. What all may use has an entry for [`Subject::Everyone`].
    fn access(&self) -> Option<Access> {
        None
    }

    /// Keys that no two aggregates of a tenant may hold at once.
    fn claims(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many events have been folded; 0 before the first.
    fn version(&self) -> u64 {
        self.root().version
    }

    /// Events that were recorded on this copy and are not stored yet.
    fn uncommitted_events(&self) -> &[Self::Event] {
        &self.root().uncommitted
    }

    /// Says that the uncommitted events are stored.
    fn mark_events_as_committed(&mut self) {
        self.root_mut().uncommitted.clear();
    }

    /// Folds an event that is already stored.
    fn replay(&mut self, event: &EventEnvelope<Self::Event>) {
        self.apply(event);
        self.root_mut().version = event.version;
    }

    /// Folds an event that was just decided, as the next of its stream, and gives it back.
    fn happen(&mut self, event: Self::Event, ctx: &Context) -> Self::Event {
        let envelope = EventEnvelope {
            position: 0,
            stream: StreamRef::of::<Self>(self.id()),
            version: self.version() + 1,
            occurred_at: ctx.now(),
            actor: ctx.principal().id,
            event,
        };
        self.replay(&envelope);
        envelope.event
    }

    /// Folds an event that was just decided and remembers it as uncommitted.
    fn record(&mut self, event: Self::Event, ctx: &Context) {
        let event = self.happen(event, ctx);
        self.root_mut().uncommitted.push(event);
    }
}

/// Who may do what with an aggregate: a function of its state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The user that may do everything.
    pub owner: Option<Uuid>,
    /// The aggregate from which grants are inherited.
    pub parent: Option<StreamRef>,
    /// Whether they are.
    pub inherits: bool,
    /// The grants, one entry for each subject.
    pub entries: Vec<AccessEntry>,
}

/// What a subject may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEntry {
    /// Who.
    pub subject: Subject,
    /// What.
    pub permissions: Permissions,
}
