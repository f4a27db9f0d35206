//! The decision itself: what the host checks, what the guest says, and what its yes does to the resident aggregate.

use std::sync::Arc;

use cairn_model::access::AccessRow;
use cairn_model::{Access, NewEvent, Permission, Permissions, Timestamp, Version, ids};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::PeekError;
use super::desk::Desk;
use super::housing::NoPlace;
use super::load::sorted;
use super::question::{Question, are_equal, guest_events};
use super::slot::{Current, Need, Resident, Slot};
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert::{self, ContextParts, IdText};
use crate::fault::{Fault, FaultKind};
use crate::guest::Guest;
use crate::work::{Accepted, CommandCall, Given, Host, SnapshotDraft, Task, Verdict, Work};

/// A verdict and what follows from it.
pub(super) struct Ruling {
    pub verdict: Verdict,
    /// The version that it rests on; `None` if it rests on nothing.
    pub version: Option<Version>,
    /// The access that the decision set.
    pub access: Option<AccessRow>,
    /// Whether the state changed.
    pub changed: bool,
}

/// Events that are to be applied, with what becomes part of the answer and of their metadata.
struct Made {
    events: Vec<NewEvent>,
    result: Box<RawValue>,
    now: Timestamp,
    actor: Uuid,
}

impl Ruling {
    fn on(version: Version, verdict: Verdict) -> Self {
        Self { verdict, version: Some(version), access: None, changed: false }
    }

    pub fn failed(error: PeekError) -> Self {
        let verdict = match error {
            PeekError::Fault(fault) => Verdict::Fault(fault),
            PeekError::Unavailable(cause) => Verdict::Unavailable(cause),
            PeekError::Overloaded => Verdict::Overloaded,
        };
        Self { verdict, version: None, access: None, changed: false }
    }
}

impl<H: Host> Desk<H> {
    /// Decides; `None` when the guest needs more first.
    pub fn decide(
        &mut self,
        slot: &mut Slot<H::Caller>,
        current: &mut Current<H::Caller>,
    ) -> Result<Option<Ruling>, Fault> {
        let gone = || Fault::new(FaultKind::Trap, "the instance is gone");
        let version = slot.resident.as_ref().ok_or_else(gone)?.version;
        let permissions = current.permissions.unwrap_or(Permissions::NONE);
        let Task::Command(call) = &current.work.task else {
            return self.read_state(slot, version, permissions).map(Some);
        };
        if let Some(no) = refusal(call, version, permissions) {
            return Ok(Some(Ruling::on(version, no)));
        }
        if let Some(given) = call.given.clone() {
            return self.take_given(slot, &current.work, given).map(Some);
        }
        let now = self.shared.clock.now().max(slot.last_now);
        slot.last_now = now;
        let command_id = IdText::new(call.command_id);
        let question = Question {
            call,
            context: ContextParts::new(
                now,
                ids::seed(call.command_id),
                &current.work.principal,
                call.on_behalf_of,
                permissions,
                command_id.as_str(),
                &call.correlation_id,
                call.causation_id.as_deref(),
            ),
            answers: &current.answers,
        };
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let outcome = question.ask(&mut house.guest, resident.handle)?;
        match outcome {
            aggregates::Outcome::Accepted(accepted) => {
                self.accept(slot, &current.work.component, &question, accepted).map(Some)
            }
            aggregates::Outcome::Rejected(rejection) => {
                Ok(Some(Ruling::on(version, Verdict::Rejected(convert::rejection(rejection)))))
            }
            aggregates::Outcome::Need(needs) => {
                let needs = self.take_needs(current, needs)?;
                current.rounds += 1;
                current.needs = needs;
                Ok(None)
            }
        }
    }

    fn read_state(
        &mut self,
        slot: &mut Slot<H::Caller>,
        version: Version,
        permissions: Permissions,
    ) -> Result<Ruling, Fault> {
        if version == 0 || !permissions.contains(Permission::Read) {
            return Ok(Ruling::on(version, Verdict::NotFound));
        }
        let hint = self.state_hint(slot)?;
        let state =
            hint.state.as_ref().map(|state| convert::raw_json(state.to_vec(), "the state")).transpose()?;
        Ok(Ruling::on(version, Verdict::State { state, access: hint.access.clone() }))
    }

    fn take_needs(
        &self,
        current: &Current<H::Caller>,
        needs: Vec<aggregates::Need>,
    ) -> Result<Vec<Need>, Fault> {
        let limits = &self.shared.limits;
        if needs.is_empty() {
            return Err(Fault::bad_output("it needs something, but says not what"));
        }
        if current.rounds >= limits.need_rounds || needs.len() > limits.need_answers {
            return Err(Fault::bad_output("it needs more and more aggregates"));
        }
        let component = &current.work.component;
        let need = |need| match need {
            aggregates::Need::Aggregate(it) => {
                convert::stream_ref(component, &it.aggregate, &it.id).map(Need::Aggregate)
            }
            aggregates::Need::Ancestors(it) => {
                convert::stream_ref(component, &it.aggregate, &it.id).map(Need::Ancestors)
            }
        };
        needs.into_iter().map(need).collect()
    }

