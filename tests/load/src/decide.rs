//! The decision alone, without HTTP and log: renames of files that are resident, once as native code, once in the
//! component, behind the workers that the host uses. The difference is what the sandbox costs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use cairn_files::domain::File;
use cairn_model::{Clock, Principal, StreamKey, ids};
use cairn_sdk::domain::AggregateRoot;
use cairn_sdk::events::RecordedEvent;
use cairn_sdk::plugin::ErasedAggregate;
use cairn_sdk::testing;
use cairn_wasm::{
    CommandCall, Component, Decided, Engine, Fetch, Fetched, Host, Limits, Task, Ticket, Verdict, Work,
    Workers,
};
use uuid::Uuid;

/// How many files take turns.
const FILES: u64 = 64;
/// How many decisions are measured.
const DECISIONS: u64 = 200_000;
/// How long they may take.
const LIMIT: Duration = Duration::from_secs(300);

fn rename(number: u64) -> Vec<u8> {
    format!("{{\"name\":\"{number:024x}\"}}").into_bytes()
}

/// Renames decided and applied per second by the domain's own code, JSON in and out as in the component.
///
/// # Errors
/// When the domain does not do what it should.
pub fn native() -> anyhow::Result<f64> {
    let user = testing::user(1);
    let context = testing::context(testing_principal(user));
    let mut files: Vec<(Uuid, Box<dyn ErasedAggregate>)> = Vec::new();
    for number in 0..FILES {
        let id = Uuid::from_u128(u128::from(number));
        let mut file: Box<dyn ErasedAggregate> = Box::new(File::new(id));
        step(id, file.as_mut(), "create", &rename(number), &context)?;
        files.push((id, file));
    }
    let started = Instant::now();
    for number in 0..DECISIONS {
        let at = usize::try_from(number % FILES)?;
        let (id, file) = &mut files[at];
        step(*id, file.as_mut(), "rename", &rename(number + FILES), &context)?;
    }
    Ok(per_second(started))
}

fn testing_principal(id: Uuid) -> cairn_sdk::shared::Principal {
    cairn_sdk::shared::Principal { id, groups: Vec::new(), scopes: Vec::new() }
}

/// Decides a command and applies its events, as the host has it done; claims are read as after every rename.
fn step(
    id: Uuid,
    file: &mut dyn ErasedAggregate,
    command: &str,
    payload: &[u8],
    context: &cairn_sdk::shared::Context,
) -> anyhow::Result<()> {
    let outcome = match file.handle(command, payload, context) {
        Ok(outcome) => outcome,
        Err(error) => bail!("the file refused `{command}`: {error:?}"),
    };
    for event in outcome.events {
        let recorded = RecordedEvent {
            position: 0,
            stream: cairn_sdk::shared::StreamRef::of::<File>(id),
            version: file.version() + 1,
            event_type: event.event_type.to_string(),
            schema_version: event.schema_version,
            data: event.data,
            occurred_at: testing::NOW,
            actor: testing::user(1),
        };
        if let Err(fault) = file.apply(&[recorded]) {
            bail!("the file cannot apply its own event: {fault:?}");
        }
    }
    std::hint::black_box(file.claims());
    Ok(())
}

/// Takes decisions and asks for the next ones at once. There is no log behind it.
struct Loop {
    workers: OnceLock<Workers<Self>>,
    number: AtomicU64,
    done: Sender<Result<(), String>>,
}

impl Host for Loop {
    type Caller = ();

    fn fetch(self: &Arc<Self>, ticket: Ticket, _: Fetch) {
        if let Some(workers) = self.workers.get() {
            workers.fetched(ticket, Fetched::Failed("there is no log".to_owned()));
        }
    }

    fn decided(self: &Arc<Self>, mut work: Work<()>, decided: Decided) {
        if !matches!(decided.verdict, Verdict::Accepted(_)) {
            // Nobody listens any more once it is over.
            let _ = self.done.send(Err(format!("{:?}", decided.verdict)));
            return;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        if number == DECISIONS + FILES {
            let _ = self.done.send(Ok(()));
        }
        if number >= DECISIONS + FILES {
            return;
        }
        if let Task::Command(call) = &mut work.task {
            call.command = "rename".into();
            call.creates = false;
            call.payload = rename(number + FILES).into();
        }
        if let Some(workers) = self.workers.get() {
            workers.submit(work);
        }
    }
}

/// Renames decided and applied per second in the component by one worker.
///
/// # Errors
/// When the component cannot be loaded or does not do what it should.
pub fn component() -> anyhow::Result<f64> {
    let engine = Engine::new(Limits::default()).context("cannot make an engine")?;
    let bytes = std::fs::read(cairn_tests::files_plugin()).context("cannot read the files plugin")?;
    let component = Arc::new(Component::load(&engine, &bytes, None).context("cannot load the files plugin")?);
    let (done, finished) = mpsc::channel();
    let host = Arc::new(Loop { workers: OnceLock::new(), number: AtomicU64::new(0), done });
    let workers = Workers::start(&engine, Clock::System, host.clone(), 1);
    let _ = host.workers.set(workers.clone());
    let principal = Arc::new(Principal::administrator("default"));
    let started = Instant::now();
    for number in 0..FILES {
        workers.submit(Work {
            stream: StreamKey::new("default", "file", Uuid::from_u128(u128::from(number))),
            component: component.clone(),
            principal: principal.clone(),
            task: Task::Command(create(number)),
            attempts: 0,
            caller: (),
        });
    }
    let ended = finished.recv_timeout(LIMIT).context("the decisions do not come to an end")?;
    let rate = per_second(started);
    workers.stop();
    ended.map(|()| rate).map_err(|verdict| anyhow::anyhow!("the component answered {verdict}"))
}

fn create(number: u64) -> CommandCall {
    CommandCall {
        command: "create".into(),
        payload: Bytes::from(rename(number)),
        if_match: None,
        permission: None,
        creates: true,
        command_id: ids::new_id(Clock::System.now()),
        correlation_id: "bench".to_owned(),
        causation_id: None,
        on_behalf_of: None,
    }
}

fn per_second(started: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a constant far below 2^52")]
    let decisions = DECISIONS as f64;
    decisions / started.elapsed().as_secs_f64()
}
