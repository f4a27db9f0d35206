//! An event as one line of JSON: how a log is exported and imported. The form is the API's; data and metadata stand in it
//! with the very bytes that were hashed, so a log that goes from one store to another keeps its hashes.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::chain::Hash;
use crate::clock::Timestamp;
use crate::event::RecordedEvent;
use crate::stream::{Name, Position, StreamKey, Version, parse_id};

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON object with the fields of an event.
    #[error("not an event: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has a form that no event has.
    #[error("`{0}` does not have the form that an event's has")]
    Field(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    position: Position,
    aggregate: Name,
    id: String,
    version: Version,
    #[serde(rename = "type")]
    event_type: Name,
    schema_version: u32,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    recorded_at: String,
    hash: String,
}

/// What is read of the metadata: the tenant is nowhere else in the line.
#[derive(Deserialize)]
struct Belonging {
    tenant: Name,
}

/// The event as a line, the line's end included.
///
/// # Errors
/// When data or metadata are not JSON, which only a damaged log can cause.
pub fn write(event: &RecordedEvent, to: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(&mut *to, event)?;
    to.push(b'\n');
    Ok(())
}

/// The event of a line. Whether it belongs behind another one is for [`crate::chain::verify`] to say.
///
/// # Errors
/// [`Error`], with the place.
pub fn read(line: &[u8]) -> Result<RecordedEvent, Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let Belonging { tenant } = serde_json::from_str(line.metadata.get())?;
    let time = Timestamp::parse(&line.recorded_at).filter(|time| time.to_string() == line.recorded_at);
    Ok(RecordedEvent {
        position: line.position,
        stream: StreamKey { tenant, aggregate: line.aggregate, id: id(&line.id)? },
        version: line.version,
        event_type: line.event_type,
        schema_version: line.schema_version,
        data: line.data.get().to_owned(),
        metadata: line.metadata.get().to_owned(),
        recorded_at: time.ok_or(Error::Field("recorded_at"))?,
        hash: Hash::parse(&line.hash).ok_or(Error::Field("hash"))?,
    })
}

fn id(text: &str) -> Result<Uuid, Error> {
    parse_id(text).ok_or(Error::Field("id"))
}

/// JSON without white space between its parts, everything else as it was: numbers keep their digits, texts their escapes.
/// Such a text has no line breaks.
pub fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        let kept = inside || !matches!(c, ' ' | '\t' | '\n' | '\r');
        match c {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && *c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> RecordedEvent {
        RecordedEvent {
            position: 7,
            stream: StreamKey::new("acme", "file", Uuid::from_u128(5)),
            version: 2,
            event_type: "FileRenamed".into(),
            schema_version: 1,
            data: r#"{"name":"a\"\\ b","size":1.50}"#.to_owned(),
            metadata: r#"{"tenant":"acme","x":1}"#.to_owned(),
            recorded_at: Timestamp::from_micros(1_700_000_000_000_001),
            hash: Hash([7; 32]),
        }
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let mut line = Vec::new();
        write(&event(), &mut line).expect("written");
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'));
        assert_eq!(read(&line).expect("read"), event());
    }

    #[test]
    fn what_no_event_has_is_refused() {
        let mut line = Vec::new();
        write(&event(), &mut line).expect("written");
        let line = String::from_utf8(line).expect("text");
        for (from, to) in [
            ("2023-11-14T22:13:20.000001Z", "2023-11-14T22:13:20Z"),
            ("00000000-0000-0000-0000-000000000005", "5"),
            ("0707", "zz07"),
            ("\"version\"", "\"revision\""),
        ] {
            assert!(line.contains(from), "{line}");
            assert!(read(line.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn only_white_space_between_parts_goes() {
        assert_eq!(compact("{ \"a b\" :\n[1.0, \"\\\" \\\\\" ,\t2e5] }"), r#"{"a b":[1.0,"\" \\",2e5]}"#);
    }
}
