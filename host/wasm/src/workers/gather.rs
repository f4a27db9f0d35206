//! What a decision needs besides its own aggregate: the caller's permissions, other aggregates, chains of parents. It
//! comes from what the attempt got already, else from hints, else it is missing and asked for.

use std::sync::Arc;

use cairn_model::access::CHAIN_LINKS;
use cairn_model::{Access, Permissions, StreamRef};

use super::desk::Desk;
use super::hints::StateHint;
use super::slot::{Answered, Current, Missing, Need, Slot};
use crate::fault::Fault;
use crate::work::{Host, Task};

/// Why a decision cannot be made yet, or at all.
pub(super) enum Hindrance {
    Missing(Vec<Missing>),
    Fault(Fault),
}

/// Why one thing is not at hand.
enum NotHere {
    Missing(Missing),
    Fault(Fault),
}

impl<H: Host> Desk<H> {
    /// Finds the permissions, and the answers to what the guest asked for last. All that is missing is named at once.
    pub fn gather(
        &mut self,
        slot: &mut Slot<H::Caller>,
        current: &mut Current<H::Caller>,
    ) -> Result<(), Hindrance> {
        if current.permissions.is_none() {
            let permissions = self.own_permissions(slot, current).map_err(NotHere::alone)?;
            current.permissions = Some(permissions);
        }
        let needs = std::mem::take(&mut current.needs);
        let (mut answers, mut missing) = (Vec::with_capacity(needs.len()), Vec::new());
        for need in &needs {
            match self.resolve(slot, current, need) {
                Ok(answer) => answers.push(answer),
                Err(NotHere::Missing(thing)) => missing.push(thing),
                Err(NotHere::Fault(fault)) => return Err(Hindrance::Fault(fault)),
            }
        }
        if !missing.is_empty() {
            current.needs = needs;
            return Err(Hindrance::Missing(missing));
        }
        current.answers.extend(answers);
        let count: usize = current.answers.iter().map(Answered::count).sum();
        let limit = self.shared.limits.need_answers;
        if count > limit {
            return Err(Hindrance::Fault(Fault::bad_output(format!(
                "it needs more than {limit} aggregates"
            ))));
        }
        Ok(())
    }

    /// What the caller may do with the aggregate itself. Who makes an aggregate may do everything with it.
    fn own_permissions(
        &self,
        slot: &Slot<H::Caller>,
        current: &mut Current<H::Caller>,
    ) -> Result<Permissions, NotHere> {
        if matches!(&current.work.task, Task::Command(call) if call.creates || call.given.is_some()) {
            return Ok(Permissions::ALL);
        }
        let access = slot.resident.as_ref().and_then(|resident| resident.access.as_ref());
        self.permissions_along(slot, current, access)
    }

    /// What the caller may do, from this access upwards. It stops as soon as nothing can be added.
    fn permissions_along(
        &self,
        slot: &Slot<H::Caller>,
        current: &mut Current<H::Caller>,
        first: Option<&Access>,
    ) -> Result<Permissions, NotHere> {
        let principal = current.work.principal.clone();
        if principal.is_unbounded() {
            return Ok(Permissions::ALL);
        }
        let Some(first) = first else { return Ok(Permissions::NONE) };
        let mut sum = first.granted_here(&principal);
        let mut next = first.inherited_from().cloned();
        for _ in 0..CHAIN_LINKS {
            let Some(parent) = next else { break };
            if sum == Permissions::ALL {
                break;
            }
            let Some(access) = self.access(slot, current, &parent)? else { break };
            sum = sum.union(access.granted_here(&principal));
            next = access.inherited_from().cloned();
        }
        Ok(sum)
    }

    fn resolve(
        &mut self,
        slot: &mut Slot<H::Caller>,
        current: &mut Current<H::Caller>,
        need: &Need,
    ) -> Result<Answered, NotHere> {
        match need {
            Need::Aggregate(stream) => {
                let hint = self.state(slot, current, stream)?;
                let permissions = self.permissions_along(slot, current, hint.access.as_ref())?;
                Ok(Answered::Aggregate {
                    stream: stream.clone(),
                    version: hint.version,
                    state: hint.state.clone(),
                    permissions,
                })
            }
            Need::Ancestors(stream) => self.ancestors(slot, current, stream).map(Answered::Ancestors),
        }
    }

    fn state(
        &mut self,
        slot: &mut Slot<H::Caller>,
        current: &mut Current<H::Caller>,
        stream: &StreamRef,
    ) -> Result<Arc<StateHint>, NotHere> {
        if current.work.component.aggregate_name(&stream.aggregate).is_none() {
            let message = format!("it needs {stream}, but has no aggregate `{}`", stream.aggregate);
            return Err(NotHere::Fault(Fault::bad_output(message)));
        }
        let key = stream.of(&slot.stream.tenant);
        if key == slot.stream {
            return self.state_hint(slot).map_err(NotHere::Fault);
        }
        let known = current.gathered.states.get(&key).cloned().or_else(|| {
            let hint = if current.work.attempts == 0 { self.shared.hints.state(&key) } else { None };
            hint.inspect(|hint| _ = current.gathered.states.insert(key.clone(), hint.clone()))
        });
        let Some(hint) = known else { return Err(NotHere::Missing(Missing::State(key))) };
        current.reads.stream(&key, &hint);
        Ok(hint)
    }

    /// The stream itself and its parents up to a root, whether or not grants are inherited.
    fn ancestors(
        &self,
        slot: &Slot<H::Caller>,
        current: &mut Current<H::Caller>,
        stream: &StreamRef,
    ) -> Result<Vec<StreamRef>, NotHere> {
        let mut chain = Vec::new();
        let mut next = Some(stream.clone());
        while let Some(link) = next.take() {
            if chain.len() >= CHAIN_LINKS {
                // A part must not pass for the whole: a cycle could hide behind it.
                let message = format!("{stream} has more than {CHAIN_LINKS} ancestors");
                return Err(NotHere::Fault(Fault::bad_output(message)));
            }
            let access = self.access(slot, current, &link)?;
            chain.push(link);
            next = access.and_then(|access| access.parent);
        }
        Ok(chain)
    }

    /// A link of a chain. What the decision's own stream has is covered by its version, everything else is noted.
    fn access(
        &self,
        slot: &Slot<H::Caller>,
        current: &mut Current<H::Caller>,
        stream: &StreamRef,
    ) -> Result<Option<Access>, NotHere> {
        let key = stream.of(&slot.stream.tenant);
        if key == slot.stream {
            return Ok(slot.resident.as_ref().and_then(|resident| resident.access.clone()));
        }
        let known = current.gathered.rows.get(&key).cloned().or_else(|| {
            let hint = if current.work.attempts == 0 { self.shared.hints.access(&key) } else { None };
            hint.inspect(|hint| _ = current.gathered.rows.insert(key.clone(), hint.clone()))
        });
        let Some(hint) = known else { return Err(NotHere::Missing(Missing::Chain(key))) };
        current.reads.access(&key, &hint);
        Ok(hint.row.access.clone())
    }
}

impl NotHere {
    fn alone(self) -> Hindrance {
        match self {
            Self::Missing(missing) => Hindrance::Missing(vec![missing]),
            Self::Fault(fault) => Hindrance::Fault(fault),
        }
    }
}

impl Answered {
    /// How many aggregates it tells of.
    fn count(&self) -> usize {
        match self {
            Self::Aggregate { .. } => 1,
            Self::Ancestors(chain) => chain.len(),
        }
    }
}
