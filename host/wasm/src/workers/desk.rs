//! Where a thread works: it takes a stream's next piece of work, gets the aggregate resident, gathers what the decision
//! needs, and hands over the verdict.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cairn_model::StreamKey;
use cairn_model::access::AccessRow;

use super::decide::Ruling;
use super::gather::Hindrance;
use super::hints::{AccessHint, StateHint};
use super::housing::Housing;
use super::load::Readiness;
use super::slot::{Current, Missing, Slot};
use super::{Asker, Message, Peek, PeekError, Shared, nothing};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::work::{Basis, Decided, Fetch, Fetched, Host, Ticket, Work};

pub(super) struct Desk<H: Host> {
    pub shared: Arc<Shared<H>>,
    pub index: usize,
    pub housing: Housing,
    pub requests: HashMap<u64, Request>,
    /// How many decisions were accepted; every so many one is repeated.
    pub accepted: u64,
    next_id: u64,
}

/// What a fetch is for.
pub(super) enum Request {
    History(StreamKey),
    Chain { asker: Asker, from: StreamKey, fresh: bool },
}

impl<H: Host> Desk<H> {
    pub fn new(shared: Arc<Shared<H>>, index: usize) -> Self {
        let limits = if index < shared.homes {
            shared.limits
        } else {
            Limits { aggregates_per_instance: 1, instances_per_worker: 2, ..shared.limits }
        };
        let housing = Housing::new(limits, shared.permits.clone());
        Self { index, housing, requests: HashMap::new(), accepted: 0, next_id: 1, shared }
    }

    fn is_quarantine(&self) -> bool {
        self.index >= self.shared.homes
    }

    pub fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Works off a stream's queue as far as that is possible without waiting.
    pub fn run(&mut self, slot: &mut Slot<H::Caller>) {
        while slot.loading.is_none() {
            let Some(mut current) = self.next(slot) else { break };
            match self.step(slot, &mut current) {
                Some(ruling) => self.answer(slot, current, ruling),
                None => {
                    slot.current = Some(current);
                    return;
                }
            }
        }
        // An aggregate without events is not worth a place: anybody can ask for any number of them.
        if !slot.is_busy() && slot.resident.as_ref().is_some_and(|resident| resident.version == 0) {
            self.drop_resident(slot);
        }
    }

    fn next(&mut self, slot: &mut Slot<H::Caller>) -> Option<Current<H::Caller>> {
        if let Some(current) = slot.current.take() {
            if current.gathered.outstanding.is_empty() {
                return Some(current);
            }
            slot.current = Some(current);
            return None;
        }
        while let Some(work) = slot.queue.pop_front() {
            if work.attempts > self.shared.limits.attempts {
                tracing::warn!(stream = %work.stream, attempts = work.attempts, "a decision was refused too often");
                self.shared.give_up(self.index, work);
            } else if let Some(work) = self.keep(work) {
                let attempt = self.next_id();
                return Some(Current::new(work, attempt));
            }
        }
        None
    }

    /// Sends work on that belongs to another thread by now: into the quarantine, or back from it.
    fn keep(&self, work: Work<H::Caller>) -> Option<Work<H::Caller>> {
        if self.shared.quarantine.holds(&work) == self.is_quarantine() {
            return Some(work);
        }
        let at = self.shared.route(&work);
        if at == self.index {
            return Some(work);
        }
        self.shared.mailboxes[at].waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.mailboxes[self.index].waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.deliver(at, Message::Work(work));
        None
    }

    /// Brings work to its ruling; `None` while it waits for something.
    fn step(&mut self, slot: &mut Slot<H::Caller>, current: &mut Current<H::Caller>) -> Option<Ruling> {
        if let Some(error) = current.gathered.failed.take() {
            return Some(Ruling::failed(error));
        }
        match self.make_resident(slot, current) {
            Readiness::Ready => {}
            Readiness::Wait => return None,
            Readiness::Failed(error) => {
                self.note(&current.work, &error);
                return Some(Ruling::failed(error));
            }
        }
        loop {
            match self.gather(slot, current) {
                Ok(()) => {}
                Err(Hindrance::Missing(missing)) => {
                    missing.into_iter().for_each(|missing| self.ask_for(slot, current, missing));
                    return None;
                }
                Err(Hindrance::Fault(fault)) => return Some(self.fault(slot, current, fault)),
            }
            match self.decide(slot, current) {
                Ok(Some(ruling)) => return Some(ruling),
                Ok(None) => {}
                Err(fault) => return Some(self.fault(slot, current, fault)),
            }
        }
    }

    /// The ruling on work whose guest failed. The instance goes with everything in it.
    fn fault(&mut self, slot: &mut Slot<H::Caller>, current: &Current<H::Caller>, fault: Fault) -> Ruling {
        self.lose_resident(slot);
        let error = PeekError::Fault(fault);
        self.note(&current.work, &error);
        Ruling::failed(error)
    }

    pub fn note(&self, work: &Work<H::Caller>, error: &PeekError) {
        if matches!(error, PeekError::Fault(_)) {
            self.shared.quarantine.note(work);
        }
    }

