//! What the sequencer takes and what it answers: one command's events with everything that must hold for them.

use std::time::Duration;

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{Access, Lineage, Name, NewEvent, Position, Read, StreamKey, StreamRef, Version};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// One command, decided. It is appended whole or not at all, and only if everything it was based on is still so
/// in the log plus the commands of the same batch that were accepted before it.
///
/// Without events it is a check: is what this answer was based on the log's present?
#[derive(Clone, Debug)]
pub struct Append {
    /// The stream that was called.
    pub stream: StreamKey,
    /// The stream's version that the decision was made on; 0: it does not exist.
    pub expected: Version,
    /// What happened; none where the command changed nothing or was rejected.
    pub events: Vec<NewEvent>,
    /// JSON of `cairn_model::Metadata`, the same for each of the events.
    pub metadata: String,
    /// What else the decision read.
    pub reads: Vec<Read>,
    /// What the events do to the stream's claims.
    pub claims: ClaimChanges,
    /// The stream's access from now on, if the events changed it.
    pub access: Option<Access>,
    /// Set where the command was sent with a key under which its answer is kept.
    pub idempotency: Option<Idempotency>,
    /// Whether an append without events is a command that changed nothing (it is answered with
    /// [`Outcome::Committed`], and kept under its idempotency key if it has one) or a mere check of a rejection or a
    /// read (answered with [`Outcome::Current`], nothing kept).
    pub record_unchanged: bool,
    /// The answer, as far as it is known before the positions are.
    pub answer: Answer,
    /// Ties together what was decided on each other's uncommitted events.
    pub lineage: Lineage,
    /// Whether it was refused before. If it is stale again, its host gets the next turn at the stream that was too fast for
    /// it, and the other hosts wait; where there is only one host, it means nothing.
    pub insists: bool,
}

impl Append {
    /// Asks whether the stream has this version, and nothing else; what more is wanted is set beside it.
    pub fn check(stream: StreamKey, expected: Version) -> Self {
        Self {
            stream,
            expected,
            events: Vec::new(),
            metadata: String::new(),
            reads: Vec::new(),
            claims: ClaimChanges::default(),
            access: None,
            idempotency: None,
            record_unchanged: false,
            answer: Answer::empty(),
            lineage: Lineage::default(),
            insists: false,
        }
    }

    /// Asks for nothing but the answer that is kept under a key of this tenant: [`Outcome::Committed`] with it, or
    /// [`Outcome::Current`] where there is none. It rests on nothing, as it names a stream that nobody can have.
    pub fn kept_answer(tenant: Name, idempotency: Idempotency) -> Self {
        let nobody = StreamKey { tenant, aggregate: Name::from(""), id: Uuid::nil() };
        Self { idempotency: Some(idempotency), ..Self::check(nobody, 0) }
    }
}

/// The difference that a command makes to its stream's claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimChanges {
    /// Keys that it takes from now on.
    pub take: Vec<String>,
    /// Keys that it gives free.
    pub release: Vec<String>,
}

/// The key under which a command's answer is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is; keys of different principals never meet.
    pub principal: Uuid,
    /// The key, as the client sent it.
    pub key: String,
    /// SHA-256 over everything that the command asks for; another payload under the same key is refused.
    pub payload_hash: Hash,
    /// The command's id.
    pub command_id: Uuid,
}

/// The answer to a command: `{aggregate, id, version, position, events, result}`.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether the command made the aggregate.
    pub created: bool,
    /// The domain's part of the answer.
    pub result: Box<RawValue>,
}

impl Answer {
    /// An answer whose result is `null`.
    pub fn empty() -> Self {
        Self { created: false, result: RawValue::NULL.to_owned() }
    }
}

/// What became of an [`Append`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is in the log (or changed nothing and its answer was recorded), or it already was: then this is the answer
    /// of the first time.
    Committed(Committed),
    /// It had no events and nothing to record, and what it was based on holds.
    Current(Current),
    /// Something that it was based on has changed, or an append that it was decided behind was refused: decide again.
    Stale(Stale),
    /// A key that it takes is another stream's.
    Claimed {
        /// The key.
        claim: String,
        /// Who has it.
        holder: StreamRef,
    },
    /// The idempotency key was used with another payload.
    KeyReused,
    /// The queue to the sequencer is full; nothing was written.
    Overloaded,
    /// The store cannot write now; nothing was written.
    Unavailable(String),
    /// It cannot be known now whether it was written.
    Unknown(String),
}

/// A command that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The stream's id: that of the first time, where the answer is a repeated one.
    pub id: Uuid,
    /// The stream's version after it.
    pub version: Version,
    /// The position of its last event; without events the position of the stream's last event.
    pub position: Position,
    /// Whether it made the aggregate.
    pub created: bool,
    /// The answer's body, byte for byte what is kept under the idempotency key.
    pub body: Bytes,
    /// Whether this is the kept answer of an earlier time.
    pub replayed: bool,
}

/// The log's present, for an append without events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The log's last position.
    pub head: Position,
}

/// What was no longer so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The stream itself has another version.
    Version {
        /// The version in the log.
        actual: Version,
    },
    /// A read of the decision has another version.
    Read(StreamKey),
    /// An append of the same lineage was refused.
    Lineage,
    /// It is another host's turn to append to the stream. It says nothing about the decision, which was not looked at.
    Turn {
        /// After how long it is worth while to come again.
        wait: Duration,
    },
}

/// The body of an answer.
#[derive(Serialize)]
pub(crate) struct AnswerBody<'a> {
    pub aggregate: &'a Name,
    pub id: Uuid,
    pub version: Version,
    pub position: Position,
    pub events: Vec<AnswerEvent<'a>>,
    pub result: &'a RawValue,
}

#[derive(Serialize)]
pub(crate) struct AnswerEvent<'a> {
    #[serde(rename = "type")]
    pub event_type: &'a Name,
    pub version: Version,
    pub position: Position,
}
