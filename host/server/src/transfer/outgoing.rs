//! The log as lines, a page after the other, up to the end that it had when it began.

use cairn_model::{Position, RecordedEvent, line};
use cairn_store::{LogFilter, Store};

/// How many events are read at once.
const PAGE: u32 = 1_000;

/// Why the lines end early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// An event is missing.
    #[error("the log is damaged: there is no event at position {0}")]
    Gap(Position),
    /// An event's data or metadata are not JSON.
    #[error("the log is damaged at position {position}: {source}")]
    Event {
        /// Which event.
        position: Position,
        /// What is wrong.
        source: line::Error,
    },
    /// An event's data or metadata would not come out of a line as they went in.
    #[error(
        "the event at position {0} does not fit into a line: there is white space around its data or a line break in it"
    )]
    NoLine(Position),
}

/// Some lines.
#[derive(Debug)]
pub struct Page {
    /// The lines, each with its end.
    pub lines: Vec<u8>,
    /// How many they are.
    pub events: u64,
}

/// The lines that are still to come.
#[derive(Debug)]
pub struct Outgoing {
    store: Store,
    after: Position,
    head: Position,
}

impl Outgoing {
    /// The events behind `after` up to `head`.
    pub fn new(store: Store, after: Position, head: Position) -> Self {
        Self { store, after, head }
    }

    /// The next lines; none after the last one.
    ///
    /// # Errors
    /// When the log cannot be read, or is not whole.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let rest = self.head.saturating_sub(self.after);
        if rest == 0 {
            return Ok(None);
        }
        let limit = u32::try_from(rest).unwrap_or(PAGE).min(PAGE);
        let events =
            self.store.read_log(LogFilter { after: self.after, limit, ..LogFilter::default() }).await?;
        if events.is_empty() {
            return Err(Error::Gap(self.after + 1));
        }
        let mut page = Page { lines: Vec::new(), events: events.len() as u64 };
        for event in &events {
            self.write(event, &mut page.lines)?;
        }
        Ok(Some(page))
    }

    fn write(&mut self, event: &RecordedEvent, lines: &mut Vec<u8>) -> Result<(), Error> {
        let position = self.after + 1;
        if event.position != position {
            return Err(Error::Gap(position));
        }
        let start = lines.len();
        line::write(event, lines).map_err(|source| Error::Event { position, source })?;
        let breaks = lines[start..].iter().filter(|byte| **byte == b'\n').count();
        let is_bare = |text: &str| text.trim_ascii().len() == text.len();
        if breaks != 1 || !is_bare(&event.data) || !is_bare(&event.metadata) {
            return Err(Error::NoLine(position));
        }
        self.after = position;
        Ok(())
    }
}
