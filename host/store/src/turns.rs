//! Turns: how several hosts that append to one stream get on with each other.
//!
//! Whoever decides for a stream does so on its present version, and all others who have decided on it meanwhile have to begin
//! anew. A host that is always a little too late would never get anywhere. So a host whose append is stale again asks for a
//! *turn*: while it lasts the others' appends to that stream are sent back without being looked at. Who waits is noted in the
//! order of coming, and a turn that is over passes to the next one.
//!
//! A turn lasts until its host has appended something and [`SLICE`] more, in which it appends whatever else it has. A host that
//! appends nothing has [`TURN`] from when it was last seen trying, and one that is not seen at all, as it died or needs its turn
//! no more, holds the others up for [`SHOW_UP`], once.
//!
//! It is a hint. What may be appended is decided by versions alone, so a turn may be lost, or ignored by a host that does not
//! know of it. Only the back end that several hosts can use keeps turns; they change under the log's lock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cairn_model::{Read, StreamKey};
use uuid::Uuid;

use crate::append::{Append, Outcome, Stale};

/// How long a host may take to append something: it reads the stream and decides.
pub(crate) const TURN: Duration = Duration::from_millis(100);
/// How long a host is waited for when its turn comes.
const SHOW_UP: Duration = Duration::from_millis(50);
/// How long it goes on from then: a few batches.
const SLICE: Duration = Duration::from_millis(20);
/// The pause before somebody looks again at a host that has appended nothing yet, and the margin after the end of a turn,
/// so that who comes then reads all that was appended.
const PAUSE: Duration = Duration::from_millis(2);
/// How many hosts can wait.
const QUEUE_LIMIT: usize = 64;

/// Whose turn it is at a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The hosts, the one that has it in front.
    pub queue: Vec<Uuid>,
    /// Whether that one has appended something.
    pub served: bool,
    /// What is left of it.
    pub left: Duration,
}

impl Turn {
    /// Passes a turn that is over to the next one. Answers whether there is anybody.
    fn pass_on(&mut self) -> bool {
        if self.left > Duration::ZERO || self.queue.is_empty() {
            return false;
        }
        self.queue.remove(0);
        self.served = false;
        self.left = if self.queue.is_empty() { Duration::ZERO } else { SHOW_UP };
        !self.queue.is_empty()
    }

    /// How long this host waits; `None` where it may append.
    fn wait(&self, host: Uuid) -> Option<Duration> {
        if self.queue.first().is_none_or(|first| *first == host) {
            return None;
        }
        let place = self.queue.iter().position(|other| *other == host).unwrap_or(self.queue.len());
        let before = SLICE * u32::try_from(place - 1).unwrap_or_default();
        let first = if self.served { self.left } else { self.left.min(PAUSE) };
        Some(first + before + PAUSE)
    }
}

/// The turns that matter to a batch, as one host sees them.
#[derive(Debug)]
pub(crate) struct Turns {
    host: Uuid,
    turns: HashMap<StreamKey, Turn>,
    changed: HashSet<StreamKey>,
}

impl Turns {
    /// The turns as they were found, those that are over passed on.
    pub fn new(host: Uuid, mut turns: HashMap<StreamKey, Turn>) -> Self {
        let passed_on = turns.iter_mut().filter_map(|(stream, turn)| turn.pass_on().then(|| stream.clone()));
        let changed = passed_on.collect();
        Self { host, turns, changed }
    }

    /// Where this host has to wait, and for how long.
    pub fn waits(&self) -> HashMap<StreamKey, Duration> {
        let wait = |(stream, turn): (&StreamKey, &Turn)| Some((stream.clone(), turn.wait(self.host)?));
        self.turns.iter().filter_map(wait).collect()
    }

    /// Draws the conclusions from what became of a batch.
    pub fn follow(&mut self, appends: &[Append], outcomes: &[Outcome]) {
        for (append, outcome) in appends.iter().zip(outcomes) {
            match outcome {
                Outcome::Stale(Stale::Turn { .. }) => self.join(&append.stream),
                Outcome::Stale(Stale::Version { .. }) if append.insists => self.join(&append.stream),
                Outcome::Stale(Stale::Read(stream)) if append.insists => self.join(stream),
                Outcome::Committed(_) | Outcome::Current(_) if !self.turns.is_empty() => self.serve(append),
                _ => {}
            }
        }
    }

    /// What has to be noted.
    pub fn changes(&self) -> Vec<(&StreamKey, &Turn)> {
        self.turns.iter().filter(|(stream, _)| self.changed.contains(stream)).collect()
    }