    fn answer(&mut self, slot: &mut Slot<H::Caller>, current: Current<H::Caller>, ruling: Ruling) {
        let Current { work, reads, .. } = current;
        let basis = match (&slot.resident, ruling.version) {
            (Some(resident), Some(version)) => {
                let (reads, rests_on) = reads.into_parts();
                let lineage = match rests_on.is_empty() {
                    true => resident.lineage.clone(),
                    false => resident.lineage.resting_on(rests_on),
                };
                Basis { version, reads, lineage }
            }
            _ => nothing(),
        };
        self.shared.answer(self.index, work, Decided { verdict: ruling.verdict, basis });
        // Only now: who reads these decides behind this decision, and has to be appended behind it.
        let Some(resident) = &mut slot.resident else { return };
        if let Some(row) = ruling.access {
            let hint = AccessHint { row, lineage: Some(resident.lineage.clone()) };
            self.shared.hints.set_access(slot.stream.clone(), Arc::new(hint));
        }
        if ruling.changed && std::mem::take(&mut resident.hinted) {
            self.shared.hints.drop_state(&slot.stream);
        }
        let house = resident.house;
        if ruling.spoilt {
            self.drop_resident(slot);
        } else if self.is_quarantine() {
            slot.resident = None;
            self.housing.retire(house);
        } else {
            self.housing.retire_if_grown(house);
        }
    }

    /// Asks for something on behalf of an attempt, once.
    fn ask_for(&mut self, slot: &Slot<H::Caller>, current: &mut Current<H::Caller>, missing: Missing) {
        if !current.gathered.outstanding.insert(missing.clone()) {
            return;
        }
        let attempts = current.work.attempts;
        let asker = Asker { worker: self.index, stream: slot.stream.clone(), attempt: current.attempt };
        match missing {
            Missing::State(stream) => {
                let component = current.work.component.clone();
                let at = self.shared.owner(&stream, component.digest());
                // The first time the owner had just moved on. When that was not it, what it holds may be stale itself.
                let fresh = attempts > 0 && attempts.is_multiple_of(2);
                self.shared.deliver(at, Message::Peek(Peek { stream, component, fresh, asker }));
            }
            Missing::Chain(stream) => {
                let request = self.next_id();
                let from = stream.clone();
                self.requests.insert(request, Request::Chain { asker, from, fresh: attempts > 0 });
                self.shared.host.fetch(Ticket { worker: self.index, request }, Fetch::AccessChain(stream));
            }
        }
    }

    /// Answers another stream's question, at once or when the stream is loaded. A stream that waits for others answers
    /// too, so two that ask each other come to an end.
    pub fn peek(&mut self, slot: &mut Slot<H::Caller>, peek: Peek) {
        if slot.loading.is_some() {
            slot.peeks.push(peek);
            return;
        }
        slot.contended |= peek.fresh;
        if peek.fresh || !self.is_usable(slot, &peek.component) {
            self.drop_resident(slot);
            let component = peek.component.clone();
            // It is read anew for this one; the others that wait for it then see the same.
            slot.peeks.push(Peek { fresh: false, ..peek });
            self.load(slot, component, false);
            return;
        }
        let state = self.state_hint(slot).map_err(PeekError::Fault);
        if state.is_err() {
            self.lose_resident(slot);
            self.shared.quarantine.note_stream(&slot.stream, peek.component.digest());
        }
        self.reply(peek, state);
    }

    pub fn reply(&self, peek: Peek, state: Result<Arc<StateHint>, PeekError>) {
        self.reply_to(peek.asker, peek.stream, state);
    }

    pub fn reply_to(&self, asker: Asker, stream: StreamKey, state: Result<Arc<StateHint>, PeekError>) {
        self.shared.deliver(asker.worker, Message::Peeked { asker, stream, state });
    }

    /// Answers everything that waits at a stream without deciding it.
    pub fn give_up(&self, slot: &mut Slot<H::Caller>) {
        for peek in std::mem::take(&mut slot.peeks) {
            self.reply(peek, Err(PeekError::Overloaded));
        }
        let current = slot.current.take().map(|current| current.work);
        current
            .into_iter()
            .chain(slot.queue.drain(..))
            .for_each(|work| self.shared.give_up(self.index, work));
    }

    /// Takes access rows: for the one who asked, and as hints for all.
    pub fn take_chain(
        &self,
        from: &StreamKey,
        fresh: bool,
        fetched: Fetched,
    ) -> Result<Vec<(StreamKey, Arc<AccessHint>)>, PeekError> {
        let mut rows = match fetched {
            Fetched::AccessChain(rows) => rows,
            Fetched::Failed(cause) => return Err(PeekError::Unavailable(cause)),
            Fetched::History { .. } => {
                return Err(PeekError::Unavailable("the host gave a history for access rows".into()));
            }
        };
        if !rows.iter().any(|row| row.stream == from.local()) {
            rows.push(AccessRow { stream: from.local(), version: 0, access: None });
        }
        let hint =
            |row: AccessRow| (row.stream.of(&from.tenant), Arc::new(AccessHint { row, lineage: None }));
        let rows: Vec<_> = rows.into_iter().map(hint).collect();
        for (stream, row) in &rows {
            if fresh {
                self.shared.hints.set_access(stream.clone(), row.clone());
            } else {
                self.shared.hints.set_committed_access(stream.clone(), row);
            }
        }
        Ok(rows)
    }
}
