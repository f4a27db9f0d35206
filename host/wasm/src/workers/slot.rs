//! What a thread keeps of a stream: its queue, the work in hand, and the aggregate while it is resident.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{Access, Lineage, Permissions, Read, StreamKey, StreamRef, Timestamp, Version};
use wasmtime::component::ResourceAny;

use super::hints::{AccessHint, StateHint};
use super::{Peek, PeekError};
use crate::component::Component;
use crate::work::Work;

/// A stream at its thread.
pub(super) struct Slot<C> {
    pub stream: StreamKey,
    pub queue: VecDeque<Work<C>>,
    /// The work in hand, while it waits for something.
    pub current: Option<Current<C>>,
    pub resident: Option<Resident>,
    /// Set while the stream's history is being fetched.
    pub loading: Option<Loading>,
    /// Whether the log has refused what was decided here: others write to the stream, and it will be read again.
    pub contended: bool,
    /// Others who wait until the stream is loaded.
    pub peeks: Vec<Peek>,
    /// The present of the last decision: time never runs backwards in a stream.
    pub last_now: Timestamp,
}

impl<C> Slot<C> {
    pub fn new(stream: StreamKey) -> Self {
        Self {
            stream,
            queue: VecDeque::new(),
            current: None,
            resident: None,
            loading: None,
            contended: false,
            peeks: Vec::new(),
            last_now: Timestamp::default(),
        }
    }

    /// Whether anybody waits for something here.
    pub fn is_busy(&self) -> bool {
        self.current.is_some() || self.loading.is_some() || !self.queue.is_empty()
    }

    /// Puts work that waits for its aggregate back into the queue, so that older work can go before it.
    pub fn put_back_unstarted(&mut self) {
        if self.loading.is_some()
            && let Some(current) = self.current.take_if(|current| current.work.attempts == 0)
        {
            self.queue.push_front(current.work);
        }
    }

    /// Puts work that came back before what was never decided, behind what came back earlier.
    pub fn requeue(&mut self, work: Work<C>) {
        let place = self.queue.iter().position(|other| other.attempts == 0).unwrap_or(self.queue.len());
        self.queue.insert(place, work);
    }
}

/// A history that was asked for.
pub(super) struct Loading {
    pub component: Arc<Component>,
    pub whole: bool,
}

/// An aggregate in an instance.
pub(super) struct Resident {
    /// The instance; the aggregate is gone when the instance is.
    pub house: u64,
    pub handle: ResourceAny,
    /// Different for each time that a stream was loaded.
    pub incarnation: u64,
    pub digest: Hash,
    pub version: Version,
    pub access: Option<Access>,
    /// Sorted.
    pub claims: Vec<String>,
    pub lineage: Lineage,
    /// Whether others may remember its state as it is now.
    pub hinted: bool,
}

/// An attempt to decide a piece of work, and what was gathered for it.
pub(super) struct Current<C> {
    pub work: Work<C>,
    pub attempt: u64,
    /// The incarnation that everything below rests on.
    pub incarnation: u64,
    pub permissions: Option<Permissions>,
    pub reads: ReadSet,
    /// What the guest asked for last and what has no answer yet.
    pub needs: Vec<Need>,
    pub answers: Vec<Answered>,
    pub rounds: u32,
    pub gathered: Gathered,
}

impl<C> Current<C> {
    pub fn new(work: Work<C>, attempt: u64) -> Self {
        Self {
            work,
            attempt,
            incarnation: 0,
            permissions: None,
            reads: ReadSet::default(),
            needs: Vec::new(),
            answers: Vec::new(),
            rounds: 0,
            gathered: Gathered::default(),
        }
    }

    /// Begins anew on another incarnation. What was gathered stays: it is as good as before, and if two streams that
    /// wait for each other began from nothing again and again, neither would come to an end.
    pub fn restart(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.permissions = None;
        self.reads = ReadSet::default();
        self.needs.clear();
        self.answers.clear();
        self.rounds = 0;
    }
}

/// What an attempt got from others.
#[derive(Default)]
pub(super) struct Gathered {
    pub states: HashMap<StreamKey, Arc<StateHint>>,
    pub rows: HashMap<StreamKey, Arc<AccessHint>>,
    pub outstanding: HashSet<Missing>,
    pub failed: Option<PeekError>,
}

/// Something that an attempt lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Missing {
    State(StreamKey),
    /// The access rows from here upwards.
    Chain(StreamKey),
}

/// Something that the guest asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Aggregate(StreamRef),
    Ancestors(StreamRef),
}

/// What the guest gets.
pub(super) enum Answered {
    Aggregate { stream: StreamRef, version: Version, state: Option<Bytes>, permissions: Permissions },
    Ancestors(Vec<StreamRef>),
}

/// What a decision read, each thing once, as it was when it was read first.
#[derive(Default)]
pub(super) struct ReadSet {
    streams: HashMap<StreamKey, Version>,
    access: HashMap<StreamKey, Version>,
    rests_on: Vec<Lineage>,
}

impl ReadSet {
    pub fn stream(&mut self, stream: &StreamKey, hint: &StateHint) {
        if let Entry::Vacant(entry) = self.streams.entry(stream.clone()) {
            entry.insert(hint.version);
            self.rests_on.push(hint.lineage.clone());
        }
    }

    pub fn access(&mut self, stream: &StreamKey, hint: &AccessHint) {
        if let Entry::Vacant(entry) = self.access.entry(stream.clone()) {
            entry.insert(hint.row.version);
            self.rests_on.extend(hint.lineage.clone());
        }
    }

    /// The reads, and the lineages of those that may not be committed yet.
    pub fn into_parts(self) -> (Vec<Read>, Vec<Lineage>) {
        let streams = self.streams.into_iter().map(|(stream, version)| Read::Stream(stream, version));
        let access = self.access.into_iter().map(|(stream, version)| Read::Access(stream, version));
        (streams.chain(access).collect(), self.rests_on)
    }
}
