//! Threads that own resident aggregates and decide on them, ahead of the log.
//!
//! A stream always goes to the same thread, so its commands queue there and nothing is locked. What a thread lacks
//! (history, another stream's state) it asks for and goes on with other streams meanwhile; a thread never waits for
//! anything but its mailbox. What is decided is applied at once, and the next command of the stream is decided on that;
//! when the log refuses one of them, all that rested on it comes back and is decided again.
//!
//! Wrong hints, state that the log has passed by, a stream that two threads hold for a while: none of that can lead to a
//! wrong event, since everything that a decision read goes with it and is checked where it is appended.

mod apply;
mod decide;
mod desk;
mod gather;
mod load;
mod question;
mod sample;
mod worker;

mod hints;
mod housing;
mod quarantine;
mod slot;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use cairn_model::chain::Hash as Digest;
use cairn_model::{Clock, Lineage, StreamKey};

use crate::component::Component;
use crate::engine::{Engine, Permits};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::work::{Basis, Decided, Fetched, Host, Ticket, Verdict, Work};
use hints::{Hints, StateHint};
use quarantine::Quarantine;
use worker::Worker;

/// Fewer threads than this would let one slow decision hold up too many neighbours.
const THREADS_MIN: usize = 4;

/// Threads that decide. Cheap to clone. They hold the host and the host may hold them: [`Workers::stop`] ends the
/// threads.
pub struct Workers<H: Host> {
    shared: Arc<Shared<H>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl<H: Host> Clone for Workers<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), threads: self.threads.clone() }
    }
}

impl<H: Host> std::fmt::Debug for Workers<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.shared.homes).finish_non_exhaustive()
    }
}

/// What all threads share.
struct Shared<H: Host> {
    host: Arc<H>,
    clock: Clock,
    limits: Limits,
    permits: Permits,
    hints: Hints,
    quarantine: Quarantine,
    /// The threads that streams belong to; the ones after them are the quarantine's.
    homes: usize,
    mailboxes: Vec<Mailbox<H::Caller>>,
    stopping: AtomicBool,
}

struct Mailbox<C> {
    sender: Sender<Message<C>>,
    /// Work that was put in and is not decided yet.
    waiting: AtomicUsize,
}

/// What a thread is told.
enum Message<C> {
    Work(Work<C>),
    Refused(Work<C>),
    Fetched(u64, Fetched),
    Peek(Peek),
    Peeked { asker: Asker, stream: StreamKey, state: Result<Arc<StateHint>, PeekError> },
    Evict(StreamKey),
    Stop,
}

/// A question for another stream's state.
struct Peek {
    stream: StreamKey,
    component: Arc<Component>,
    /// Whether what the owner holds has proven stale: it reads the log again.
    fresh: bool,
    asker: Asker,
}

/// Who waits for something: an attempt to decide.
#[derive(Clone)]
struct Asker {
    worker: usize,
    stream: StreamKey,
    attempt: u64,
}

/// Why there is no answer to a peek.
#[derive(Clone)]
enum PeekError {
    Fault(Fault),
    Unavailable(String),
    Overloaded,
}

