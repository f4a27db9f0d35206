//! Which streams there are, where each one ends, and from where on the log has to be read for all of them: the relay's
//! bookkeeping, without Redis.
//!
//! Each stream is judged by its own end. A stream that ends where it should holds everything that belongs into it; one that
//! does not makes the relay read the log again from there, and only what is missing is sent.

use std::collections::HashMap;
use std::fmt;

use cairn_model::{Name, Position};

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    /// That of all events.
    All,
    /// That of the aggregates of a type.
    Of(Name),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("of all events"),
            Self::Of(aggregate) => write!(f, "of `{aggregate}`"),
        }
    }
}

/// What the relay knows about the streams. A stream that it does not know ends at 0.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    ends: HashMap<Stream, Position>,
    /// Every event up to here is in its streams, if it is not older than what they retain.
    pub cursor: Position,
}

impl Streams {
    /// Where a stream ends.
    pub fn end(&self, stream: &Stream) -> Position {
        self.ends.get(stream).copied().unwrap_or(0)
    }

    /// A stream ends here now.
    pub fn set(&mut self, stream: Stream, position: Position) {
        self.ends.insert(stream, position);
    }

    /// All that are known, that of all events first.
    pub fn known(&self) -> Vec<Stream> {
        let mut known: Vec<_> = self.ends.keys().cloned().collect();
        known.sort_unstable();
        known
    }

    /// How many streams are whole when the log was read up to `cursor` and these streams are known too: all of them, or, as long
    /// as one of them reaches further because another one is being filled again, none.
    pub fn whole<'a>(&self, cursor: Position, more: impl Iterator<Item = &'a Stream>) -> usize {
        if self.ends.values().any(|end| *end > cursor) {
            return 0;
        }
        self.ends.len() + more.filter(|stream| !self.ends.contains_key(*stream)).count()
    }

    /// A stream was found to end at `found`. What it lacks behind `floor`, the position up to which nothing needs to be
    /// retained, is read again. Says whether it has lost something.
    pub fn correct(&mut self, stream: &Stream, found: Position, floor: Position) -> bool {
        let expected = self.end(stream);
        self.set(stream.clone(), found);
        if found == expected || (found <= floor && expected <= floor) {
            return false;
        }
        self.cursor = self.cursor.min(found.min(expected).max(floor));
        found < expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams {
        let mut streams = Streams { cursor: 100, ..Streams::default() };
        streams.set(Stream::All, 100);
        streams.set(Stream::Of("file".into()), 90);
        streams.set(Stream::Of("folder".into()), 20);
        streams
    }

    #[test]
    fn a_stream_that_is_as_expected_changes_nothing() {
        let mut streams = streams();
        assert!(!streams.correct(&Stream::Of("file".into()), 90, 50));
        assert_eq!(streams.cursor, 100);
    }

    #[test]
    fn a_lost_stream_is_filled_from_the_floor() {
        let mut streams = streams();
        assert!(streams.correct(&Stream::Of("file".into()), 0, 50));
        assert_eq!((streams.cursor, streams.end(&Stream::Of("file".into()))), (50, 0));
    }

    #[test]
    fn a_stream_that_went_back_is_filled_from_where_it_ends() {
        let mut streams = streams();
        assert!(streams.correct(&Stream::All, 70, 50));
        assert_eq!(streams.cursor, 70);
    }

    #[test]
    fn what_need_not_be_retained_cannot_be_lost() {
        let mut streams = streams();
        assert!(!streams.correct(&Stream::Of("folder".into()), 0, 50));
        assert_eq!(streams.cursor, 100);
    }

    #[test]
    fn an_end_that_is_further_than_expected_is_no_loss() {
        let mut streams = streams();
        assert!(!streams.correct(&Stream::Of("file".into()), 95, 50));
        assert_eq!(streams.cursor, 90, "what came meanwhile is looked at again");
        assert!(!streams.correct(&Stream::Of("new".into()), 95, 50));
        assert_eq!(streams.cursor, 50);
    }
}
