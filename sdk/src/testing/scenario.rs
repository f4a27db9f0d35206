//! Given, when, then.

use std::fmt::Debug;

use uuid::Uuid;

use super::world::{POLICY, World};
use super::{COMMAND_ID, ID, NOW, principal, user};
use crate::cqrs::{Command, CommandHandler};
use crate::domain::{Access, Permissions};
use crate::events::{DomainEvent, EventEnvelope, RecordedEvent, Snapshot};
use crate::plugin::{ErasedAggregate, HandleOutcome, Handles};
use crate::shared::{
    Context, ContextParts, Error, NeedAnswer, Principal, Rejection, RejectionKind, StreamRef, Timestamp,
};

/// More rounds of needs than this mean that a handler never has enough.
const ROUNDS_LIMIT: usize = 64;

/// What happened so far, and who is about to act.
#[derive(Debug)]
#[must_use]
pub struct Given<A: Handles> {
    world: World,
    id: Uuid,
    history: Vec<A::Event>,
    by: Uuid,
    caller: Principal,
    on_behalf_of: Option<Uuid>,
    now: Timestamp,
}

/// Begins a scenario about an aggregate to which this has happened; nothing for one that is not there yet.
pub fn given<A: Handles>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given {
        world: World::default(),
        id: ID,
        history: events.into_iter().collect(),
        by: user(1),
        caller: principal(user(1)),
        on_behalf_of: None,
        now: NOW,
    }
}

