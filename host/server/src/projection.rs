//! The read side's engine: events from the log through the guest into read models, each event exactly once.
//!
//! One host runs a projection, under a lease; the others follow how far it is. One task runs it: it reads a page of the log, asks the guest once for the changes of the whole page, and
//! commits rows and position in one transaction. What fails is tried again with growing pauses, and nothing is skipped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_bus::Bus;
use cairn_model::manifest::{Manifest, Projection};
use cairn_model::{Change, Name, Position, Principal, RecordedEvent};
use cairn_store::{Fence, LogFilter, ReadModel, Session, Store};
use cairn_wasm::Component;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::leases::Leases;
use crate::plugins::Generation;
use crate::problem::{Code, Problem};

/// How many events are read, projected and written at once.
const PAGE: u32 = 2_000;
/// How long events gather while nobody waits for them: a step for each single event would cost several times as much, at
/// the expense of the commands.
const GATHER: Duration = Duration::from_millis(10);
/// How often a host looks how far another one is that runs the projection: while nobody waits, and while somebody does.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_AWAITED: Duration = Duration::from_millis(5);
/// The first pause after a failure; it doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How a projection stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The projection.
    pub name: Name,
    /// The plugin that declares it.
    pub plugin: Name,
    /// The version of its tables.
    pub version: u32,
    /// `running`, or `failing` while an event or the store keeps it from going on.
    pub state: &'static str,
    /// The last position that its rows contain.
    pub position: Position,
    /// How many events of the log it has not seen.
    pub lag_events: u64,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

struct Running {
    plugin: Name,
    spec: Projection,
    component: Arc<Component>,
    model: ReadModel,
    position: watch::Sender<Position>,
    /// The highest position that somebody has waited for.
    awaited: watch::Sender<Position>,
    error: Mutex<Option<String>>,
}

/// All projections of the host.
#[derive(Clone)]
pub struct Projections {
    store: Store,
    running: Arc<BTreeMap<Name, Arc<Running>>>,
}

impl Projections {
    /// Opens the read models of the generation and starts to keep them up to date.
    ///
    /// # Errors
    /// When a read model cannot be opened.
    pub async fn start(
        store: Store,
        generation: &Generation,
        bus: &Bus,
        leases: &Leases,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, cairn_store::Error> {
        let mut running = BTreeMap::new();
        for (plugin, spec) in generation.projections() {
            let model = store.open_read_model(spec).await?;
            let projection = Arc::new(Running {
                plugin: plugin.manifest().name.clone(),
                spec: spec.clone(),
                component: plugin.component.clone(),
                position: watch::Sender::new(model.position().await?),
                awaited: watch::Sender::new(0),
                model,
                error: Mutex::new(None),
            });
            let (leases, stop) = (leases.clone(), stop.clone());
            let (running_here, store, bus) = (projection.clone(), store.clone(), bus.clone());
            tasks.spawn(async move {
                let lease = format!("projection/{}", running_here.spec.name);
                let follow = || running_here.clone().follow();
                let run = |fence: Fence, lost| {
                    running_here.clone().run(fence.epoch, store.clone(), bus.clone(), lost)
                };
                leases.hold(&lease, &stop, follow, run).await;
            });
            running.insert(spec.name.clone(), projection);
        }
        Ok(Self { store, running: Arc::new(running) })
    }

    /// How every projection stands, by name.
    pub fn list(&self) -> Vec<Status> {
        let head = self.store.head();
        self.running.values().map(|projection| projection.status(head)).collect()
    }

    /// Waits until the projection's rows contain everything up to `position`.
    ///
    /// # Errors
    /// `projection-behind` after `patience`.
    pub async fn wait_for(
        &self,
        name: &str,
        position: Position,
        patience: Duration,
    ) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        let mut reached = projection.position.subscribe();
        // What is not in the log yet makes nobody hurry.
        let within = position.min(self.store.head());
        projection.awaited.send_if_modified(|awaited| {
            let further = within > *awaited;
            *awaited = within.max(*awaited);
            further
        });
        let result = match tokio::time::timeout(patience, reached.wait_for(|at| *at >= position)).await {
            Ok(Ok(at)) => Ok(*at),
            Ok(Err(_)) | Err(_) => Err(()),
        };
        result.map_err(|()| {
            let at = *projection.position.borrow();
            Problem::new(
                Code::ProjectionBehind,
                format!("`{name}` is at position {at}, you asked for {position}"),
            )
        })
    }

    /// A consistent view of a projection's rows for this principal.
    ///
    /// # Errors
    /// Problems of the store.
    pub async fn session(&self, name: &str, principal: &Principal) -> Result<Session, Problem> {
        // Who may read what is not known while access is rebuilt, and nothing is not the answer.
        if !*self.store.facts_intact().borrow() {
            let detail = "access is being rebuilt from the log";
            return Err(Problem::new(Code::StoreUnavailable, detail));
        }
        Ok(self.find(name)?.model.session(principal).await?)
    }

