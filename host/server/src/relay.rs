//! From the log to the world: wake-ups for this process and the others, and Redis Streams for whoever consumes them.

use std::time::Duration;

use cairn_bus::{Bus, Page, RedisOptions, Relay, Status};
use cairn_model::{Clock, Position};
use cairn_store::{Fence, LogFilter, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::leases::Leases;

/// The lease of the host that publishes.
const LEASE: &str = "relay";
/// The pause after another relay took over although this host has the lease: clocks differ for a moment.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the bus how far the log reaches, whenever it grew.
pub async fn announce(store: Store, bus: Bus, stop: CancellationToken) {
    let mut committed = store.committed();
    loop {
        bus.announce(*committed.borrow_and_update());
        tokio::select! {
            changed = committed.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Looks into the log whenever another host is said to have appended.
pub async fn look(store: Store, bus: Bus, stop: CancellationToken) {
    let mut wakes = bus.subscribe();
    loop {
        let awake = tokio::select! {
            awake = wakes.beyond(store.head()) => awake,
            () = stop.cancelled() => return,
        };
        if awake.is_none() {
            return;
        }
        if let Err(error) = store.look().await {
            tracing::debug!(%error, "the log's end could not be read");
        }
    }
}

/// The host's part in publishing to Redis.
pub struct Publisher {
    options: RedisOptions,
    store: Store,
    bus: Bus,
    clock: Clock,
    status: watch::Sender<Option<Status>>,
}

impl Publisher {
    /// A publisher of this log.
    pub fn new(options: RedisOptions, store: Store, bus: Bus, clock: Clock) -> Self {
        Self { options, store, bus, clock, status: watch::Sender::new(None) }
    }

    /// How the relay stands; `None` while another host publishes.
    pub fn status(&self) -> watch::Receiver<Option<Status>> {
        self.status.subscribe()
    }

    /// Publishes whenever this host has the lease.
    pub async fn run(self, leases: Leases, stop: CancellationToken) {
        let work = |_: Fence, lost: CancellationToken| self.publish(lost);
        leases.hold(LEASE, &stop, std::future::pending, work).await;
    }

    async fn publish(&self, lost: CancellationToken) {
        // Epochs of leases begin anew with a restored backup, the time does not.
        let epoch = u64::try_from(self.clock.now().micros()).unwrap_or_default();
        let store = self.store.clone();
        let read = move |after: Position, limit: u32| {
            let store = store.clone();
            async move {
                let events = store.read_log(LogFilter { after, limit, ..LogFilter::default() }).await?;
                Ok::<_, cairn_store::Error>(Page { head: store.head(), events })
            }
        };
        let relay = match Relay::new(&self.options, self.store.log_id(), epoch, self.bus.subscribe(), read) {
            Ok(relay) => relay,
            Err(error) => {
                // The options were checked at the start.
                tracing::error!(%error, "there is no relay");
                lost.cancelled().await;
                return;
            }
        };
        let status = relay.status();
        tokio::select! {
            () = self.pass_on(status) => {}
            superseded = relay.run() => {
                tracing::warn!(%superseded, "the relay ends");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = lost.cancelled() => {}
                }
            }
            () = lost.cancelled() => {}
        }
        self.status.send_replace(None);
    }

    /// Passes the relay's status on for as long as it lives.
    async fn pass_on(&self, mut status: watch::Receiver<Status>) {
        loop {
            self.status.send_replace(Some(status.borrow_and_update().clone()));
            if status.changed().await.is_err() {
                // The relay has just ended, and its end is for others to see.
                std::future::pending::<()>().await;
            }
        }
    }
}
