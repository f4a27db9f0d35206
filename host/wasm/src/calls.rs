//! Calls that keep nothing between them: projections, queries, policies, upcasts, folds. They block and are for threads
//! that may.

use bytes::Bytes;
use cairn_model::row::Rows;
use cairn_model::{
    Access, Call, Change, Name, NewEvent, Permissions, Principal, RecordedEvent, StreamKey, StreamRef,
    Timestamp, Version,
};
use serde_json::value::RawValue;
use std::sync::Arc;
use uuid::Uuid;
use wasmtime::component::ResourceAny;

use crate::bindings::exports::cairn::plugin::{aggregates, policies, queries};
use crate::component::Component;
use crate::convert::{self, ContextParts, PresentEvent};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::work::Rejection;

/// How many events a guest folds in one call.
pub(crate) const FOLD_EVENTS: usize = 1_000;

/// What a query or a policy sees of its surroundings. The tenant is the principal's.
#[derive(Clone, Debug)]
pub struct GuestContext {
    /// The time it takes for the present.
    pub now: Timestamp,
    /// Its randomness.
    pub seed: (u64, u64),
    /// Who asks.
    pub principal: Arc<Principal>,
    /// In whose name.
    pub on_behalf_of: Option<Uuid>,
    /// What the principal may do with what is called.
    pub permissions: Permissions,
    /// The request's id; for a policy one that its reaction to this event always has.
    pub command_id: Uuid,
    /// See `cairn_model::Metadata`; `None` where it is the command's id.
    pub correlation_id: Option<String>,
    /// See `cairn_model::Metadata`.
    pub causation_id: Option<String>,
}

impl GuestContext {
    fn parts(&self) -> ContextParts<'_> {
        ContextParts::new(
            self.now,
            self.seed,
            &self.principal,
            self.on_behalf_of,
            self.permissions,
            self.command_id,
            self.correlation_id.as_deref(),
            self.causation_id.as_deref(),
        )
    }
}

/// What a query came to.
#[derive(Debug)]
pub enum QueryOutcome {
    /// The answer, JSON.
    Done(Box<RawValue>),
    /// Call again with the rows of these after the rows so far.
    Read(Vec<Call>),
    /// The domain says no.
    Rejected(Rejection),
}

/// What a policy came to.
#[derive(Debug)]
pub enum PolicyOutcome {
    /// What is to be done.
    Done(Reacted),
    /// Call again with the rows of these after the rows so far.
    Read(Vec<Call>),
}

/// A policy's reaction to an event.
#[derive(Debug)]
pub struct Reacted {
    /// The policy's state for the event's stream from now on, JSON.
    pub state: Option<Bytes>,
    /// The commands to send.
    pub commands: Vec<PolicyCommand>,
}

/// A command that a policy wants sent.
#[derive(Clone, Debug)]
pub struct PolicyCommand {
    /// To which aggregate.
    pub target: StreamRef,
    /// The command's name in paths.
    pub command: Name,
    /// JSON.
    pub payload: Bytes,
    /// It is sent when all commands of lower stages are done.
    pub stage: u32,
    /// Not before this time.
    pub at: Option<Timestamp>,
}

/// An aggregate at some version, folded anew.
#[derive(Debug)]
pub struct Folded {
    /// The version.
    pub version: Version,
    /// The state, JSON; `None` before the first event.
    pub state: Option<Box<RawValue>>,
    /// Who may do what.
    pub access: Option<Access>,
    /// The claims it holds.
    pub claims: Vec<String>,
}

/// What a stream's events say about access and claims.
#[derive(Debug)]
pub struct StreamFacts {
    /// Who may do what, and the version at which that last changed.
    pub access: Option<(Version, Access)>,
    /// The claims it holds.
    pub claims: Vec<String>,
}

impl Component {
    /// The changes of each event, in order; `Err` for an event that the projection cannot take.
    ///
    /// # Errors
    /// When the whole call failed; it says nothing about which event is to blame.
    pub fn project(
        &self,
        projection: &str,
        events: &[RecordedEvent],
    ) -> Result<Vec<Result<Vec<Change>, String>>, Fault> {
        let spec = self
            .manifest()
            .projection(projection)
            .ok_or_else(|| Fault::bad_output(format!("the manifest has no projection `{projection}`")))?;
        self.with_guest(|guest| {
            let present = present(self, guest, events)?;
            let wanted: Vec<&PresentEvent<'_>> =
                present.iter().filter(|event| spec.wants(&event.event_type)).collect();
            let given: Vec<_> = wanted.iter().map(|event| event.guest()).collect();
            let results = if given.is_empty() { Vec::new() } else { guest.project(projection, &given)? };
            if results.len() != given.len() {
                let message = format!("{} results for {} events", results.len(), given.len());
                return Err(Fault::bad_output(message));
            }
            let mut answers: Vec<Result<Vec<Change>, String>> =
                events.iter().map(|_| Ok(Vec::new())).collect();
            for (event, result) in wanted.iter().zip(results) {
                let changes =
                    result.map_err(|fault| fault.message).and_then(|list| convert::changes(spec, list));
                let answer = &mut answers[event.index];
                match (answer.as_mut(), changes) {
                    (Ok(all), Ok(changes)) if all.is_empty() => *all = changes,
                    (Ok(all), Ok(changes)) => all.extend(changes),
                    (Ok(_), Err(error)) => *answer = Err(error),
                    (Err(_), _) => {}
                }
            }
            Ok(answers)
        })
    }

