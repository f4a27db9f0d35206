//! How the parts of a host hear that the log has grown. A wake-up is a hint: whoever misses one finds the events in the
//! log all the same, so nothing here has to be reliable.
//!
//! This is the bus inside of one process. It keeps the newest position only: a slow listener skips what it did not need.

use cairn_model::Position;
use tokio::sync::watch;

/// Wake-ups for everybody in this process.
#[derive(Clone, Debug)]
pub struct Bus {
    newest: watch::Sender<Position>,
}

impl Bus {
    /// A bus that reaches this process alone.
    pub fn in_process() -> Self {
        Self { newest: watch::Sender::new(0) }
    }

    /// Says that the log reaches to this position. Positions that are not newer are ignored.
    pub fn announce(&self, position: Position) {
        self.newest.send_if_modified(|newest| {
            let newer = position > *newest;
            *newest = position.max(*newest);
            newer
        });
    }

    /// Hears of every growth from now on, the newest only.
    pub fn subscribe(&self) -> Wakes {
        Wakes { newest: self.newest.subscribe() }
    }
}

/// A listener.
#[derive(Debug)]
pub struct Wakes {
    newest: watch::Receiver<Position>,
}

impl Wakes {
    /// Waits until the log is known to reach beyond `position` and says how far; `None` when the bus is gone.
    pub async fn beyond(&mut self, position: Position) -> Option<Position> {
        self.newest.wait_for(|newest| *newest > position).await.ok().map(|newest| *newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_hears_of_what_came_before_it_listened() {
        let bus = Bus::in_process();
        bus.announce(3);
        bus.announce(2);
        assert_eq!(bus.subscribe().beyond(2).await, Some(3));
    }

    #[tokio::test]
    async fn a_listener_waits_for_what_comes() {
        let bus = Bus::in_process();
        let mut wakes = bus.subscribe();
        let waiting = tokio::spawn(async move { wakes.beyond(0).await });
        bus.announce(1);
        assert_eq!(waiting.await.expect("no panic"), Some(1));
    }
}
