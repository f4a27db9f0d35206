//! One thread: its mailbox, its streams, and who is told what.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use cairn_model::StreamKey;

use super::desk::{Desk, Request};
use super::slot::{Missing, Slot};
use super::{Asker, Message, PeekError, Shared};
use crate::work::{Fetched, Host};

/// From this attempt on, resident state is not trusted even if nobody has said that it is stale.
const DISTRUST_FROM: u32 = 3;

pub(super) struct Worker<H: Host> {
    streams: HashMap<StreamKey, Slot<H::Caller>>,
    desk: Desk<H>,
}

impl<H: Host> Worker<H> {
    pub fn new(shared: Arc<Shared<H>>, index: usize) -> Self {
        Self { streams: HashMap::new(), desk: Desk::new(shared, index) }
    }

    /// Works until it is told to stop.
    pub fn run(mut self, mailbox: &Receiver<Message<H::Caller>>) {
        while let Ok(message) = mailbox.recv() {
            if matches!(message, Message::Stop) {
                break;
            }
            self.take(message);
            if self.desk.housing.retired {
                self.sweep();
            }
        }
        self.close(mailbox);
    }

    fn take(&mut self, message: Message<H::Caller>) {
        match message {
            Message::Work(work) => {
                let stream = work.stream.clone();
                self.at(&stream, |desk, slot| {
                    slot.queue.push_back(work);
                    desk.run(slot);
                });
            }
            Message::Refused(mut work) => {
                work.attempts += 1;
                let stream = work.stream.clone();
                self.at(&stream, |desk, slot| {
                    let distrusted = work.attempts >= DISTRUST_FROM;
                    if slot.resident.as_ref().is_some_and(|it| distrusted || it.lineage.is_broken()) {
                        desk.drop_resident(slot);
                    }
                    slot.contended = true;
                    slot.put_back_unstarted();
                    slot.requeue(work);
                    desk.run(slot);
                });
            }
            Message::Fetched(request, fetched) => self.fetched(request, fetched),
            Message::Peek(peek) => {
                let (stream, asker) = (peek.stream.clone(), peek.asker.clone());
                if !self.at(&stream, |desk, slot| desk.peek(slot, peek)) {
                    self.desk.reply_to(asker, stream, Err(PeekError::Overloaded));
                }
            }
            Message::Peeked { asker, stream, state } => {
                self.arrived(&asker, Missing::State(stream.clone()), |slot| {
                    slot.states.insert(stream, state?);
                    Ok(())
                })
            }
            Message::Evict(stream) => {
                if self.streams.contains_key(&stream) {
                    let _ = self.at(&stream, |desk, slot| desk.drop_resident(slot));
                }
                self.desk.shared.hints.forget(&stream);
            }
            Message::Stop => {}
        }
    }

    fn fetched(&mut self, request: u64, fetched: Fetched) {
        match self.desk.requests.remove(&request) {
            Some(Request::History(stream)) => {
                let _ = self.at(&stream, |desk, slot| desk.take_history(slot, fetched));
            }
            Some(Request::Chain { asker, from, fresh }) => {
                let rows = self.desk.take_chain(&from, fresh, fetched);
                self.arrived(&asker, Missing::Chain(from), |gathered| {
                    // What the attempt has already used stays: if the log has a newer one by now, it will be refused.
                    for (stream, row) in rows? {
                        gathered.rows.entry(stream).or_insert(row);
                    }
                    Ok(())
                });
            }
            None => {}
        }
    }

    /// Gives an attempt what it waits for. It goes on when it has everything.
    fn arrived(
        &mut self,
        asker: &Asker,
        missing: Missing,
        put: impl FnOnce(&mut super::slot::Gathered) -> Result<(), PeekError>,
    ) {
        let Some(slot) = self.streams.get_mut(&asker.stream) else { return };
        let Some(current) = slot.current.as_mut().filter(|current| current.attempt == asker.attempt) else {
            return;
        };
        let gathered = &mut current.gathered;
        if let Err(error) = put(gathered) {
            gathered.failed = Some(error);
        }
        gathered.outstanding.remove(&missing);
        if gathered.outstanding.is_empty() {
            let _ = self.at(&asker.stream, |desk, slot| desk.run(slot));
        }
    }

    /// Does something at a stream, and forgets the stream if there is nothing left of it. False if that panicked, which
    /// is a mistake of this crate or of the host: it costs the stream, not its neighbours.
    fn at(&mut self, stream: &StreamKey, work: impl FnOnce(&mut Desk<H>, &mut Slot<H::Caller>)) -> bool {
        let slot = self.streams.entry(stream.clone()).or_insert_with(|| Slot::new(stream.clone()));
        let done = panic::catch_unwind(AssertUnwindSafe(|| work(&mut self.desk, slot))).is_ok();
        if !done {
            tracing::error!(%stream, "a worker panicked; what waited for the stream is given up");
            self.desk.lose_resident(slot);
            slot.loading = None;
            self.desk.give_up(slot);
        }
        if slot.resident.is_none() && slot.peeks.is_empty() && !slot.is_busy() {
            self.streams.remove(stream);
        }
        done
    }

    /// Forgets the streams whose instance was retired.
    fn sweep(&mut self) {
        let housing = &mut self.desk.housing;
        housing.retired = false;
        self.streams.retain(|_, slot| {
            if slot.resident.as_ref().is_some_and(|resident| !housing.contains(resident.house)) {
                slot.resident = None;
            }
            slot.resident.is_some() || !slot.peeks.is_empty() || slot.is_busy()
        });
    }

    /// Answers everything that waits.
    fn close(self, mailbox: &Receiver<Message<H::Caller>>) {
        let Self { streams, desk } = self;
        streams.into_values().for_each(|mut slot| desk.give_up(&mut slot));
        while let Ok(message) = mailbox.try_recv() {
            match message {
                Message::Work(work) | Message::Refused(work) => desk.shared.give_up(desk.index, work),
                Message::Peek(peek) => desk.reply(peek, Err(PeekError::Overloaded)),
                _ => {}
            }
        }
    }
}