    /// Answers a query, given the rows of everything that it asked for so far.
    ///
    /// # Errors
    /// When the guest fails.
    pub fn query(
        &self,
        context: &GuestContext,
        query: &str,
        params: &[u8],
        answers: &[Rows],
    ) -> Result<QueryOutcome, Fault> {
        let parts = context.parts();
        let outcome = self.with_guest(|guest| {
            convert::with_rows(answers, |answers| guest.query(parts.guest(), query, params, answers))
        })?;
        match outcome {
            queries::QueryOutcome::Done(body) => {
                Ok(QueryOutcome::Done(convert::raw_json(body, "the answer")?))
            }
            queries::QueryOutcome::Read(calls) => asked(calls).map(QueryOutcome::Read),
            queries::QueryOutcome::Rejected(rejection) => {
                Ok(QueryOutcome::Rejected(convert::rejection(rejection)))
            }
        }
    }

    /// What a policy does about an event, given its state for the event's stream and the rows of everything that it
    /// asked for so far. An event that was split by an upcast is reacted to part by part, one that no longer exists
    /// leaves the state as it is.
    ///
    /// # Errors
    /// When the guest fails.
    pub fn react(
        &self,
        context: &GuestContext,
        policy: &str,
        event: &RecordedEvent,
        state: Option<&[u8]>,
        answers: &[Rows],
    ) -> Result<PolicyOutcome, Fault> {
        let spec = self.manifest().policies.iter().find(|spec| &*spec.name == policy);
        let spec = spec.ok_or_else(|| Fault::bad_output(format!("the manifest has no policy `{policy}`")))?;
        let parts = context.parts();
        self.with_guest(|guest| {
            let mut reacted = Reacted { state: state.map(Bytes::copy_from_slice), commands: Vec::new() };
            let (mut from, mut to) = (0, 0);
            for event in present(self, guest, std::slice::from_ref(event))? {
                if !spec.events.iter().any(|name| **name == *event.event_type) {
                    continue;
                }
                // Each part sees the answers to its own questions: the ones after those of the parts before it.
                loop {
                    let state = reacted.state.as_deref();
                    let outcome = convert::with_rows(&answers[from..to], |answers| {
                        guest.react(parts.guest(), policy, event.guest(), state, answers)
                    })?;
                    match outcome {
                        policies::PolicyOutcome::Done(done) => {
                            self.take_reaction(&mut reacted, done)?;
                            break;
                        }
                        policies::PolicyOutcome::Read(calls) if to + calls.len() <= answers.len() => {
                            to += asked(calls)?.len();
                        }
                        policies::PolicyOutcome::Read(calls) => return asked(calls).map(PolicyOutcome::Read),
                    }
                }
                from = to;
            }
            Ok(PolicyOutcome::Done(reacted))
        })
    }

    fn take_reaction(&self, reacted: &mut Reacted, done: policies::Reaction) -> Result<(), Fault> {
        let json = |bytes, what| {
            convert::raw_json(bytes, what).map(|json| Bytes::from(String::from(Box::<str>::from(json))))
        };
        reacted.state = done.state.map(|state| json(state, "the policy's state")).transpose()?;
        for command in done.commands {
            reacted.commands.push(PolicyCommand {
                target: convert::stream_ref(self, command.target),
                command: command.command.into(),
                payload: json(command.payload, "a command's payload")?,
                stage: command.stage,
                at: command.at.map(Timestamp::from_micros),
            });
        }
        Ok(())
    }

    /// What each event is today: itself, or what the component makes of it.
    ///
    /// # Errors
    /// When the guest fails.
    pub fn upcast(&self, events: &[RecordedEvent]) -> Result<Vec<Vec<NewEvent>>, Fault> {
        self.with_guest(|guest| {
            let mut lists: Vec<Vec<NewEvent>> = events.iter().map(|_| Vec::new()).collect();
            for event in present(self, guest, events)? {
                let event_type = match self.event_type(&event.event_type) {
                    Some((name, _)) => name.clone(),
                    None => Name::from(&*event.event_type),
                };
                let data = event.data.into_owned();
                lists[event.index].push(NewEvent { event_type, schema_version: event.schema_version, data });
            }
            Ok(lists)
        })
    }

