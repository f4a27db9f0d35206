//! What a decision costs: handle, apply, and all that is around them, on warm resident aggregates.
//!
//! `cargo run --release -p cairn-wasm --example decide_bench [threads] [streams] [decisions]`. The guest is the test
//! guest, whose `add` parses its payload with serde_json and writes one small event; every decision is handed to a host
//! that sends the next command at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cairn_model::{Clock, Principal, StreamKey, ids};
use cairn_wasm::{
    CommandCall, Component, Decided, Engine, Fetch, Fetched, Host, Limits, Task, Ticket, Verdict, Work,
    Workers,
};
use uuid::Uuid;

struct Bench {
    workers: OnceLock<Workers<Self>>,
    left: AtomicU64,
    done: Sender<()>,
}

impl Host for Bench {
    type Caller = ();

    fn fetch(self: &Arc<Self>, ticket: Ticket, _: Fetch) {
        if let Some(workers) = self.workers.get() {
            workers.fetched(ticket, Fetched::Failed("there is no log".to_owned()));
        }
    }

    fn decided(self: &Arc<Self>, mut work: Work<()>, decided: Decided) {
        assert!(matches!(decided.verdict, Verdict::Accepted(_)), "{:?}", decided.verdict);
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = self.done.send(());
        }
        if let Task::Command(call) = &mut work.task {
            call.command = "add".into();
            call.creates = false;
        }
        if let Some(workers) = self.workers.get() {
            workers.submit(work);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let mut next = |default| arguments.next().unwrap_or(default);
    let (threads, streams, decisions) = (next(1), next(64), next(1_000_000));

    let engine = Engine::new(Limits::default()).expect("an engine");
    let component = Component::load(&engine, &cairn_guests::faulty(), None).expect("a component");
    let component = Arc::new(component);
    let (done, finished) = mpsc::channel();
    // Beyond the end every stream decides once more; nobody looks at those.
    let host = Arc::new(Bench { workers: OnceLock::new(), left: AtomicU64::new(decisions), done });
    let threads = usize::try_from(threads).expect("a number of threads");
    let workers = Workers::start(&engine, Clock::System, host.clone(), threads);
    let _ = host.workers.set(workers.clone());
    let principal = Arc::new(Principal::administrator("default"));
    let start = Instant::now();
    for stream in 0..streams {
        let call = CommandCall {
            command: "create".into(),
            payload: r#"{"by":1}"#.into(),
            if_match: None,
            permission: None,
            creates: true,
            command_id: ids::new_id(Clock::System.now()),
            correlation_id: "bench".to_owned(),
            causation_id: None,
            on_behalf_of: None,
        };
        workers.submit(Work {
            stream: StreamKey::new("default", "probe", Uuid::from_u128(u128::from(stream))),
            component: component.clone(),
            principal: principal.clone(),
            task: Task::Command(call),
            attempts: 0,
            caller: (),
        });
    }
    finished.recv().expect("the last decision");
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / decisions as f64;
    println!("{threads} threads, {streams} streams: {decisions} decisions in {took:.2?}, {each:.2} µs each");
    std::process::exit(0);
}
