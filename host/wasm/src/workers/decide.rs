//! The decision itself: what the host checks, what the guest says, and what its yes does to the resident aggregate.

use cairn_model::access::AccessRow;
use cairn_model::{Permission, Permissions, StreamKey, Version, ids};

use super::PeekError;
use super::apply::Made;
use super::desk::Desk;
use super::housing::gone;
use super::question::{Question, aggregate_of};
use super::slot::{Current, Need, Slot};
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert::{self, ContextParts};
use crate::fault::Fault;
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
        let question = Question {
            call,
            context: ContextParts::new(
                now,
                ids::seed(call.command_id),
                &current.work.principal,
                call.on_behalf_of,
                permissions,
                call.command_id,
                call.correlation_id.as_deref(),
                call.causation_id.as_deref(),
            ),
            answers: &current.answers,
        };
        let component = &current.work.component;
        let sample = self.begin_sample(slot)?;
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let outcome = question.ask(&mut house.guest, resident.handle)?;
        match outcome {
            aggregates::Outcome::Accepted(accepted) => {
                let made = self.made(&slot.stream, component, &question, accepted)?;
                if let Some(sample) = sample {
                    self.check_sample(slot, component, &question, sample, &made)?;
                }
                self.accepted += 1;
                self.take(slot, component, made).map(Some)
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
            aggregates::Need::Aggregate(stream) => Need::Aggregate(convert::stream_ref(component, stream)),
            aggregates::Need::Ancestors(stream) => Need::Ancestors(convert::stream_ref(component, stream)),
        };
        Ok(needs.into_iter().map(need).collect())
    }

    /// What a guest's yes comes to, if it keeps to the contract.
    pub fn made(
        &self,
        stream: &StreamKey,
        component: &Component,
        question: &Question<'_>,
        accepted: aggregates::Accepted,
    ) -> Result<Made, Fault> {
        let aggregates::Accepted { events, result, changes } = accepted;
        let limits = &self.shared.limits;
        let bytes = result.len() + events.iter().map(|event| event.data.len()).sum::<usize>();
        if events.len() > limits.decision_events || bytes > limits.decision_bytes {
            let message = format!("{} events with {bytes} bytes are too much for a decision", events.len());
            return Err(Fault::bad_output(message));
        }
        if events.is_empty() && (changes.access.is_some() || changes.claims.is_some()) {
            return Err(Fault::bad_output("it changed its access or its claims without an event"));
        }
        let aggregate = aggregate_of(component, stream)?;
        let known = |name: &str| aggregate.event(name).map(|event| (&event.name, event.schema_version));
        Ok(Made {
            events: events
                .into_iter()
                .map(|event| convert::new_event(known, event))
                .collect::<Result<_, _>>()?,
            result: convert::raw_json(result, "the result")?,
            now: question.context.now,
            changes: convert::changed(component, changes),
        })
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
            correlation_id: None,
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
