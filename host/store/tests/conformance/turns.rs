//! One stream that several hosts write at once: everybody gets his turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cairn_model::Lineage;
use cairn_store::{Outcome, Stale, Store};
use tokio::sync::{mpsc, oneshot};

use crate::place::{Place, Saying, append, committed, fill, stream};

const HOSTS: usize = 3;
const CLIENTS: usize = 64;
/// How often a client appends.
const ROUNDS: u32 = 30;

/// A command: how often it was refused, and who waits for it.
struct Command {
    attempts: u32,
    done: oneshot::Sender<u32>,
}

/// What the workers of a host do with the commands of one stream: they read it, decide ahead, and begin anew with what is
/// refused.
async fn decide(store: Store, insists: bool, mut waiting: mpsc::UnboundedReceiver<Command>) {
    let mut queue = VecDeque::new();
    while let Some(first) = waiting.recv().await {
        queue.push_back(first);
        while !queue.is_empty() {
            while let Ok(command) = waiting.try_recv() {
                queue.push_back(command);
            }
            let (version, _) = store.head_of(&stream(1)).await.expect("reads");
            let lineage = Lineage::default();
            let mut decided = Vec::new();
            for (expected, command) in (version..).zip(queue.drain(..)) {
                let mut new = append(stream(1), expected).in_lineage(&lineage);
                new.insists = insists && command.attempts > 0;
                let (sender, receiver) = oneshot::channel();
                store.append(new, move |outcome| {
                    let _ = sender.send(outcome);
                });
                decided.push((command, receiver));
            }
            let mut pause = Duration::ZERO;
            for (mut command, outcome) in decided {
                match outcome.await.expect("an outcome") {
                    Outcome::Committed(_) => {
                        let _ = command.done.send(command.attempts);
                        continue;
                    }
                    Outcome::Stale(Stale::Turn { wait }) => {
                        pause = pause.max(wait);
                        command.attempts = command.attempts.max(1);
                    }
                    Outcome::Stale(_) => command.attempts += 1,
                    other => panic!("{other:?}"),
                }
                queue.push_back(command);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// All clients append through all hosts. Answers, of each host, the most attempts, the longest time to an answer, and the end.
async fn contend(insists: bool) -> [(u32, Duration, Duration); HOSTS] {
    let place = Place::postgres();
    let mut hosts = Vec::new();
    for host in 0..HOSTS {
        let (sender, waiting) = mpsc::unbounded_channel();
        tokio::spawn(decide(place.open_host(host).await, insists, waiting));
        hosts.push(sender);
    }
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let host = hosts[client % HOSTS].clone();
        tokio::spawn(async move {
            let (mut attempts, mut slowest) = (0, Duration::ZERO);
            for _ in 0..ROUNDS {
                let (done, answer) = oneshot::channel();
                let begun = Instant::now();
                host.send(Command { attempts: 0, done }).expect("the host lives");
                attempts = attempts.max(answer.await.expect("an answer"));
                slowest = slowest.max(begun.elapsed());
            }
            (attempts, slowest, start.elapsed())
        })
    });
    let mut most = [(0, Duration::ZERO, Duration::ZERO); HOSTS];
    for (client, task) in clients.collect::<Vec<_>>().into_iter().enumerate() {
        let (attempts, slowest, end) = task.await.expect("the client ends");
        let most = &mut most[client % HOSTS];
        *most = (most.0.max(attempts), most.1.max(slowest), most.2.max(end));
    }
    let count = u32::try_from(CLIENTS).expect("few") * ROUNDS;
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{rate:.0} appends/s; of each host the most attempts, the longest answer, the end: {most:?}");
    let store = place.open_host(HOSTS).await;
    assert_eq!(store.head_of(&stream(1)).await.expect("reads").0, u64::from(count));
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_host_starves_at_a_hot_stream() {
    let most = contend(true).await;
    assert!(most.iter().all(|(attempts, _, _)| *attempts <= 10), "{most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for the figures: this is what turns are for"]
async fn without_turns_whoever_is_fastest_wins() {
    contend(false).await;
}

#[tokio::test]
async fn a_turn_holds_the_others_up_until_it_is_used_or_over() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    fill(&first, &stream(1), 0..3).await;
    let stale = second.append_and_wait(append(stream(1), 2)).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { actual: 3 })), "{stale:?}");
    fill(&first, &stream(1), 3..4).await;
    let stale = second.append_and_wait(append(stream(1), 3).insisting()).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { actual: 4 })), "{stale:?}");
    let waits = first.append_and_wait(append(stream(1), 4)).await;
    assert!(matches!(waits, Outcome::Stale(Stale::Turn { .. })), "{waits:?}");
    // Other streams, and what appends nothing, are in nobody's way.
    fill(&first, &stream(2), 0..2).await;
    let check = first.append_and_wait(append(stream(1), 4).events(0)).await;
    assert!(matches!(check, Outcome::Current(_)), "{check:?}");
    committed(&second.append_and_wait(append(stream(1), 4).insisting()).await);
    let mut waits = 0;
    while let Outcome::Stale(Stale::Turn { wait }) = first.append_and_wait(append(stream(1), 5)).await {
        tokio::time::sleep(wait).await;
        waits += 1;
    }
    assert!(waits < 20);
    fill(&first, &stream(1), 6..9).await;
}

#[tokio::test]
async fn a_host_that_died_in_its_turn_is_waited_for_once() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    fill(&first, &stream(1), 0..3).await;
    let stale = second.append_and_wait(append(stream(1), 2).insisting()).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { .. })), "{stale:?}");
    second.close().await;
    let start = Instant::now();
    while let Outcome::Stale(Stale::Turn { wait }) = first.append_and_wait(append(stream(1), 3)).await {
        tokio::time::sleep(wait).await;
        assert!(start.elapsed() < Duration::from_secs(10), "it ends");
    }
    fill(&first, &stream(1), 4..9).await;
}

#[tokio::test]
async fn turns_may_be_lost() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    fill(&first, &stream(1), 0..3).await;
    let stale = second.append_and_wait(append(stream(1), 2).insisting()).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { .. })), "{stale:?}");
    place.tamper("DELETE FROM turns").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    fill(&first, &stream(1), 3..6).await;
    fill(&second, &stream(1), 6..9).await;
}
