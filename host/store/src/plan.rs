//! What of a batch may be appended, and what is then written: a pure function. No SQL, no I/O, no clock.
//!
//! Appends are judged in their order against the facts that the backend fetched plus those accepted before them, so
//! a batch means the same as its appends one by one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use bytes::Bytes;
use cairn_model::chain::{Hash, Link};
use cairn_model::{Access, Name, Position, Read, StreamKey, StreamRef, Timestamp, Version};
use uuid::Uuid;

use crate::append::{AnswerBody, AnswerEvent, Append, Committed, Current, Idempotency, Outcome, Stale};
use crate::heads::Head;

/// A claim inside the whole store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClaimKey {
    pub tenant: Name,
    pub claim: String,
}

/// An idempotency key inside the whole store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeptKey {
    pub tenant: Name,
    pub principal: Uuid,
    pub key: String,
}

impl KeptKey {
    /// The key that the append names.
    pub fn of(append: &Append, idempotency: &Idempotency) -> Self {
        Self {
            tenant: append.stream.tenant.clone(),
            principal: idempotency.principal,
            key: idempotency.key.clone(),
        }
    }
}

/// An answer that is kept under an idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub payload_hash: Hash,
    pub command_id: Uuid,
    pub id: Uuid,
    pub version: Version,
    pub position: Position,
    pub created: bool,
    pub body: Bytes,
}

/// What the log says about everything that the batch asks about. A stream, claim or key that is not in it does not
/// exist.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub heads: HashMap<StreamKey, Head>,
    pub claims: HashMap<ClaimKey, StreamRef>,
    pub kept: HashMap<KeptKey, Kept>,
    /// Streams at which it is another host's turn, with the time after which to come again.
    pub waits: HashMap<StreamKey, Duration>,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub position: Position,
    pub hash: Hash,
    pub recorded_at: Timestamp,
}

impl Tail {
    /// The end of a log without events.
    pub const EMPTY: Self = Self { position: 0, hash: Hash::ZERO, recorded_at: Timestamp::from_micros(0) };
}

/// An event with everything that it gets from its place in the log.
#[derive(Debug)]
pub(crate) struct EventRow<'a> {
    pub position: Position,
    pub stream: &'a StreamKey,
    pub version: Version,
    pub event_type: &'a Name,
    pub schema_version: u32,
    pub data: &'a str,
    pub metadata: &'a str,
    pub hash: Hash,
}

/// A claim with its holder from now on.
#[derive(Debug)]
pub(crate) struct ClaimWrite {
    pub key: ClaimKey,
    /// Whether it is in the log's tables already.
    pub is_there: bool,
    /// `None`: it became free.
    pub holder: Option<StreamRef>,
}

/// A stream's access from now on.
#[derive(Debug)]
pub(crate) struct AccessWrite<'a> {
    pub stream: &'a StreamKey,
    /// Whether the log's tables have an access of the stream already.
    pub is_there: bool,
    /// The version at which it changed.
    pub version: Version,
    pub access: &'a Access,
}

/// What the log has to be given, and nothing of it if not all.
#[derive(Debug, Default)]
pub(crate) struct Writes<'a> {
    /// New events.
    pub events: Vec<EventRow<'a>>,
    /// Claims whose holder changed, once each.
    pub claims: Vec<ClaimWrite>,
    /// Streams whose access changed, once each.
    pub access: Vec<AccessWrite<'a>>,
    /// New kept answers.
    pub kept: Vec<(KeptKey, Kept)>,
}

impl Writes<'_> {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.claims.is_empty() && self.access.is_empty() && self.kept.is_empty()
    }
}

/// A judged batch.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// What becomes of each append, provided that the writes are committed.
    pub outcomes: Vec<Outcome>,
    /// What has to be written for that.
    pub writes: Writes<'a>,
    /// Everybody's heads after it.
    pub heads: HashMap<StreamKey, Head>,
    /// The end of the log after it.
    pub tail: Tail,
    /// The time of everything that it writes.
    pub recorded_at: Timestamp,
}

/// Judges a batch. `recorded_at` of its events is `now`, or the last event's time where the clock went back.
pub(crate) fn plan<'a>(appends: &'a [Append], facts: Facts, tail: Tail, now: Timestamp) -> Plan<'a> {
    let mut planner = Planner::new(facts, tail, now);
    let outcomes = appends.iter().map(|append| planner.judge_and_break(append)).collect();
    planner.finish(outcomes)
}

