//! The hash chain over the log. Its format never changes: a verifier written today must read every log.
//!
//! `hash = SHA-256(previous ‖ frame(position) ‖ frame(tenant) ‖ frame(aggregate) ‖ frame(id) ‖ frame(version) ‖
//! frame(type) ‖ frame(schema_version) ‖ frame(metadata) ‖ frame(recorded_at) ‖ SHA-256(data))`
//!
//! `frame(x)` is the length of `x` in bytes as a big-endian 32-bit number, then `x`. Numbers are big-endian: `position`,
//! `version` 64 bits, `schema_version` 32 bits, `recorded_at` 64 bits, signed, in microseconds since the Unix epoch.
//! `id` is the UUID's 16 bytes; the rest is UTF-8. The first event's `previous` is 32 zero bytes. The data is hashed on
//! its own, so that it can be erased later and the chain still holds.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::event::RecordedEvent;
use crate::stream::{Position, StreamKey, Version};

/// A SHA-256 digest; in JSON 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first event.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What of an event is hashed, borrowed from wherever it is.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The event's position.
    pub position: Position,
    /// The event's stream.
    pub stream: &'a StreamKey,
    /// The event's version in the stream.
    pub version: Version,
    /// The event type.
    pub event_type: &'a str,
    /// The version of the data's schema.
    pub schema_version: u32,
    /// The metadata's text.
    pub metadata: &'a str,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// SHA-256 of the data's text.
    pub data_hash: Hash,
}

impl Link<'_> {
    /// The hash of the event that follows `previous`.
    pub fn hash(&self, previous: Hash) -> Hash {
        let mut digest = Sha256::new();
        digest.update(previous.0);
        frame(&mut digest, &self.position.to_be_bytes());
        frame(&mut digest, self.stream.tenant.as_bytes());
        frame(&mut digest, self.stream.aggregate.as_bytes());
        frame(&mut digest, self.stream.id.as_bytes());
        frame(&mut digest, &self.version.to_be_bytes());
        frame(&mut digest, self.event_type.as_bytes());
        frame(&mut digest, &self.schema_version.to_be_bytes());
        frame(&mut digest, self.metadata.as_bytes());
        frame(&mut digest, &self.recorded_at.micros().to_be_bytes());
        digest.update(self.data_hash.0);
        Hash(digest.finalize().into())
    }
}

/// Whether the event is what was appended after the event whose hash is `previous`.
pub fn verify(event: &RecordedEvent, previous: Hash) -> bool {
    let link = Link {
        position: event.position,
        stream: &event.stream,
        version: event.version,
        event_type: &event.event_type,
        schema_version: event.schema_version,
        metadata: &event.metadata,
        recorded_at: event.recorded_at,
        data_hash: Hash::of(event.data.as_bytes()),
    };
    link.hash(previous) == event.hash
}

fn frame(digest: &mut Sha256, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn link(stream: &StreamKey) -> Link<'_> {
        Link {
            position: 7,
            stream,
            version: 3,
            event_type: "FileRenamed",
            schema_version: 1,
            metadata: r#"{"actor":"x"}"#,
            recorded_at: Timestamp::from_micros(1_700_000_000_000_001),
            data_hash: Hash::of(br#"{"name":"a"}"#),
        }
    }

    /// The value was computed by an independent implementation of the module's formula (Python's hashlib).
    #[test]
    fn the_format_is_the_one_of_the_first_day() {
        let stream = StreamKey::new("default", "file", Uuid::from_u128(1));
        let hash = link(&stream).hash(Hash::ZERO).to_string();
        assert_eq!(hash, "5798fa8f453632364214f99427e64dc609bcc93df8a7164e9ffa42d9a144802f");
    }

    #[test]
    fn every_field_counts() {
        let stream = StreamKey::new("default", "file", Uuid::from_u128(1));
        let other = StreamKey::new("defaul", "tfile", Uuid::from_u128(1));
        let base = link(&stream);
        let variants = [
            Link { position: 8, ..base },
            Link { stream: &other, ..base },
            Link { version: 4, ..base },
            Link { event_type: "FileRename", ..base },
            Link { schema_version: 2, ..base },
            Link { metadata: "{}", ..base },
            Link { recorded_at: Timestamp::from_micros(0), ..base },
            Link { data_hash: Hash::ZERO, ..base },
        ];
        for variant in variants {
            assert_ne!(variant.hash(Hash::ZERO), base.hash(Hash::ZERO), "{variant:?}");
        }
        assert_ne!(base.hash(Hash::of(b"x")), base.hash(Hash::ZERO));
    }
}
