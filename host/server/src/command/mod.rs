//! The write path: from a request to an event in the log, or to a no that the log has confirmed.
//!
//! A request is checked here (does the command exist, does the payload match its schema), decided by the workers of
//! `cairn-wasm`, and appended by the sequencer of `cairn-store`; `bridge` ties the two together, since neither knows
//! the other. What the caller gets was either appended, or checked against the log's present.

mod bridge;
mod history;
mod payload;
mod raw;
pub mod verdict;

use std::sync::Arc;

use bytes::Bytes;
use cairn_bus::Cache;
use cairn_model::chain::Hash;
use cairn_model::{Access, Clock, Principal, RecordedEvent, StreamKey, Timestamp, Version, ids};
use cairn_store::{Committed, Idempotency, Store};
use cairn_wasm::{CommandCall, Component, Engine, Task, Work, Workers};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::plugins::{CommandEntry, Registry};
use crate::problem::{Code, Problem};
use bridge::{Bridge, Caller, Origin, Reply};
pub use raw::RawAppend;

/// How many events are folded at once for an earlier state.
const FOLD_PAGE: u32 = 1_000;

/// A command as somebody sends it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who sends it.
    pub principal: Arc<Principal>,
    /// The aggregate type.
    pub aggregate: String,
    /// The aggregate's id; `None` lets the host make one for a creating command.
    pub id: Option<Uuid>,
    /// The command's name in paths.
    pub command: String,
    /// JSON.
    pub payload: Bytes,
    /// The version that the caller wants to change.
    pub if_match: Option<Version>,
    /// The key under which the answer is kept.
    pub idempotency_key: Option<String>,
    /// Where it comes from.
    pub cause: Cause,
}

/// Where a command comes from.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The W3C trace id.
    pub trace_id: String,
    /// One for everything that follows from one request; the command's id where it is `None`.
    pub correlation_id: Option<String>,
    /// What directly led to it.
    pub causation_id: Option<String>,
    /// How many policies stand between it and a caller.
    pub depth: u32,
    /// The principal in whose name it is sent.
    pub on_behalf_of: Option<Uuid>,
}

/// An aggregate's state.
#[derive(Debug)]
pub struct StateView {
    /// The version it is of.
    pub version: Version,
    /// JSON.
    pub state: Box<RawValue>,
    /// Who may do what.
    pub access: Option<Access>,
}

/// A moment in an aggregate's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After its event with this version.
    Version(Version),
    /// At this time, by the events' `recorded_at`.
    At(Timestamp),
}

/// How much may be under way, and how long chains of policies may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Commands and reads of state at once; more are answered `overloaded`.
    pub in_flight: usize,
    /// How many policies may stand between a caller and a command.
    pub causation_depth: u32,
    /// Threads that decide.
    pub workers: usize,
}

/// The write path's entrance.
#[derive(Clone)]
pub struct Commands {
    registry: Arc<Registry>,
    store: Store,
    clock: Clock,
    workers: Workers<Bridge>,
    in_flight: Arc<Semaphore>,
    limits: Limits,
}

impl Commands {
    /// Starts the workers.
    pub fn start(
        engine: &Engine,
        store: Store,
        registry: Arc<Registry>,
        clock: Clock,
        cache: Cache,
        limits: Limits,
    ) -> Self {
        let bridge = Arc::new(Bridge::new(store.clone(), cache));
        let workers = Workers::start(engine, clock.clone(), bridge.clone(), limits.workers);
        bridge.connect(workers.clone());
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        Self { registry, store, clock, workers, in_flight, limits }
    }

