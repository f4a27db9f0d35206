//! A host with a log in memory: it checks what the real store checks (versions, reads, claims, lineage) and can be held
//! back, so that tests see what happens between a decision and its commit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cairn_model::access::AccessRow;
use cairn_model::chain::Hash;
use cairn_model::{
    Access, Clock, Metadata, NewEvent, Permission, Principal, Read, RecordedEvent, StreamKey, Timestamp,
    Version, ids,
};
use cairn_wasm::{
    Base, Basis, CommandCall, Component, Decided, Engine, Fetch, Fetched, Host, Limits, Task, Ticket,
    Verdict, Work, Workers,
};
use serde_json::Value;
use uuid::Uuid;

/// Far longer than anything here takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
pub const TENANT: &str = "default";

/// The guest, loaded with these limits; compiled code is shared by all tests.
pub fn load(limits: Limits) -> (Engine, Arc<Component>) {
    let engine = Engine::new(limits).expect("an engine");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-cache");
    let component = Component::load(&engine, &cairn_guests::faulty(), Some(&cache)).expect("the guest loads");
    (engine, Arc::new(component))
}

/// The guest with the default limits.
pub fn component() -> Arc<Component> {
    static LOADED: OnceLock<(Engine, Arc<Component>)> = OnceLock::new();
    LOADED.get_or_init(|| load(Limits::default())).1.clone()
}

/// An answer, as a caller gets it.
#[derive(Debug)]
pub struct Answer {
    pub verdict: Verdict,
    pub basis: Basis,
    pub attempts: u32,
}

impl Answer {
    /// The result of an accepted command.
    #[track_caller]
    pub fn result(&self) -> Value {
        match &self.verdict {
            Verdict::Accepted(accepted) => serde_json::from_str(accepted.result.get()).expect("JSON"),
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The name of the fault's kind.
    #[track_caller]
    pub fn fault(&self) -> &'static str {
        match &self.verdict {
            Verdict::Fault(fault) => fault.kind.name(),
            other => panic!("no fault: {other:?}"),
        }
    }
}

#[derive(Default)]
pub struct Log {
    pub events: Vec<RecordedEvent>,
    pub snapshots: HashMap<StreamKey, (Version, Bytes)>,
    access: HashMap<StreamKey, (Version, Access)>,
    claims: HashMap<String, StreamKey>,
    /// The histories that were fetched, and the version after which: 0 for all events.
    pub fetches: Vec<(StreamKey, Version)>,
    pub chain_fetches: usize,
    /// Set to let fetches fail.
    pub broken: bool,
    /// Set to let the host panic when it is given a decision on this stream.
    pub panics_on: Option<StreamKey>,
}

impl Log {
    pub fn version(&self, stream: &StreamKey) -> Version {
        self.events.iter().rev().find(|event| event.stream == *stream).map_or(0, |event| event.version)
    }

    /// Writes an event as another host would.
    pub fn append(&mut self, stream: &StreamKey, event: &NewEvent, actor: Uuid) {
        let position = self.events.len() as u64 + 1;
        let occurred_at = Timestamp::from_micros(1_000_000);
        let metadata = Metadata {
            actor,
            on_behalf_of: None,
            tenant: stream.tenant.clone(),
            command_id: Uuid::nil(),
            correlation_id: String::new(),
            causation_id: None,
            causation_depth: 0,
            trace_id: String::new(),
            digest: String::new(),
            generation: 1,
            log_id: Uuid::nil(),
            occurred_at,
        };
        self.events.push(RecordedEvent {
            position,
            stream: stream.clone(),
            version: self.version(stream) + 1,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            data: event.data.clone(),
            metadata: serde_json::to_string(&metadata).expect("JSON"),
            recorded_at: occurred_at,
            hash: Hash::of(format!("{position} {}", event.data).as_bytes()),
        });
    }

    fn is_current(&self, work: &Work<Caller>, decided: &Decided) -> bool {
        let basis = &decided.basis;
        let reads = basis.reads.iter().all(|read| match read {
            Read::Stream(stream, version) => self.version(stream) == *version,
            Read::Access(stream, version) => self.access.get(stream).map_or(0, |(at, _)| *at) == *version,
        });
        !basis.lineage.is_broken() && self.version(&work.stream) == basis.version && reads
    }

