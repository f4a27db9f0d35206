//! The contract's exports, implemented for every [`Plugin`].

use std::cell::RefCell;
use std::marker::PhantomData;

use uuid::Uuid;

use super::aggregate::ErasedAggregate;
use super::{Plugin, convert, describe, upcast};
use crate::bindings::cairn::plugin::types::{
    Call, Context, Event, Fault as WitFault, NewEvent, Rows, Uuid as WitUuid,
};
use crate::bindings::exports::cairn::plugin::{
    aggregates, manifest, policies, projections, queries, upcasting,
};
use crate::cqrs::Changes;
use crate::domain::Access;
use crate::events::{RecordedEvent, Snapshot};
use crate::shared::{Error, Fault, log};

/// An aggregate that stays in the component between commands. What it was last seen to claim and to grant is kept, so
/// that the host hears of either only when it is another.
pub struct Resident<P> {
    live: RefCell<Live>,
    plugin: PhantomData<P>,
}

struct Live {
    aggregate: Box<dyn ErasedAggregate>,
    access: Access,
    claims: Vec<String>,
}

impl<P> std::fmt::Debug for Resident<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resident at version {}", self.live.borrow().aggregate.version())
    }
}

fn restore<P: Plugin>(
    aggregate: &str,
    id: Uuid,
    snapshot: Option<aggregates::Snapshot>,
) -> Result<Live, Fault> {
    let known = P::AGGREGATES
        .iter()
        .find(|known| known.name == aggregate)
        .ok_or_else(|| Fault(format!("there is no aggregate type `{aggregate}`")))?;
    let snapshot = snapshot.map(|taken| Snapshot { version: taken.version, state: taken.state });
    let aggregate = known.restore(id, snapshot)?;
    let (access, claims) = (aggregate.access(), aggregate.claims());
    Ok(Live { aggregate, access, claims })
}

impl Live {
    fn apply(&mut self, events: Vec<Event>) -> Result<aggregates::Changes, Fault> {
        let events: Vec<RecordedEvent> = events.into_iter().map(convert::event).collect();
        self.aggregate.apply(&events)?;
        Ok(self.changes())
    }

    /// What is another than when this was last asked.
    fn changes(&mut self) -> aggregates::Changes {
        let (access, claims) = (self.aggregate.access(), self.aggregate.claims());
        aggregates::Changes {
            access: replace(&mut self.access, access).map(convert::access),
            claims: replace(&mut self.claims, claims),
        }
    }

    fn decide(
        &mut self,
        ctx: Context,
        command: &str,
        payload: &[u8],
        answers: Vec<aggregates::Answer>,
    ) -> Result<aggregates::Outcome, Fault> {
        let answers = answers.into_iter().map(convert::answer).collect();
        let ctx = convert::context(ctx, answers);
        match self.aggregate.decide(command, payload, &ctx) {
            Ok(outcome) => Ok(aggregates::Outcome::Accepted(convert::accepted(outcome, self.changes()))),
            Err(Error::Rejected(no)) => Ok(aggregates::Outcome::Rejected(convert::rejection(no))),
            Err(Error::Needs(needs)) => {
                Ok(aggregates::Outcome::Need(needs.into_iter().map(convert::need).collect()))
            }
            Err(Error::Reads(_)) => Err(Fault::new("an aggregate cannot read rows")),
            Err(Error::Fault(fault)) => Err(fault),
        }
    }
}

/// Puts the new value in the place of the old one, and gives it if it is another.
fn replace<T: Clone + PartialEq>(old: &mut T, new: T) -> Option<T> {
    if *old == new {
        return None;
    }
    *old = new;
    Some(old.clone())
}

impl<P: Plugin> aggregates::GuestAggregate for Resident<P> {
    fn restore(
        aggregate: String,
        id: WitUuid,
        snapshot: Option<aggregates::Snapshot>,
    ) -> Result<aggregates::Aggregate, WitFault> {
        log::send_panics_to_log();
        let live = restore::<P>(&aggregate, convert::id(id), snapshot).map_err(convert::fault)?;
        Ok(aggregates::Aggregate::new(Self { live: RefCell::new(live), plugin: PhantomData }))
    }

    fn apply(&self, events: Vec<Event>) -> Result<aggregates::Changes, WitFault> {
        self.live.borrow_mut().apply(events).map_err(convert::fault)
    }

    fn decide(
        &self,
        ctx: Context,
        command: String,
        payload: Vec<u8>,
        answers: Vec<aggregates::Answer>,
    ) -> Result<aggregates::Outcome, WitFault> {
        self.live.borrow_mut().decide(ctx, &command, &payload, answers).map_err(convert::fault)
    }

    fn snapshot(&self) -> Vec<u8> {
        match self.live.borrow().aggregate.snapshot() {
            Ok(state) => state,
            // The contract has no error here. A state that serde cannot write is a mistake in the plugin: it traps.
            Err(fault) => panic!("the state has no JSON form: {fault}"),
        }
    }

