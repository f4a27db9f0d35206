//! How an aggregate becomes resident and how it goes: its history from the log, folded in an instance.

use std::sync::Arc;

use bytes::Bytes;
use cairn_model::{Lineage, RecordedEvent, Version};

use super::PeekError;
use super::desk::{Desk, Request};
use super::hints::StateHint;
use super::housing::{NoPlace, gone};
use super::slot::{Current, Loading, Resident, Slot};
use crate::calls;
use crate::component::Component;
use crate::convert;
use crate::fault::{Fault, FaultKind};
use crate::work::{Base, Fetch, Fetched, Host, Task, Ticket};

/// Whether a decision can be made on the resident aggregate.
pub(super) enum Readiness {
    Ready,
    /// Its history is being fetched.
    Wait,
    Failed(PeekError),
}

impl<H: Host> Desk<H> {
    /// Sees to it that the aggregate is there as the work's component has it.
    pub fn make_resident(
        &mut self,
        slot: &mut Slot<H::Caller>,
        current: &mut Current<H::Caller>,
    ) -> Readiness {
        let component = current.work.component.clone();
        if !self.is_usable(slot, &component) {
            self.drop_resident(slot);
            let creates = matches!(&current.work.task, Task::Command(call) if call.expects_nothing());
            if !creates || current.work.attempts > 0 {
                self.load(slot, component, false);
                return Readiness::Wait;
            }
            // Most streams that somebody wants to make are new; the log checks whether this one is.
            if let Err(error) = self.settle(slot, &component, None, &[]) {
                return Readiness::Failed(error);
            }
        }
        if let Some(resident) = &slot.resident
            && resident.incarnation != current.incarnation
        {
            current.restart(resident.incarnation);
        }
        Readiness::Ready
    }

    pub fn is_usable(&self, slot: &Slot<H::Caller>, component: &Component) -> bool {
        slot.resident.as_ref().is_some_and(|resident| {
            resident.digest == component.digest()
                && !resident.lineage.is_broken()
                && self.housing.contains(resident.house)
        })
    }

    pub fn load(&mut self, slot: &mut Slot<H::Caller>, component: Arc<Component>, whole: bool) {
        let request = self.next_id();
        self.requests.insert(request, Request::History(slot.stream.clone()));
        let aggregate = component.manifest().aggregate(&slot.stream.aggregate);
        let base = if whole { None } else { self.shared.hints.base(&slot.stream, component.digest()) };
        let fetch = Fetch::History {
            stream: slot.stream.clone(),
            state_version: aggregate.map_or(0, |aggregate| aggregate.state_version),
            digest: component.digest(),
            whole,
            base,
        };
        slot.loading = Some(Loading { component, whole });
        self.shared.host.fetch(Ticket { worker: self.index, request }, fetch);
    }

    /// Takes a stream's history and goes on with the stream.
    pub fn take_history(&mut self, slot: &mut Slot<H::Caller>, fetched: Fetched) {
        let Some(Loading { component, whole }) = slot.loading.take() else { return };
        let result = match fetched {
            Fetched::History { snapshot, snapshot_at, events } => {
                slot.last_now = slot.last_now.max(snapshot_at.unwrap_or_default());
                match self.settle(slot, &component, snapshot.as_ref(), &events) {
                    // Snapshots are hints. One that the guest cannot read is not used.
                    Err(PeekError::Fault(fault)) if snapshot.is_some() && !whole => {
                        tracing::warn!(stream = %slot.stream, %fault, "a snapshot is not readable; all events are read");
                        self.load(slot, component, true);
                        return;
                    }
                    result => result,
                }
            }
            Fetched::Failed(cause) => Err(PeekError::Unavailable(cause)),
            Fetched::AccessChain(_) => {
                Err(PeekError::Unavailable("the host gave access rows for a history".into()))
            }
        };
        if let Err(error) = result {
            match &mut slot.current {
                Some(current) => {
                    self.note(&current.work, &error);
                    current.gathered.failed = Some(error.clone());
                }
                None if matches!(error, PeekError::Fault(_)) => {
                    self.shared.quarantine.note_stream(&slot.stream, component.digest());
                }
                None => {}
            }
            for peek in std::mem::take(&mut slot.peeks) {
                self.reply(peek, Err(error.clone()));
            }
        }
        for peek in std::mem::take(&mut slot.peeks) {
            self.peek(slot, peek);
        }
        self.run(slot);
    }

