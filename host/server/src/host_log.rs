//! What the host itself writes to the log: streams of the tenant `cairn`, one for each thing that the host is told to do.
//! They are audited like everything else, and every host reads them.

use cairn_model::{Clock, Metadata, Name, NewEvent, Position, StreamKey, Version, ids};
use cairn_store::{Append, Outcome, Store};
use uuid::Uuid;

/// The tenant of the host's own streams.
pub const TENANT: &str = "cairn";

/// Who tells the host to do something.
#[derive(Clone, Debug)]
pub struct Author {
    /// The principal.
    pub actor: Uuid,
    /// The W3C trace id of the request, if there was one.
    pub trace_id: Option<String>,
    /// The activation of components that is present.
    pub generation: u64,
}

/// An event of the host was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has written to the stream meanwhile.
    #[error("somebody else has written to the stream meanwhile")]
    Stale,
    /// The store did not write it.
    #[error("{0}")]
    NotWritten(String),
    /// It cannot be known now whether it was written.
    #[error("it is not known whether it was written: {0}")]
    Unknown(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
}

/// Appends one event to a stream of the host that has to be at this version. Answers its position.
///
/// # Errors
/// See [`Error`].
pub async fn append(
    store: &Store,
    clock: &Clock,
    author: &Author,
    stream: StreamKey,
    expected: Version,
    event_type: &str,
    data: String,
) -> Result<Position, Error> {
    let now = clock.now();
    let command_id = ids::new_id(now);
    let tenant: Name = TENANT.into();
    let metadata = Metadata {
        actor: author.actor,
        on_behalf_of: None,
        tenant,
        command_id,
        correlation_id: command_id.to_string(),
        causation_id: None,
        causation_depth: 0,
        trace_id: author.trace_id.clone().unwrap_or_else(|| command_id.simple().to_string()),
        digest: String::new(),
        generation: author.generation,
        log_id: store.log_id(),
        occurred_at: now,
    };
    let append = Append {
        events: vec![NewEvent { event_type: event_type.into(), schema_version: 1, data }],
        metadata: serde_json::to_string(&metadata).map_err(|error| Error::NotWritten(error.to_string()))?,
        ..Append::check(stream, expected)
    };
    match store.append_and_wait(append).await {
        Outcome::Committed(committed) => Ok(committed.position),
        Outcome::Stale(_) => Err(Error::Stale),
        Outcome::Unknown(cause) => Err(Error::Unknown(cause)),
        other => Err(Error::NotWritten(format!("{other:?}"))),
    }
}
