//! The read side's engine: events from the log through the guest into read models, each event exactly once.
//!
//! One host runs a projection, under a lease; the others follow how far it is. Whoever runs it has two tasks: one keeps the
//! instance up to date that queries read (`runner`), the other builds another instance beside it when somebody wants that,
//! or when the declarations have changed (`rebuild`). Both bring their instance forward in the same way (`keeper`), and both
//! do what operators decided, which stands in the log (`control`).

mod control;
mod failure;
mod keeper;
mod operate;
mod rebuild;
mod runner;
mod status;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use cairn_bus::Bus;
use cairn_model::manifest::{Manifest, Projection};
use cairn_model::{Clock, Name, Position, Principal, RecordedEvent};
use cairn_store::{Fence, Instances, Session, Store};
use cairn_wasm::Engine;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::control::Control;
use self::keeper::Instance;
pub use self::operate::{LettersFilter, LettersPage, RetryWhat};
pub use self::status::Status;
use crate::leases::Leases;
use crate::plugins::{self, Generation, Plugin};
use crate::problem::{Code, Problem};

/// How often a host looks how far another one is that runs the projection: while nobody waits, and while somebody does.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_AWAITED: Duration = Duration::from_millis(5);
/// How often a session is begun again because queries have moved to another instance.
const SESSION_ATTEMPTS: usize = 5;

/// What projections are made of and with.
#[derive(Clone)]
pub struct Surroundings {
    /// The log and the read models.
    pub store: Store,
    /// For components that were active before.
    pub engine: Engine,
    /// The data folder.
    pub data: PathBuf,
    /// What wakes them.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
}

/// A projection as the present plugin declares it.
struct Running {
    name: Name,
    plugin: Arc<Plugin>,
    spec: Projection,
    /// What its tables are made of.
    form: String,
    generation: u64,
    store: Store,
    engine: Engine,
    data: PathBuf,
    clock: Clock,
    /// What queries read; none while there is only a read model of other declarations, whose code is gone.
    serving: ArcSwapOption<Instance>,
    position: watch::Sender<Position>,
    /// The highest position that somebody has waited for.
    awaited: watch::Sender<Position>,
    control: tokio::sync::Mutex<Arc<Control>>,
    /// Tells that something was decided.
    decided: watch::Sender<u64>,
    /// Says that it may be time for a rebuild.
    rebuild_due: Notify,
    /// Held for a step of what queries read, and for moving them elsewhere.
    turn: tokio::sync::Mutex<()>,
    /// Held while the instance that queries read is opened, or exchanged.
    opening: tokio::sync::Mutex<()>,
    /// What keeps this host from going on.
    error: Mutex<Option<String>>,
    /// What is known of the active instance, if the code that belongs to it is not to be had: it is looked for once.
    without_code: Mutex<Option<Instances>>,
}

/// All projections of the host.
#[derive(Clone)]
pub struct Projections {
    store: Store,
    running: Arc<BTreeMap<Name, Arc<Running>>>,
}

/// A moment of what queries read, with the code that goes with it.
pub struct View {
    /// The rows.
    pub session: Session,
    /// The plugin whose declarations they have.
    pub plugin: Arc<Plugin>,
}

impl Projections {
    /// Opens the read models of the generation and starts to keep them up to date.
    ///
    /// # Errors
    /// When a read model cannot be opened.
    pub async fn start(
        surroundings: Surroundings,
        generation: &Generation,
        leases: &Leases,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, cairn_store::Error> {
        let Surroundings { store, engine, data, bus, clock } = surroundings;
        let mut running = BTreeMap::new();
        for (plugin, spec) in generation.projections() {
            let projection = Arc::new(Running {
                name: spec.name.clone(),
                form: store.read_model_form(spec),
                plugin: plugin.clone(),
                spec: spec.clone(),
                generation: generation.number,
                store: store.clone(),
                engine: engine.clone(),
                data: data.clone(),
                clock: clock.clone(),
                serving: ArcSwapOption::empty(),
                position: watch::Sender::new(0),
                awaited: watch::Sender::new(0),
                control: tokio::sync::Mutex::default(),
                decided: watch::Sender::new(0),
                rebuild_due: Notify::new(),
                turn: tokio::sync::Mutex::new(()),
                opening: tokio::sync::Mutex::new(()),
                error: Mutex::new(None),
                without_code: Mutex::new(None),
            });
            projection.note_component().await?;
            projection.refresh().await?;
            let (leases, stop) = (leases.clone(), stop.clone());
            let (running_here, bus) = (projection.clone(), bus.clone());
            tasks.spawn(async move {
                let lease = running_here.lease();
                let follow = || running_here.clone().follow();
                let run = |fence: Fence, lost: CancellationToken| {
                    let (running, builder) = (running_here.clone(), running_here.clone());
                    let (bus, builder_bus, ends) = (bus.clone(), bus.clone(), lost.clone());
                    async move {
                        let run = async {
                            running.run(fence.epoch, bus, lost.clone()).await;
                            lost.cancel();
                        };
                        tokio::join!(run, builder.rebuild(&fence, builder_bus, ends));
                    }
                };
                leases.hold(&lease, &stop, follow, run).await;
            });
            running.insert(spec.name.clone(), projection);
        }
        Ok(Self { store, running: Arc::new(running) })
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
    /// `projection-behind` while there are no rows that anybody could read; problems of the store.
    pub async fn view(&self, name: &str, principal: &Principal) -> Result<View, Problem> {
        // Who may read what is not known while access is rebuilt, and nothing is not the answer.
        if !*self.store.facts_intact().borrow() {
            let detail = "access is being rebuilt from the log";
            return Err(Problem::new(Code::StoreUnavailable, detail));
        }
        let projection = self.find(name)?;
        for _ in 0..SESSION_ATTEMPTS {
            if let Some(serving) = projection.serving.load_full() {
                let session = serving.model.session(principal).await?;
                // Read behind the session's beginning: at that moment its instance was the active one.
                let active = self.store.instances(name).await?.map_or(0, |known| known.active);
                if active == serving.number() {
                    return Ok(View { session, plugin: serving.plugin.clone() });
                }
            }
            projection.refresh().await?;
        }
        Err(Problem::new(Code::ProjectionBehind, format!("the read model `{name}` is being built")))
    }

    /// A consistent view of the rows that contains everything up to `position`.
    ///
    /// # Errors
    /// `projection-behind` after `patience`; problems of the store.
    pub async fn view_from(
        &self,
        name: &str,
        principal: &Principal,
        position: Position,
        patience: Duration,
    ) -> Result<View, Problem> {
        let until = Instant::now() + patience;
        loop {
            self.wait_for(name, position, until.saturating_duration_since(Instant::now())).await?;
            let view = self.view(name, principal).await?;
            let at = view.session.position();
            if at >= position {
                return Ok(view);
            }
            // Somebody has taken the tables away since; what is remembered of them is put right.
            self.find(name)?.moved(at);
        }
    }

    fn find(&self, name: &str) -> Result<&Arc<Running>, Problem> {
        self.running.get(name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("no active plugin has a projection `{name}`"))
        })
    }
}