    /// Takes events that were decided elsewhere.
    fn take_given(
        &mut self,
        slot: &mut Slot<H::Caller>,
        work: &Work<H::Caller>,
        given: Given,
    ) -> Result<Ruling, Fault> {
        let now = given.occurred_at.unwrap_or_else(|| self.shared.clock.now()).max(slot.last_now);
        slot.last_now = now;
        let made = Made {
            events: given.events.to_vec(),
            result: convert::raw_json(b"null".to_vec(), "no result")?,
            now,
            actor: work.principal.id,
        };
        self.take_events(slot, &work.component, made)
    }

    /// Takes a guest's yes.
    fn accept(
        &mut self,
        slot: &mut Slot<H::Caller>,
        component: &Arc<Component>,
        question: &Question<'_>,
        accepted: aggregates::Accepted,
    ) -> Result<Ruling, Fault> {
        self.accepted += 1;
        let sample = self.shared.limits.sample_every;
        if sample > 0 && self.accepted.is_multiple_of(sample) {
            self.repeat(slot, component, question, &accepted)?;
        }
        let limits = self.shared.limits;
        let bytes =
            accepted.result.len() + accepted.events.iter().map(|event| event.data.len()).sum::<usize>();
        if accepted.events.len() > limits.decision_events || bytes > limits.decision_bytes {
            let message =
                format!("{} events with {bytes} bytes are too much for a decision", accepted.events.len());
            return Err(Fault::bad_output(message));
        }
        let events: Vec<NewEvent> = accepted
            .events
            .into_iter()
            .map(|event| convert::new_event(component, event))
            .collect::<Result<_, _>>()?;
        let made = Made {
            events,
            result: convert::raw_json(accepted.result, "the result")?,
            now: question.context.now,
            actor: question.context.principal.id,
        };
        self.take_events(slot, component, made)
    }

    /// Applies events to the resident aggregate and finds out what they changed.
    fn take_events(
        &mut self,
        slot: &mut Slot<H::Caller>,
        component: &Arc<Component>,
        made: Made,
    ) -> Result<Ruling, Fault> {
        let gone = || Fault::new(FaultKind::Trap, "the instance is gone");
        let Made { events, result, now, actor } = made;
        let mut yes = Accepted {
            events,
            result,
            now,
            claims_taken: Vec::new(),
            claims_released: Vec::new(),
            access: None,
            snapshot: None,
        };
        let resident = slot.resident.as_mut().ok_or_else(gone)?;
        let before = resident.version;
        let mut row = None;
        if !yes.events.is_empty() {
            let house = self.housing.get(resident.house).ok_or_else(gone)?;
            let actor = IdText::new(actor);
            let aggregate = component
                .manifest()
                .aggregate(&slot.stream.aggregate)
                .ok_or_else(|| Fault::bad_output("its aggregate is gone"))?;
            check_types(aggregate, &yes.events)?;
            let events = guest_events(&aggregate.name, &slot.id, before, &yes.events, now, &actor);
            let touched = house.guest.apply(resident.handle, &events)?;
            resident.version = before + yes.events.len() as u64;
            if touched.contains(aggregates::Touched::CLAIMS) {
                let claims = sorted(house.guest.claims(resident.handle)?);
                (yes.claims_taken, yes.claims_released) = differences(&resident.claims, &claims);
                resident.claims = claims;
            }
            if touched.contains(aggregates::Touched::ACCESS) {
                let access = house.guest.access(resident.handle)?;
                let access = access.map(|access| convert::access(component, access)).transpose()?;
                row = change_access(resident, access, &slot.stream.local());
                yes.access = row.as_ref().and_then(|row| row.access.clone());
            }
            yes.snapshot = snapshot(aggregate, &mut house.guest, resident, before)?;
        }
        let changed = resident.version > before;
        Ok(Ruling { verdict: Verdict::Accepted(yes), version: Some(before), access: row, changed })
    }

    /// Asks a fresh instance the same and compares: a guest that is a pure function says the same.
    fn repeat(
        &mut self,
        slot: &Slot<H::Caller>,
        component: &Arc<Component>,
        question: &Question<'_>,
        first: &aggregates::Accepted,
    ) -> Result<(), Fault> {
        let Some(resident) = &slot.resident else { return Ok(()) };
        let Some(house) = self.housing.get(resident.house) else { return Ok(()) };
        let state = if resident.version > 0 { Some(house.guest.snapshot(resident.handle)?) } else { None };
        // The instance that is compared must not be retired to make room: then there is no sample this time.
        let mut guest = match self.housing.spare(component) {
            Ok(guest) => guest,
            Err(NoPlace::Full) => return Ok(()),
            Err(NoPlace::Fault(fault)) => return Err(fault),
        };
        let snapshot =
            state.as_deref().map(|state| aggregates::Snapshot { version: resident.version, state });
        let handle = guest.restore(&slot.stream.aggregate, slot.id.as_str(), snapshot)?;
        let second = question.ask(&mut guest, handle)?;
        match second {
            aggregates::Outcome::Accepted(second) if are_equal(first, &second) => Ok(()),
            _ => Err(Fault::new(
                FaultKind::Nondeterministic,
                format!("`{}` gave another result in a fresh instance", question.call.command),
            )),
        }
    }
}

