//! Who may write: the newest relay of the log that the streams belong to.

use cairn_bus::{ForeignLog, RedisOptions};

use crate::log::{ALL, Log};
use crate::server::Server;

#[tokio::test]
async fn an_old_relay_is_refused() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(100);
    let mut old = log.relay(&server.options(), 1);
    old.catches_up(&log).await;
    let mut new = log.relay(&server.options(), 2);
    new.catches_up(&log).await;
    assert_eq!(old.is_superseded().await.epoch, "2");
    let mut late = log.relay(&server.options(), 1);
    assert_eq!(late.is_superseded().await.epoch, "2");
    log.append(100);
    new.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn epochs_are_compared_as_numbers() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(10);
    log.relay(&server.options(), u64::MAX - 1).catches_up(&log).await;
    log.relay(&server.options(), u64::MAX).catches_up(&log).await;
    let mut old = log.relay(&server.options(), 9);
    assert_eq!(old.is_superseded().await.epoch, u64::MAX.to_string());
}

#[tokio::test]
async fn relays_of_one_epoch_do_no_harm() {
    let server = Server::start().await;
    let log = Log::new(1);
    let options = RedisOptions { batch_events: 13, ..server.options() };
    let mut relays: Vec<_> = (0..4).map(|_| log.relay(&options, 1)).collect();
    for _ in 0..20 {
        log.append(100);
        tokio::task::yield_now().await;
    }
    for relay in &mut relays {
        relay.catches_up(&log).await;
    }
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn another_logs_streams_are_replaced() {
    let server = Server::start().await;
    let other = Log::new(2);
    other.append(500).append_one("only_theirs", "x");
    let mut theirs = other.relay(&server.options(), 99);
    theirs.catches_up(&other).await;
    let log = Log::new(1);
    log.append(100);
    let mut ours = log.relay(&server.options(), 1);
    ours.catches_up(&log).await;
    log.is_published(&server, 0).await;
    assert!(server.positions("{cairn}:events:only_theirs").await.is_empty());
    // The other one runs already, so it gives way.
    let error = theirs.until("it says so", |status| status.error.is_some()).await.error;
    assert!(error.expect("an error").contains(&log.id.to_string()));
    log.append(100);
    ours.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn another_logs_streams_are_recognised_by_their_events() {
    let server = Server::start().await;
    let other = Log::new(2);
    other.append(500).append_one("only_theirs", "x");
    let mut theirs = other.relay(&server.options(), 99);
    theirs.catches_up(&other).await;
    theirs.abort().await;
    server.order("DEL {cairn}:relay").await;
    let log = Log::new(1);
    log.append(100);
    log.relay(&server.options(), 1).catches_up(&log).await;
    log.is_published(&server, 0).await;
    assert!(server.positions("{cairn}:events:only_theirs").await.is_empty());
}

#[tokio::test]
async fn a_restored_backup_replaces_the_history_that_is_no_more() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(500);
    let mut relay = log.relay(&server.options(), 1);
    relay.catches_up(&log).await;
    relay.abort().await;
    // It is shorter.
    let backup = log.backup(300);
    let mut relay = backup.relay(&server.options(), 2);
    relay.catches_up(&backup).await;
    backup.is_published(&server, 0).await;
    relay.abort().await;
    // It has become longer, with other events.
    let backup = backup.backup(200);
    for _ in 0..400 {
        backup.append_one("file", "another history");
    }
    backup.relay(&server.options(), 3).catches_up(&backup).await;
    backup.is_published(&server, 0).await;
    assert!(server.entries(ALL).await[399].1["data"]["name"] == "another history");
}

#[tokio::test]
async fn another_logs_streams_are_left_alone_if_that_is_wanted() {
    let server = Server::start().await;
    let other = Log::new(2);
    other.append(50);
    let mut theirs = other.relay(&server.options(), 1);
    theirs.catches_up(&other).await;
    let log = Log::new(1);
    log.append(100);
    let options = RedisOptions { foreign_log: ForeignLog::Refuse, ..server.options() };
    let mut ours = log.relay(&options, 2);
    let error = ours.until("it says so", |status| status.error.is_some()).await.error;
    assert!(error.expect("an error").contains(&other.id.to_string()));
    other.append(50);
    theirs.catches_up(&other).await;
    other.is_published(&server, 0).await;
    // Somebody decides.
    theirs.abort().await;
    server.order("FLUSHALL").await;
    ours.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn two_logs_live_side_by_side_in_two_namespaces() {
    let server = Server::start().await;
    let (one, two) = (Log::new(1), Log::new(2));
    one.append(50);
    two.append(60);
    let mut first = one.relay(&server.options(), 1);
    let mut second = two.relay(&RedisOptions { namespace: "two".to_owned(), ..server.options() }, 1);
    first.catches_up(&one).await;
    second.catches_up(&two).await;
    one.is_published(&server, 0).await;
    assert_eq!(server.positions("{two}:events").await.len(), 60);
}
