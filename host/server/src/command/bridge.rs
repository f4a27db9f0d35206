//! Between the workers that decide and the sequencer that appends: neither knows the other.
//!
//! Verdicts of one stream arrive in the order in which they were decided, on the stream's worker thread, and go into
//! the sequencer's queue in that order. What the sequencer refuses goes back to the worker to be decided again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{
    Access, Metadata, Permission, Principal, RecordedEvent, StreamKey, StreamRef, Version, access,
};
use cairn_store::{Answer, Append, ClaimChanges, Committed, Idempotency, NewSnapshot, Outcome, Store};
use cairn_wasm::{
    Accepted, Basis, CommandCall, Decided, Fetch, Fetched, Host, SnapshotDraft, Task, Ticket, Verdict, Work,
    Workers,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{StateView, verdict};
use crate::problem::{Code, Problem};

/// How many snapshots may wait to be written; more are dropped, as they are hints.
const SNAPSHOTS_WAITING: usize = 1_024;
/// How many events are read at once while an aggregate is loaded.
const HISTORY_PAGE: u32 = 1_000;

/// What a caller gets.
#[derive(Debug)]
pub enum Reply {
    /// The answer to a command.
    Committed(Committed),
    /// A state that was asked for.
    State(StateView),
}

/// What is known of a request besides the work itself.
#[derive(Debug, Default)]
pub struct Origin {
    /// The W3C trace id.
    pub trace_id: String,
    /// How many policies stand before it.
    pub depth: u32,
    /// The generation that decides.
    pub generation: u64,
    /// The key under which the answer is kept.
    pub idempotency: Option<Idempotency>,
}

/// Who waits for a piece of work.
#[derive(Debug)]
pub struct Caller {
    /// Where the answer goes; nobody may be there any more.
    pub reply: oneshot::Sender<Result<Reply, Problem>>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Caller {
    fn answer(self, answer: Result<Reply, Problem>) {
        // A caller that hung up has cancelled nothing; its answer is simply not needed.
        let _ = self.reply.send(answer);
    }
}

/// What stays of an answer until the log has confirmed what it rests on.
enum Pending {
    Command { snapshot: Option<SnapshotDraft>, digest: Hash },
    State(Option<StateView>),
    Refusal(Problem),
}

/// The host, as the workers see it.
pub struct Bridge {
    store: Store,
    runtime: Handle,
    workers: OnceLock<Workers<Self>>,
    snapshots: mpsc::Sender<NewSnapshot>,
}

impl Bridge {
    /// A bridge to this store. It must be made inside of the runtime that the store runs on.
    pub fn new(store: Store) -> Self {
        let (snapshots, waiting) = mpsc::channel(SNAPSHOTS_WAITING);
        tokio::spawn(save_snapshots(store.clone(), waiting));
        Self { store, runtime: Handle::current(), workers: OnceLock::new(), snapshots }
    }

    /// Says where fetched answers and refused work go.
    pub fn connect(&self, workers: Workers<Self>) {
        let _ = self.workers.set(workers);
    }

    /// Goes on when the sequencer has spoken. This runs on the sequencer's task: nothing here may take long.
    fn settle(self: &Arc<Self>, work: Work<Caller>, pending: Pending, outcome: Outcome) {
        match outcome {
            Outcome::Committed(committed) => {
                // A kept answer of an earlier time says nothing about what was decided now.
                if let Pending::Command { snapshot: Some(draft), digest } = pending
                    && !committed.replayed
                    && committed.version == draft.version
                {
                    let stream = work.stream;
                    let SnapshotDraft { version, state_version, state } = draft;
                    // A full queue drops it: a snapshot is a hint.
                    let _ = self.snapshots.try_send(NewSnapshot {
                        stream,
                        version,
                        state_version,
                        digest,
                        state,
                    });
                }
                work.caller.answer(Ok(Reply::Committed(committed)));
            }
            Outcome::Current(_) => work.caller.answer(match pending {
                Pending::State(Some(view)) => Ok(Reply::State(view)),
                Pending::State(None) => Err(verdict::not_found(&work.stream)),
                Pending::Refusal(problem) => Err(problem),
                Pending::Command { .. } => Err(Problem::new(Code::Internal, "a command was only checked")),
            }),
            Outcome::Stale(_) => match self.workers.get() {
                Some(workers) => workers.refused(work),
                None => work.caller.answer(Err(Problem::new(Code::Internal, "no workers"))),
            },
            Outcome::Claimed { claim, holder } => self.answer_claimed(work, claim, holder),
            Outcome::KeyReused => work.caller.answer(Err(verdict::key_reused())),
            Outcome::Overloaded => {
                work.caller.answer(Err(Problem::new(Code::Overloaded, "the queue to the log is full")));
            }
            Outcome::Unavailable(cause) => {
                tracing::warn!(%cause, "an append was not possible");
                work.caller
                    .answer(Err(Problem::new(Code::StoreUnavailable, "the log cannot be written now")));
            }
            Outcome::Unknown(cause) => {
                tracing::error!(%cause, "the outcome of a commit is unknown");
                let detail = "the log failed during the commit and cannot be asked now";
                work.caller.answer(Err(Problem::new(Code::OutcomeUnknown, detail)));
            }
        }
    }

    /// A conflict names the holder only to those who may read it, which takes a look at the log.
    fn answer_claimed(self: &Arc<Self>, work: Work<Caller>, claim: String, holder: StreamRef) {
        let conflict = Problem::new(Code::Conflict, format!("`{claim}` is taken"));
        if work.principal.is_unbounded() {
            work.caller.answer(Err(conflict.with_holder(holder)));
            return;
        }
        let store = self.store.clone();
        self.runtime.spawn(async move {
            let key = holder.of(&work.stream.tenant);
            let visible = readable(&store, &work.principal, &key).await;
            work.caller.answer(Err(if visible { conflict.with_holder(holder) } else { conflict }));
        });
    }
}

/// Whether the principal may read the aggregate, by what the log has now; no where that cannot be found out.
async fn readable(store: &Store, principal: &Principal, stream: &StreamKey) -> bool {
    let chain: Vec<Access> = match store.access_chain(stream).await {
        Ok(rows) => rows.into_iter().map_while(|row| row.access).collect(),
        Err(error) => {
            tracing::warn!(%error, "could not read who may see the holder of a claim");
            return false;
        }
    };
    access::permissions(principal, &chain).contains(Permission::Read)
}

impl Host for Bridge {
    type Caller = Caller;

    fn fetch(self: &Arc<Self>, ticket: Ticket, fetch: Fetch) {
        let bridge = self.clone();
        self.runtime.spawn(async move {
            let fetched = read(&bridge.store, fetch).await.unwrap_or_else(|error| {
                tracing::error!(%error, "an aggregate's history could not be read");
                Fetched::Failed(error.to_string())
            });
            if let Some(workers) = bridge.workers.get() {
                workers.fetched(ticket, fetched);
            }
        });
    }

    fn decided(self: &Arc<Self>, work: Work<Caller>, decided: Decided) {
        let Decided { verdict, basis } = decided;
        match verdict {
            Verdict::Accepted(accepted) => match &work.task {
                Task::Command(call) => {
                    let snapshot = accepted.snapshot.clone();
                    let append = append_of(&self.store, &work, call, basis, accepted);
                    let pending = Pending::Command { snapshot, digest: work.component.digest() };
                    self.hand_in(work, pending, append);
                }
                Task::State => work.caller.answer(Err(Problem::new(Code::Internal, "a read was accepted"))),
            },
            Verdict::State { state, access } => {
                let view = state.map(|state| StateView { version: basis.version, state, access });
                let check = check_of(&work, basis);
                self.hand_in(work, Pending::State(view), check);
            }
            other => match verdict::refusal(&work, &basis, other) {
                verdict::Refusal::Checked(problem) => {
                    let check = check_of(&work, basis);
                    self.hand_in(work, Pending::Refusal(problem), check);
                }
                verdict::Refusal::AtOnce(problem) => work.caller.answer(Err(problem)),
            },
        }
    }
}

impl Bridge {
    fn hand_in(self: &Arc<Self>, work: Work<Caller>, pending: Pending, append: Append) {
        let bridge = self.clone();
        self.store.append(append, move |outcome| bridge.settle(work, pending, outcome));
    }
}

/// The last event that a snapshot of this version contains, and what came after it. A snapshot of a version that the log does
/// not have is of no use, wherever it came from.
async fn after_snapshot(
    store: &Store,
    stream: &StreamKey,
    version: Version,
) -> Result<Option<(RecordedEvent, Vec<RecordedEvent>)>, cairn_store::Error> {
    let mut events = history(store, stream, version.saturating_sub(1)).await?;
    if events.first().is_none_or(|event| event.version != version) {
        tracing::warn!(%stream, version, "a snapshot is newer than its stream; all events are read");
        return Ok(None);
    }
    let last = events.remove(0);
    Ok(Some((last, events)))
}

/// All events of a stream after a version.
async fn history(
    store: &Store,
    stream: &StreamKey,
    mut after: Version,
) -> Result<Vec<RecordedEvent>, cairn_store::Error> {
    let mut events = Vec::new();
    loop {
        // A page may end early, so only an empty one is the end.
        let page = store.read_stream(stream, after, HISTORY_PAGE).await?;
        let Some(last) = page.last() else { return Ok(events) };
        after = last.version;
        events.extend(page);
    }
}

fn from_snapshot(snapshot: (Version, Bytes), last: &RecordedEvent, events: Vec<RecordedEvent>) -> Fetched {
    let snapshot_at = last.read_metadata().ok().map(|metadata| metadata.occurred_at);
    Fetched::History { snapshot: Some(snapshot), snapshot_at, events }
}

async fn read(store: &Store, fetch: Fetch) -> Result<Fetched, cairn_store::Error> {
    match fetch {
        Fetch::History { stream, state_version, digest, whole, base } => {
            if let Some(base) = base
                && let Some((last, events)) = after_snapshot(store, &stream, base.version).await?
                && last.hash == base.hash
            {
                return Ok(from_snapshot((base.version, base.state), &last, events));
            }
            let snapshot =
                if whole { None } else { store.snapshot(&stream, state_version, digest, u64::MAX).await? };
            if let Some(snapshot) = snapshot
                && let Some((last, events)) = after_snapshot(store, &stream, snapshot.0).await?
            {
                return Ok(from_snapshot(snapshot, &last, events));
            }
            let events = history(store, &stream, 0).await?;
            Ok(Fetched::History { snapshot: None, snapshot_at: None, events })
        }
        Fetch::AccessChain(stream) => Ok(Fetched::AccessChain(store.access_chain(&stream).await?)),
    }
}

/// What is checked before an answer that appends nothing leaves.
fn check_of(work: &Work<Caller>, basis: Basis) -> Append {
    Append {
        stream: work.stream.clone(),
        expected: basis.version,
        events: Vec::new(),
        metadata: String::new(),
        reads: basis.reads,
        claims: ClaimChanges::default(),
        access: None,
        idempotency: work.caller.origin.idempotency.clone(),
        record_unchanged: false,
        answer: Answer::empty(),
        lineage: basis.lineage,
    }
}

fn append_of(
    store: &Store,
    work: &Work<Caller>,
    call: &CommandCall,
    basis: Basis,
    accepted: Accepted,
) -> Append {
    let origin = &work.caller.origin;
    let metadata = Metadata {
        actor: work.principal.id,
        on_behalf_of: call.on_behalf_of,
        tenant: work.stream.tenant.clone(),
        command_id: call.command_id,
        correlation_id: call.correlation_id.clone().unwrap_or_else(|| call.command_id.to_string()),
        causation_id: call.causation_id.clone(),
        causation_depth: origin.depth,
        trace_id: origin.trace_id.clone(),
        digest: work.component.digest().to_string(),
        generation: origin.generation,
        log_id: store.log_id(),
        occurred_at: accepted.now,
    };
    let created = basis.version == 0 && !accepted.events.is_empty();
    Append {
        events: accepted.events,
        metadata: serde_json::to_string(&metadata).unwrap_or_default(),
        claims: ClaimChanges { take: accepted.claims_taken, release: accepted.claims_released },
        access: accepted.access,
        record_unchanged: true,
        answer: Answer { created, result: accepted.result },
        ..check_of(work, basis)
    }
}

async fn save_snapshots(store: Store, mut waiting: mpsc::Receiver<NewSnapshot>) {
    while let Some(snapshot) = waiting.recv().await {
        let stream = snapshot.stream.clone();
        if let Err(error) = store.save_snapshot(snapshot).await {
            tracing::warn!(%error, %stream, "a snapshot could not be written; the log has all of it");
        }
    }
}