/// What the host says no to without asking the guest.
fn refusal(call: &CommandCall, version: Version, permissions: Permissions) -> Option<Verdict> {
    if call.given.is_some() {
        // Only the expected version counts.
    } else if call.creates {
        if version > 0 {
            return Some(Verdict::Exists);
        }
    } else {
        if version == 0 {
            return Some(Verdict::NotFound);
        }
        if let Some(permission) = call.permission
            && !permissions.contains(permission)
        {
            let visible = permissions.contains(Permission::Read);
            return Some(if visible { Verdict::Forbidden(permission) } else { Verdict::NotFound });
        }
    }
    call.if_match.is_some_and(|wanted| wanted != version).then_some(Verdict::VersionMismatch)
}

fn check_types(aggregate: &cairn_model::manifest::Aggregate, events: &[NewEvent]) -> Result<(), Fault> {
    events.iter().try_for_each(|event| {
        if aggregate.events.iter().any(|own| own.name == event.event_type) {
            return Ok(());
        }
        Err(Fault::bad_output(format!("`{}` is no event of `{}`", event.event_type, aggregate.name)))
    })
}

/// What was taken and what was released, of two sorted lists.
fn differences(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let missing = |from: &[String], other: &[String]| {
        from.iter().filter(|claim| other.binary_search(claim).is_err()).cloned().collect()
    };
    (missing(after, before), missing(before, after))
}

/// Takes a new access if it is another one. An aggregate that has none any more is nobody's.
fn change_access(
    resident: &mut Resident,
    access: Option<Access>,
    stream: &cairn_model::StreamRef,
) -> Option<AccessRow> {
    if access == resident.access {
        return None;
    }
    resident.access.clone_from(&access);
    let access = Some(access.unwrap_or_default());
    Some(AccessRow { stream: stream.clone(), version: resident.version, access })
}

/// A snapshot, if the events crossed the aggregate's interval.
fn snapshot(
    aggregate: &cairn_model::manifest::Aggregate,
    guest: &mut Guest,
    resident: &Resident,
    before: Version,
) -> Result<Option<SnapshotDraft>, Fault> {
    let every = u64::from(aggregate.snapshot_every);
    if every == 0 || before / every == resident.version / every {
        return Ok(None);
    }
    let state = guest.snapshot(resident.handle)?.into();
    Ok(Some(SnapshotDraft { version: resident.version, state_version: aggregate.state_version, state }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn call(creates: bool, permission: Option<Permission>, if_match: Option<Version>) -> CommandCall {
        CommandCall {
            command: "edit".into(),
            payload: Bytes::new(),
            if_match,
            permission,
            creates,
            command_id: Uuid::nil(),
            correlation_id: String::new(),
            causation_id: None,
            on_behalf_of: None,
            given: None,
        }
    }

    #[test]
    fn what_the_caller_may_not_read_does_not_exist() {
        let edit = call(false, Some(Permission::Write), Some(9));
        assert!(matches!(refusal(&edit, 0, Permissions::ALL), Some(Verdict::NotFound)));
        assert!(matches!(refusal(&edit, 3, Permissions::NONE), Some(Verdict::NotFound)));
        let reader = Permissions::from(Permission::Read);
        assert!(matches!(refusal(&edit, 3, reader), Some(Verdict::Forbidden(Permission::Write))));
    }

    #[test]
    fn the_version_is_looked_at_last() {
        let edit = call(false, Some(Permission::Write), Some(2));
        assert!(matches!(refusal(&edit, 3, Permissions::ALL), Some(Verdict::VersionMismatch)));
        assert!(refusal(&edit, 2, Permissions::ALL).is_none());
    }

    #[test]
    fn what_exists_is_not_made_again() {
        assert!(matches!(refusal(&call(true, None, None), 1, Permissions::ALL), Some(Verdict::Exists)));
        assert!(refusal(&call(true, None, None), 0, Permissions::ALL).is_none());
    }

    #[test]
    fn claims_are_compared_as_sets() {
        let list = |claims: &[&str]| claims.iter().map(|claim| (*claim).to_owned()).collect::<Vec<_>>();
        let (taken, released) = differences(&list(&["a", "b"]), &list(&["b", "c"]));
        assert_eq!((taken, released), (list(&["c"]), list(&["a"])));
    }
}
