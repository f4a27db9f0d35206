//! The decision itself: what the host checks, what the guest says, and what its yes does to the resident aggregate.

use std::sync::Arc;

use cairn_model::access::AccessRow;
use cairn_model::{NewEvent, Permission, Permissions, Version, ids};

use super::PeekError;
use super::apply::Made;
use super::desk::Desk;
use super::housing::NoPlace;
use super::question::{Question, are_equal};
use super::slot::{Current, Need, Slot};
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert::{self, ContextParts, IdText};
use crate::fault::{Fault, FaultKind};
use crate::work::{CommandCall, Host, Task, Verdict};

/// A verdict and what follows from it.
pub(super) struct Ruling {
    pub verdict: Verdict,
    /// The version that it rests on; `None` if it rests on nothing.
    pub version: Option<Version>,
    /// The access that the decision set.
    pub access: Option<AccessRow>,
    /// Whether the state changed.
    pub changed: bool,
    /// Whether the resident aggregate is not to be used any more.
    pub spoilt: bool,
}

impl Ruling {
    pub fn on(version: Version, verdict: Verdict) -> Self {
        Self { verdict, version: Some(version), access: None, changed: false, spoilt: false }
    }

    pub fn failed(error: PeekError) -> Self {
        let verdict = match error {
            PeekError::Fault(fault) => Verdict::Fault(fault),
            PeekError::Unavailable(cause) => Verdict::Unavailable(cause),
            PeekError::Overloaded => Verdict::Overloaded,
        };
        Self { verdict, version: None, access: None, changed: false, spoilt: false }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use uuid::Uuid;

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
}
