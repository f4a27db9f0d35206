//! All the streams of a test, and what a host makes of them: permissions along parents, answers to needs.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{NOW, user};
use crate::domain::{Access, Permissions, Subject};
use crate::events::{DomainEvent, RecordedEvent};
use crate::plugin::{ErasedAggregate, Handles};
use crate::shared::{LoadedState, Need, NeedAnswer, Principal, StreamRef, Timestamp};

/// The longest chain of parents.
const CHAIN_LIMIT: usize = 1000;

/// As whom policies act: access lists do not bind it.
pub(super) const POLICY: Uuid = user(0);

struct Stream {
    events: Vec<RecordedEvent>,
    live: Box<dyn ErasedAggregate>,
}

/// The streams of a tenant, in memory.
#[derive(Default)]
pub struct World {
    streams: BTreeMap<StreamRef, Stream>,
    events: i64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.streams.keys()).finish()
    }
}

impl World {
    /// Lets something happen to an aggregate. Each event happens a second after the one before it.
    ///
    /// # Panics
    /// When an event cannot be written or read, which is what the test then finds.
    pub fn happen<A: Handles>(&mut self, id: Uuid, actor: Uuid, events: impl IntoIterator<Item = A::Event>) {
        let stream = StreamRef::of::<A>(id);
        let known = self
            .streams
            .entry(stream.clone())
            .or_insert_with(|| Stream { events: Vec::new(), live: Box::new(A::new(id)) });
        for event in events {
            self.events += 1;
            let at = NOW.plus_micros((self.events - 1_000_000) * 1_000_000);
            let version = known.live.version() + 1;
            let recorded = record(stream.clone(), version, self.events, at, actor, event);
            known.live.apply(std::slice::from_ref(&recorded)).unwrap_or_else(|fault| panic!("{fault}"));
            known.events.push(recorded);
        }
    }

    /// The aggregate's events.
    pub fn events(&self, stream: &StreamRef) -> &[RecordedEvent] {
        self.streams.get(stream).map_or(&[], |known| &known.events)
    }

    /// The aggregate, if anything has happened to it.
    pub fn aggregate(&self, stream: &StreamRef) -> Option<&dyn ErasedAggregate> {
        self.streams.get(stream).filter(|known| known.live.version() > 0).map(|known| &*known.live)
    }

    /// What the principal may do with the aggregate: its own grants and, where they are inherited, those above it.
    pub fn permissions(&self, principal: &Principal, stream: &StreamRef) -> Permissions {
        if principal.id == POLICY {
            return Permissions::ALL;
        }
        let mut sum = Permissions::NONE;
        for link in self.chain(stream) {
            let Some(access) = self.aggregate(&link).map(ErasedAggregate::access) else {
                break;
            };
            sum = sum.union(granted_here(&access, principal));
            if !access.inherits {
                break;
            }
        }
        sum
    }

    /// The aggregate and everything above it.
    fn chain(&self, stream: &StreamRef) -> Vec<StreamRef> {
        let mut chain = vec![stream.clone()];
        while let Some(parent) = chain.last().and_then(|last| self.aggregate(last)?.access().parent) {
            if chain.len() == CHAIN_LIMIT {
                break;
            }
            chain.push(parent);
        }
        chain
    }

    /// What a host answers.
    ///
    /// # Panics
    /// When a state has no JSON form.
    pub fn answer(&self, principal: &Principal, need: &Need) -> NeedAnswer {
        match need {
            Need::Ancestors(stream) => NeedAnswer::Ancestors(self.chain(stream)),
            Need::Aggregate(stream) => {
                let known = self.aggregate(stream);
                let state = known.map(|known| known.snapshot().unwrap_or_else(|fault| panic!("{fault}")));
                NeedAnswer::Aggregate(LoadedState {
                    stream: stream.clone(),
                    version: known.map_or(0, ErasedAggregate::version),
                    state,
                    permissions: self.permissions(principal, stream),
                })
            }
        }
    }
}

fn granted_here(access: &Access, principal: &Principal) -> Permissions {
    if access.owner == Some(principal.id) {
        return Permissions::ALL;
    }
    let includes = |subject: &Subject| match subject {
        Subject::User(id) => *id == principal.id,
        Subject::Group(name) => principal.groups.contains(name),
        Subject::Everyone => true,
    };
    let own = access.entries.iter().filter(|entry| includes(&entry.subject));
    own.fold(Permissions::NONE, |sum, entry| sum.union(entry.permissions))
}

pub(super) fn record<E: DomainEvent>(
    stream: StreamRef,
    version: u64,
    position: i64,
    at: Timestamp,
    actor: Uuid,
    event: E,
) -> RecordedEvent {
    let encoded = event.encode().unwrap_or_else(|fault| panic!("{fault}"));
    RecordedEvent {
        position: position.unsigned_abs(),
        stream,
        version,
        event_type: encoded.event_type.to_owned(),
        schema_version: encoded.schema_version,
        data: encoded.data,
        occurred_at: at,
        actor,
    }
}