    /// Commits what is accepted; false if a claim is taken.
    fn commit(&mut self, work: &Work<Caller>, verdict: &Verdict) -> bool {
        let Verdict::Accepted(accepted) = verdict else { return true };
        let taken = |claim: &String| self.claims.get(claim).is_some_and(|holder| *holder != work.stream);
        if accepted.claims_taken.iter().any(taken) {
            return false;
        }
        accepted.claims_released.iter().for_each(|claim| drop(self.claims.remove(claim)));
        for claim in &accepted.claims_taken {
            self.claims.insert(claim.clone(), work.stream.clone());
        }
        for event in &accepted.events {
            self.append(&work.stream, event, work.principal.id);
        }
        let version = self.version(&work.stream);
        if let Some(access) = &accepted.access {
            self.access.insert(work.stream.clone(), (version, access.clone()));
        }
        if let Some(snapshot) = &accepted.snapshot {
            self.snapshots.insert(work.stream.clone(), (snapshot.version, snapshot.state.clone()));
        }
        true
    }

    fn chain(&self, from: &StreamKey) -> Vec<AccessRow> {
        let mut rows = Vec::new();
        let mut next = Some(from.clone());
        while let Some(stream) = next.take() {
            let found = self.access.get(&stream).cloned();
            let (version, access) = found.map_or((0, None), |(version, access)| (version, Some(access)));
            next = access
                .as_ref()
                .and_then(|access| access.parent.as_ref())
                .map(|parent| parent.of(&stream.tenant));
            rows.push(AccessRow { stream: stream.local(), version, access });
        }
        rows
    }
}

/// Who waits for an answer.
pub type Caller = Sender<Answer>;

pub struct TestHost {
    pub log: Mutex<Log>,
    sequencer: Sender<(Work<Caller>, Decided)>,
    /// While closed, nothing is committed.
    gate: (Mutex<bool>, Condvar),
    workers: OnceLock<Workers<TestHost>>,
}

impl Host for TestHost {
    type Caller = Caller;

    fn fetch(self: &Arc<Self>, ticket: Ticket, fetch: Fetch) {
        let host = self.clone();
        std::thread::spawn(move || {
            let fetched = host.read(fetch);
            host.workers.get().expect("workers").fetched(ticket, fetched);
        });
    }

    fn decided(self: &Arc<Self>, work: Work<Caller>, decided: Decided) {
        let panics = self.log().panics_on.as_ref() == Some(&work.stream);
        assert!(!panics, "the test wants this panic");
        let _ = self.sequencer.send((work, decided));
    }
}

impl TestHost {
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("the log")
    }

    fn read(&self, fetch: Fetch) -> Fetched {
        let mut log = self.log();
        if log.broken {
            return Fetched::Failed("the disk is on fire".to_owned());
        }
        match fetch {
            Fetch::History { stream, whole, base, .. } => {
                let is_last = |base: &Base, event: &RecordedEvent| {
                    event.stream == stream && (event.version, event.hash) == (base.version, base.hash)
                };
                let base = base.filter(|base| log.events.iter().any(|event| is_last(base, event)));
                let snapshot = match base {
                    Some(base) => Some((base.version, base.state)),
                    None if whole => None,
                    None => log.snapshots.get(&stream).cloned(),
                };
                let after = snapshot.as_ref().map_or(0, |(version, _)| *version);
                log.fetches.push((stream.clone(), after));
                let newer = |event: &&RecordedEvent| event.stream == stream && event.version > after;
                let events = log.events.iter().filter(newer).cloned().collect();
                Fetched::History { snapshot, snapshot_at: None, events }
            }
            Fetch::AccessChain(stream) => {
                log.chain_fetches += 1;
                Fetched::AccessChain(log.chain(&stream))
            }
        }
    }

    fn settle(&self, work: Work<Caller>, decided: Decided) {
        let rests_on_nothing =
            matches!(decided.verdict, Verdict::Fault(_) | Verdict::Overloaded | Verdict::Unavailable(_));
        if !rests_on_nothing {
            let mut log = self.log();
            if !log.is_current(&work, &decided) {
                drop(log);
                decided.basis.lineage.break_off();
                self.workers.get().expect("workers").refused(work);
                return;
            }
            if !log.commit(&work, &decided.verdict) {
                decided.basis.lineage.break_off();
            }
        }
        let (caller, attempts) = (work.caller.clone(), work.attempts);
        let _ = caller.send(Answer { verdict: decided.verdict, basis: decided.basis, attempts });
    }
}

/// Workers on a test host.
pub struct Setup {
    pub host: Arc<TestHost>,
    pub workers: Workers<TestHost>,
    pub engine: Engine,
    pub component: Arc<Component>,
    pub clock: Clock,
    pub admin: Arc<Principal>,
}

impl Setup {
    pub fn start() -> Self {
        Self::with(Limits { sample_every: 7, ..Limits::default() }, 4)
    }