impl<A: Handles> Given<A>
where
    A::Event: PartialEq + Debug,
{
    /// The aggregate has this id instead of [`ID`].
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// What was given was done by this user instead of `user(1)`.
    pub fn by(mut self, actor: Uuid) -> Self {
        self.by = actor;
        self
    }

    /// Something happened to another aggregate too, done by `user(1)`.
    pub fn with<B: Handles>(self, id: Uuid, events: impl IntoIterator<Item = B::Event>) -> Self {
        self.with_by::<B>(id, user(1), events)
    }

    /// Something happened to another aggregate too, done by this user.
    pub fn with_by<B: Handles>(
        mut self,
        id: Uuid,
        actor: Uuid,
        events: impl IntoIterator<Item = B::Event>,
    ) -> Self {
        self.world.happen::<B>(id, actor, events);
        self
    }

    /// This user acts instead of `user(1)`.
    pub fn as_principal(mut self, id: Uuid) -> Self {
        self.caller.id = id;
        self
    }

    /// Whoever acts belongs to this group.
    pub fn in_group(mut self, group: &str) -> Self {
        self.caller.groups.push(group.to_owned());
        self
    }

    /// A policy acts, in the name of this user: access lists do not bind it.
    pub fn as_policy_for(mut self, id: Uuid) -> Self {
        self.caller = principal(POLICY);
        self.on_behalf_of = Some(id);
        self
    }

    /// The command comes at this time instead of [`NOW`].
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// The command comes. It goes the way it goes in a host: as JSON, checked, with the caller's permission on the
    /// aggregate, which has to exist or not as the command says.
    ///
    /// # Panics
    /// When the decision does not repeat, its events lead to another state when they come back from the log, or a snapshot
    /// with its tail folds to another state than all events do.
    pub fn when<C: Command>(mut self, command: C) -> Then<A>
    where
        A: CommandHandler<C>,
    {
        let history = std::mem::take(&mut self.history);
        self.world.happen::<A>(self.id, self.by, history);
        let outcome = self.decide::<C>(&command);
        let stream = StreamRef::of::<A>(self.id);
        let mut events = self.world.events(&stream).to_vec();
        check_folds::<A>(self.id, &events);
        let mut decided = Vec::new();
        if let Ok((outcome, state)) = &outcome {
            for event in &outcome.events {
                let event =
                    A::Event::decode(event.event_type, &event.data).unwrap_or_else(|fault| panic!("{fault}"));
                let version = events.last().map_or(1, |last| last.version + 1);
                let recorded =
                    super::world::record(stream.clone(), version, 0, self.now, self.caller.id, event.clone());
                events.push(recorded);
                decided.push(event);
            }
            let recorded = fold::<A>(self.id, None, &events);
            assert_eq!(seen(state), seen(&recorded), "the events lose something on their way into the log");
            check_folds::<A>(self.id, &events);
        }
        let outcome = outcome.map(|_| ());
        Then { outcome, decided, after: fold::<A>(self.id, None, &events) }
    }

    fn decide<C: Command>(&self, command: &C) -> Result<(HandleOutcome, A), Error>
    where
        A: CommandHandler<C>,
    {
        let stream = StreamRef::of::<A>(self.id);
        let known = self.world.aggregate(&stream);
        let permissions = match (known, C::CREATES) {
            (Some(_), true) => return Err(Rejection::conflict("exists", format!("{stream} exists")).into()),
            (None, false) => return Err(Rejection::not_found(format!("there is no {stream}")).into()),
            (None, true) => Permissions::ALL,
            (Some(_), false) => self.world.permissions(&self.caller, &stream),
        };
        if permissions == Permissions::NONE {
            return Err(Rejection::not_found(format!("there is no {stream}")).into());
        }
        if C::PERMISSION.is_some_and(|needed| !permissions.contains(needed)) {
            return Err(Rejection::forbidden(format!("{} needs more permissions", C::FULL_NAME)).into());
        }
        let payload = serde_json::to_vec(command).unwrap_or_else(|error| panic!("{error}"));
        let parts = ContextParts {
            now: self.now,
            permissions,
            on_behalf_of: self.on_behalf_of,
            command_id: COMMAND_ID,
            ..super::parts(self.caller.clone())
        };
        let (first, second) =
            (self.rounds(C::NAME, &payload, &parts), self.rounds(C::NAME, &payload, &parts));
        let outcome = |decided: &Result<(HandleOutcome, A), Error>| match decided {
            Ok((outcome, _)) => Ok(outcome.clone()),
            Err(error) => Err(error.clone()),
        };
        assert_eq!(outcome(&first), outcome(&second), "the decision does not repeat");
        first
    }

    /// Calls the handler as often as it needs something. Answers what it came to and the aggregate after that.
    fn rounds(
        &self,
        command: &str,
        payload: &[u8],
        parts: &ContextParts,
    ) -> Result<(HandleOutcome, A), Error> {
        let mut state: A = fold(self.id, None, self.world.events(&StreamRef::of::<A>(self.id)));
        let mut answers: Vec<NeedAnswer> = Vec::new();
        for _ in 0..ROUNDS_LIMIT {
            let ctx = Context::new(parts.clone(), answers.clone());
            match state.decide(command, payload, &ctx) {
                Err(Error::Needs(needs)) => {
                    answers.extend(needs.iter().map(|need| self.world.answer(&self.caller, need)));
                }
                outcome => return outcome.map(|outcome| (outcome, state)),
            }
        }
        panic!("after {ROUNDS_LIMIT} rounds the handler still needs something")
    }
}

fn fold<A: Handles>(id: Uuid, snapshot: Option<Snapshot>, events: &[RecordedEvent]) -> A {
    let mut state: A = crate::plugin::restore(id, snapshot).unwrap_or_else(|fault| panic!("{fault}"));
    ErasedAggregate::apply(&mut state, events).unwrap_or_else(|fault| panic!("{fault}"));
    state
}

/// All that a host sees of an aggregate.
fn seen<A: Handles>(state: &A) -> (String, Access, Vec<String>, u64) {
    let json = state.snapshot().unwrap_or_else(|fault| panic!("{fault}"));
    (
        String::from_utf8_lossy(&json).into_owned(),
        ErasedAggregate::access(state),
        ErasedAggregate::claims(state),
        ErasedAggregate::version(state),
    )
}

