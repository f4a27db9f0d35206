//! Between the workers that decide and the sequencer that appends: neither knows the other.
//!
//! Verdicts of one stream arrive in the order in which they were decided, on the stream's worker thread, and go into
//! the sequencer's queue in that order. What the sequencer refuses goes back to the worker to be decided again.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cairn_bus::Cache;
use cairn_model::chain::Hash;
use cairn_model::{Access, Metadata, Permission, Principal, StreamKey, StreamRef, access};
use cairn_store::{Answer, Append, ClaimChanges, Committed, Idempotency, NewSnapshot, Outcome, Stale, Store};
use cairn_wasm::{
    Accepted, Basis, CommandCall, Decided, Fetch, Fetched, Host, SnapshotDraft, Task, Ticket, Verdict, Work,
    Workers,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{StateView, history, verdict};
use crate::problem::{Code, Problem};

/// How many snapshots may wait to be written; more are dropped, as they are hints.
const SNAPSHOTS_WAITING: usize = 1_024;
/// How long a command waits for its host's turn at a stream that other hosts write.
const TURN_PATIENCE: Duration = Duration::from_secs(20);

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
    /// Since when it has to wait for its host's turn at the stream, if it ever had to.
    pub waiting_since: Option<Instant>,
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
    cache: Cache,
}

impl Bridge {
    /// A bridge to this store. It must be made inside of the runtime that the store runs on.
    pub fn new(store: Store, cache: Cache) -> Self {
        let (snapshots, waiting) = mpsc::channel(SNAPSHOTS_WAITING);
        tokio::spawn(history::save_snapshots(store.clone(), cache.clone(), waiting));
        Self { store, runtime: Handle::current(), workers: OnceLock::new(), snapshots, cache }
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
            Outcome::Stale(Stale::Turn { wait }) => {
                let bridge = self.clone();
                self.runtime.spawn(async move {
                    tokio::time::sleep(wait).await;
                    bridge.again_after_turn(work);
                });
            }
            Outcome::Stale(_) => self.again(work),
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

    /// Gives work back to be decided again.
    fn again(&self, work: Work<Caller>) {
        match self.workers.get() {
            Some(workers) => workers.refused(work),
            None => work.caller.answer(Err(Problem::new(Code::Internal, "no workers"))),
        }
    }

    /// Gives work back that waited for its host's turn at the stream. Nobody has looked at the decision, so that is not one of
    /// its attempts; but it does not wait for ever.
    fn again_after_turn(&self, mut work: Work<Caller>) {
        let waited = work.caller.waiting_since.get_or_insert_with(Instant::now).elapsed();
        if waited > TURN_PATIENCE {
            let detail = "other hosts change the aggregate all the time; it was never this one's turn";
            work.caller.answer(Err(Problem::new(Code::Overloaded, detail)));
            return;
        }
        work.attempts = work.attempts.saturating_sub(1);
        self.again(work);
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
            let read = history::read(&bridge.store, &bridge.cache, fetch).await;
            let fetched = read.unwrap_or_else(|error| {
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
                verdict::Refusal::AtOnce(problem) => self.answer_at_once(work, problem),
            },
        }
    }
}

impl Bridge {
    /// Answers a no that rests on nothing. Under a key it is the answer only if there is none of an earlier time: what was
    /// written once is not denied because the plugin fails today.
    fn answer_at_once(self: &Arc<Self>, work: Work<Caller>, problem: Problem) {
        match work.caller.origin.idempotency.clone() {
            Some(idempotency) => {
                let lookup = Append::kept_answer(work.stream.tenant.clone(), idempotency);
                self.hand_in(work, Pending::Refusal(problem), lookup);
            }
            None => work.caller.answer(Err(problem)),
        }
    }

    fn hand_in(self: &Arc<Self>, work: Work<Caller>, pending: Pending, append: Append) {
        let bridge = self.clone();
        self.store.append(append, move |outcome| bridge.settle(work, pending, outcome));
    }
}

/// What is checked before an answer that appends nothing leaves.
fn check_of(work: &Work<Caller>, basis: Basis) -> Append {
    Append {
        reads: basis.reads,
        idempotency: work.caller.origin.idempotency.clone(),
        lineage: basis.lineage,
        insists: work.attempts > 0,
        ..Append::check(work.stream.clone(), basis.version)
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