    /// Folds a snapshot and the events after it.
    ///
    /// # Errors
    /// When the guest fails, or refuses the snapshot.
    pub fn fold(
        &self,
        stream: &StreamKey,
        snapshot: Option<(Version, Bytes)>,
        events: &[RecordedEvent],
    ) -> Result<Folded, Fault> {
        self.with_guest(|guest| {
            let (handle, version) = fold(self, guest, stream, snapshot.as_ref(), events)?;
            let state =
                guest.state(handle)?.map(|state| convert::raw_json(state, "the state")).transpose()?;
            let access = convert::access(self, guest.access(handle)?);
            let claims = guest.claims(handle)?;
            guest.drop_aggregate(handle)?;
            Ok(Folded { version, state, access, claims })
        })
    }
}

impl Component {
    /// What a stream's events say about access and claims, and the version at which its access last changed. Events are
    /// applied one by one, so this is slower than [`Component::fold`].
    ///
    /// # Errors
    /// When the guest fails.
    pub fn facts(&self, stream: &StreamKey, events: &[RecordedEvent]) -> Result<StreamFacts, Fault> {
        self.with_guest(|guest| {
            let handle = guest.restore(&stream.aggregate, convert::uuid(stream.id), None)?;
            let mut access: Option<(Version, Access)> = None;
            for event in events {
                let present = present(self, guest, std::slice::from_ref(event))?;
                let given: Vec<_> = present.iter().map(PresentEvent::guest).collect();
                if given.is_empty() {
                    continue;
                }
                if let Some(new) = guest.fold(handle, &given)?.access {
                    access = convert::access(self, new).map(|access| (event.version, access));
                }
            }
            let claims = guest.claims(handle)?;
            guest.drop_aggregate(handle)?;
            Ok(StreamFacts { access, claims })
        })
    }
}

/// Calls that a guest asks for; asking for none would go on for ever.
fn asked(calls: Vec<crate::bindings::cairn::plugin::types::Call>) -> Result<Vec<Call>, Fault> {
    if calls.is_empty() {
        return Err(Fault::bad_output("it asked for rows, but for none"));
    }
    convert::calls(calls)
}

/// Makes an aggregate in the guest from a snapshot and the events after it, and says which version it has.
pub(crate) fn fold(
    component: &Component,
    guest: &mut Guest,
    stream: &StreamKey,
    snapshot: Option<&(Version, Bytes)>,
    events: &[RecordedEvent],
) -> Result<(ResourceAny, Version), Fault> {
    let given = snapshot.map(|(version, state)| aggregates::Snapshot { version: *version, state });
    let handle = guest.restore(&stream.aggregate, convert::uuid(stream.id), given)?;
    let mut version = snapshot.map_or(0, |(version, _)| *version);
    for page in events.chunks(FOLD_EVENTS) {
        let present = present(component, guest, page)?;
        let given: Vec<_> = present.iter().map(PresentEvent::guest).collect();
        if !given.is_empty() {
            guest.fold(handle, &given)?;
        }
        version = page.last().map_or(version, |event| event.version);
    }
    Ok((handle, version))
}

/// The events in the form of the present schema versions: those that the component does not know as they are go
/// through its upcasters, all of them in one call.
pub(crate) fn present<'e>(
    component: &Component,
    guest: &mut Guest,
    events: &'e [RecordedEvent],
) -> Result<Vec<PresentEvent<'e>>, Fault> {
    let recorded: Vec<PresentEvent<'e>> = events
        .iter()
        .enumerate()
        .map(|(index, event)| PresentEvent::recorded(index, event))
        .collect::<Result<_, _>>()?;
    let is_old = |event: &PresentEvent<'_>| {
        component.event_type(&event.event_type).is_none_or(|(_, present)| present != event.schema_version)
    };
    let old: Vec<_> = recorded.iter().filter(|event| is_old(event)).map(PresentEvent::guest).collect();
    if old.is_empty() {
        return Ok(recorded);
    }
    let lists = guest.upcast(&old)?;
    if lists.len() != old.len() {
        return Err(Fault::bad_output(format!("{} upcasts for {} events", lists.len(), old.len())));
    }
    drop(old);
    let mut lists = lists.into_iter();
    let mut present = Vec::with_capacity(recorded.len());
    for event in recorded {
        if is_old(&event) {
            for new in lists.next().unwrap_or_default() {
                let new = convert::new_event(|name| component.event_type(name), new)?;
                present.push(event.upcasted(new));
            }
        } else {
            present.push(event);
        }
    }
    Ok(present)
}
