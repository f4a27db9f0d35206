//! Everything at once, in any order: in the end the streams hold what they should.

use cairn_bus::RedisOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::log::{ALL, FILES, FOLDERS, Log, Running};
use crate::server::Server;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    /// Waits until what is in the log is published.
    CatchUp,
    /// The relay dies, and another one takes over.
    NextRelay,
    /// The relay goes on, and another one takes over.
    SecondRelay,
    Flush,
    Delete(&'static str),
    Spoil(&'static str),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop::sample::select(vec![ALL, FILES, FOLDERS, "{cairn}:relay"]);
    let stream = prop::sample::select(vec![ALL, FILES, FOLDERS]);
    let step = prop_oneof![
        6 => (1..200usize).prop_map(Step::Append),
        3 => Just(Step::CatchUp),
        2 => Just(Step::NextRelay),
        1 => Just(Step::SecondRelay),
        1 => Just(Step::Flush),
        4 => key.prop_map(Step::Delete),
        2 => stream.prop_map(Step::Spoil),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

async fn run(steps: Vec<Step>) {
    let mut server = Server::start().await;
    let log = Log::new(1);
    // Each stream has events: one that has none is not looked at.
    log.append(7);
    let options = RedisOptions { batch_events: 30, retain_entries: 500, ..server.options() };
    let mut epoch = 1;
    let mut relay = log.relay(&options, epoch);
    let mut others: Vec<Running> = Vec::new();
    for step in steps {
        match step {
            Step::Append(count) => {
                log.append(count);
            }
            Step::CatchUp => {
                relay.catches_up(&log).await;
            }
            Step::NextRelay => {
                epoch += 1;
                relay.abort().await;
                relay = log.relay(&options, epoch);
            }
            Step::SecondRelay => {
                epoch += 1;
                others.push(std::mem::replace(&mut relay, log.relay(&options, epoch)));
            }
            Step::Flush => server.order("FLUSHALL").await,
            Step::Delete(key) => server.order(&format!("DEL {key}")).await,
            Step::Spoil(key) => server.order(&format!("XADD {key} * event garbage")).await,
            Step::Restart => server.restart().await,
        }
    }
    relay.catches_up(&log).await;
    log.is_published(&server, log.head().saturating_sub(500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_streams_come_back() {
    let handle = tokio::runtime::Handle::current();
    let run_all = move || {
        // Set PROPTEST_CASES for more.
        let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 12 };
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let result = runner.run(&steps(), |steps| {
            handle.block_on(run(steps));
            Ok(())
        });
        result.expect("complete");
    };
    tokio::task::spawn_blocking(run_all).await.expect("no panic");
}
