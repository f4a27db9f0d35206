//! The log, published to Redis Streams: one stream of all events, `{cairn}:events`, and one for each aggregate type,
//! `{cairn}:events:<aggregate>`. An entry's id is `<position>-0`, its one field `event` is a CloudEvent (see
//! [`crate::cloud_event`]). Consumers use plain `XREAD` and `XREADGROUP`.
//!
//! The streams hold the events of the last positions of the log, in the log's order and without gaps. Events are added by a
//! script that first compares: the streams must be this log's, no newer relay may have taken over, and each touched stream
//! must end where this relay believes it does. So a repeated publish changes nothing, and two relays do no harm.
//!
//! Whatever Redis lost comes back: after every connecting, at every publishing and from time to time the ends of the streams
//! are compared with the log, and the log is read again from where a stream lacks something. A stream's consumer groups are
//! lost with it; entries that a consumer deleted are not put back.
//!
//! The relay reads the log through a function, so it knows nothing of the store. Nothing waits for it.
//!
//! It needs Redis 6.2 or what is compatible with it, and there a server that takes writes: not a cluster, not a replica.

mod judge;
mod script;
mod session;
mod streams;
mod window;

use std::fmt::Display;

use cairn_model::{Position, RecordedEvent};
use redis::{Client, RedisError};
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::bus::Wakes;
use crate::connection;
use crate::error::Error;
use crate::keys::Keys;
use crate::options::RedisOptions;
use session::Session;
use window::Window;

/// What the log gives when it is read.
#[derive(Debug)]
pub struct Page {
    /// The events behind the position that was asked for, in order and without gaps; fewer than asked for at the log's end, or
    /// when they are large, but at least one if there is one.
    pub events: Vec<RecordedEvent>,
    /// Where the log ends, or ended a moment ago.
    pub head: Position,
}

/// How the relay stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether it is connected to Redis and has found the streams to be its own.
    pub connected: bool,
    /// Every retained event up to this position is in its streams, as far as is known.
    pub published: Position,
    /// Where the log ends, as far as the relay has heard.
    pub head: Position,
    /// How many events are in the log and not in the streams.
    pub lag_events: u64,
    /// How many positions the streams may hold at present: less than configured while Redis is short of memory.
    pub retain_entries: u64,
    /// How often streams were found to have lost events, which were then filled in again.
    pub losses: u64,
    /// What keeps it from going on; it tries again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A relay of a higher epoch has taken over: this one is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a relay of epoch {epoch} has taken over")]
pub struct Superseded {
    /// The other one's epoch.
    pub epoch: String,
}

/// Why the relay has to begin again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    #[error("the log cannot be read: {0}")]
    Log(String),
    #[error("the log has a gap: {found} follows {after}")]
    Gap { after: Position, found: Position },
    #[error("the event at position {position} is damaged: {source}")]
    Damaged { position: Position, source: serde_json::Error },
    #[error(
        "the streams are not of this log's present history ({0}); give each log a namespace, or delete them"
    )]
    Foreign(String),
    #[error("streams were lost again and again: does Redis evict them (maxmemory-policy)?")]
    Lost,
    #[error(transparent)]
    Superseded(#[from] Superseded),
}

/// Publishes the log. It has one task, [`Relay::run`], and can be dropped at any moment and made anew.
#[derive(Debug)]
pub struct Relay<F> {
    options: RedisOptions,
    client: Client,
    keys: Keys,
    log_id: Uuid,
    epoch: u64,
    read: F,
    wakes: Wakes,
    status: watch::Sender<Status>,
    window: Window,
    /// How many events are published together at most; never more than the streams hold.
    batch_limit: u32,
    /// How many events are published together at present: fewer while Redis is short of memory.
    batch: u32,
    /// Whether it has once found the streams to be its own; then it does not replace another log's any more.
    took_over: bool,
}

impl<F, R, E> Relay<F>
where
    F: Fn(Position, u32) -> R,
    R: Future<Output = Result<Page, E>>,
    E: Display,
{
    /// A relay of the log `log_id`. `epoch` orders relays of the same log: the highest wins (a lease's epoch, or the time of
    /// the start in microseconds). `read(after, limit)` reads the log, `wakes` says when to.
    ///
    /// `read` must see every committed event, as a primary does: streams that hold more than the log are taken to be of another
    /// history.
    ///
    /// # Errors
    /// When the options cannot work. Redis need not be there.
    pub fn new(
        options: &RedisOptions,
        log_id: Uuid,
        epoch: u64,
        wakes: Wakes,
        read: F,
    ) -> Result<Self, Error> {
        let window = Window::new(options.retain_entries, options.retain_min_entries);
        let batch = options.batch_events.min(u32::try_from(window.least()).unwrap_or(u32::MAX));
        Ok(Self {
            client: connection::client(options)?,
            keys: Keys::new(&options.namespace, log_id),
            log_id,
            epoch,
            read,
            wakes,
            status: watch::Sender::new(Status { retain_entries: window.keep(), ..Status::default() }),
            window,
            batch_limit: batch,
            batch,
            took_over: false,
            options: options.clone(),
        })
    }

    /// How it stands, now and later.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Publishes until another relay takes over. Redis and the log may fail for as long as they like.
    pub async fn run(mut self) -> Superseded {
        let mut backoff = Backoff::new(self.options.retry_max());
        loop {
            let failure = Session::run(&mut self, &mut backoff).await;
            if let Failure::Superseded(superseded) = failure {
                tracing::info!(epoch = superseded.epoch, "another relay has taken over");
                self.status.send_modify(|status| {
                    status.connected = false;
                    status.error = Some(superseded.to_string());
                });
                return superseded;
            }
            self.report(&failure);
            backoff.pause().await;
        }
    }

    /// Says once what is wrong, for as long as it is the same.
    fn report(&self, failure: &Failure) {
        let text = failure.to_string();
        let news = self.status.borrow().error.as_ref() != Some(&text);
        if news {
            tracing::warn!(error = text, "events are not published to Redis for now");
        }
        self.status.send_modify(|status| {
            status.connected = false;
            status.error = Some(text);
        });
    }
}