/// Wherever a snapshot is taken, the events after it lead to the same state.
fn check_folds<A: Handles>(id: Uuid, events: &[RecordedEvent]) {
    let whole = seen(&fold::<A>(id, None, events));
    for split in 1..=events.len() {
        let head: A = fold(id, None, &events[..split]);
        let version = ErasedAggregate::version(&head);
        let state = head.snapshot().unwrap_or_else(|fault| panic!("{fault}"));
        let tail: A = fold(id, Some(Snapshot { version, state }), &events[split..]);
        assert_eq!(whole, seen(&tail), "a snapshot after {split} events changes the state");
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Then<A: Handles> {
    outcome: Result<(), Error>,
    decided: Vec<A::Event>,
    after: A,
}

impl<A: Handles> Then<A>
where
    A::Event: PartialEq + Debug,
{
    /// Exactly this happens.
    ///
    /// # Panics
    /// When it does not.
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        if let Err(error) = &self.outcome {
            panic!("not accepted: {error:?}");
        }
        let expected: Vec<A::Event> = events.into_iter().collect();
        assert_eq!(self.decided, expected);
        self
    }

    /// The command is accepted and changes nothing.
    ///
    /// # Panics
    /// When it is not, or does.
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    /// The aggregate is afterwards as the function finds right.
    pub fn and_state(self, check: impl FnOnce(&A)) -> Self {
        check(&self.after);
        self
    }

    /// The aggregate afterwards holds these claims.
    ///
    /// # Panics
    /// When it holds others.
    pub fn and_claims<const N: usize>(self, claims: [&str; N]) -> Self {
        assert_eq!(ErasedAggregate::claims(&self.after), claims);
        self
    }

    /// Afterwards these may do this with the aggregate.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn and_access(self, access: Option<Access>) -> Self {
        assert_eq!(ErasedAggregate::access(&self.after), access.unwrap_or_default());
        self
    }

    /// A rule of the domain forbids it, with this code.
    ///
    /// # Panics
    /// When it is accepted or answered otherwise.
    #[track_caller]
    pub fn then_rejected(self, code: &str) {
        let no = self.no(RejectionKind::Rejected);
        assert_eq!(no.code, code, "{no}");
    }

    /// The caller may know of it but not do it.
    ///
    /// # Panics
    /// When it is accepted or answered otherwise.
    #[track_caller]
    pub fn then_forbidden(self) {
        self.no(RejectionKind::Forbidden);
    }

    /// There is no such thing for the caller.
    ///
    /// # Panics
    /// When it is accepted or answered otherwise.
    #[track_caller]
    pub fn then_not_found(self) {
        self.no(RejectionKind::NotFound);
    }

    /// Another thing is in the way, with this code.
    ///
    /// # Panics
    /// When it is accepted or answered otherwise.
    #[track_caller]
    pub fn then_conflict(self, code: &str) {
        let no = self.no(RejectionKind::Conflict);
        assert_eq!(no.code, code, "{no}");
    }

    /// The input is wrong at this JSON pointer.
    ///
    /// # Panics
    /// When it is accepted, answered otherwise, or wrong elsewhere.
    #[track_caller]
    pub fn then_invalid(self, pointer: &str) {
        let no = self.no(RejectionKind::Invalid);
        assert!(no.errors.iter().any(|error| error.pointer == pointer), "{no:?}");
    }

    /// The events that were decided, in envelopes at the version after those given.
    pub fn envelopes(&self) -> Vec<EventEnvelope<A::Event>> {
        let last = ErasedAggregate::version(&self.after);
        let first = last + 1 - self.decided.len() as u64;
        let stream = StreamRef::of::<A>(crate::domain::Entity::id(&self.after));
        (first..)
            .zip(&self.decided)
            .map(|(version, event)| EventEnvelope {
                position: 0,
                stream: stream.clone(),
                version,
                occurred_at: NOW,
                actor: user(1),
                event: event.clone(),
            })
            .collect()
    }

    #[track_caller]
    fn no(self, kind: RejectionKind) -> Rejection {
        match self.outcome {
            Err(Error::Rejected(no)) if no.kind == kind => no,
            other => panic!("wanted {kind:?}, got {other:?}"),
        }
    }
}