impl<H: Host> Workers<H> {
    /// Starts the threads: as many as asked for, 0 for as many as there are cores, at least four (one slow decision
    /// holds up only the streams of its thread), and those of the quarantine.
    ///
    /// # Panics
    /// If the system cannot start a thread, as nothing could be decided then.
    pub fn start(engine: &Engine, clock: Clock, host: Arc<H>, threads: usize) -> Self {
        let limits = *engine.limits();
        let cores = thread::available_parallelism().map_or(THREADS_MIN, usize::from);
        let homes = if threads == 0 { cores.max(THREADS_MIN) } else { threads };
        let all = homes + limits.quarantine_threads;
        let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..all)
            .map(|_| {
                let (sender, receiver) = mpsc::channel();
                (Mailbox { sender, waiting: AtomicUsize::new(0) }, receiver)
            })
            .unzip();
        let shared = Arc::new(Shared {
            host,
            clock,
            limits,
            permits: engine.permits.clone(),
            hints: Hints::new(&limits),
            quarantine: Quarantine::new(&limits),
            homes,
            mailboxes,
            stopping: AtomicBool::new(false),
        });
        let threads =
            receivers.into_iter().enumerate().map(|(index, mailbox)| spawn(&shared, index, mailbox));
        Self { threads: Arc::new(Mutex::new(threads.collect())), shared }
    }

    /// Takes work. Work that does not fit into its thread's mailbox comes back at once as [`Verdict::Overloaded`].
    pub fn submit(&self, work: Work<H::Caller>) {
        let at = self.shared.route(&work);
        let mailbox = &self.shared.mailboxes[at];
        let waiting = mailbox.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.shared.limits.mailbox || self.shared.stopping.load(Ordering::Relaxed) {
            self.shared.give_up(at, work);
        } else {
            self.shared.deliver(at, Message::Work(work));
        }
    }

    /// Takes the answer to a fetch.
    pub fn fetched(&self, ticket: Ticket, fetched: Fetched) {
        self.shared.deliver(ticket.worker, Message::Fetched(ticket.request, fetched));
    }

    /// Takes back work whose append or check the log refused as stale: it is decided again, on what the log has now.
    pub fn refused(&self, work: Work<H::Caller>) {
        let at = self.shared.route(&work);
        self.shared.mailboxes[at].waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.deliver(at, Message::Refused(work));
    }

    /// Forgets the resident state of a stream and every hint about it; the next work on it reads the log.
    pub fn evict(&self, stream: &StreamKey) {
        for at in 0..self.shared.mailboxes.len() {
            self.shared.deliver(at, Message::Evict(stream.clone()));
        }
    }

    /// Ends the threads. What is being decided is finished, everything that waits is answered with
    /// [`Verdict::Overloaded`], and so is whatever comes later.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for at in 0..self.shared.mailboxes.len() {
            self.shared.deliver(at, Message::Stop);
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker had ended with a panic");
            }
        }
    }
}

fn spawn<H: Host>(
    shared: &Arc<Shared<H>>,
    index: usize,
    mailbox: Receiver<Message<H::Caller>>,
) -> JoinHandle<()> {
    let worker = Worker::new(shared.clone(), index);
    let thread =
        thread::Builder::new().name(format!("cairn-worker-{index}")).spawn(move || worker.run(&mailbox));
    thread.unwrap_or_else(|error| panic!("the system starts no thread: {error}"))
}

impl<H: Host> Shared<H> {
    /// The thread that work is for.
    fn route(&self, work: &Work<H::Caller>) -> usize {
        let troubled = self.quarantine.holds(work);
        self.thread_of(&work.stream, troubled)
    }

    /// The thread that a stream belongs to.
    fn owner(&self, stream: &StreamKey, digest: Digest) -> usize {
        let troubled = self.quarantine.holds_stream(stream, digest);
        self.thread_of(stream, troubled)
    }

    fn thread_of(&self, stream: &StreamKey, troubled: bool) -> usize {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let quarantine = self.mailboxes.len() - self.homes;
        let (from, count) =
            if troubled && quarantine > 0 { (self.homes, quarantine) } else { (0, self.homes) };
        from + usize::try_from(hasher.finish() % count as u64).unwrap_or_default()
    }

    fn deliver(self: &Arc<Self>, at: usize, message: Message<H::Caller>) {
        // The thread is gone: what waits for an answer gets one, the rest has lost its meaning.
        if let Err(SendError(message)) = self.mailboxes[at].sender.send(message)
            && let Message::Work(work) | Message::Refused(work) = message
        {
            self.give_up(at, work);
        }
    }

    /// Answers work that was counted in this mailbox without deciding it.
    fn give_up(&self, at: usize, work: Work<H::Caller>) {
        self.answer(at, work, Decided { verdict: Verdict::Overloaded, basis: nothing() });
    }

    fn answer(&self, at: usize, work: Work<H::Caller>, decided: Decided) {
        self.mailboxes[at].waiting.fetch_sub(1, Ordering::Relaxed);
        self.host.decided(work, decided);
    }
}

/// The basis of a verdict that rests on nothing.
fn nothing() -> Basis {
    Basis { version: 0, reads: Vec::new(), lineage: Lineage::default() }
}