struct Planner<'a> {
    facts: Facts,
    tail: Tail,
    now: Timestamp,
    writes: Writes<'a>,
    /// Claims that the batch changed, in the order of their first change, with their holders in the log.
    claimed: Vec<(ClaimKey, Option<StreamRef>)>,
    claimed_index: HashMap<ClaimKey, usize>,
    access_index: HashMap<&'a StreamKey, usize>,
}

impl<'a> Planner<'a> {
    fn new(facts: Facts, tail: Tail, now: Timestamp) -> Self {
        Self {
            facts,
            tail,
            now: now.max(tail.recorded_at),
            writes: Writes::default(),
            claimed: Vec::new(),
            claimed_index: HashMap::new(),
            access_index: HashMap::new(),
        }
    }

    /// A refusal breaks the lineage if others may have been decided on the events of the refused one, or if what
    /// it found stale is what they are based on too.
    fn judge_and_break(&mut self, append: &'a Append) -> Outcome {
        let outcome = self.judge(append);
        let refused = match &outcome {
            Outcome::Committed(committed) => committed.replayed,
            Outcome::Current(_) => false,
            _ => true,
        };
        if refused && (!append.events.is_empty() || matches!(outcome, Outcome::Stale(_))) {
            append.lineage.break_off();
        }
        outcome
    }

    fn judge(&mut self, append: &'a Append) -> Outcome {
        // What appends nothing is in nobody's way.
        if !append.events.is_empty()
            && let Some(wait) = self.facts.waits.get(&append.stream)
        {
            // An answer of an earlier time needs no turn.
            return self.kept_answer(append).unwrap_or(Outcome::Stale(Stale::Turn { wait: *wait }));
        }
        if append.lineage.is_broken() {
            return Outcome::Stale(Stale::Lineage);
        }
        if let Some(outcome) = self.kept_answer(append) {
            return outcome;
        }
        let head = self.head(&append.stream);
        if head.version != append.expected {
            return Outcome::Stale(Stale::Version { actual: head.version });
        }
        if let Some(stale) = append.reads.iter().find(|read| !self.holds(read)) {
            let (Read::Stream(stream, _) | Read::Access(stream, _)) = stale;
            return Outcome::Stale(Stale::Read(stream.clone()));
        }
        if append.events.is_empty() {
            return self.accept_unchanged(append, head);
        }
        match self.first_taken(append) {
            Some(claimed) => claimed,
            None => self.accept(append, head),
        }
    }

    fn kept_answer(&self, append: &Append) -> Option<Outcome> {
        let idempotency = append.idempotency.as_ref()?;
        let kept = self.facts.kept.get(&KeptKey::of(append, idempotency))?;
        if kept.payload_hash != idempotency.payload_hash {
            return Some(Outcome::KeyReused);
        }
        Some(Outcome::Committed(Committed {
            id: kept.id,
            version: kept.version,
            position: kept.position,
            created: kept.created,
            body: kept.body.clone(),
            replayed: true,
        }))
    }

    fn head(&self, stream: &StreamKey) -> Head {
        self.facts.heads.get(stream).copied().unwrap_or_default()
    }

    fn holds(&self, read: &Read) -> bool {
        match read {
            Read::Stream(stream, version) => self.head(stream).version == *version,
            Read::Access(stream, version) => self.head(stream).access_version == *version,
        }
    }

