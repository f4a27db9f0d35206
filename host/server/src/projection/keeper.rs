//! Whoever brings one instance of a read model forward, page by page, each event exactly once.
//!
//! An event that the projection cannot take is found by halving the page, tried again a few times, and then set aside with the
//! later events of its stream; all other streams go on. All of it commits with the rows and the position. A decision of an
//! operator is carried out where it stands in the log: the events of a stream come home in their order, up to the first that
//! fails again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_model::manifest::{OnFailure, Projection};
use cairn_model::{Change, Clock, Position, RecordedEvent, StreamKey, Timestamp, Version};
use cairn_store::{ApplyError, Batch, DeadLetter, LetterFilter, LogFilter, ReadModel, Store};
use cairn_wasm::{Fault, FaultKind};

use super::control::{self, Control, Instead, Retry, Wish};
use super::failure::{Failure, Head, Patience, waiting};
use super::{Running, concerns};
use crate::plugins::Plugin;

/// With how many events a keeper begins.
const PAGE: u32 = 2_000;
/// The fewest events of a page.
const PAGE_MIN: u32 = 100;
/// The most events of a page.
const PAGE_MAX: u32 = 10_000;
/// How long a step should take: pages grow and shrink towards it. It is how long others wait for what they have written.
const STEP: Duration = Duration::from_millis(150);
/// In how many parts an event is looked for that takes the guest too long.
const SLOW_PARTS: usize = 16;
/// How many events of a stream are read at once.
const STREAM_PAGE: u32 = 1_000;

/// One instance of a read model, with the code that its tables are made for.
pub(super) struct Instance {
    pub plugin: Arc<Plugin>,
    pub spec: Projection,
    pub form: String,
    pub model: ReadModel,
}

impl Instance {
    pub fn number(&self) -> u64 {
        self.model.instance()
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        concerns(self.plugin.manifest(), event, |name| self.spec.wants(name))
    }
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// The read model is further.
    On,
    /// There is nothing new.
    Idle,
    /// Somebody wants the projection to rest.
    Paused,
    /// An event keeps it from going on, and it waits for an operator.
    Stopped,
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Another host runs the projection.
    #[error("another host runs the projection")]
    LeaseLost,
    /// Anything else; try again, from where the tables say.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<cairn_store::Error> for Error {
    fn from(error: cairn_store::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Why a batch was not written.
enum Refused {
    /// The tables do not take it.
    Rejected(Failure),
    Error(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(failure) => Self::Other(anyhow::anyhow!("{}", failure.cause)),
            Refused::Error(error) => error,
        }
    }
}

/// A part of the log.
enum Piece {
    /// Events.
    Run(Run),
    /// A decision of an operator.
    Decision { at: Position, wish: Wish },
}

/// Events that are taken together.
#[derive(Default)]
struct Run {
    /// The position behind which the next part begins.
    to: Position,
    /// Events for the guest, with the data that they have for it.
    events: Vec<RecordedEvent>,
    /// Events whose streams wait.
    waiting: Vec<RecordedEvent>,
    /// Events that are skipped.
    skipped: Vec<Position>,
}

impl Run {
    /// So many parts, the last one first.
    fn parts(self, parts: usize) -> Vec<Self> {
        let size = self.events.len().div_ceil(parts).max(1);
        let (mut all, mut rest) = (Vec::new(), self);
        while rest.events.len() > size {
            let (first, later) = rest.split(size);
            all.push(first);
            rest = later;
        }
        all.push(rest);
        all.reverse();
        all
    }