    fn join(&mut self, stream: &StreamKey) {
        let turn = self.turns.entry(stream.clone()).or_default();
        if turn.queue.len() < QUEUE_LIMIT && !turn.queue.contains(&self.host) {
            turn.queue.push(self.host);
        } else if turn.served || turn.queue.first() != Some(&self.host) {
            return;
        }
        if turn.queue.first() == Some(&self.host) {
            (turn.served, turn.left) = (false, TURN);
        }
        self.changed.insert(stream.clone());
    }

    /// The append is what a turn was for, if this host has one at what it rests on.
    fn serve(&mut self, append: &Append) {
        for stream in rests_on(append) {
            if let Some(turn) = self.turns.get_mut(stream)
                && !turn.served
                && turn.queue.first() == Some(&self.host)
            {
                turn.served = true;
                turn.left = SLICE;
                self.changed.insert(stream.clone());
            }
        }
    }
}

/// The streams that an append rests on: its own and what was read.
pub(crate) fn rests_on(append: &Append) -> impl Iterator<Item = &StreamKey> {
    let reads = append.reads.iter().map(|read| match read {
        Read::Stream(stream, _) | Read::Access(stream, _) => stream,
    });
    std::iter::once(&append.stream).chain(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [Uuid; 3] = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];

    fn stream() -> StreamKey {
        StreamKey::new("default", "file", Uuid::nil())
    }

    /// Lets a host see the turn, do something, and writes down what it noted.
    fn at(host: Uuid, turn: &mut Option<Turn>, act: impl FnOnce(&mut Turns)) -> Option<Duration> {
        let found = turn.iter().map(|turn| (stream(), turn.clone())).collect();
        let mut turns = Turns::new(host, found);
        let wait = turns.waits().get(&stream()).copied();
        act(&mut turns);
        if let Some((_, noted)) = turns.changes().first() {
            *turn = Some((*noted).clone());
        }
        wait
    }

    fn join(turns: &mut Turns) {
        turns.join(&stream());
    }

    #[test]
    fn turns_pass_in_the_order_of_coming() {
        let mut turn = None;
        for (place, host) in (0..).zip(HOSTS) {
            let wait = at(host, &mut turn, join);
            assert_eq!(wait, (place > 0).then(|| PAUSE + PAUSE + SLICE * (place - 1)), "{host}");
        }
        for round in 0..7 {
            let host = HOSTS[round % 3];
            let now = turn.as_mut().expect("a turn");
            assert_eq!((now.queue[0], now.left > PAUSE, now.served), (host, true, false));
            // It is over. The one after the next comes first and passes it on; the one whose it was comes back.
            now.left = Duration::ZERO;
            assert!(at(HOSTS[(round + 2) % 3], &mut turn, |_| {}).is_some());
            assert!(at(host, &mut turn, join).is_some());
        }
    }

    #[test]
    fn who_is_seen_trying_has_more_time() {
        let mut turn = None;
        at(HOSTS[0], &mut turn, join);
        at(HOSTS[1], &mut turn, join);
        turn.as_mut().expect("a turn").left = Duration::ZERO;
        at(HOSTS[0], &mut turn, join);
        assert_eq!(turn.as_ref().expect("a turn").left, SHOW_UP);
        at(HOSTS[1], &mut turn, join);
        let turn = turn.expect("a turn");
        assert_eq!((turn.queue.as_slice(), turn.left), ([HOSTS[1], HOSTS[0]].as_slice(), TURN));
    }

    #[test]
    fn a_turn_ends_soon_after_its_host_has_appended() {
        let mut turn = None;
        at(HOSTS[0], &mut turn, join);
        at(HOSTS[1], &mut turn, join);
        let served = |turns: &mut Turns| {
            let own = turns.turns.get_mut(&stream()).expect("a turn");
            (own.served, own.left) = (true, SLICE);
            turns.changed.insert(stream());
        };
        assert_eq!(at(HOSTS[0], &mut turn, served), None);
        assert_eq!(at(HOSTS[1], &mut turn, |_| {}), Some(SLICE + PAUSE));
    }

    #[test]
    fn the_last_turn_leaves_nothing_to_wait_for() {
        let mut turn = None;
        at(HOSTS[0], &mut turn, join);
        turn.as_mut().expect("a turn").left = Duration::ZERO;
        assert_eq!(at(HOSTS[1], &mut turn, |_| {}), None);
        assert_eq!(at(HOSTS[1], &mut turn, join), None);
        assert_eq!(turn.expect("a turn").queue, [HOSTS[1]]);
    }
}
