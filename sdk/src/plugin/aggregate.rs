//! Aggregates with their types erased, so that one table of function pointers serves all of a plugin's types.

use std::marker::PhantomData;

use schemars::{Schema, schema_for};
use uuid::Uuid;

use crate::cqrs::{Command, CommandHandler};
use crate::domain::{Access, AggregateRoot, Permission};
use crate::events::{DomainEvent, EncodedEvent, EventType, RecordedEvent, Snapshot};
use crate::shared::{Context, Error, Fault, Rejection};

/// An aggregate type and the commands that it handles. [`crate::plugin!`] implements it.
pub trait Handles: AggregateRoot {
    /// The commands.
    const COMMANDS: &'static [CommandEntry<Self>];
}

/// What a decision came to, in the form of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleOutcome {
    /// The events, in order.
    pub events: Vec<EncodedEvent>,
    /// The answer to the caller, JSON.
    pub result: Vec<u8>,
}

/// A command of an aggregate type.
#[derive(Debug)]
pub struct CommandEntry<A> {
    pub(crate) name: &'static str,
    pub(crate) full_name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) permission: Option<Permission>,
    pub(crate) creates: bool,
    pub(crate) internal: bool,
    pub(crate) schema: fn() -> Schema,
    pub(crate) result_schema: fn() -> Schema,
    decide: fn(&mut A, &[u8], &Context) -> Result<HandleOutcome, Error>,
}

impl<A> CommandEntry<A> {
    /// The entry of a command that the aggregate handles.
    pub const fn of<C: Command>() -> Self
    where
        A: CommandHandler<C>,
    {
        Self {
            name: C::NAME,
            full_name: C::FULL_NAME,
            description: C::DESCRIPTION,
            permission: C::PERMISSION,
            creates: C::CREATES,
            internal: C::INTERNAL,
            schema: || schema_for!(C),
            result_schema: || schema_for!(C::Response),
            decide: decide::<A, C>,
        }
    }
}

fn decide<A: CommandHandler<C>, C: Command>(
    state: &mut A,
    payload: &[u8],
    ctx: &Context,
) -> Result<HandleOutcome, Error> {
    let payload = if payload.is_empty() { b"{}" } else { payload };
    let command: C = serde_json::from_slice(payload)
        .map_err(|error| Rejection::invalid_field("", format!("the payload does not fit: {error}")))?;
    command.check()?;
    let decision = state.handle(&command, ctx)?;
    let result = serde_json::to_vec(&decision.result).map_err(Fault::from)?;
    let mut events = Vec::with_capacity(decision.events.len());
    for event in decision.events {
        events.push(state.happen(event, ctx).encode()?);
    }
    Ok(HandleOutcome { events, result })
}

/// One resident aggregate of whichever type.
pub trait ErasedAggregate {
    /// Folds events.
    ///
    /// # Errors
    /// When one cannot be read or is out of order; the events before it are folded.
    fn apply(&mut self, events: &[RecordedEvent]) -> Result<(), Fault>;

    /// Decides on a command, and folds the events that follow from it.
    ///
    /// # Errors
    /// Everything that a handler may answer, and a fault for a command that nobody declared. Only after a fault is the
    /// state another one than before.
    fn decide(&mut self, command: &str, payload: &[u8], ctx: &Context) -> Result<HandleOutcome, Error>;

    /// The state as JSON, in the form that restores it.
    ///
    /// # Errors
    /// When it has no JSON form.
    fn snapshot(&self) -> Result<Vec<u8>, Fault>;

    /// How many events were folded.
    fn version(&self) -> u64;

    /// Who may do what; nobody anything before the first event.
    fn access(&self) -> Access;

    /// The keys that it holds.
    fn claims(&self) -> Vec<String>;
}

impl<A: Handles> ErasedAggregate for A {
    fn apply(&mut self, events: &[RecordedEvent]) -> Result<(), Fault> {
        for event in events {
            if event.version < AggregateRoot::version(self) {
                return Err(Fault(format!(
                    "event {} of {} comes after event {}",
                    event.version,
                    event.stream,
                    AggregateRoot::version(self)
                )));
            }
            self.replay(&event.decode()?);
        }
        Ok(())
    }

    fn decide(&mut self, command: &str, payload: &[u8], ctx: &Context) -> Result<HandleOutcome, Error> {
        let entry = A::COMMANDS
            .iter()
            .find(|entry| entry.name == command)
            .ok_or_else(|| Fault(format!("{} has no command `{command}`", A::NAME)))?;
        (entry.decide)(self, payload, ctx)
    }

    fn snapshot(&self) -> Result<Vec<u8>, Fault> {
        Ok(serde_json::to_vec(self)?)
    }

    fn version(&self) -> u64 {
        AggregateRoot::version(self)
    }

    fn access(&self) -> Access {
        if AggregateRoot::version(self) == 0 {
            return Access::default();
        }
        AggregateRoot::access(self).unwrap_or_default()
    }

    fn claims(&self) -> Vec<String> {
        if AggregateRoot::version(self) == 0 { Vec::new() } else { AggregateRoot::claims(self) }
    }
}

type Restore = fn(Uuid, Option<Snapshot>) -> Result<Box<dyn ErasedAggregate>, Fault>;

/// An aggregate type of a plugin.
#[derive(Debug)]
pub struct AggregateType {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) state_version: u32,
    pub(crate) snapshot_every: u32,
    pub(crate) state_schema: fn() -> Schema,
    pub(crate) commands: fn() -> Vec<CommandEntry<Erased>>,
    pub(crate) event_types: fn() -> Vec<EventType>,
    restore: Restore,
}

/// Stands where a command's aggregate type was.
#[derive(Debug)]
pub struct Erased(PhantomData<()>);

impl AggregateType {
    /// The entry of an aggregate type.
    pub const fn of<A: Handles>() -> Self {
        Self {
            name: A::NAME,
            description: A::DESCRIPTION,
            state_version: A::STATE_VERSION,
            snapshot_every: A::SNAPSHOT_EVERY,
            state_schema: || schema_for!(A),
            commands: || A::COMMANDS.iter().map(erase).collect(),
            event_types: A::Event::types,
            restore: |id, snapshot| Ok(Box::new(restore::<A>(id, snapshot)?)),
        }
    }

    /// An aggregate of this type: empty, or as the snapshot has it.
    ///
    /// # Errors
    /// When the snapshot has another form.
    pub fn restore(&self, id: Uuid, snapshot: Option<Snapshot>) -> Result<Box<dyn ErasedAggregate>, Fault> {
        (self.restore)(id, snapshot)
    }
}

/// The declaration of a command, without its handler.
fn erase<A>(entry: &CommandEntry<A>) -> CommandEntry<Erased> {
    CommandEntry {
        name: entry.name,
        full_name: entry.full_name,
        description: entry.description,
        permission: entry.permission,
        creates: entry.creates,
        internal: entry.internal,
        schema: entry.schema,
        result_schema: entry.result_schema,
        decide: |_, _, _| Err(Fault::new("an erased command cannot be decided").into()),
    }
}

pub(crate) fn restore<A: AggregateRoot>(id: Uuid, snapshot: Option<Snapshot>) -> Result<A, Fault> {
    let Some(Snapshot { version, state }) = snapshot else {
        return Ok(A::new(id));
    };
    let mut aggregate: A = serde_json::from_slice(&state)?;
    aggregate.root_mut().set_version(version);
    Ok(aggregate)
}
