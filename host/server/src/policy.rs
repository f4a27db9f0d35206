//! Policies (process managers): events in, commands out, each command exactly once in effect.
//!
//! Two tasks run a policy. One reads the log page by page, asks the guest what to do about each event (`page`), and stores
//! the commands, states and position of many events in one transaction. The other sends what is stored, stage by stage, each command under an idempotency
//! key of its own, and takes it off the list when it is settled. A crash between the two repeats and loses nothing: what
//! was stored is sent again, and a command that had its effect answers from its record. A command that the host cannot
//! carry out now is put off, longer each time, and holds up only the later stages of its own event.

mod page;

use std::sync::Arc;
use std::time::Duration;

use cairn_bus::Bus;
use cairn_model::manifest::Policy;
use cairn_model::{Clock, Name, Position, Principal, RecordedEvent, Timestamp, ids};
use cairn_store::{Fence, LogFilter, OutboxEntry, OutboxKey, Reaction, Store};
use cairn_wasm::Component;
use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::page::Page;
use crate::command::{Cause, Commands, Request};
use crate::leases::Leases;
use crate::plugins::Generation;
use crate::problem::Code;
use crate::projection::{Projections, concerns};

/// How many events are looked at at once.
const PAGE: u32 = 1_000;
/// After how many events without a reaction the position is stored all the same.
const POSITION_EVERY: u64 = 10_000;
/// From how many commands on the reactions so far are stored, rather than with more of them: nobody else writes meanwhile.
const COMMANDS_AT_ONCE: usize = 5_000;
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
    /// The right under which it writes.
    fence: Fence,
    /// The lease is lost, or the host stops.
    stop: CancellationToken,
}

/// Starts the policies of the generation, each under a lease: one host runs it. A policy that is new to this log begins at its
/// present end: what happened before it was there is not its business.
pub fn start(
    generation: &Generation,
    surroundings: &Surroundings,
    leases: &Leases,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let beginning = surroundings.store.head();
    for (plugin, spec) in generation.policies() {
        let plugin_name = plugin.manifest().name.clone();
        let key: Name = format!("{plugin_name}/{}", spec.name).into();
        let (surroundings, spec, component) = (surroundings.clone(), spec.clone(), plugin.component.clone());
        let (leases, stop) = (leases.clone(), stop.clone());
        tasks.spawn(async move {
            let lease = format!("policy/{key}");
            let run = |fence: Fence, lost: CancellationToken| {
                let policy = Arc::new(Running {
                    key: key.clone(),
                    plugin: plugin_name.clone(),
                    spec: spec.clone(),
                    component: component.clone(),
                    store: surroundings.store.clone(),
                    projections: surroundings.projections.clone(),
                    commands: surroundings.commands.clone(),
                    clock: surroundings.clock.clone(),
                    stored: Notify::new(),
                    fence,
                    stop: lost,
                });
                policy.run(beginning, surroundings.bus.clone())
            };
            leases.hold(&lease, &stop, std::future::pending, run).await;
        });
    }
}

/// What became of storing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    /// The policy is where it was to be.
    On,
    /// It is somewhere else, and the page at hand is of no use any more.
    Elsewhere,
}

/// How far a policy is.
#[derive(Clone, Copy)]
struct Place {
    /// The position in the store.
    stored: Position,
    /// The last position that was looked at; what is between the two was not the policy's business.
    at: Position,
}

impl Running {
    /// Runs the policy until the lease is lost.
    async fn run(self: Arc<Self>, beginning: Position, bus: Bus) {
        let mut pause = PAUSE_MIN;
        let at = loop {
            match self.begin(beginning).await {
                Ok(at) => break at,
                Err(error) => {
                    tracing::error!(policy = %self.key, %error, "a policy cannot begin");
                    if self.rest(&mut pause).await.is_none() {
                        return;
                    }
                }
            }
        };
        tokio::join!(self.clone().watch(at, bus), self.clone().send());
    }

    /// Where the policy goes on; a new one at `beginning`.
    async fn begin(&self, beginning: Position) -> Result<Position, cairn_store::Error> {
        let at = self.store.policy_position(&self.key).await?;
        if at > 0 || beginning == 0 {
            return Ok(at);
        }
        self.store.record_reactions(&self.key, 0, beginning, Vec::new(), Some(&self.fence)).await?;
        Ok(beginning)
    }

