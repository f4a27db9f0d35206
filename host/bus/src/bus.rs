//! Wake-ups. A wake-up is a hint: whoever misses one finds the events in the log all the same, so nothing here has to be
//! reliable. Only the newest position is kept: a slow listener skips what it did not need.
//!
//! What this process announces is known to be in the log, so a listener behind it is woken until it has read that far. What
//! other hosts say is a rumour: it wakes each listener once, and if the log does not hold it, nothing turns in circles.

use std::sync::Arc;

use cairn_model::Position;
use tokio::sync::watch;
use uuid::Uuid;

use crate::connection::Task;
use crate::error::Error;
use crate::hints;
use crate::options::RedisOptions;

/// What there is to know about the log's end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    /// The newest position that was announced in this process.
    known: Position,
    /// The newest position that others spoke of.
    rumoured: Position,
    /// How many rumours there were.
    rumours: u64,
    /// How often everybody was asked to look for themselves.
    calls: u64,
}

/// Wakes everybody in this process and, with Redis, in the other hosts.
#[derive(Clone, Debug)]
pub struct Bus {
    news: watch::Sender<News>,
    /// The task that talks to Redis; it ends with the last bus.
    _redis: Option<Arc<Task>>,
}

impl Bus {
    /// A bus that reaches this process alone.
    pub fn in_process() -> Self {
        Self { news: watch::Sender::new(News::default()), _redis: None }
    }

    /// A bus that reaches all hosts of the log `log_id`. Redis need not be there, now or later: without it the bus reaches this
    /// process, and listeners look at the log every [`RedisOptions::look_every_ms`] by themselves.
    ///
    /// # Errors
    /// When the options cannot work.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn redis(options: &RedisOptions, log_id: Uuid) -> Result<Self, Error> {
        let news = watch::Sender::new(News::default());
        let task = hints::exchange(options, log_id, news.clone())?;
        Ok(Self { news, _redis: Some(Arc::new(Task::spawn(task))) })
    }

    /// Says that the log reaches to this position, which must be committed. Positions that are not newer are ignored. Never
    /// waits: other hosts are told in the background, of the newest position only.
    pub fn announce(&self, position: Position) {
        self.news.send_if_modified(|news| {
            let newer = position > news.known;
            news.known = position.max(news.known);
            newer
        });
    }

    /// Hears of every growth from now on, the newest only.
    pub fn subscribe(&self) -> Wakes {
        let news = self.news.subscribe();
        let now = *news.borrow();
        Wakes { news, rumours: now.rumours, calls: now.calls }
    }
}

impl News {
    pub fn known(&self) -> Position {
        self.known
    }

    /// Another host speaks of this position.
    pub fn rumour(&mut self, position: Position) {
        self.rumoured = self.rumoured.max(position);
        self.rumours += 1;
    }

    /// Everybody should look at the log.
    pub fn call(&mut self) {
        self.calls += 1;
    }
}

/// A listener.
#[derive(Debug)]
pub struct Wakes {
    news: watch::Receiver<News>,
    rumours: u64,
    calls: u64,
}

impl Wakes {
    /// Waits until the log may reach beyond `position`, and says how far it is known or rumoured to; `None` when the bus is
    /// gone. The caller has to look: the events need not be there, and the answer may be `position` itself when it is only
    /// time to look.
    pub async fn beyond(&mut self, position: Position) -> Option<Position> {
        loop {
            let news = *self.news.borrow_and_update();
            let rumoured = news.rumours != self.rumours && news.rumoured > position;
            let called = news.calls != self.calls;
            (self.rumours, self.calls) = (news.rumours, news.calls);
            if news.known > position || rumoured || called {
                let rumour = if rumoured { news.rumoured } else { 0 };
                return Some(news.known.max(rumour).max(position));
            }
            self.news.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn sleeps(wakes: &mut Wakes, position: Position) -> bool {
        wakes.beyond(position).now_or_never().is_none()
    }

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

    #[tokio::test]
    async fn a_rumour_wakes_each_listener_once() {
        let bus = Bus::in_process();
        let mut wakes = bus.subscribe();
        bus.news.send_modify(|news| news.rumour(Position::MAX));
        assert_eq!(wakes.beyond(5).await, Some(Position::MAX));
        assert!(sleeps(&mut wakes, 5));
        bus.news.send_modify(|news| news.rumour(6));
        assert!(wakes.beyond(5).await.is_some());
        bus.news.send_modify(News::call);
        assert_eq!(wakes.beyond(5).await, Some(5));
        assert!(sleeps(&mut wakes, 5));
    }

    #[tokio::test]
    async fn a_listener_ends_with_the_bus() {
        let mut wakes = Bus::in_process().subscribe();
        assert_eq!(wakes.beyond(0).await, None);
    }
}