    fn first_taken(&self, append: &Append) -> Option<Outcome> {
        append.claims.take.iter().find_map(|claim| {
            let key = ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.clone() };
            let holder = self.facts.claims.get(&key)?;
            let own = holder.id == append.stream.id && holder.aggregate == append.stream.aggregate;
            (!own).then(|| Outcome::Claimed { claim: claim.clone(), holder: holder.clone() })
        })
    }

    fn accept_unchanged(&mut self, append: &Append, head: Head) -> Outcome {
        if !append.record_unchanged {
            return Outcome::Current(Current { head: self.tail.position });
        }
        let committed = self.answer(append, head, Vec::new());
        self.keep(append, &committed);
        Outcome::Committed(committed)
    }

    fn accept(&mut self, append: &'a Append, mut head: Head) -> Outcome {
        let mut events = Vec::with_capacity(append.events.len());
        for event in &append.events {
            head.version += 1;
            self.tail.position += 1;
            self.tail.recorded_at = self.now;
            let link = Link {
                position: self.tail.position,
                stream: &append.stream,
                version: head.version,
                event_type: &event.event_type,
                schema_version: event.schema_version,
                metadata: &append.metadata,
                recorded_at: self.now,
                data_hash: Hash::of(event.data.as_bytes()),
            };
            self.tail.hash = link.hash(self.tail.hash);
            self.writes.events.push(EventRow {
                position: self.tail.position,
                stream: &append.stream,
                version: head.version,
                event_type: &event.event_type,
                schema_version: event.schema_version,
                data: &event.data,
                metadata: &append.metadata,
                hash: self.tail.hash,
            });
            events.push(AnswerEvent {
                event_type: &event.event_type,
                version: head.version,
                position: self.tail.position,
            });
        }
        head.position = self.tail.position;
        head.recorded_at = self.now;
        if let Some(access) = &append.access {
            let is_there = head.access_version > 0;
            head.access_version = head.version;
            self.change_access(AccessWrite {
                stream: &append.stream,
                is_there,
                version: head.version,
                access,
            });
        }
        self.change_claims(append);
        self.facts.heads.insert(append.stream.clone(), head);
        let committed = self.answer(append, head, events);
        self.keep(append, &committed);
        Outcome::Committed(committed)
    }

    fn answer(&self, append: &Append, head: Head, events: Vec<AnswerEvent<'_>>) -> Committed {
        let body = AnswerBody {
            aggregate: &append.stream.aggregate,
            id: append.stream.id,
            version: head.version,
            position: head.position,
            events,
            result: &append.answer.result,
        };
        // Strings, numbers and raw JSON: there is nothing in it that could fail to serialize.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        Committed {
            id: append.stream.id,
            version: head.version,
            position: head.position,
            created: append.answer.created,
            body: bytes.into(),
            replayed: false,
        }
    }

    fn keep(&mut self, append: &Append, committed: &Committed) {
        let Some(idempotency) = &append.idempotency else { return };
        let kept = Kept {
            payload_hash: idempotency.payload_hash,
            command_id: idempotency.command_id,
            id: committed.id,
            version: committed.version,
            position: committed.position,
            created: committed.created,
            body: committed.body.clone(),
        };
        let key = KeptKey::of(append, idempotency);
        self.facts.kept.insert(key.clone(), kept.clone());
        self.writes.kept.push((key, kept));
    }

    fn change_access(&mut self, write: AccessWrite<'a>) {
        match self.access_index.entry(write.stream) {
            Entry::Occupied(index) => {
                let first = &mut self.writes.access[*index.get()];
                // What is in the tables was seen by the first change of the batch.
                *first = AccessWrite { is_there: first.is_there, ..write };
            }
            Entry::Vacant(index) => {
                index.insert(self.writes.access.len());
                self.writes.access.push(write);
            }
        }
    }

    fn change_claims(&mut self, append: &Append) {
        let own = append.stream.local();
        for claim in &append.claims.release {
            let key = ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.clone() };
            if self.facts.claims.get(&key) == Some(&own) {
                self.change_claim(key, None);
            }
        }
        for claim in &append.claims.take {
            let key = ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.clone() };
            if self.facts.claims.get(&key) != Some(&own) {
                self.change_claim(key, Some(own.clone()));
            }
        }
    }

    fn change_claim(&mut self, key: ClaimKey, holder: Option<StreamRef>) {
        let before = match holder {
            Some(holder) => self.facts.claims.insert(key.clone(), holder),
            None => self.facts.claims.remove(&key),
        };
        if !self.claimed_index.contains_key(&key) {
            self.claimed_index.insert(key.clone(), self.claimed.len());
            self.claimed.push((key, before));
        }
    }

    fn finish(mut self, outcomes: Vec<Outcome>) -> Plan<'a> {
        for (key, before) in self.claimed {
            let holder = self.facts.claims.get(&key).cloned();
            if holder != before {
                self.writes.claims.push(ClaimWrite { key, is_there: before.is_some(), holder });
            }
        }
        Plan {
            outcomes,
            writes: self.writes,
            heads: self.facts.heads,
            tail: self.tail,
            recorded_at: self.now,
        }
    }
}