    /// Carries out a command. Dropping the future cancels nothing: what was handed in is decided and appended.
    ///
    /// # Errors
    /// Any problem of the write path; after everything but `outcome-unknown` it is certain whether something was
    /// written.
    pub async fn execute(&self, request: Request) -> Result<Committed, Problem> {
        let generation = self.registry.current();
        let entry = find_command(&generation, &request)?;
        let payload = payload::check(entry, request.payload.clone())?;
        let depth = request.cause.depth;
        if depth > self.limits.causation_depth {
            let detail = format!(
                "policies led to each other {depth} times; the limit is {}",
                self.limits.causation_depth
            );
            return Err(Problem::new(Code::Rejected, detail).with_domain_code("causation-too-deep"));
        }
        let _permit = self.permit()?;
        let idempotency = request.idempotency_key.as_ref().map(|key| {
            let id = request.id.map(|id| id.to_string()).unwrap_or_default();
            let asked = [request.aggregate.as_str(), &id, &request.command];
            idempotency(&request.principal, key, asked, request.if_match, &request.payload)
        });
        let now = self.clock.now();
        let command_id = idempotency.as_ref().map_or_else(|| ids::new_id(now), |record| record.command_id);
        let id = match request.id {
            Some(id) => id,
            None if entry.command.spec.creates => ids::new_id(now),
            None => {
                let name = &entry.command.spec.full_name;
                return Err(Problem::invalid(
                    "id",
                    format!("{name} needs the id of an aggregate in its path"),
                ));
            }
        };
        let stream =
            StreamKey { tenant: request.principal.tenant.clone(), aggregate: entry.aggregate.clone(), id };
        let spec = &entry.command.spec;
        let task = Task::Command(CommandCall {
            command: spec.name.clone(),
            payload,
            if_match: request.if_match,
            permission: spec.permission,
            creates: spec.creates,
            command_id,
            correlation_id: request.cause.correlation_id,
            causation_id: request.cause.causation_id,
            on_behalf_of: request.cause.on_behalf_of,
            given: None,
        });
        let origin =
            Origin { trace_id: request.cause.trace_id, depth, generation: generation.number, idempotency };
        self.carry_out(stream, entry.plugin.component.clone(), request.principal, task, origin).await
    }

    async fn carry_out(
        &self,
        stream: StreamKey,
        component: Arc<Component>,
        principal: Arc<Principal>,
        task: Task,
        origin: Origin,
    ) -> Result<Committed, Problem> {
        match self.ask(stream, component, principal, task, origin).await? {
            Reply::Committed(committed) => Ok(committed),
            Reply::State(_) => Err(Problem::new(Code::Internal, "a command was answered with a state")),
        }
    }

    /// The present state, as the log confirms it.
    ///
    /// # Errors
    /// `not-found`, also for what the principal may not read; problems of the store and of the guest.
    pub async fn state(
        &self,
        principal: Arc<Principal>,
        aggregate: &str,
        id: Uuid,
    ) -> Result<StateView, Problem> {
        let generation = self.registry.current();
        let (plugin, aggregate) = generation.aggregate(aggregate).ok_or_else(|| no_aggregate(aggregate))?;
        let _permit = self.permit()?;
        let stream = StreamKey { tenant: principal.tenant.clone(), aggregate: aggregate.clone(), id };
        let origin = Origin::default();
        match self.ask(stream, plugin.component.clone(), principal, Task::State, origin).await? {
            Reply::State(view) => Ok(view),
            Reply::Committed(_) => {
                Err(Problem::new(Code::Internal, "a read was answered with a command's answer"))
            }
        }
    }

    /// The state at an earlier moment, folded from the log. Who may read the aggregate today may read its past.
    ///
    /// # Errors
    /// As [`Commands::state`]; `not-found` for a moment before the aggregate or a version that it does not have.
    pub async fn state_at(
        &self,
        principal: Arc<Principal>,
        aggregate: &str,
        id: Uuid,
        moment: Moment,
    ) -> Result<StateView, Problem> {
        let present = self.state(principal.clone(), aggregate, id).await?;
        let generation = self.registry.current();
        let (plugin, aggregate) = generation.aggregate(aggregate).ok_or_else(|| no_aggregate(aggregate))?;
        let stream = StreamKey { tenant: principal.tenant.clone(), aggregate: aggregate.clone(), id };
        let version = match moment {
            Moment::Version(version) => version,
            // What came after the state was looked at does not count.
            Moment::At(time) => self.store.version_at(&stream, time).await?.min(present.version),
        };
        if version == 0 || version > present.version {
            let detail =
                format!("{aggregate}/{id} has versions 1 to {}, none at that moment", present.version);
            return Err(Problem::new(Code::NotFound, detail));
        }
        self.fold(&plugin.component, &stream, version).await
    }

