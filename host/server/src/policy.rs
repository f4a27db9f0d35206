//! Policies (process managers): events in, commands out, each command exactly once in effect.
//!
//! Two tasks run a policy. One reads the log, asks the guest what to do about an event, and stores commands, state and
//! position in one transaction. The other sends what is stored, stage by stage, each command under an idempotency
//! key of its own, and takes it off the list when it is settled. A crash between the two repeats and loses nothing: what
//! was stored is sent again, and a command that had its effect answers from its record. A command that the host cannot
//! carry out now is put off, longer each time, and holds up only the later stages of its own event.

use std::sync::Arc;
use std::time::Duration;

use cairn_bus::Bus;
use cairn_model::manifest::Policy;
use cairn_model::row::Rows;
use cairn_model::{Clock, Metadata, Name, Permissions, Position, Principal, RecordedEvent, Timestamp, ids};
use cairn_store::{LogFilter, OutboxEntry, OutboxKey, Reaction, ReactionCommand, Session, Store};
use cairn_wasm::{Component, GuestContext, PolicyCommand, PolicyOutcome};
use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::{Cause, Commands, Request};
use crate::plugins::Generation;
use crate::problem::Code;
use crate::projection::{Projections, concerns};

/// How many events are looked at at once.
const PAGE: u32 = 1_000;
/// After how many events without a reaction the position is stored all the same.
const POSITION_EVERY: u64 = 10_000;
/// How often a guest may ask for more rows about one event.
const ROUNDS: usize = 16;
/// How long one wait for the projection lasts before it is said in the log that it is behind.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many commands of a stage are under way at once.
const SENDING: usize = 32;
/// How many stored commands are looked at at once.
const OUTBOX_PAGE: u32 = 1_000;
/// The first pause after a failure; it doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often the list is looked at when nothing wakes the sender: commands that were put off become due by themselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What policies read from and send to.
#[derive(Clone)]
pub struct Surroundings {
    /// The log, and the policies' own records.
    pub store: Store,
    /// What they read.
    pub projections: Projections,
    /// Where their commands go.
    pub commands: Commands,
    /// What wakes them.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
}

struct Running {
    plugin: Name,
    spec: Policy,
    component: Arc<Component>,
    /// The policy's name in the store: plugin and policy.
    key: Name,
    store: Store,
    projections: Projections,
    commands: Commands,
    clock: Clock,
    stored: Notify,
    stop: CancellationToken,
}

/// Starts the policies of the generation. A policy that is new to this log begins at its end: what happened before
/// it was there is not its business.
///
/// # Errors
/// When the store cannot be read.
pub async fn start(
    generation: &Generation,
    surroundings: &Surroundings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), cairn_store::Error> {
    let store = &surroundings.store;
    for (plugin, spec) in generation.policies() {
        let plugin_name = plugin.manifest().name.clone();
        let policy = Arc::new(Running {
            key: format!("{plugin_name}/{}", spec.name).into(),
            plugin: plugin_name,
            spec: spec.clone(),
            component: plugin.component.clone(),
            store: store.clone(),
            projections: surroundings.projections.clone(),
            commands: surroundings.commands.clone(),
            clock: surroundings.clock.clone(),
            stored: Notify::new(),
            stop: stop.clone(),
        });
        let mut at = store.policy_position(&policy.key).await?;
        if at == 0 && store.head() > 0 {
            at = store.head();
            store.record_reactions(&policy.key, 0, at, Vec::new(), None).await?;
        }
        tasks.spawn(policy.clone().watch(at, surroundings.bus.clone()));
        tasks.spawn(policy.send());
    }
    Ok(())
}

