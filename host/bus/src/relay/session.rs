//! The relay on one connection: it finds out how the streams stand, then follows the log until something fails.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use cairn_model::{Name, Position, RecordedEvent};
use tokio::time::Instant;

use super::judge::{Found, judge};
use super::script::{Batch, Entry, Held, Redis, Reply, is_out_of_memory};
use super::streams::{Stream, Streams};
use super::{Failure, Page, Relay, Superseded};
use crate::backoff::Backoff;
use crate::cloud_event;
use crate::connection;
use crate::options::ForeignLog;

/// How many streams are looked at in one call.
const LOOK_STREAMS: usize = 100;
/// How many streams are taken away or trimmed in one call.
const REMOVE_STREAMS: usize = 1_000;
/// How often an audit looks again at streams that move meanwhile.
const LOOKS: usize = 3;
/// How long to wait when the log does not hold what a wake-up promised.
const DISAPPOINTED: Duration = Duration::from_millis(20);

/// The relay, connected.
pub(super) struct Session<'a, F> {
    relay: &'a mut Relay<F>,
    backoff: &'a mut Backoff,
    redis: Redis,
    streams: Streams,
    /// Whether streams have lost something since this was last looked at.
    lost: bool,
}

impl<'a, F, R, E> Session<'a, F>
where
    F: Fn(Position, u32) -> R,
    R: Future<Output = Result<Page, E>>,
    E: Display,
{
    /// Connects and works until something fails.
    pub async fn run(relay: &'a mut Relay<F>, backoff: &'a mut Backoff) -> Failure {
        let options = &relay.options;
        let connecting =
            connection::connect(&relay.client, options.connect_timeout(), options.command_timeout());
        let connection = match connecting.await {
            Ok(connection) => connection,
            Err(error) => return error.into(),
        };
        let redis = Redis { connection, keys: relay.keys.clone(), log_id: relay.log_id, epoch: relay.epoch };
        let mut session = Self { relay, backoff, redis, streams: Streams::default(), lost: false };
        let Err(failure) = session.work().await;
        if let Failure::Redis(error) = &failure
            && is_out_of_memory(error)
        {
            session.make_room().await;
        }
        failure
    }

    async fn work(&mut self) -> Result<Infallible, Failure> {
        self.take_over().await?;
        let audit_every = self.relay.options.audit_every();
        let mut audit_at = Instant::now() + audit_every;
        let mut promised = 0;
        loop {
            self.count_losses()?;
            let page = self.read(self.streams.cursor, self.relay.batch).await?;
            if !page.events.is_empty() {
                self.publish(&page.events).await?;
            } else if promised > self.streams.cursor {
                promised = 0;
                tokio::time::sleep(DISAPPOINTED).await;
            } else {
                self.caught_up();
                promised = self.wait(audit_at).await;
            }
            if Instant::now() >= audit_at {
                let moved = self.audit().await?;
                if page.events.is_empty() && !moved {
                    self.relay.window.calm();
                }
                audit_at = Instant::now() + audit_every;
            }
        }
    }

    /// Finds out whose the streams are and how they stand, and fences older relays off.
    async fn take_over(&mut self) -> Result<(), Failure> {
        self.read(0, 1).await?;
        let mut held = self.redis.held().await?;
        if let Some(reason) = self.foreign(&held).await? {
            self.replace(&held, reason).await?;
            held = Held::default();
        }
        let floor = self.fill_floor();
        self.streams.cursor = floor;
        if held.whole {
            for (stream, end) in held.ends {
                self.streams.set(stream, end);
            }
            let end = self.streams.end(&Stream::All);
            if end != 0 && end < floor {
                tracing::warn!(
                    from = end + 1,
                    to = floor,
                    "events were too old to be published when Redis was back"
                );
            }
            self.streams.cursor = end.max(floor);
        } else {
            // Nobody says how far the streams should reach: each is looked at, and the log is read for all of them.
            for stream in self.redis.search().await? {
                self.streams.set(stream, 0);
            }
            self.streams.set(Stream::All, 0);
        }
        self.audit().await?;
        self.relay.took_over = true;
        self.relay.status.send_modify(|status| status.connected = true);
        Ok(())
    }

    /// Why the streams are not this log's, if they are not.
    async fn foreign(&mut self, held: &Held) -> Result<Option<String>, Failure> {
        let own = self.relay.log_id.to_string();
        if let Some(log) = held.log_id.as_ref().filter(|log| **log != own) {
            return Ok(Some(format!("they are those of the log {log}")));
        }
        for look in self.redis.look(&[Stream::All]).await? {
            if let Found::Foreign(reason) = judge(self.relay, &look).await? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Takes another log's streams away, if that is wanted.
    async fn replace(&mut self, held: &Held, reason: String) -> Result<(), Failure> {
        if self.relay.took_over || self.relay.options.foreign_log == ForeignLog::Refuse {
            return Err(Failure::Foreign(reason));
        }
        let mut streams = self.redis.search().await?;
        streams.extend(held.ends.keys().cloned());
        streams.insert(Stream::All);
        tracing::warn!(
            reason,
            streams = streams.len(),
            "the streams in Redis are not of this log's present history: they are deleted and filled again"
        );
        let streams: Vec<Stream> = streams.into_iter().collect();
        let own = self.relay.log_id.to_string();
        let mut seen = held.log_id.as_deref();
        for part in streams.chunks(REMOVE_STREAMS) {
            let reply = self.redis.remove(seen, part).await?;
            obeyed(reply)?;
            seen = Some(&own);
        }
        Ok(())
    }

    /// Compares the ends of all streams with what they should be, trims them, and notes it all in the hash. Says whether
    /// anything was not as it should be.
    async fn audit(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        for part in self.streams.known().chunks(LOOK_STREAMS) {
            for _ in 0..LOOKS {
                let ends: Vec<_> =
                    part.iter().map(|stream| (stream.clone(), self.streams.end(stream))).collect();
                let batch = Batch {
                    streams: &ends,
                    entries: &[],
                    floor: self.relay.window.trim_floor(self.streams.end(&Stream::All)),
                    count: self.streams.whole(self.streams.cursor, std::iter::empty()),
                };
                let reply = self.redis.publish(&batch).await?;
                if obeyed(reply)? {
                    break;
                }
                moved = true;
                self.settle(part).await?;
            }
        }
        Ok(moved)
    }

    /// Looks at streams that do not end where they should, and notes from where on they have to be filled.
    async fn settle(&mut self, streams: &[Stream]) -> Result<(), Failure> {
        let floor = self.fill_floor();
        let looks = self.redis.look(streams).await?;
        for (stream, look) in streams.iter().zip(&looks) {
            let end = match judge(self.relay, look).await? {
                Found::End(end) => end,
                Found::Foreign(reason) if *stream == Stream::All => return Err(Failure::Foreign(reason)),
                Found::Foreign(reason) | Found::Broken(reason) => {
                    tracing::warn!(reason, "the stream {stream} was spoilt: it is deleted and filled again");
                    let own = self.relay.log_id.to_string();
                    let reply = self.redis.remove(Some(&own), std::slice::from_ref(stream)).await?;
                    obeyed(reply)?;
                    0
                }
            };
            self.lost |= self.streams.correct(stream, end, floor);
        }
        Ok(())
    }

    /// # Errors
    /// When losses repeat: then a pause is due.
    fn count_losses(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.lost) {
            return Ok(());
        }
        tracing::warn!(from = self.streams.cursor + 1, "Redis has lost events, they are filled in again");
        let again = self.relay.window.lost();
        self.relay.status.send_modify(|status| status.losses += 1);
        if again { Err(Failure::Lost) } else { Ok(()) }
    }

    /// Publishes the next page. If the streams do not stand as believed, it does nothing but find out how they stand.
    async fn publish(&mut self, events: &[RecordedEvent]) -> Result<(), Failure> {
        self.check_dense(events)?;
        let mut rest = events;
        while !rest.is_empty() {
            let gathered = self.gather(rest)?;
            if !gathered.entries.is_empty() && !self.send(&gathered).await? {
                return Ok(());
            }
            self.streams.cursor = gathered.last;
            rest = &rest[gathered.taken..];
        }
        self.relay.batch = self.relay.batch.saturating_mul(2).min(self.relay.batch_limit);
        self.report();
        Ok(())
    }

    fn check_dense(&self, events: &[RecordedEvent]) -> Result<(), Failure> {
        let mut after = self.streams.cursor;
        for event in events {
            if event.position != after + 1 {
                return Err(Failure::Gap { after, found: event.position });
            }
            after = event.position;
        }
        Ok(())
    }

    /// Makes a batch of the first events, as many as it may hold, leaving out what is in its streams already.
    fn gather(&self, events: &[RecordedEvent]) -> Result<Gathered, Failure> {
        let end = self.streams.end(&Stream::All);
        let page_end = events.last().map_or(end, |event| event.position);
        let mut gathered = Gathered {
            streams: vec![(Stream::All, end)],
            entries: Vec::with_capacity(events.len()),
            floor: self.relay.window.trim_floor(end.max(page_end)),
            last: self.streams.cursor,
            taken: 0,
        };
        let mut indices: HashMap<&Name, usize> = HashMap::new();
        let mut bytes = 0;
        for event in events {
            let position = event.position;
            let aggregate = &event.stream.aggregate;
            let index = *indices.entry(aggregate).or_insert_with(|| {
                let stream = Stream::Of(aggregate.clone());
                let end = self.streams.end(&stream);
                gathered.streams.push((stream, end));
                gathered.streams.len() - 1
            });
            let lacks = position > gathered.streams[index].1 && position > gathered.floor;
            if position > end || lacks {
                let json = cloud_event::to_json(event, self.relay.log_id)
                    .map_err(|source| Failure::Damaged { position, source })?;
                bytes += json.len();
                let to = lacks.then_some(index);
                gathered.entries.push(Entry { position, to_all: position > end, to, json });
            }
            gathered.taken += 1;
            gathered.last = position;
            if bytes >= self.relay.options.batch_bytes {
                break;
            }
        }
        Ok(gathered)
    }

    /// Says whether the batch was taken; if not, the streams were looked at.
    async fn send(&mut self, gathered: &Gathered) -> Result<bool, Failure> {
        let touched = gathered.streams.iter().map(|(stream, _)| stream);
        let batch = Batch {
            streams: &gathered.streams,
            entries: &gathered.entries,
            floor: gathered.floor,
            count: self.streams.whole(gathered.last, touched.clone()),
        };
        let reply = self.redis.publish(&batch).await?;
        if !obeyed(reply)? {
            let touched: Vec<Stream> = touched.cloned().collect();
            self.settle(&touched).await?;
            return Ok(false);
        }
        for (index, (stream, end)) in gathered.streams.iter().enumerate() {
            let goes_there = |entry: &&Entry| if index == 0 { entry.to_all } else { entry.to == Some(index) };
            let last = gathered.entries.iter().rev().find(goes_there).map_or(*end, |entry| entry.position);
            self.streams.set(stream.clone(), last);
        }
        Ok(true)
    }

    /// Nothing is left to do.
    fn caught_up(&mut self) {
        self.backoff.reset();
        self.report();
    }

    fn report(&self) {
        let relay = &self.relay;
        let published = self.streams.cursor;
        relay.status.send_modify(|status| {
            status.published = published;
            status.head = status.head.max(published);
            status.lag_events = status.head - published;
            status.retain_entries = relay.window.keep();
            status.error = None;
        });
    }

    /// Until the log may have grown or it is time for an audit; says what the log was promised to hold.
    async fn wait(&mut self, until: Instant) -> Position {
        let woken = tokio::time::timeout_at(until, self.relay.wakes.beyond(self.streams.cursor)).await;
        match woken {
            Ok(Some(promised)) => promised,
            Err(_) => 0,
            Ok(None) => {
                tokio::time::sleep_until(until).await;
                0
            }
        }
    }

    async fn read(&self, after: Position, limit: u32) -> Result<Page, Failure> {
        let page = (self.relay.read)(after, limit).await.map_err(|error| Failure::Log(error.to_string()))?;
        self.relay.status.send_if_modified(|status| {
            let grown = page.head > status.head;
            status.head = status.head.max(page.head);
            status.lag_events = status.head.saturating_sub(status.published);
            grown
        });
        Ok(page)
    }

    /// The last position that streams need not be filled up with.
    fn fill_floor(&self) -> Position {
        self.relay.window.fill_floor(self.relay.status.borrow().head)
    }

    /// Redis is out of memory: less is kept, and sent at once.
    async fn make_room(&mut self) {
        self.relay.window.out_of_memory();
        self.relay.batch = (self.relay.batch / 2).max(1);
        let floor = self.relay.window.trim_floor(self.streams.end(&Stream::All));
        for part in self.streams.known().chunks(REMOVE_STREAMS) {
            if let Err(error) = self.redis.trim(part, floor).await {
                tracing::debug!(%error, "the streams were not trimmed");
                return;
            }
        }
    }
}

/// A batch, and how far it goes.
struct Gathered {
    /// Where each touched stream is expected to end, that of all events first.
    streams: Vec<(Stream, Position)>,
    entries: Vec<Entry>,
    floor: Position,
    /// The last position that was looked at.
    last: Position,
    /// How many events were looked at.
    taken: usize,
}

/// Whether it was done; a relay that may not write any more is at its end.
fn obeyed(reply: Reply) -> Result<bool, Failure> {
    match reply {
        Reply::Done => Ok(true),
        Reply::Moved => Ok(false),
        Reply::Foreign(log) => Err(Failure::Foreign(format!("they are those of the log {log}"))),
        Reply::Superseded(epoch) => Err(Superseded { epoch }.into()),
    }
}
