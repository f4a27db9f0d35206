//! Hosts wake each other, and do without when Redis is away.

use std::time::Duration;

use cairn_bus::{Bus, RedisOptions, Wakes};
use uuid::Uuid;

use crate::server::{Server, eventually};

const LOG: Uuid = Uuid::from_u128(1);

async fn hears(wakes: &mut Wakes, position: u64) {
    tokio::time::timeout(Duration::from_secs(30), async {
        while wakes.beyond(position - 1).await.expect("the bus is there") < position {}
    })
    .await
    .expect("it hears of it");
}

async fn until_subscribed(server: &Server, count: u64) {
    eventually("hosts listen", async || {
        let (_, listeners): (String, u64) = server.command("PUBSUB NUMSUB {cairn}:head").await;
        (listeners == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hosts_of_one_log_wake_each_other() {
    let server = Server::start().await;
    let bus = |log| Bus::redis(&server.options(), log).expect("the options hold");
    let (one, two, stranger) = (bus(LOG), bus(LOG), bus(Uuid::from_u128(2)));
    until_subscribed(&server, 3).await;
    let (mut first, mut second) = (one.subscribe(), two.subscribe());
    one.announce(7);
    hears(&mut second, 7).await;
    hears(&mut first, 7).await;
    two.announce(9);
    hears(&mut first, 9).await;
    // A host of another log has heard nothing, though it listens to the same channel.
    let mut strangers = stranger.subscribe();
    stranger.announce(1);
    assert_eq!(strangers.beyond(0).await, Some(1));
}

#[tokio::test]
async fn announcing_never_waits_and_the_newest_arrives() {
    let server = Server::start().await;
    let bus = || Bus::redis(&server.options(), LOG).expect("the options hold");
    let (one, two) = (bus(), bus());
    until_subscribed(&server, 2).await;
    let mut second = two.subscribe();
    for position in 1..=100_000 {
        one.announce(position);
    }
    hears(&mut second, 100_000).await;
}

#[tokio::test]
async fn garbage_on_the_channel_is_nothing() {
    let server = Server::start().await;
    let bus = Bus::redis(&server.options(), LOG).expect("the options hold");
    until_subscribed(&server, 1).await;
    let mut wakes = bus.subscribe();
    for garbage in ["x".to_owned(), format!("{LOG}/x"), format!("{}/9", Uuid::from_u128(2))] {
        server.order(&format!("PUBLISH {{cairn}}:head {garbage}")).await;
    }
    server.order(&format!("PUBLISH {{cairn}}:head {LOG}/4")).await;
    hears(&mut wakes, 4).await;
}

#[tokio::test]
async fn without_redis_the_process_goes_on_and_looks_by_itself() {
    let mut server = Server::start().await;
    let options = RedisOptions { look_every_ms: 50, ..server.options() };
    let bus = Bus::redis(&options, LOG).expect("the options hold");
    let other = Bus::redis(&server.options(), LOG).expect("the options hold");
    until_subscribed(&server, 2).await;
    server.kill();
    let mut wakes = bus.subscribe();
    bus.announce(3);
    hears(&mut wakes, 3).await;
    // Nobody says anything, and still it is time to look.
    assert_eq!(wakes.beyond(3).await, Some(3));
    server.restart().await;
    until_subscribed(&server, 2).await;
    other.announce(8);
    hears(&mut wakes, 8).await;
}

#[tokio::test]
async fn a_bus_that_is_dropped_leaves_nothing_behind() {
    let server = Server::start().await;
    let bus = Bus::redis(&server.options(), LOG).expect("the options hold");
    let mut wakes = bus.subscribe();
    until_subscribed(&server, 1).await;
    drop(bus);
    until_subscribed(&server, 0).await;
    while wakes.beyond(0).await.is_some() {}
}
