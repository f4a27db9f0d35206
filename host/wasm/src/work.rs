//! What passes between the host and the workers that hold aggregates: work in, decisions out.

use std::sync::Arc;

use bytes::Bytes;
use cairn_model::access::AccessRow;
use cairn_model::chain::Hash;
use cairn_model::{Access, Lineage, NewEvent, Permission, Principal, Read, StreamKey, Timestamp, Version};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::component::Component;
use crate::fault::Fault;

/// Something that a caller wants of one aggregate. `C` is whatever the host needs to answer the caller; the workers
/// carry it along and never look at it.
#[derive(Debug)]
pub struct Work<C> {
    /// The aggregate.
    pub stream: StreamKey,
    /// The code that decides.
    pub component: Arc<Component>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// What is asked.
    pub task: Task,
    /// How often it was decided before and refused by the log.
    pub attempts: u32,
    /// The caller.
    pub caller: C,
}

/// What is asked of an aggregate.
#[derive(Debug)]
pub enum Task {
    /// Handle a command.
    Command(CommandCall),
    /// Give the present state and access; needs `read`.
    State,
}

/// A command, its payload already checked against its schema.
#[derive(Clone, Debug)]
pub struct CommandCall {
    /// The command's name in paths.
    pub command: Arc<str>,
    /// JSON.
    pub payload: Bytes,
    /// The version that the caller wants to change (`If-Match`).
    pub if_match: Option<Version>,
    /// What the caller needs on the aggregate.
    pub permission: Option<Permission>,
    /// Whether the command makes the aggregate.
    pub creates: bool,
    /// The command's id.
    pub command_id: Uuid,
    /// See `cairn_model::Metadata`; `None` where it is the command's id.
    pub correlation_id: Option<String>,
    /// See `cairn_model::Metadata`.
    pub causation_id: Option<String>,
    /// See `cairn_model::Metadata`.
    pub on_behalf_of: Option<Uuid>,
    /// Events that were decided elsewhere. The guest is not asked, it only applies them; so its rules are not checked and
    /// the caller needs no permission on the aggregate.
    pub given: Option<Given>,
}

impl CommandCall {
    /// Whether it can succeed only where there is no aggregate yet.
    pub(crate) fn expects_nothing(&self) -> bool {
        self.creates || (self.given.is_some() && self.if_match == Some(0))
    }
}

/// Events that were decided elsewhere.
#[derive(Clone, Debug)]
pub struct Given {
    /// What happened; checked against their schemas.
    pub events: Arc<[NewEvent]>,
    /// When; now where it is not said. Time never runs backwards in a stream: an earlier one becomes that of the last event.
    pub occurred_at: Option<Timestamp>,
}

/// What the workers have to say about a piece of work. Everything except a fault rests on `basis` and must leave the
/// host only after the log confirmed that.
#[derive(Debug)]
pub struct Decided {
    /// The verdict.
    pub verdict: Verdict,
    /// What it was based on.
    pub basis: Basis,
}

/// What a verdict was based on.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The stream's version, uncommitted events of this lineage included.
    pub version: Version,
    /// What else was read.
    pub reads: Vec<Read>,
    /// What ties it to the decisions before it.
    pub lineage: Lineage,
}

/// The verdict on a piece of work.
#[derive(Debug)]
pub enum Verdict {
    /// The command is accepted; without events it changes nothing.
    Accepted(Accepted),
    /// The domain says no.
    Rejected(Rejection),
    /// The state that was asked for; `None` where there is no such aggregate.
    State {
        /// JSON.
        state: Option<Box<RawValue>>,
        /// Who may do what.
        access: Option<Access>,
    },
    /// `If-Match` names another version than the present one.
    VersionMismatch,
    /// The aggregate does not exist, or the caller may not know that it does.
    NotFound,
    /// The aggregate that a command would make exists.
    Exists,
    /// The caller may read the aggregate, but not do this.
    Forbidden(Permission),
    /// The guest failed. Nothing rests on anything: this leaves at once.
    Fault(Fault),
    /// A worker's mailbox is full, or it is stopping.
    Overloaded,
    /// What the guest needs could not be fetched from the store.
    Unavailable(String),
}