    /// A consistent view of the rows that contains everything up to `position`.
    ///
    /// # Errors
    /// `projection-behind` after `patience`; problems of the store.
    pub async fn session_from(
        &self,
        name: &str,
        principal: &Principal,
        position: Position,
        patience: Duration,
    ) -> Result<Session, Problem> {
        let until = Instant::now() + patience;
        loop {
            self.wait_for(name, position, until.saturating_duration_since(Instant::now())).await?;
            let session = self.session(name, principal).await?;
            if session.position() >= position {
                return Ok(session);
            }
            // Somebody has taken the tables away since; what is remembered of them is put right.
            let projection = self.find(name)?;
            let at = session.position();
            projection.moved(at);
        }
    }

    fn find(&self, name: &str) -> Result<&Arc<Running>, Problem> {
        self.running.get(name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("no active plugin has a projection `{name}`"))
        })
    }
}

impl Running {
    fn status(&self, head: Position) -> Status {
        let position = *self.position.borrow();
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            name: self.spec.name.clone(),
            plugin: self.plugin.clone(),
            version: self.spec.version,
            state: if error.is_some() { "failing" } else { "running" },
            position,
            lag_events: head.saturating_sub(position),
            error,
        }
    }

    /// Learns how far the host is that runs the projection, often while somebody waits.
    async fn follow(self: Arc<Self>) {
        let mut awaited = self.awaited.subscribe();
        loop {
            match self.model.position().await {
                Ok(position) => self.moved(position),
                Err(error) => {
                    tracing::warn!(projection = %self.spec.name, %error, "its position cannot be read")
                }
            }
            let at = *self.position.borrow();
            let pause = if *awaited.borrow() > at { LOOK_AWAITED } else { LOOK_EVERY };
            // Whichever comes first; the sender lives as long as `self`.
            let _ = tokio::time::timeout(pause, awaited.changed()).await;
        }
    }

    /// The rows are at this position now.
    fn moved(&self, position: Position) {
        self.position.send_if_modified(|at| std::mem::replace(at, position) != position);
    }

    async fn run(self: Arc<Self>, epoch: u64, store: Store, bus: Bus, stop: CancellationToken) {
        let mut wakes = bus.subscribe();
        let mut pause = PAUSE_MIN;
        // Another host may have been at it.
        if let Ok(position) = self.model.position().await {
            self.moved(position);
        }
        loop {
            let at = *self.position.borrow();
            let awake = tokio::select! {
                awake = wakes.beyond(at) => awake,
                () = stop.cancelled() => return,
            };
            let Some(newest) = awake else { return };
            if newest - at < Position::from(PAGE) {
                self.gather(at).await;
            }
            match self.step(epoch, &store, at).await {
                Ok(reached) => {
                    pause = PAUSE_MIN;
                    self.moved(reached);
                    self.note(None);
                }
                Err(error) => {
                    tracing::error!(projection = %self.spec.name, position = at, %error, "a projection cannot go on");
                    self.note(Some(error.to_string()));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                    // The tables say where to go on, whatever was remembered: somebody may have taken them away.
                    if let Ok(position) = self.model.position().await {
                        self.moved(position);
                    }
                }
            }
        }
    }

    /// Lets events gather behind a position, until somebody waits for one of them.
    async fn gather(&self, at: Position) {
        let mut awaited = self.awaited.subscribe();
        // Whichever comes first; the sender lives as long as `self`.
        let _ = tokio::time::timeout(GATHER, awaited.wait_for(|awaited| *awaited > at)).await;
    }

    /// Brings the next page of the log into the tables and says which position they have then.
    async fn step(
        self: &Arc<Self>,
        epoch: u64,
        store: &Store,
        at: Position,
    ) -> Result<Position, anyhow::Error> {
        let events = store.read_log(LogFilter { after: at, limit: PAGE, ..LogFilter::default() }).await?;
        let Some(to) = events.last().map(|event| event.position) else { return Ok(at) };
        let wanted: Vec<RecordedEvent> = events.into_iter().filter(|event| self.wants(event)).collect();
        let changes = if wanted.is_empty() { Vec::new() } else { self.project(wanted).await? };
        self.model.apply_under(epoch, changes, at, to).await?;
        Ok(to)
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        concerns(self.component.manifest(), event, |name| self.spec.wants(name))
    }

    async fn project(self: &Arc<Self>, events: Vec<RecordedEvent>) -> Result<Vec<Change>, anyhow::Error> {
        let this = self.clone();
        let blocking =
            move || this.component.project(&this.spec.name, &events).map(|changes| (events, changes));
        let (events, changes) = tokio::task::spawn_blocking(blocking).await??;
        let mut all = Vec::with_capacity(changes.len() * 3);
        for (event, changes) in events.iter().zip(changes) {
            let changes = changes.map_err(|message| {
                anyhow::anyhow!("{} at position {}: {message}", event.event_type, event.position)
            })?;
            all.extend(changes);
        }
        Ok(all)
    }

    fn note(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Whether a guest has to see the event: it is of one of its aggregates, and of a type that is wanted, or may become one
/// when it is upcast. The host's own streams are not for guests.
pub(crate) fn concerns(manifest: &Manifest, event: &RecordedEvent, wanted: impl Fn(&str) -> bool) -> bool {
    let is_present = || {
        manifest.event(&event.event_type).is_some_and(|known| known.schema_version == event.schema_version)
    };
    manifest.aggregate(&event.stream.aggregate).is_some() && (wanted(&event.event_type) || !is_present())
}
