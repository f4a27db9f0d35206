//! Events on a resident aggregate: what a yes, or a raw append, does to it and what of that the log has to know.

use cairn_model::access::AccessRow;
use cairn_model::{Access, NewEvent, StreamRef, Timestamp, Version};
use serde_json::value::RawValue;

use super::decide::Ruling;
use super::desk::Desk;
use super::housing::gone;
use super::question::{aggregate_of, guest_events};
use super::slot::{Resident, Slot};
use crate::component::Component;
use crate::convert::{self, Changes};
use crate::fault::{Fault, FaultKind};
use crate::work::{Accepted, Given, Host, Rejection, RejectionKind, SnapshotDraft, Verdict, Work};

/// Events that the resident aggregate has applied, with what becomes part of the answer and of their metadata.
pub(super) struct Made {
    pub events: Vec<NewEvent>,
    pub result: Box<RawValue>,
    pub now: Timestamp,
    pub changes: Changes,
}

impl<H: Host> Desk<H> {
    /// Applies events that were decided elsewhere.
    pub fn take_given(
        &mut self,
        slot: &mut Slot<H::Caller>,
        work: &Work<H::Caller>,
        given: Given,
    ) -> Result<Ruling, Fault> {
        let now = given.occurred_at.unwrap_or_else(|| self.shared.clock.now()).max(slot.last_now);
        slot.last_now = now;
        let aggregate = aggregate_of(&work.component, &slot.stream)?;
        for event in &*given.events {
            if aggregate.event(&event.event_type).is_none() {
                let message = format!("`{}` is no event of `{}`", event.event_type, aggregate.name);
                return Err(Fault::bad_output(message));
            }
        }
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let events = guest_events(&slot.stream, resident.version, &given.events, now, work.principal.id);
        let changes = match house.guest.apply(resident.handle, &events) {
            // The guest has said that it cannot apply them, which is the sender's mistake and harms no other aggregate.
            Err(fault) if fault.kind == FaultKind::Guest => {
                let rejection = Rejection {
                    kind: RejectionKind::Invalid,
                    code: "event-not-applicable".to_owned(),
                    message: format!("the events cannot be applied: {}", fault.message),
                    errors: Vec::new(),
                };
                let verdict = Verdict::Rejected(rejection);
                return Ok(Ruling { spoilt: true, ..Ruling::on(resident.version, verdict) });
            }
            changes => convert::changed(&work.component, changes?),
        };
        let result = convert::raw_json(b"null".to_vec(), "no result")?;
        self.take(slot, &work.component, Made { events: given.events.to_vec(), result, now, changes })
    }

    /// Notes what the resident aggregate has applied, and finds out what of it the log has to know.
    pub fn take(
        &mut self,
        slot: &mut Slot<H::Caller>,
        component: &Component,
        made: Made,
    ) -> Result<Ruling, Fault> {
        let Made { events, result, now, changes } = made;
        let resident = slot.resident.as_mut().ok_or_else(gone)?;
        let before = resident.version;
        resident.version = before + events.len() as u64;
        let (claims_taken, claims_released) = match changes.claims {
            Some(claims) => {
                let differences = differences(&resident.claims, &claims);
                resident.claims = claims;
                differences
            }
            None => (Vec::new(), Vec::new()),
        };
        let row = changes.access.and_then(|access| change_access(resident, access, slot.stream.local()));
        let access = row.as_ref().and_then(|row| row.access.clone());
        let snapshot = self.snapshot(slot, component, before)?;
        let accepted = Accepted { events, result, now, claims_taken, claims_released, access, snapshot };
        let changed = !accepted.events.is_empty();
        Ok(Ruling { access: row, changed, ..Ruling::on(before, Verdict::Accepted(accepted)) })
    }

    /// A snapshot, if the events since this version crossed the aggregate's interval.
    fn snapshot(
        &mut self,
        slot: &Slot<H::Caller>,
        component: &Component,
        before: Version,
    ) -> Result<Option<SnapshotDraft>, Fault> {
        let aggregate = aggregate_of(component, &slot.stream)?;
        let resident = slot.resident.as_ref().ok_or_else(gone)?;
        let every = u64::from(aggregate.snapshot_every);
        if every == 0 || before / every == resident.version / every {
            return Ok(None);
        }
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let state = house.guest.snapshot(resident.handle)?.into();
        Ok(Some(SnapshotDraft { version: resident.version, state_version: aggregate.state_version, state }))
    }
}

/// What was taken and what was released, of two sorted lists.
fn differences(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let missing = |from: &[String], other: &[String]| {
        from.iter().filter(|claim| other.binary_search(claim).is_err()).cloned().collect()
    };
    (missing(after, before), missing(before, after))
}

/// Takes a new access if it is another one. An aggregate that has none any more is nobody's.
fn change_access(resident: &mut Resident, access: Option<Access>, stream: StreamRef) -> Option<AccessRow> {
    if access == resident.access {
        return None;
    }
    resident.access.clone_from(&access);
    let access = Some(access.unwrap_or_default());
    Some(AccessRow { stream, version: resident.version, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_compared_as_sets() {
        let list = |claims: &[&str]| claims.iter().map(|claim| (*claim).to_owned()).collect::<Vec<_>>();
        let (taken, released) = differences(&list(&["a", "b"]), &list(&["b", "c"]));
        assert_eq!((taken, released), (list(&["c"]), list(&["a"])));
    }
}