impl Running {
    fn lease(&self) -> String {
        format!("projection/{}", self.name)
    }

    /// Notes that this is the code of the active instance, if it has the same form.
    async fn note_component(&self) -> Result<(), cairn_store::Error> {
        let first = self.control().await?.active_by_log();
        let digest = self.plugin.component.digest().to_string();
        self.store.note_component(&self.name, &self.form, &digest, first).await
    }

    /// Whether queries read what is noted as the active instance.
    fn serves(&self, known: &Instances) -> bool {
        let serving = self.serving.load();
        serving.as_ref().is_some_and(|serving| serving.number() == known.active && serving.form == known.form)
    }

    /// Opens the instance that queries read, if it is another one than before, with the code that goes with it.
    async fn refresh(&self) -> Result<(), cairn_store::Error> {
        match self.store.instances(&self.name).await? {
            Some(known) if self.serves(&known) => return Ok(()),
            Some(_) => {}
            None => return self.note_component().await,
        }
        let _opening = self.opening.lock().await;
        // Somebody else may have opened it meanwhile.
        let Some(known) = self.store.instances(&self.name).await? else { return Ok(()) };
        if self.serves(&known) {
            return Ok(());
        }
        let code = if known.form == self.form {
            Some((self.plugin.clone(), self.spec.clone()))
        } else if self.without_code.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&known) {
            None
        } else {
            self.former_code(&known.digest, &known.form).await
        };
        let Some((plugin, spec)) = code else {
            self.serving.store(None);
            *self.without_code.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
            return Ok(());
        };
        let model = self.store.open_instance(&spec, known.active).await?;
        let position = model.position().await?;
        self.serve(Instance { plugin, spec, form: known.form, model }, position);
        Ok(())
    }

    /// Lets queries read this instance from now on.
    fn serve(&self, instance: Instance, position: Position) {
        self.serving.store(Some(Arc::new(instance)));
        self.moved(position);
    }

    /// The plugin that declared tables of this form. Without it they can be neither read nor kept up to date.
    async fn former_code(&self, digest: &str, form: &str) -> Option<(Arc<Plugin>, Projection)> {
        let plugin =
            match plugins::load_kept(&self.engine, &self.store, &self.clock, &self.data, &self.name, digest)
                .await
            {
                Ok(plugin) => plugin,
                Err(error) => {
                    tracing::warn!(projection = %self.name, %error, "a read model's former code is not here");
                    return None;
                }
            };
        let spec = plugin.manifest().projection(&self.name)?.clone();
        (self.store.read_model_form(&spec) == form).then_some((plugin, spec))
    }

    /// What operators have decided by now.
    async fn control(&self) -> Result<Arc<Control>, cairn_store::Error> {
        let mut control = self.control.lock().await;
        if Control::read_on(&mut control, &self.store, &control::stream(&self.name)).await? {
            self.decided.send_replace(control.version);
        }
        Ok(control.clone())
    }

    async fn look(&self) -> Result<Position, cairn_store::Error> {
        self.refresh().await?;
        match self.serving.load_full() {
            Some(serving) => serving.model.position().await,
            None => Ok(0),
        }
    }

    /// Learns how far the host is that runs the projection, often while somebody waits.
    async fn follow(self: Arc<Self>) {
        let mut awaited = self.awaited.subscribe();
        loop {
            match self.look().await {
                Ok(position) => self.moved(position),
                Err(error) => {
                    tracing::warn!(projection = %self.name, %error, "its position cannot be read")
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