    /// Follows the log from `stored`, the position in the store. A stop interrupts it wherever it is: what is not stored yet
    /// is done again after the next start.
    async fn watch(self: Arc<Self>, stored: Position, bus: Bus) {
        let mut wakes = bus.subscribe();
        let mut place = Place { stored, at: stored };
        let mut pause = PAUSE_MIN;
        loop {
            let awake = tokio::select! {
                awake = wakes.beyond(place.at) => awake,
                () = self.stop.cancelled() => return,
            };
            if awake.is_none() {
                return;
            }
            let stepped = tokio::select! {
                stepped = self.step(&mut place) => stepped,
                () = self.stop.cancelled() => return,
            };
            match stepped {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::error!(policy = %self.key, position = place.at, %error, "a policy cannot go on");
                    if self.rest(&mut pause).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Looks at the next page of the log.
    async fn step(&self, place: &mut Place) -> Result<(), anyhow::Error> {
        let events =
            self.store.read_log(LogFilter { after: place.at, limit: PAGE, ..LogFilter::default() }).await?;
        let Some(end) = events.last().map(|event| event.position) else { return Ok(()) };
        let mine: Vec<RecordedEvent> = events.into_iter().filter(|event| self.wants(event)).collect();
        let went = match mine.last() {
            Some(last) => {
                let page = Page::new(self, last.position);
                self.react_to(page, &mine, place).await?
            }
            None => Went::On,
        };
        if went == Went::Elsewhere {
            return Ok(());
        }
        place.at = end;
        if place.at - place.stored >= POSITION_EVERY {
            self.record(place, end, Vec::new()).await?;
        }
        Ok(())
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        let wanted = |name: &str| self.spec.events.iter().any(|own| **own == *name);
        concerns(self.component.manifest(), event, wanted)
    }

    /// Reacts to events of a page and stores that, in parts. If one of them cannot be reacted to, what came before it is
    /// stored all the same.
    async fn react_to(
        &self,
        mut page: Page<'_>,
        events: &[RecordedEvent],
        place: &mut Place,
    ) -> Result<Went, anyhow::Error> {
        let (mut reactions, mut commands) = (Vec::new(), 0);
        let mut failure = None;
        for event in events {
            match page.react(event).await {
                Ok(reaction) => {
                    commands += reaction.commands.len();
                    reactions.push(reaction);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            if commands >= COMMANDS_AT_ONCE {
                commands = 0;
                if self.record(place, event.position, std::mem::take(&mut reactions)).await?
                    == Went::Elsewhere
                {
                    return Ok(Went::Elsewhere);
                }
            }
        }
        if let Some(last) = reactions.last().map(|reaction| reaction.event) {
            let went = self.record(place, last, reactions).await?;
            if went == Went::Elsewhere {
                return Ok(went);
            }
        }
        failure.map_or(Ok(Went::On), Err)
    }

    /// Stores reactions and that the policy is at `to` with them.
    async fn record(
        &self,
        place: &mut Place,
        to: Position,
        reactions: Vec<Reaction>,
    ) -> Result<Went, cairn_store::Error> {
        match self.store.record_reactions(&self.key, place.stored, to, reactions, Some(&self.fence)).await {
            Ok(()) => {
                *place = Place { stored: to, at: to };
                self.stored.notify_one();
                Ok(Went::On)
            }
            // An earlier attempt was answered with an error and stands nevertheless, or another host was here.
            Err(cairn_store::Error::Fenced { expected, actual }) => {
                tracing::warn!(policy = %self.key, expected, actual, "a policy goes on from where the store says it is");
                *place = Place { stored: actual, at: actual };
                self.stored.notify_one();
                Ok(Went::Elsewhere)
            }
            Err(error) => {
                // States that were not stored must not be built on.
                place.at = place.stored;
                Err(error)
            }
        }
    }

    fn principal(&self, tenant: &Name) -> Principal {
        Principal::policy(tenant.clone(), &self.plugin, &self.spec.name)
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
            self.store.postpone(&entry.key, again, Some(&self.fence)).await?;
        }
        if !settled.is_empty() {
            self.store.complete(&settled, Some(&self.fence)).await?;
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