    /// Folds a history into a resident aggregate.
    fn settle(
        &mut self,
        slot: &mut Slot<H::Caller>,
        component: &Arc<Component>,
        snapshot: Option<&(Version, Bytes)>,
        events: &[RecordedEvent],
    ) -> Result<(), PeekError> {
        if component.aggregate_name(&slot.stream.aggregate).is_none() {
            let message = format!("the component has no aggregate `{}`", slot.stream.aggregate);
            return Err(PeekError::Fault(Fault::bad_output(message)));
        }
        let house = match self.housing.place(component, &slot.stream.tenant) {
            Ok(house) => house,
            Err(NoPlace::Full) => return Err(PeekError::Overloaded),
            Err(NoPlace::Fault(fault)) => return Err(PeekError::Fault(fault)),
        };
        let id = house.id;
        let guest = &mut house.guest;
        let is_new = snapshot.is_none() && events.is_empty();
        let last = events.last().filter(|_| slot.contended);
        let folded =
            calls::fold(component, guest, &slot.stream, snapshot, events).and_then(|(handle, version)| {
                if is_new {
                    return Ok((handle, version, None, Vec::new()));
                }
                if let Some(RecordedEvent { hash, .. }) = last {
                    let base = Base { version, hash: *hash, state: guest.snapshot(handle)?.into() };
                    self.shared.hints.set_base(slot.stream.clone(), component.digest(), base);
                }
                let access = convert::access(component, guest.access(handle)?);
                Ok((handle, version, access, convert::claims(guest.claims(handle)?)))
            });
        match folded {
            Ok((handle, version, access, claims)) => {
                house.residents += 1;
                let incarnation = self.next_id();
                slot.resident = Some(Resident {
                    house: id,
                    handle,
                    incarnation,
                    digest: component.digest(),
                    version,
                    access,
                    claims,
                    lineage: Lineage::default(),
                    hinted: false,
                });
                if let Some(metadata) = events.last().and_then(|event| event.read_metadata().ok()) {
                    slot.last_now = slot.last_now.max(metadata.occurred_at);
                }
                Ok(())
            }
            Err(fault) => {
                // A guest that says that it cannot go on has not been harmed by that.
                if fault.kind != FaultKind::Guest {
                    self.housing.retire(id);
                }
                Err(PeekError::Fault(fault))
            }
        }
    }

    /// Frees a resident aggregate; the next work on it begins with the log.
    pub fn drop_resident(&mut self, slot: &mut Slot<H::Caller>) {
        let Some(resident) = slot.resident.take() else { return };
        self.forget_state(slot, &resident);
        if let Some(house) = self.housing.get(resident.house) {
            house.residents = house.residents.saturating_sub(1);
            if house.guest.drop_aggregate(resident.handle).is_err() {
                self.housing.retire(resident.house);
            }
        }
    }

    /// Gives up an aggregate with its whole instance.
    pub fn lose_resident(&mut self, slot: &mut Slot<H::Caller>) {
        if let Some(resident) = slot.resident.take() {
            self.housing.retire(resident.house);
            self.forget_state(slot, &resident);
        }
    }

    fn forget_state(&self, slot: &Slot<H::Caller>, resident: &Resident) {
        if resident.hinted {
            self.shared.hints.drop_state(&slot.stream);
        }
    }

    /// The resident's state in a form that others may have.
    pub fn state_hint(&mut self, slot: &mut Slot<H::Caller>) -> Result<Arc<StateHint>, Fault> {
        let resident = slot.resident.as_mut().ok_or_else(gone)?;
        if resident.hinted
            && let Some(hint) =
                self.shared.hints.state(&slot.stream).filter(|hint| hint.version == resident.version)
        {
            return Ok(hint);
        }
        let house = self.housing.get(resident.house).ok_or_else(gone)?;
        let state = house.guest.state(resident.handle)?;
        let hint = Arc::new(StateHint {
            version: resident.version,
            state: state.map(Bytes::from),
            access: resident.access.clone(),
            lineage: resident.lineage.clone(),
        });
        resident.hinted = true;
        self.shared.hints.set_state(slot.stream.clone(), hint.clone());
        Ok(hint)
    }
}
