//! Process managers: events in, commands out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::command::{Command, CommandHandler};
use super::projection::Projection;
use super::query::Db;
use crate::domain::AggregateRoot;
use crate::events::RecordedEvent;
use crate::shared::{Context, Fault, Result, StreamRef, Timestamp};

/// What happens by itself when something happened.
pub trait Policy: 'static {
    /// What it remembers about a stream; `()` for nothing.
    type State: Serialize + DeserializeOwned;
    /// The read model that it reads; [`super::NoProjection`] for none. What it sees is at least at the event's position.
    type Reads: Projection;

    /// Its name.
    const NAME: &'static str;
    /// What it does, in one sentence.
    const DESCRIPTION: &'static str;
    /// The event types that it reacts to.
    const EVENTS: &'static [&'static str];

    /// Reacts. The commands are stored together with the policy's position and sent from there, so they are neither
    /// lost nor doubled; by the time they arrive things may have changed, and their handlers have to look.
    ///
    /// # Errors
    /// The wish for rows, handed on by `?`; a fault where the event cannot be read.
    fn react(
        event: &RecordedEvent,
        state: Option<Self::State>,
        ctx: &Context,
        db: &Db,
    ) -> Result<Reaction<Self::State>>;
}

/// What a policy wants done.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction<S = ()> {
    /// What it remembers about the stream from now on.
    pub state: Option<S>,
    /// The commands.
    pub commands: Vec<PolicyCommand>,
}

/// A command that a policy sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCommand {
    /// To which aggregate.
    pub target: StreamRef,
    /// The command's name in paths.
    pub command: &'static str,
    /// JSON.
    pub payload: Vec<u8>,
    /// Commands of a stage are sent when all of the stages before it are done.
    pub stage: u32,
    /// Not before this time.
    pub at: Option<Timestamp>,
}

impl<S> Reaction<S> {
    /// Nothing is to be done.
    pub const fn none() -> Self {
        Self { state: None, commands: Vec::new() }
    }

    /// Remembers this about the stream.
    #[must_use]
    pub fn remember(mut self, state: S) -> Self {
        self.state = Some(state);
        self
    }

    /// Sends a command to an aggregate that can handle it, in this stage.
    ///
    /// # Errors
    /// When the command has no JSON form.
    pub fn send<A, C>(&mut self, id: Uuid, command: &C, stage: u32) -> Result<(), Fault>
    where
        A: AggregateRoot + CommandHandler<C>,
        C: Command,
    {
        let payload = serde_json::to_vec(command)?;
        let target = StreamRef::of::<A>(id);
        self.commands.push(PolicyCommand { target, command: C::NAME, payload, stage, at: None });
        Ok(())
    }
}