impl Running {
    /// Follows the log from `stored`, the position in the store.
    async fn watch(self: Arc<Self>, mut stored: Position, bus: Bus) {
        let mut wakes = bus.subscribe();
        let mut at = stored;
        let mut pause = PAUSE_MIN;
        loop {
            let awake = tokio::select! {
                awake = wakes.beyond(at) => awake,
                () = self.stop.cancelled() => return,
            };
            if awake.is_none() {
                return;
            }
            match self.step(&mut stored, &mut at).await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::error!(policy = %self.key, position = at, %error, "a policy cannot go on");
                    if self.rest(&mut pause).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn step(&self, stored: &mut Position, at: &mut Position) -> Result<(), anyhow::Error> {
        let events =
            self.store.read_log(LogFilter { after: *at, limit: PAGE, ..LogFilter::default() }).await?;
        for event in &events {
            let wanted = |name: &str| self.spec.events.iter().any(|own| **own == *name);
            let mine = concerns(self.component.manifest(), event, wanted);
            if mine {
                let reaction = self.react(event).await?;
                self.store.record_reactions(&self.key, *stored, event.position, vec![reaction], None).await?;
                *stored = event.position;
                self.stored.notify_one();
            }
            *at = event.position;
        }
        if *at - *stored >= POSITION_EVERY {
            self.store.record_reactions(&self.key, *stored, *at, Vec::new(), None).await?;
            *stored = *at;
        }
        Ok(())
    }

    /// Asks the guest what to do about an event. What it reads contains at least the event itself.
    async fn react(&self, event: &RecordedEvent) -> Result<Reaction, anyhow::Error> {
        let metadata = event.read_metadata()?;
        let context = Arc::new(self.context(event, &metadata));
        let state = self.store.policy_state(&self.key, &event.stream).await?;
        let event = Arc::new(event.clone());
        let mut session = None;
        let mut answers: Vec<Rows> = Vec::new();
        for _ in 0..ROUNDS {
            let (component, name, state) = (self.component.clone(), self.spec.name.clone(), state.clone());
            let (context, about) = (context.clone(), event.clone());
            let blocking = move || {
                let outcome =
                    component.react(&context, &name, &about, state.as_deref().map(str::as_bytes), &answers);
                (outcome, answers)
            };
            let (outcome, back) = tokio::task::spawn_blocking(blocking).await?;
            answers = back;
            let calls = match outcome? {
                PolicyOutcome::Done(done) => {
                    let commands =
                        done.commands.into_iter().map(|command| outbox(command, &metadata)).collect();
                    let (stream, state) = (event.stream.clone(), done.state.as_deref().map(text));
                    return Ok(Reaction { event: event.position, stream, state, commands });
                }
                PolicyOutcome::Read(calls) => calls,
            };
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(self.session_at(&metadata.tenant, event.position).await?),
            };
            for call in &calls {
                answers.push(session.read(call).await?);
            }
        }
        anyhow::bail!(
            "{} at position {} asked for rows more than {ROUNDS} times",
            self.spec.name,
            event.position
        )
    }

    fn principal(&self, tenant: &Name) -> Principal {
        Principal::policy(tenant.clone(), &self.plugin, &self.spec.name)
    }

    /// What the guest sees of its surroundings: the same whenever it is asked about this event.
    fn context(&self, event: &RecordedEvent, metadata: &Metadata) -> GuestContext {
        let position = event.position.to_string();
        GuestContext {
            now: event.recorded_at,
            seed: ids::seed(ids::derived_id(&["reaction", &self.key, &position])),
            principal: Arc::new(self.principal(&metadata.tenant)),
            on_behalf_of: Some(metadata.on_behalf_of.unwrap_or(metadata.actor)),
            permissions: Permissions::ALL,
            command_id: position.clone(),
            correlation_id: metadata.correlation_id.clone(),
            causation_id: Some(position),
        }
    }

    /// The projection's rows once they contain the event.
    async fn session_at(&self, tenant: &Name, position: Position) -> Result<Session, anyhow::Error> {
        let Some(projection) = &self.spec.projection else {
            anyhow::bail!("{} reads rows, but its manifest names no projection", self.spec.name);
        };
        let reached = self.projections.wait_for(projection, position, PATIENCE).await;
        reached.map_err(|problem| anyhow::anyhow!("{}", problem.detail()))?;
        let session = self.projections.session(projection, &self.principal(tenant)).await;
        session.map_err(|problem| anyhow::anyhow!("{}", problem.detail()))
    }

    /// Sends what is stored until the host stops.
    async fn send(self: Arc<Self>) {
        let mut pause = PAUSE_MIN;
        loop {
            let sent = tokio::select! {
                sent = self.send_due() => sent,
                () = self.stop.cancelled() => return,
            };
            match sent {
                Ok(0) => tokio::select! {
                    () = self.stored.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.stop.cancelled() => return,
                },
                Ok(_) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::warn!(policy = %self.key, %error, "a policy's commands wait");
                    if self.rest(&mut pause).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends what is due, side by side, and says how much that was.
    async fn send_due(&self) -> Result<usize, cairn_store::Error> {
        let entries = self.store.outbox(&self.key, OUTBOX_PAGE).await?;
        let count = entries.len();
        let sent: Vec<(OutboxEntry, Result<(), String>)> = stream::iter(entries)
            .map(|entry| async {
                let result = self.send_one(&entry).await;
                (entry, result)
            })
            .buffer_unordered(SENDING)
            .collect()
            .await;
        let mut settled: Vec<OutboxKey> = Vec::new();
        for (entry, result) in sent {
            let Err(error) = result else {
                settled.push(entry.key);
                continue;
            };
            let pause = PAUSE_MIN.saturating_mul(1 << entry.attempts.min(10)).min(PAUSE_MAX);
            let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
            let again = Timestamp::from_micros(self.clock.now().micros().saturating_add(pause));
            let target = &entry.command.target;
            tracing::warn!(policy = %self.key, %target, error, attempts = entry.attempts + 1, "a command is put off");
            self.store.postpone(&entry.key, again, None).await?;
        }
        if !settled.is_empty() {
            self.store.complete(&settled, None).await?;
        }
        Ok(count)
    }

    /// Sends one command. A no of the domain settles it as well as a yes: the event is past, and whoever decides later
    /// decides on what is so now.
    async fn send_one(&self, entry: &OutboxEntry) -> Result<(), String> {
        let (command, position) = (&entry.command, entry.key.position);
        let request = Request {
            principal: Arc::new(self.principal(&entry.tenant)),
            aggregate: command.target.aggregate.to_string(),
            id: Some(command.target.id),
            command: command.command.to_string(),
            payload: command.payload.clone().into(),
            if_match: None,
            idempotency_key: Some(format!("{}/{position}/{}", self.key, entry.key.index)),
            cause: Cause {
                trace_id: ids::new_id(self.clock.now()).simple().to_string(),
                correlation_id: Some(command.correlation_id.clone()),
                causation_id: Some(position.to_string()),
                depth: command.depth,
                on_behalf_of: command.on_behalf_of,
            },
        };
        match self.commands.execute(request).await {
            Ok(_) => Ok(()),
            Err(problem) => match problem.code() {
                Code::Overloaded
                | Code::StoreUnavailable
                | Code::OutcomeUnknown
                | Code::PluginFault
                | Code::Internal => Err(problem.detail().to_owned()),
                code => {
                    let (target, code, detail) = (&command.target, code.name(), problem.detail());
                    tracing::warn!(policy = %self.key, %target, code, detail, "a policy's command was refused");
                    Ok(())
                }
            },
        }
    }

    /// Rests after a failure, longer each time; `None` when the host stops meanwhile.
    async fn rest(&self, pause: &mut Duration) -> Option<()> {
        let rested = tokio::select! {
            () = tokio::time::sleep(*pause) => Some(()),
            () = self.stop.cancelled() => None,
        };
        *pause = (*pause * 2).min(PAUSE_MAX);
        rested
    }
}

fn outbox(command: PolicyCommand, metadata: &Metadata) -> ReactionCommand {
    ReactionCommand {
        target: command.target,
        command: command.command,
        payload: text(&command.payload),
        stage: command.stage,
        at: command.at,
        on_behalf_of: Some(metadata.on_behalf_of.unwrap_or(metadata.actor)),
        correlation_id: metadata.correlation_id.clone(),
        depth: metadata.causation_depth + 1,
    }
}

/// What the guest gave as JSON was checked to be UTF-8 when it came out of the guest.
fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