    /// The first so many events, and the others.
    fn split(mut self, count: usize) -> (Self, Self) {
        let second = self.events.split_off(count);
        let to = self.events.last().map_or(self.to, |event| event.position);
        let (waiting, later) = self.waiting.into_iter().partition(|event| event.position <= to);
        let (skipped, skipped_later) = self.skipped.into_iter().partition(|position| *position <= to);
        (
            Self { to, events: self.events, waiting, skipped },
            Self { to: self.to, events: second, waiting: later, skipped: skipped_later },
        )
    }
}

/// What came of a run.
enum Ran {
    Done,
    /// The blame is on one of several events: look for it in so many parts.
    TooMuch(Run, usize),
    Stopped,
}

/// What an event came to: its changes, or how it failed and how often it was tried.
type Outcome = Result<Vec<Change>, (Failure, u32)>;

/// Brings an instance forward, under a lease.
pub(super) struct Keeper {
    pub instance: Arc<Instance>,
    /// Where the instance is.
    pub at: Position,
    /// Whether events came home behind events of other streams, on which their rows depend.
    pub is_out_of_order: bool,
    epoch: u64,
    store: Store,
    clock: Clock,
    control_stream: StreamKey,
    digest: String,
    /// The streams that wait, and for what, as far as it was looked up.
    parked: HashMap<StreamKey, Option<Head>>,
    /// Events that were set aside although the position is not behind them: the projection stops at them.
    ahead: BTreeMap<Position, DeadLetter>,
    patience: Patience,
    /// The version of the decisions at which an event stopped it.
    stopped_at: Option<Version>,
    page: u32,
}

impl Keeper {
    /// Goes on from where the tables are.
    pub async fn new(projection: &Running, instance: Arc<Instance>, epoch: u64) -> Result<Self, Error> {
        let standing = instance.model.standing().await?;
        // From here on who held the lease before can write nothing more, whether a step moves the position or not.
        let stamped =
            instance.model.apply_under(epoch, Batch::default(), standing.position, standing.position);
        match stamped.await {
            Ok(()) => {}
            Err(ApplyError::Superseded { .. }) => return Err(Error::LeaseLost),
            Err(error) => return Err(Error::Other(error.into())),
        }
        let parked = instance.model.parked_streams().await?;
        let ahead = LetterFilter { after: standing.position, limit: u32::MAX, ..LetterFilter::default() };
        let ahead = instance.model.dead_letters(&ahead).await?;
        Ok(Self {
            at: standing.position,
            is_out_of_order: standing.out_of_order,
            epoch,
            store: projection.store.clone(),
            clock: projection.clock.clone(),
            control_stream: control::stream(&instance.spec.name),
            digest: instance.plugin.component.digest().to_string(),
            parked: parked.into_iter().map(|stream| (stream, None)).collect(),
            ahead: ahead.into_iter().map(|letter| (letter.position, letter)).collect(),
            patience: Patience::default(),
            stopped_at: None,
            page: PAGE,
            instance,
        })
    }

    /// Brings the next page of the log into the tables.
    pub async fn step(&mut self, projection: &Running) -> Result<Went, Error> {
        let began = Instant::now();
        let page = LogFilter { after: self.at, limit: self.page, ..LogFilter::default() };
        let events = self.store.read_log(page).await?;
        // Read behind the page, so every decision that stands in it is known.
        let control = projection.control().await?;
        if control.paused {
            return Ok(Went::Paused);
        }
        if self.stopped_at == Some(control.version) {
            return Ok(Went::Stopped);
        }
        if self.stopped_at.take().is_some() {
            self.patience.renew();
        }
        if events.is_empty() {
            return Ok(Went::Idle);
        }
        let count = u32::try_from(events.len()).unwrap_or(PAGE_MAX);
        let went = self.take(events, &control).await?;
        self.pace(count, began.elapsed());
        Ok(went)
    }

    /// Lets pages grow while steps are short, and shrink when they are long.
    fn pace(&mut self, count: u32, took: Duration) {
        if took > STEP * 2 {
            self.page = (self.page / 2).max(PAGE_MIN);
        } else if took < STEP / 2 && count >= self.page {
            self.page = (self.page * 2).min(PAGE_MAX);
        }
    }

    async fn take(&mut self, events: Vec<RecordedEvent>, control: &Control) -> Result<Went, Error> {
        let mut pieces = self.pieces(events, control)?;
        pieces.reverse();
        while let Some(piece) = pieces.pop() {
            match piece {
                Piece::Decision { at, wish } => self.carry_out(at, wish, control).await?,
                Piece::Run(run) => match self.run(run, control).await? {
                    Ran::Done => {}
                    Ran::TooMuch(run, parts) => pieces.extend(run.parts(parts).into_iter().map(Piece::Run)),
                    Ran::Stopped => {
                        self.stopped_at = Some(control.version);
                        return Ok(Went::Stopped);
                    }
                },
            }
        }
        Ok(Went::On)
    }