    pub fn with(limits: Limits, threads: usize) -> Self {
        let (engine, component) = load(limits);
        let (sequencer, decided) = mpsc::channel();
        let host = Arc::new(TestHost {
            log: Mutex::default(),
            sequencer,
            gate: (Mutex::new(true), Condvar::new()),
            workers: OnceLock::new(),
        });
        let clock = Clock::manual(Timestamp::from_micros(2_000_000));
        let workers = Workers::start(&engine, clock.clone(), host.clone(), threads);
        host.workers.set(workers.clone()).expect("set once");
        let sequenced = Arc::downgrade(&host);
        std::thread::spawn(move || {
            for (work, decided) in decided {
                let Some(host) = sequenced.upgrade() else { return };
                let gate = host.gate.0.lock().expect("the gate");
                let open = host.gate.1.wait_while(gate, |open| !*open).expect("the gate");
                drop(open);
                host.settle(work, decided);
            }
        });
        Self { host, workers, engine, component, clock, admin: Arc::new(Principal::administrator(TENANT)) }
    }

    /// Holds commits back, or lets them go.
    pub fn gate(&self, open: bool) {
        *self.host.gate.0.lock().expect("the gate") = open;
        self.host.gate.1.notify_all();
    }

    pub fn stream(&self, id: u128) -> StreamKey {
        StreamKey::new(TENANT, "probe", Uuid::from_u128(id))
    }

    pub fn work(&self, principal: &Arc<Principal>, id: u128, task: Task) -> (Work<Caller>, Receiver<Answer>) {
        let (caller, answer) = mpsc::channel();
        let work = Work {
            stream: self.stream(id),
            component: self.component.clone(),
            principal: principal.clone(),
            task,
            attempts: 0,
            caller,
        };
        (work, answer)
    }

    pub fn call(&self, name: &str, payload: &Value) -> CommandCall {
        let manifest = self.component.manifest();
        let spec =
            manifest.aggregate("probe").and_then(|it| it.command(name)).expect("a command of the guest");
        CommandCall {
            command: spec.name.clone(),
            payload: payload.to_string().into_bytes().into(),
            if_match: None,
            permission: spec.permission,
            creates: spec.creates,
            command_id: ids::new_id(self.clock.now()),
            correlation_id: None,
            causation_id: None,
            on_behalf_of: None,
            given: None,
        }
    }

    /// Sends a command and does not wait.
    pub fn send(&self, id: u128, name: &str, payload: &Value) -> Receiver<Answer> {
        self.send_as(&self.admin, id, name, payload)
    }

    pub fn send_as(
        &self,
        principal: &Arc<Principal>,
        id: u128,
        name: &str,
        payload: &Value,
    ) -> Receiver<Answer> {
        let (work, answer) = self.work(principal, id, Task::Command(self.call(name, payload)));
        self.workers.submit(work);
        answer
    }

    pub fn command(&self, id: u128, name: &str, payload: &Value) -> Answer {
        wait(&self.send(id, name, payload))
    }

    pub fn command_as(&self, principal: &Arc<Principal>, id: u128, name: &str, payload: &Value) -> Answer {
        wait(&self.send_as(principal, id, name, payload))
    }

    pub fn state_as(&self, principal: &Arc<Principal>, id: u128) -> Answer {
        let (work, answer) = self.work(principal, id, Task::State);
        self.workers.submit(work);
        wait(&answer)
    }

    /// The present count of a probe.
    #[track_caller]
    pub fn count(&self, id: u128) -> i64 {
        match self.state_as(&self.admin, id).verdict {
            Verdict::State { state: Some(state), .. } => {
                let state: Value = serde_json::from_str(state.get()).expect("JSON");
                state["count"].as_i64().expect("a count")
            }
            other => panic!("no state: {other:?}"),
        }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.gate(true);
        self.workers.stop();
    }
}

#[track_caller]
pub fn wait(answer: &Receiver<Answer>) -> Answer {
    answer.recv_timeout(PATIENCE).expect("an answer in time")
}

/// Somebody whom access entries bind.
pub fn somebody(id: u128) -> Arc<Principal> {
    Arc::new(Principal {
        id: Uuid::from_u128(id),
        tenant: TENANT.into(),
        groups: Vec::new(),
        scopes: Vec::new(),
    })
}

pub fn id(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}

pub fn added(by: i64) -> NewEvent {
    NewEvent { event_type: "ProbeAdded".into(), schema_version: 2, data: format!(r#"{{"by":{by}}}"#) }
}

pub fn created() -> NewEvent {
    NewEvent { event_type: "ProbeCreated".into(), schema_version: 1, data: "{}".to_owned() }
}

pub fn forbidden(answer: &Answer) -> Option<Permission> {
    match answer.verdict {
        Verdict::Forbidden(permission) => Some(permission),
        _ => None,
    }
}
