//! Who faulted again and again. A fault costs its neighbours their resident state and its thread the deadline, so
//! repeated ones are decided on threads of their own, in instances that are thrown away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_model::chain::Hash;
use cairn_model::{Name, StreamKey};
use uuid::Uuid;

use crate::limits::Limits;
use crate::work::{Task, Work};

/// How many troubles are remembered; more than that, and all are forgotten.
const TROUBLES: usize = 10_000;

/// What can be in trouble.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    /// A stream, whoever calls it.
    Stream(StreamKey),
    /// A caller with a command, whichever stream it calls: creating commands have a new stream each time.
    Caller(Uuid, Name, Name),
}

#[derive(Debug)]
struct Trouble {
    faults: u32,
    last: Instant,
    /// Of the component; another one begins without faults.
    digest: Hash,
}

pub(super) struct Quarantine {
    after: u32,
    lasts: Duration,
    troubles: Mutex<HashMap<Subject, Trouble>>,
    /// The size of the map, so that nobody locks while there is no trouble.
    count: AtomicUsize,
}

impl Quarantine {
    pub fn new(limits: &Limits) -> Self {
        Self {
            after: limits.quarantine_after,
            lasts: Duration::from_secs(limits.quarantine_s),
            troubles: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Whether this work is to be decided apart.
    pub fn holds<C>(&self, work: &Work<C>) -> bool {
        self.count.load(Ordering::Relaxed) > 0
            && subjects(work).iter().any(|subject| self.is_troubled(subject, work.component.digest()))
    }

    /// Whether this stream is kept apart.
    pub fn holds_stream(&self, stream: &StreamKey, digest: Hash) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.is_troubled(&Subject::Stream(stream.clone()), digest)
    }

    /// Notes a fault of this work.
    pub fn note<C>(&self, work: &Work<C>) {
        for subject in subjects(work) {
            self.note_subject(subject, work.component.digest());
        }
    }

    /// Notes a fault while this stream was loaded.
    pub fn note_stream(&self, stream: &StreamKey, digest: Hash) {
        self.note_subject(Subject::Stream(stream.clone()), digest);
    }

    fn note_subject(&self, subject: Subject, digest: Hash) {
        let now = Instant::now();
        let mut troubles = self.lock();
        if troubles.len() >= TROUBLES {
            troubles.retain(|_, trouble| now.duration_since(trouble.last) < self.lasts);
            if troubles.len() >= TROUBLES {
                troubles.clear();
            }
        }
        let trouble = troubles.entry(subject).or_insert(Trouble { faults: 0, last: now, digest });
        if trouble.digest != digest || now.duration_since(trouble.last) >= self.lasts {
            trouble.faults = 0;
        }
        *trouble = Trouble { faults: trouble.faults.saturating_add(1), last: now, digest };
        self.count.store(troubles.len(), Ordering::Relaxed);
    }

    fn is_troubled(&self, subject: &Subject, digest: Hash) -> bool {
        let mut troubles = self.lock();
        let Some(trouble) = troubles.get(subject) else { return false };
        if trouble.digest != digest || trouble.last.elapsed() >= self.lasts {
            troubles.remove(subject);
            self.count.store(troubles.len(), Ordering::Relaxed);
            return false;
        }
        trouble.faults >= self.after
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subjects<C>(work: &Work<C>) -> [Subject; 2] {
    let command = match &work.task {
        Task::Command(call) => call.command.clone(),
        Task::State => Name::from(""),
    };
    let caller = Subject::Caller(work.principal.id, work.stream.aggregate.clone(), command);
    [Subject::Stream(work.stream.clone()), caller]
}