/// An accepted command.
#[derive(Debug)]
pub struct Accepted {
    /// What happened.
    pub events: Vec<NewEvent>,
    /// The domain's part of the answer.
    pub result: Box<RawValue>,
    /// The time that the decision saw.
    pub now: Timestamp,
    /// Claims that the aggregate holds from now on and did not before.
    pub claims_taken: Vec<String>,
    /// Claims that it no longer holds.
    pub claims_released: Vec<String>,
    /// The access from now on, if it changed.
    pub access: Option<Access>,
    /// Set when the events crossed the aggregate's snapshot interval: to be stored once they are committed.
    pub snapshot: Option<SnapshotDraft>,
}

/// A snapshot of a state that is not committed yet.
#[derive(Clone, Debug)]
pub struct SnapshotDraft {
    /// The version it is of.
    pub version: Version,
    /// The version of its form.
    pub state_version: u32,
    /// The guest's own form of the state.
    pub state: Bytes,
}

/// A well-behaved no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which kind of no.
    pub kind: RejectionKind,
    /// The domain's own code.
    pub code: String,
    /// For people.
    pub message: String,
    /// What of the input is wrong: JSON pointer and detail.
    pub errors: Vec<(String, String)>,
}

/// The kinds of rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// 400.
    Invalid,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 422.
    Rejected,
}

/// A stream as it once was in the log, kept by a worker: as good as a snapshot while the log still has that event.
#[derive(Clone, Debug)]
pub struct Base {
    /// The version.
    pub version: Version,
    /// The hash of the event with this version, which tells of everything before it too.
    pub hash: Hash,
    /// The guest's own form of the state.
    pub state: Bytes,
}

/// Something that a worker needs from the log. The host answers each with `Workers::fetched`.
#[derive(Clone, Debug)]
pub enum Fetch {
    /// The stream's base if the log has its last event, else the newest usable snapshot, which must not be newer than the
    /// stream, and the events after it. A creating command that was not refused before is decided without asking (its
    /// stream is taken to be empty): the log checks that it is.
    History {
        /// The stream.
        stream: StreamKey,
        /// The form of snapshots that the component reads.
        state_version: u32,
        /// The digest of the component, for which alone a snapshot is good.
        digest: Hash,
        /// Whether to give all events and no snapshot: the guest could not read the snapshot.
        whole: bool,
        /// What is known of the stream from before.
        base: Option<Base>,
    },
    /// The access rows from this stream upwards along `parent`, whether or not grants are inherited.
    AccessChain(StreamKey),
}

/// The answer to a [`Fetch`].
#[derive(Debug)]
pub enum Fetched {
    /// To `History`.
    History {
        /// Version and state, of the base or of a snapshot.
        snapshot: Option<(Version, Bytes)>,
        /// When the last event happened that the snapshot contains.
        snapshot_at: Option<Timestamp>,
        /// What came after it, whole.
        events: Vec<cairn_model::RecordedEvent>,
    },
    /// To `AccessChain`.
    AccessChain(Vec<AccessRow>),
    /// It could not be read; the work that waits for it is answered with [`Verdict::Unavailable`].
    Failed(String),
}

/// Where a fetched answer belongs; opaque to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) worker: usize,
    pub(crate) request: u64,
}

/// The host, as the workers see it. No method may block: they are called on the workers' threads.
pub trait Host: Send + Sync + 'static {
    /// What a piece of work carries along for its caller.
    type Caller: Send + 'static;

    /// Starts to read something; the answer goes to `Workers::fetched(ticket, …)`.
    fn fetch(self: &Arc<Self>, ticket: Ticket, fetch: Fetch);

    /// Takes a verdict. For one stream they come in the order in which they were decided, and the host must hand them
    /// to the log in that order.
    fn decided(self: &Arc<Self>, work: Work<Self::Caller>, decided: Decided);
}
