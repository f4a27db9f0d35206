//! Lines that become a log, or continue one. This is blocking work and wants a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Seek, Write};
use std::path::Path;

use cairn_model::chain::{self, Hash};
use cairn_model::{Position, RecordedEvent, Timestamp, line};
use cairn_store::{ImportError, Imported, LogFilter, Store};
use tokio::runtime::Handle;

use super::lines::{self, LIMIT_BYTES, Lines};

/// How many events are imported in one transaction.
const BATCH: usize = 1_000;
/// How many bytes of lines are imported in one transaction, at about.
const BATCH_BYTES: usize = 8 << 20;

/// Why lines are not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A line is no event, or not the one that has to come there.
    #[error("line {line}: {reason}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line is too long.
    #[error("line {line} is longer than {LIMIT_BYTES} bytes")]
    TooLong {
        /// Which, from 1.
        line: u64,
    },
    /// The log that is here is another one.
    #[error("this is another log: at position {position} it differs from the one that is here")]
    Differs {
        /// The first position at which it is seen.
        position: Position,
    },
    /// The lines cannot be read to their end.
    #[error("the lines end early: {0}")]
    Read(#[source] io::Error),
    /// The lines cannot be put aside until all of them are checked.
    #[error("the lines cannot be put aside: {0}")]
    PutAside(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// Something came up after the import had begun.
    #[error("{source}; {imported} events before it were imported, and the import can go on where it stopped")]
    Partly {
        /// How many events are there for good.
        imported: u64,
        /// What came up.
        source: Box<Refusal>,
    },
}

/// Checks every line: each is an event, and follows the one before it; the first one follows what is in the log. Nothing is
/// imported. `take` gets each good line without its end. Answers how many there are.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    store: &Store,
    runtime: &Handle,
    from: impl BufRead,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<u64, Refusal> {
    let mut end: Option<End> = None;
    each(from, |number, line| {
        let event = read(number, line)?;
        let known = match end {
            Some(end) => end,
            None => runtime.block_on(End::before(store, number, event.position))?,
        };
        end = Some(known.followed_by(&event).map_err(|reason| match end {
            // The line may be good, but it does not belong here.
            None if event.position > 1 => Refusal::Differs { position: event.position },
            _ => Refusal::Line { line: number, reason },
        })?);
        take(line).map_err(Refusal::PutAside)
    })
}

/// Checks every line and puts them aside, into a file in this folder that has no name: it goes with the process, however that
/// ends. Answers the file, from its beginning, and how many lines are in it.
///
/// # Errors
/// The first thing that is wrong.
pub fn put_aside(
    store: &Store,
    runtime: &Handle,
    from: impl BufRead,
    folder: &Path,
) -> Result<(File, u64), Refusal> {
    let mut aside = BufWriter::new(tempfile::tempfile_in(folder).map_err(Refusal::PutAside)?);
    let count = check(store, runtime, from, |line| {
        aside.write_all(line)?;
        aside.write_all(b"\n")
    })?;
    let mut aside = aside.into_inner().map_err(|error| Refusal::PutAside(error.into_error()))?;
    aside.rewind().map_err(Refusal::PutAside)?;
    Ok((aside, count))
}

/// Imports every line, which were checked before, a batch after the other. `progress` is told of each batch what has been done
/// up to it.
///
/// # Errors
/// [`Refusal::Partly`] if some of it was imported already, otherwise what kept it from beginning.
pub fn bring_in(
    store: &Store,
    runtime: &Handle,
    from: impl BufRead,
    mut progress: impl FnMut(&Imported),
) -> Result<Imported, Refusal> {
    let mut done = Imported { imported: 0, skipped: 0, head: store.head() };
    let mut batch = Batch::default();
    let mut import = |batch: &mut Batch, done: &mut Imported| {
        let batch = std::mem::take(batch);
        let brought = runtime.block_on(store.import(batch.events)).map_err(|error| match error {
            ImportError::Differs { position } => Refusal::Differs { position },
            ImportError::Invalid { position, reason } => {
                // Positions follow each other, and so do lines.
                let line = batch.first_line + position.saturating_sub(batch.first_position);
                Refusal::Line { line, reason: format!("the event {reason}") }
            }
            ImportError::Store(error) => Refusal::Store(error),
        })?;
        *done = Imported {
            imported: done.imported + brought.imported,
            skipped: done.skipped + brought.skipped,
            head: brought.head,
        };
        progress(done);
        Ok(())
    };
    let brought = each(from, |number, line| {
        batch.push(number, read(number, line)?, line.len());
        if batch.is_full() { import(&mut batch, &mut done) } else { Ok(()) }
    });
    match brought.and_then(|_| if batch.events.is_empty() { Ok(()) } else { import(&mut batch, &mut done) }) {
        Ok(()) => Ok(done),
        Err(source) if done.imported > 0 => {
            Err(Refusal::Partly { imported: done.imported, source: Box::new(source) })
        }
        Err(error) => Err(error),
    }
}

/// Does something with each line, which is told its number. Answers how many there are.
fn each(from: impl BufRead, mut with: impl FnMut(u64, &[u8]) -> Result<(), Refusal>) -> Result<u64, Refusal> {
    let mut lines = Lines::new(from);
    let mut count = 0;
    loop {
        let number = count + 1;
        match lines.next() {
            Ok(Some(line)) => with(number, line)?,
            Ok(None) => return Ok(count),
            Err(lines::Error::TooLong) => return Err(Refusal::TooLong { line: number }),
            Err(lines::Error::Read(error)) => return Err(Refusal::Read(error)),
        }
        count = number;
    }
}

fn read(number: u64, line: &[u8]) -> Result<RecordedEvent, Refusal> {
    line::read(line).map_err(|error| Refusal::Line { line: number, reason: error.to_string() })
}

/// The end of the lines so far.
#[derive(Clone, Copy, Debug)]
struct End {
    position: Position,
    hash: Hash,
    recorded_at: Timestamp,
}

impl End {
    /// What is in the log before an event with this position, which the line with this number has.
    async fn before(store: &Store, line: u64, position: Position) -> Result<Self, Refusal> {
        let Some(before) = position.checked_sub(1) else {
            return Err(Refusal::Line {
                line,
                reason: "it has the position 0, which no event has".to_owned(),
            });
        };
        let Some(after) = before.checked_sub(1) else {
            return Ok(Self { position: 0, hash: Hash::ZERO, recorded_at: Timestamp::from_micros(i64::MIN) });
        };
        let head = store.look().await?;
        let page = store.read_log(LogFilter { after, limit: 1, ..LogFilter::default() }).await?;
        match page.first() {
            Some(event) if event.position == before => Ok(Self::of(event)),
            _ => {
                let reason = format!("it has the position {position}, but the log here ends at {head}");
                Err(Refusal::Line { line, reason })
            }
        }
    }

    fn of(event: &RecordedEvent) -> Self {
        Self { position: event.position, hash: event.hash, recorded_at: event.recorded_at }
    }

    /// The end with one event more, or what keeps it from following.
    fn followed_by(self, event: &RecordedEvent) -> Result<Self, String> {
        if event.position.checked_sub(1) != Some(self.position) {
            return Err(format!(
                "it has the position {}, which does not follow {}",
                event.position, self.position
            ));
        }
        if !chain::verify(event, self.hash) {
            return Err("its hash does not follow from what it says and from the line before it".to_owned());
        }
        if event.recorded_at < self.recorded_at {
            return Err("it was recorded before the line before it".to_owned());
        }
        Ok(Self::of(event))
    }
}

/// Events that are imported together.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<RecordedEvent>,
    bytes: usize,
    first_line: u64,
    first_position: Position,
}

impl Batch {
    fn push(&mut self, line: u64, event: RecordedEvent, bytes: usize) {
        if self.events.is_empty() {
            (self.first_line, self.first_position) = (line, event.position);
        }
        self.bytes += bytes;
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}
