//! The instances of one thread. Each is of one component and one tenant. Linear memory never shrinks, so instances are
//! retired whole; a resident aggregate whose instance is gone is gone too, and comes back from the log when it is needed.

use std::sync::Arc;

use cairn_model::Name;

use crate::component::Component;
use crate::engine::Permits;
use crate::fault::{Fault, FaultKind};
use crate::guest::Guest;
use crate::limits::Limits;

/// An instance with resident aggregates.
pub(super) struct House {
    pub id: u64,
    pub guest: Guest,
    pub component: Arc<Component>,
    tenant: Name,
    /// How many aggregates live in it.
    pub residents: usize,
}

/// The instances of a thread, oldest first.
pub(super) struct Housing {
    houses: Vec<House>,
    next_id: u64,
    permits: Permits,
    limits: Limits,
    /// Set when an instance went, until somebody has looked for what went with it.
    pub retired: bool,
}

/// What is said where an aggregate should be resident and is not.
pub(super) fn gone() -> Fault {
    Fault::new(FaultKind::Trap, "the instance is gone")
}

/// Why there is no place for an aggregate.
pub(super) enum NoPlace {
    /// All of the engine's instances are in use.
    Full,
    Fault(Fault),
}

impl Housing {
    pub fn new(limits: Limits, permits: Permits) -> Self {
        Self { houses: Vec::new(), next_id: 1, permits, limits, retired: false }
    }

    pub fn get(&mut self, id: u64) -> Option<&mut House> {
        self.houses.iter_mut().find(|house| house.id == id)
    }

    pub fn contains(&self, id: u64) -> bool {
        self.houses.iter().any(|house| house.id == id)
    }

    /// An instance with room for one more aggregate.
    pub fn place(&mut self, component: &Arc<Component>, tenant: &Name) -> Result<&mut House, NoPlace> {
        let limits = self.limits;
        let fits = |house: &House| {
            house.residents < limits.aggregates_per_instance
                && house.component.digest() == component.digest()
                && house.tenant == *tenant
                && house.guest.memory_bytes() < limits.watermark_bytes
        };
        if let Some(index) = self.houses.iter().rposition(fits) {
            return Ok(&mut self.houses[index]);
        }
        while self.houses.len() >= limits.instances_per_worker.max(1) {
            self.retire_oldest();
        }
        let guest = self.fresh(component)?;
        let id = self.next_id;
        self.next_id += 1;
        let house = House { id, guest, component: component.clone(), tenant: tenant.clone(), residents: 0 };
        Ok(self.houses.push_mut(house))
    }

    /// An instance that nobody lives in. Old ones go if there is no other way.
    fn fresh(&mut self, component: &Component) -> Result<Guest, NoPlace> {
        let permit = loop {
            match self.permits.worker() {
                Some(permit) => break permit,
                None if self.houses.is_empty() => return Err(NoPlace::Full),
                None => self.retire_oldest(),
            }
        };
        Guest::new(component, permit).map_err(NoPlace::Fault)
    }

    /// An instance that nobody lives in, if there is one left without anybody's leaving.
    pub fn spare(&self, component: &Component) -> Result<Guest, NoPlace> {
        let permit = self.permits.worker().ok_or(NoPlace::Full)?;
        Guest::new(component, permit).map_err(NoPlace::Fault)
    }

    /// Drops an instance and everything in it.
    pub fn retire(&mut self, id: u64) {
        let before = self.houses.len();
        self.houses.retain(|house| house.id != id);
        self.retired |= self.houses.len() < before;
    }

    /// Drops the instance if it has grown too large for several aggregates.
    pub fn retire_if_grown(&mut self, id: u64) {
        let watermark = self.limits.watermark_bytes;
        if self.get(id).is_some_and(|house| house.residents > 1 && house.guest.memory_bytes() >= watermark) {
            self.retire(id);
        }
    }

    fn retire_oldest(&mut self) {
        self.houses.remove(0);
        self.retired = true;
    }
}
