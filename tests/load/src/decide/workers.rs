//! Decisions of the component behind the workers that a host uses, with many of them under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use cairn_model::{Clock, Principal, StreamKey, ids};
use cairn_wasm::{CommandCall, Decided, Fetch, Fetched, Host, Task, Ticket, Verdict, Work, Workers};
use uuid::Uuid;

use super::watch::Watch;
use super::{FILES, payload};
use crate::plugin;

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Takes decisions and asks for the next ones at once. There is no log behind it.
struct Loop {
    workers: OnceLock<Workers<Self>>,
    /// How many are decided.
    number: AtomicU64,
    /// When that many were, it is over.
    last: u64,
    /// Started when all files were created.
    watch: OnceLock<Watch>,
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
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        if number == FILES {
            let _ = self.watch.set(Watch::start());
        }
        if number >= self.last {
            let _ = self.done.send(Ok(()));
            return;
        }
        if let Task::Command(call) = &mut work.task {
            call.command = "rename".into();
            call.creates = false;
            call.payload = payload(number + FILES).into();
        }
        if let Some(workers) = self.workers.get() {
            workers.submit(work);
        }
    }
}

/// Renames decided and applied per second of processor time by one worker.
///
/// # Errors
/// When the component cannot be loaded or does not do what it should.
pub fn measure(decisions: u64) -> anyhow::Result<f64> {
    let (engine, component) = plugin::files()?;
    let (done, finished) = mpsc::channel();
    let host = Arc::new(Loop {
        workers: OnceLock::new(),
        number: AtomicU64::new(0),
        last: decisions + FILES,
        watch: OnceLock::new(),
        done,
    });
    let workers = Workers::start(&engine, Clock::System, host.clone(), 1);
    let _ = host.workers.set(workers.clone());
    let principal = Arc::new(Principal::administrator("default"));
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
    let rate = host.watch.get().map(|watch| watch.per_second(decisions));
    workers.stop();
    ended.map_err(|verdict| anyhow::anyhow!("the component answered {verdict}"))?;
    rate.context("nothing was created")
}

fn create(number: u64) -> CommandCall {
    CommandCall {
        command: "create".into(),
        payload: Bytes::from(payload(number)),
        if_match: None,
        permission: None,
        creates: true,
        command_id: ids::new_id(Clock::System.now()),
        correlation_id: None,
        causation_id: None,
        on_behalf_of: None,
        given: None,
    }
}