    fn state(&self) -> Option<Vec<u8>> {
        let exists = self.live.borrow().aggregate.version() > 0;
        exists.then(|| self.snapshot())
    }

    fn access(&self) -> aggregates::Access {
        convert::access(self.live.borrow().access.clone())
    }

    fn claims(&self) -> Vec<String> {
        self.live.borrow().claims.clone()
    }
}

impl<P: Plugin> aggregates::Guest for P {
    type Aggregate = Resident<P>;
}

impl<P: Plugin> manifest::Guest for P {
    fn describe() -> manifest::Manifest {
        log::send_panics_to_log();
        describe::manifest::<P>()
    }
}

impl<P: Plugin> upcasting::Guest for P {
    fn upcast(events: Vec<Event>) -> Result<Vec<Vec<NewEvent>>, WitFault> {
        log::send_panics_to_log();
        let types: Vec<_> = P::AGGREGATES.iter().flat_map(|aggregate| (aggregate.event_types)()).collect();
        let one = |event| -> Result<Vec<NewEvent>, Fault> {
            let present = upcast::upcast::<P>(&types, &convert::event(event))?;
            present.into_iter().map(convert::upcasted).collect()
        };
        events.into_iter().map(one).collect::<Result<_, _>>().map_err(convert::fault)
    }
}

impl<P: Plugin> projections::Guest for P {
    fn project(projection: String, events: Vec<Event>) -> Vec<Result<Vec<projections::Change>, WitFault>> {
        log::send_panics_to_log();
        let known = P::PROJECTIONS.iter().find(|known| known.name == projection);
        let one = |event| -> Result<Vec<projections::Change>, Fault> {
            let known = known.ok_or_else(|| Fault(format!("there is no projection `{projection}`")))?;
            let mut changes = Changes::default();
            (known.project)(&convert::event(event), &mut changes)?;
            Ok(changes.0.into_iter().map(convert::change).collect())
        };
        events.into_iter().map(|event| one(event).map_err(convert::fault)).collect()
    }
}

fn calls(calls: Vec<crate::shared::Call>) -> Vec<Call> {
    calls.into_iter().map(convert::call).collect()
}

fn query<P: Plugin>(
    ctx: Context,
    query: &str,
    params: &[u8],
    answers: Vec<Rows>,
) -> Result<queries::QueryOutcome, Fault> {
    let known = P::QUERIES
        .iter()
        .find(|known| known.name == query)
        .ok_or_else(|| Fault(format!("there is no query `{query}`")))?;
    match (known.handle)(params, &convert::context(ctx, Vec::new()), convert::rows(answers)) {
        Ok(answer) => Ok(queries::QueryOutcome::Done(answer)),
        Err(Error::Reads(wanted)) => Ok(queries::QueryOutcome::Read(calls(wanted))),
        Err(Error::Rejected(no)) => Ok(queries::QueryOutcome::Rejected(convert::rejection(no))),
        Err(Error::Needs(_)) => Err(Fault::new("a query cannot load aggregates")),
        Err(Error::Fault(fault)) => Err(fault),
    }
}

impl<P: Plugin> queries::Guest for P {
    fn query(
        ctx: Context,
        name: String,
        params: Vec<u8>,
        answers: Vec<Rows>,
    ) -> Result<queries::QueryOutcome, WitFault> {
        log::send_panics_to_log();
        query::<P>(ctx, &name, &params, answers).map_err(convert::fault)
    }
}

fn react<P: Plugin>(
    ctx: Context,
    policy: &str,
    event: Event,
    state: Option<Vec<u8>>,
    answers: Vec<Rows>,
) -> Result<policies::PolicyOutcome, Fault> {
    let known = P::POLICIES
        .iter()
        .find(|known| known.name == policy)
        .ok_or_else(|| Fault(format!("there is no policy `{policy}`")))?;
    let (event, ctx) = (convert::event(event), convert::context(ctx, Vec::new()));
    match (known.react)(&event, state, &ctx, convert::rows(answers)) {
        Ok(reaction) => Ok(policies::PolicyOutcome::Done(policies::Reaction {
            state: reaction.state,
            commands: reaction.commands.into_iter().map(convert::policy_command).collect(),
        })),
        Err(Error::Reads(wanted)) => Ok(policies::PolicyOutcome::Read(calls(wanted))),
        Err(Error::Rejected(no)) => Err(Fault(format!("a policy rejects: {no}"))),
        Err(Error::Needs(_)) => Err(Fault::new("a policy cannot load aggregates")),
        Err(Error::Fault(fault)) => Err(fault),
    }
}

impl<P: Plugin> policies::Guest for P {
    fn react(
        ctx: Context,
        policy: String,
        event: Event,
        state: Option<Vec<u8>>,
        answers: Vec<Rows>,
    ) -> Result<policies::PolicyOutcome, WitFault> {
        log::send_panics_to_log();
        react::<P>(ctx, &policy, event, state, answers).map_err(convert::fault)
    }
}