    /// A page in parts: runs of events between decisions.
    fn pieces(&self, events: Vec<RecordedEvent>, control: &Control) -> Result<Vec<Piece>, Error> {
        let (mut pieces, mut run) = (Vec::new(), Run::default());
        for mut event in events {
            let at = event.position;
            if event.stream == self.control_stream
                && let Ok(Some(wish)) = control::wish(&event)
            {
                if run.to > 0 {
                    pieces.push(Piece::Run(std::mem::take(&mut run)));
                }
                pieces.push(Piece::Decision { at, wish });
                continue;
            }
            run.to = at;
            if self.instance.wants(&event) {
                match control.instead(at) {
                    Some(Instead::Nothing) => run.skipped.push(at),
                    Some(Instead::Data(data)) => {
                        event.data = data.to_string();
                        run.events.push(event);
                    }
                    None => run.events.push(event),
                }
            }
        }
        if run.to > 0 {
            pieces.push(Piece::Run(run));
        }
        Ok(pieces)
    }

    /// Takes events together, if none of them fails in a way that does not say which one it was.
    async fn run(&mut self, mut run: Run, control: &Control) -> Result<Ran, Error> {
        let (waiting, events) = std::mem::take(&mut run.events)
            .into_iter()
            .partition(|event| self.parked.contains_key(&event.stream));
        run.events = events;
        run.waiting.extend::<Vec<_>>(waiting);
        if run.events.len() == 1 {
            return self.run_one(run, control).await;
        }
        let began = self.clock.now();
        let (events, outcomes) = self.project(run.events).await?;
        run.events = events;
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            // Each part with the event in it takes the whole time again; those without it are quick.
            Err(fault) if fault.kind == FaultKind::Deadline => return Ok(Ran::TooMuch(run, SLOW_PARTS)),
            Err(_) => return Ok(Ran::TooMuch(run, 2)),
        };
        let mut outcomes: Vec<Outcome> =
            outcomes.into_iter().map(|outcome| outcome.map_err(|cause| (Failure::new(&cause), 1))).collect();
        if outcomes.iter().any(Result::is_err) {
            self.try_again(&run.events, &mut outcomes).await?;
        }
        match self.commit(&run, outcomes, control, began).await {
            Err(Refused::Rejected(_)) if run.events.len() > 1 => Ok(Ran::TooMuch(run, 2)),
            committed => Ok(committed?),
        }
    }

