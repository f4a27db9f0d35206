//! A guest should be a pure function whose events tell all that it decides. Some decisions are tried for that: what the
//! resident aggregate did is done once more by a fresh instance, and once more from the events as the log has them.

use cairn_model::Version;
use serde_json::Value;
use wasmtime::component::ResourceAny;

use super::apply::Made;
use super::desk::Desk;
use super::housing::{NoPlace, gone};
use super::question::{Question, guest_events};
use super::slot::Slot;
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert;
use crate::fault::{Fault, FaultKind};
use crate::guest::Guest;
use crate::work::Host;

/// The resident aggregate before a decision that is tried.
pub(super) struct Sample {
    version: Version,
    /// None before the first event.
    state: Option<Vec<u8>>,
}

impl Sample {
    fn restore<C>(&self, guest: &mut Guest, slot: &Slot<C>) -> Result<ResourceAny, Fault> {
        let version = self.version;
        let snapshot = self.state.as_deref().map(|state| aggregates::Snapshot { version, state });
        guest.restore(&slot.stream.aggregate, convert::uuid(slot.stream.id), snapshot)
    }
}

impl<H: Host> Desk<H> {
    /// Notes how the resident aggregate is, if the decision that comes is to be tried.
    pub fn begin_sample(&mut self, slot: &Slot<H::Caller>) -> Result<Option<Sample>, Fault> {
        let every = self.shared.limits.sample_every;
        if every == 0 || !(self.accepted + 1).is_multiple_of(every) {
            return Ok(None);
        }
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let version = resident.version;
        let state = if version > 0 { Some(house.guest.snapshot(resident.handle)?) } else { None };
        Ok(Some(Sample { version, state }))
    }

    /// Tries a decision that the resident aggregate has just made and applied.
    pub fn check_sample(
        &mut self,
        slot: &Slot<H::Caller>,
        component: &Component,
        question: &Question<'_>,
        sample: Sample,
        made: &Made,
    ) -> Result<(), Fault> {
        // The instance that is compared must not be retired to make room: then there is no sample this time.
        let mut fresh = match self.housing.spare(component) {
            Ok(guest) => guest,
            Err(NoPlace::Full) => return Ok(()),
            Err(NoPlace::Fault(fault)) => return Err(fault),
        };
        let decided = sample.restore(&mut fresh, slot)?;
        let again = match question.ask(&mut fresh, decided)? {
            aggregates::Outcome::Accepted(accepted) => {
                self.made(&slot.stream, component, question, accepted).ok()
            }
            _ => None,
        };
        if again.is_none_or(|again| !are_equal(made, &again)) {
            let message = format!("`{}` gave another result in a fresh instance", question.call.command);
            return Err(Fault::new(FaultKind::Nondeterministic, message));
        }
        let mismatch = |what: &str| {
            let message = format!("after `{}` {what}", question.call.command);
            Fault::new(FaultKind::StateMismatch, message)
        };
        let recorded = sample.restore(&mut fresh, slot)?;
        let actor = question.context.principal.id;
        let events = guest_events(&slot.stream, sample.version, &made.events, made.now, actor);
        let changes = fresh
            .apply(recorded, &events)
            .map_err(|fault| mismatch(&format!("its own events cannot be applied: {fault}")))?;
        let changes = convert::changed(component, changes);
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let kept = house.guest.snapshot(resident.handle)?;
        if !are_same_json(&kept, &fresh.snapshot(recorded)?) {
            return Err(mismatch("the state is another when its events come back from the log"));
        }
        if changes != made.changes {
            return Err(mismatch("access or claims are others when its events come back from the log"));
        }
        Ok(())
    }
}

fn are_equal(one: &Made, other: &Made) -> bool {
    one.events == other.events && one.result.get() == other.result.get() && one.changes == other.changes
}

/// Whether two documents say the same. Members may be in another order, since a map may have been filled in another one.
fn are_same_json(one: &[u8], other: &[u8]) -> bool {
    let read = |json| serde_json::from_slice::<Value>(json).ok();
    one == other || read(one).is_some_and(|one| read(other) == Some(one))
}
