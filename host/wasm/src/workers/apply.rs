//! Events on a resident aggregate: what a yes, or a raw append, does to it and what of that the log has to know.

use std::sync::Arc;

use cairn_model::access::AccessRow;
use cairn_model::{Access, NewEvent, Timestamp, Version};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::decide::Ruling;
use super::desk::Desk;
use super::load::sorted;
use super::question::guest_events;
use super::slot::{Resident, Slot};
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert::{self, IdText};
use crate::fault::{Fault, FaultKind};
use crate::guest::Guest;
use crate::work::{Accepted, Given, Host, Rejection, RejectionKind, SnapshotDraft, Verdict, Work};

/// Events that are to be applied, with what becomes part of the answer and of their metadata.
pub(super) struct Made {
    pub events: Vec<NewEvent>,
    pub result: Box<RawValue>,
    pub now: Timestamp,
    pub actor: Uuid,
}

impl<H: Host> Desk<H> {
    /// Takes events that were decided elsewhere.
    pub fn take_given(
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
        let before = slot.resident.as_ref().map_or(0, |resident| resident.version);
        match self.take_events(slot, &work.component, made) {
            // The guest has said that it cannot apply them, which is the sender's mistake and harms no other aggregate.
            Err(fault) if fault.kind == FaultKind::Guest => {
                let rejection = Rejection {
                    kind: RejectionKind::Invalid,
                    code: "event-not-applicable".to_owned(),
                    message: format!("the events cannot be applied: {}", fault.message),
                    errors: Vec::new(),
                };
                Ok(Ruling { spoilt: true, ..Ruling::on(before, Verdict::Rejected(rejection)) })
            }
            ruling => ruling,
        }
    }

    /// Applies events to the resident aggregate and finds out what they changed.
    pub fn take_events(
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
        Ok(Ruling { access: row, changed, ..Ruling::on(before, Verdict::Accepted(yes)) })
    }
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

    #[test]
    fn claims_are_compared_as_sets() {
        let list = |claims: &[&str]| claims.iter().map(|claim| (*claim).to_owned()).collect::<Vec<_>>();
        let (taken, released) = differences(&list(&["a", "b"]), &list(&["b", "c"]));
        assert_eq!((taken, released), (list(&["c"]), list(&["a"])));
    }
}