    /// Tries again what failed, with pauses, as long as there is hope.
    async fn try_again(&mut self, events: &[RecordedEvent], outcomes: &mut [Outcome]) -> Result<(), Error> {
        let print = |index: usize, failure: &Failure| failure.fingerprint(&events[index].event_type);
        for pause in Patience::pauses() {
            let failed = |(index, outcome): (usize, &Outcome)| match outcome {
                Err((failure, _)) if self.patience.allows(&print(index, failure)) => Some(index),
                _ => None,
            };
            let again: Vec<usize> = outcomes.iter().enumerate().filter_map(failed).collect();
            if again.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            let some = again.iter().map(|index| events[*index].clone()).collect();
            let (_, results) = self.project(some).await?;
            let mut results = results.unwrap_or_default().into_iter();
            for index in again {
                let Err((failure, attempts)) = &mut outcomes[index] else { continue };
                *attempts += 1;
                match results.next() {
                    Some(Ok(changes)) => outcomes[index] = Ok(changes),
                    Some(Err(cause)) => *failure = Failure::new(&cause),
                    // The call as a whole failed.
                    None => {}
                }
            }
        }
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Err((failure, _)) = outcome {
                self.patience.ends(print(index, failure));
            }
        }
        Ok(())
    }

    /// Takes a run with one event for the guest, which is to blame for whatever goes wrong.
    async fn run_one(&mut self, mut run: Run, control: &Control) -> Result<Ran, Error> {
        let (mut attempts, mut pauses) = (0, Patience::pauses());
        let (began, clock) = (self.clock.now(), Instant::now());
        loop {
            attempts += 1;
            let (events, outcomes) = self.project(run.events).await?;
            run.events = events;
            let outcome = match outcomes {
                Err(fault) => Err(Failure::fault(&fault)),
                Ok(outcomes) => outcomes
                    .into_iter()
                    .next()
                    .unwrap_or(Ok(Vec::new()))
                    .map_err(|cause| Failure::new(&cause)),
            };
            let failure = match outcome {
                Err(failure) => failure,
                Ok(changes) => match self.commit(&run, vec![Ok(changes)], control, began).await {
                    Err(Refused::Rejected(failure)) => failure,
                    committed => return Ok(committed?),
                },
            };
            let print = failure.fingerprint(&run.events[0].event_type);
            match pauses.next().filter(|_| self.patience.allows(&print) && clock.elapsed() < Patience::TIME) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    self.patience.ends(print);
                    return Ok(self.commit(&run, vec![Err((failure, attempts))], control, began).await?);
                }
            }
        }
    }

    /// Writes what a run came to that was first tried at `began`.
    async fn commit(
        &mut self,
        run: &Run,
        outcomes: Vec<Outcome>,
        control: &Control,
        began: Timestamp,
    ) -> Result<Ran, Refused> {
        let now = self.clock.now();
        let mut batch = Batch { settled: run.skipped.clone(), ..Batch::default() };
        let mut to = run.to;
        let mut broken: HashMap<StreamKey, Option<Head>> = HashMap::new();
        let mut stops: Option<DeadLetter> = None;
        for (event, outcome) in run.events.iter().zip(outcomes) {
            if let Some(Some(head)) = broken.get(&event.stream) {
                batch.parked.push(waiting(event, head, now, &self.digest));
                continue;
            }
            let (failure, attempts) = match outcome {
                Ok(changes) => {
                    batch.changes.extend(changes);
                    continue;
                }
                Err(failed) => failed,
            };
            let before = self.ahead.get(&event.position);
            let attempts = attempts + before.map_or(0, |letter| letter.attempts);
            let first = before.map_or(began, |letter| letter.first_failed_at);
            let letter = DeadLetter {
                edited: edited(control, event.position),
                ..failure.letter(event, attempts, first, now, &self.digest)
            };
            let (position, cause) = (event.position, &letter.cause);
            let (projection, event_type) = (&self.instance.spec.name, &event.event_type);
            if self.instance.spec.on_failure == OnFailure::Stop {
                tracing::error!(%projection, position, %event_type, cause, "an event stops a projection");
                to = position - 1;
                stops = Some(letter);
                break;
            }
            tracing::error!(%projection, position, %event_type, cause, "an event is set aside");
            let head = Head { position, fingerprint: letter.fingerprint.clone() };
            broken.insert(event.stream.clone(), Some(head));
            batch.parked.push(letter);
        }
        for event in run.waiting.iter().filter(|event| event.position <= to) {
            let head = self.head(&event.stream).await.map_err(|error| Refused::Error(error.into()))?;
            let head = head.ok_or_else(|| {
                let stream = &event.stream;
                Refused::Error(anyhow::anyhow!("the dead letters of {stream} are gone; looking again").into())
            })?;
            batch.parked.push(waiting(event, &head, now, &self.digest));
        }
        batch.settled.retain(|position| *position <= to);
        batch.settled.extend(self.ahead.range(..=to).map(|(position, _)| *position));
        batch.parked.extend(stops.clone());
        self.apply(batch, to).await?;
        self.ahead = self.ahead.split_off(&(to + 1));
        self.parked.extend(broken);
        let Some(letter) = stops else { return Ok(Ran::Done) };
        let failure = format!("{} at position {}: {}", letter.event_type, letter.position, letter.cause);
        self.ahead.insert(letter.position, letter);
        let noted = self.instance.model.note_failure(self.epoch, &failure).await;
        noted.map_err(|error| Refused::Error(error.into()))?;
        Ok(Ran::Stopped)
    }

    /// What a waiting stream waits for.
    async fn head(&mut self, stream: &StreamKey) -> Result<Option<Head>, cairn_store::Error> {
        if let Some(Some(head)) = self.parked.get(stream) {
            return Ok(Some(head.clone()));
        }
        let first = LetterFilter { limit: 1, ..LetterFilter::stream(stream) };
        let first = self.instance.model.dead_letters(&first).await?;
        let head = first.into_iter().next();
        let head = head.map(|letter| Head { position: letter.position, fingerprint: letter.fingerprint });
        self.parked.insert(stream.clone(), head.clone());
        Ok(head)
    }

    async fn apply(&mut self, batch: Batch, to: Position) -> Result<(), Refused> {
        match self.instance.model.apply_under(self.epoch, batch, self.at, to).await {
            Ok(()) => {
                self.at = to;
                Ok(())
            }
            Err(ApplyError::Rejected { detail, .. }) => Err(Refused::Rejected(Failure::new(&detail))),
            Err(ApplyError::Superseded { .. }) => Err(Refused::Error(Error::LeaseLost)),
            Err(error) => Err(Refused::Error(Error::Other(error.into()))),
        }
    }

    /// Asks the guest for the changes of each event.
    async fn project(
        &self,
        events: Vec<RecordedEvent>,
    ) -> Result<(Vec<RecordedEvent>, Result<Vec<Result<Vec<Change>, String>>, Fault>), Error> {
        if events.is_empty() {
            return Ok((events, Ok(Vec::new())));
        }
        let instance = self.instance.clone();
        let blocking = move || {
            let changes = instance.plugin.component.project(&instance.spec.name, &events);
            (events, changes)
        };
        Ok(tokio::task::spawn_blocking(blocking).await.map_err(anyhow::Error::from)?)
    }

    /// Carries a decision out that stands at this position.
    async fn carry_out(&mut self, at: Position, wish: Wish, control: &Control) -> Result<(), Error> {
        self.patience.renew();
        let streams = match wish {
            Wish::Retry(Retry::All) => self.instance.model.parked_streams().await?,
            Wish::Retry(Retry::Stream { tenant, stream }) => vec![stream.of(&tenant)],
            Wish::Retry(Retry::Position(position)) | Wish::Skip(position) => {
                let there = LetterFilter { after: position - 1, limit: 1, ..LetterFilter::default() };
                let there = self.instance.model.dead_letters(&there).await?;
                there
                    .into_iter()
                    .filter(|letter| letter.position == position)
                    .map(|letter| letter.stream)
                    .collect()
            }
        };
        for stream in &streams {
            self.bring_home(stream, control).await?;
        }
        // A host that dies before this begins the decision again, with what is left of it.
        Ok(self.apply(Batch::default(), at).await?)
    }

    /// Tries the events of a stream that were set aside, in their order, up to the first that fails again.
    async fn bring_home(&mut self, stream: &StreamKey, control: &Control) -> Result<(), Error> {
        let letters = self.instance.model.dead_letters(&LetterFilter::stream(stream)).await?;
        let mut events = self.recorded(stream, &letters).await?;
        let mut skipped = Vec::new();
        events.retain_mut(|event| match control.instead(event.position) {
            Some(Instead::Nothing) => {
                skipped.push(event.position);
                false
            }
            Some(Instead::Data(data)) => {
                event.data = data.to_string();
                true
            }
            None => true,
        });
        let (mut changes, mut failure) = self.project_up_to_failure(&events).await?;
        let whole = self.home_batch(&letters, &events, &changes, skipped.clone(), failure.as_ref(), control);
        match self.apply(whole, self.at).await {
            Ok(()) => {}
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Rejected(rejected)) => {
                // One by one, to find the event that the tables do not take.
                let done = self.home_one_by_one(&events, &changes).await?;
                if done < changes.len() {
                    changes.truncate(done);
                    failure = Some(rejected);
                }
                let rest =
                    self.home_batch(&letters, &events[done..], &[], skipped, failure.as_ref(), control);
                self.apply(rest, self.at).await?;
            }
        }
        if self.instance.spec.crosses_streams && !changes.is_empty() {
            self.is_out_of_order = true;
        }
        let home = changes.len();
        if home > 0 {
            let left = events.len() - home;
            tracing::info!(projection = %self.instance.spec.name, %stream, home, left, "events came home");
        }
        if home == events.len() {
            self.parked.remove(stream);
        } else {
            self.parked.insert(stream.clone(), None);
        }
        Ok(())
    }

    /// The changes of the events before the first that fails, and how that one does.
    async fn project_up_to_failure(
        &self,
        events: &[RecordedEvent],
    ) -> Result<(Vec<Vec<Change>>, Option<Failure>), Error> {
        let mut changes: Vec<Vec<Change>> = Vec::new();
        let mut size = events.len();
        while changes.len() < events.len() {
            let rest = &events[changes.len()..];
            let some = rest[..size.clamp(1, rest.len())].to_vec();
            let (some, outcomes) = self.project(some).await?;
            match outcomes {
                Err(_) if some.len() > 1 => size = some.len() / 2,
                Err(fault) => return Ok((changes, Some(Failure::fault(&fault)))),
                Ok(outcomes) => {
                    for outcome in outcomes {
                        match outcome {
                            Ok(more) => changes.push(more),
                            Err(cause) => return Ok((changes, Some(Failure::new(&cause)))),
                        }
                    }
                }
            }
        }
        Ok((changes, None))
    }

    /// Takes the first of these events off with their changes, and notes of the others how the first of them failed.
    fn home_batch(
        &self,
        letters: &[DeadLetter],
        events: &[RecordedEvent],
        changes: &[Vec<Change>],
        mut settled: Vec<Position>,
        failure: Option<&Failure>,
        control: &Control,
    ) -> Batch {
        let now = self.clock.now();
        let (home, left) = events.split_at(changes.len());
        settled.extend(home.iter().map(|event| event.position));
        let mut parked: Vec<DeadLetter> = Vec::new();
        let mut head: Option<Head> = None;
        let old: HashMap<Position, &DeadLetter> =
            letters.iter().map(|letter| (letter.position, letter)).collect();
        for event in left {
            let before = old.get(&event.position);
            let letter = match (&head, failure) {
                (None, Some(failure)) => {
                    let attempts = before.map_or(0, |letter| letter.attempts) + 1;
                    let failed_before = before.filter(|letter| letter.waits_for.is_none());
                    let first = failed_before.map_or(now, |letter| letter.first_failed_at);
                    failure.letter(event, attempts, first, now, &self.digest)
                }
                (Some(head), _) => waiting(event, head, now, &self.digest),
                (None, None) => break,
            };
            if head.is_none() {
                head = Some(Head { position: letter.position, fingerprint: letter.fingerprint.clone() });
            }
            parked.push(DeadLetter { edited: edited(control, event.position), ..letter });
        }
        let out_of_order = self.instance.spec.crosses_streams && !home.is_empty();
        Batch { changes: changes.concat(), parked, settled, out_of_order }
    }

    /// Takes events off one by one, and says how many the tables took.
    async fn home_one_by_one(
        &mut self,
        events: &[RecordedEvent],
        changes: &[Vec<Change>],
    ) -> Result<usize, Error> {
        for (done, (event, changes)) in events.iter().zip(changes).enumerate() {
            let out_of_order = self.instance.spec.crosses_streams;
            let settled = vec![event.position];
            let batch = Batch { changes: changes.clone(), settled, out_of_order, ..Batch::default() };
            match self.apply(batch, self.at).await {
                Ok(()) => {}
                Err(Refused::Rejected(_)) => return Ok(done),
                Err(Refused::Error(error)) => return Err(error),
            }
        }
        Ok(changes.len())
    }

    /// The events of these letters, as they stand in the log.
    async fn recorded(
        &self,
        stream: &StreamKey,
        letters: &[DeadLetter],
    ) -> Result<Vec<RecordedEvent>, cairn_store::Error> {
        let positions: HashSet<Position> = letters.iter().map(|letter| letter.position).collect();
        let mut events: Vec<RecordedEvent> = Vec::with_capacity(letters.len());
        let mut after = letters.first().map_or(0, |letter| letter.version.saturating_sub(1));
        while events.len() < letters.len() {
            let page = self.store.read_stream(stream, after, STREAM_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.version;
            events.extend(page.into_iter().filter(|event| positions.contains(&event.position)));
        }
        Ok(events)
    }
}

/// The data that an operator gave an event, for the dead letter to show.
fn edited(control: &Control, position: Position) -> Option<String> {
    match control.instead(position) {
        Some(Instead::Data(data)) => Some(data.to_string()),
        _ => None,
    }
}