    /// Folds a stream up to a version, from the newest usable snapshot before it.
    async fn fold(
        &self,
        component: &Arc<Component>,
        stream: &StreamKey,
        version: Version,
    ) -> Result<StateView, Problem> {
        let state_version =
            component.manifest().aggregate(&stream.aggregate).map_or(0, |aggregate| aggregate.state_version);
        let snapshot = self.store.snapshot(stream, state_version, component.digest(), version).await?;
        let mut events: Vec<RecordedEvent> = Vec::new();
        let mut after = snapshot.as_ref().map_or(0, |(version, _)| *version);
        while after < version {
            let limit = u32::try_from(version - after).unwrap_or(FOLD_PAGE).min(FOLD_PAGE);
            let page = self.store.read_stream(stream, after, limit).await?;
            let Some(last) = page.last() else { break };
            after = last.version;
            events.extend(page);
        }
        let (component, stream) = (component.clone(), stream.clone());
        let folded = tokio::task::spawn_blocking(move || component.fold(&stream, snapshot, &events))
            .await
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?
            .map_err(|fault| verdict::fault(&fault))?;
        let state =
            folded.state.ok_or_else(|| Problem::new(Code::NotFound, "there was no such aggregate then"))?;
        Ok(StateView { version: folded.version, state, access: folded.access })
    }

    /// Stops deciding: what is under way is finished, what waits is answered `overloaded`.
    pub async fn stop(&self) {
        self.in_flight.close();
        let workers = self.workers.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || workers.stop()).await {
            tracing::error!(%error, "the workers did not stop");
        }
    }

    fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        self.in_flight.try_acquire().map_err(|_| {
            let limit = self.limits.in_flight;
            Problem::new(Code::Overloaded, format!("{limit} commands are under way, or the host is stopping"))
        })
    }

    async fn ask(
        &self,
        stream: StreamKey,
        component: Arc<Component>,
        principal: Arc<Principal>,
        task: Task,
        origin: Origin,
    ) -> Result<Reply, Problem> {
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply, origin, waiting_since: None };
        self.workers.submit(Work { stream, component, principal, task, attempts: 0, caller });
        // A reply is dropped only where something broke: it is not known how far the work had come.
        answer.await.unwrap_or_else(|_| {
            Err(Problem::new(Code::OutcomeUnknown, "the host lost the request on its way to the log"))
        })
    }
}

fn find_command<'a>(
    generation: &'a crate::plugins::Generation,
    request: &Request,
) -> Result<CommandEntry<'a>, Problem> {
    let (aggregate, command) = (&request.aggregate, &request.command);
    if generation.aggregate(aggregate).is_none() {
        return Err(no_aggregate(aggregate));
    }
    generation
        .command(aggregate, command)
        .filter(|entry| !entry.command.spec.internal || request.principal.is_internal())
        .ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the aggregate `{aggregate}` has no command `{command}`"))
        })
}

fn no_aggregate(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("no active plugin has an aggregate `{name}`"))
}

/// The record of a key: the command's id is derived from it, and the payload's hash covers all that is asked for.
fn idempotency(
    principal: &Principal,
    key: &str,
    asked: [&str; 3],
    if_match: Option<Version>,
    payload: &[u8],
) -> Idempotency {
    let mut hash = Sha256::new();
    let if_match = if_match.map(|version| version.to_string()).unwrap_or_default();
    for part in asked.into_iter().chain([if_match.as_str()]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(payload);
    Idempotency {
        principal: principal.id,
        key: key.to_owned(),
        payload_hash: Hash(hash.finalize().into()),
        command_id: ids::derived_id(&["command", &principal.tenant, &principal.id.to_string(), key]),
    }
}
