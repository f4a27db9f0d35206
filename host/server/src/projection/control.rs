//! What operators decided about a projection: a fold over its stream in the log, `cairn.projection/<id of its name>` in the
//! tenant `cairn`.
//!
//! The log hands a decision over to whichever host runs the projection, says who decided it, and keeps it for a read model
//! that is built anew. A decision about a dead letter is carried out where the projection meets it in the log; that an event
//! is skipped or taken with other data is known from the beginning, so a new read model does not stumble again.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_model::{Clock, Name, Position, RecordedEvent, StreamKey, StreamRef, Version, ids};
use cairn_store::Store;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::host_log::{self, Author};

/// The aggregate type of the host's streams about projections.
const AGGREGATE: &str = "cairn.projection";
/// How many events are read at once.
const PAGE: u32 = 1_000;

const PAUSED: &str = "ProjectionPaused";
const RESUMED: &str = "ProjectionResumed";
const REBUILD_REQUESTED: &str = "ProjectionRebuildRequested";
const REBUILD_CANCELLED: &str = "ProjectionRebuildCancelled";
const RETRIED: &str = "DeadLetterRetried";
const EDITED: &str = "DeadLetterEdited";
const SKIPPED: &str = "DeadLetterSkipped";

/// The stream of a projection.
pub(super) fn stream(projection: &str) -> StreamKey {
    StreamKey::new(host_log::TENANT, AGGREGATE, ids::derived_id(&["projection", projection]))
}

/// A rebuild that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rebuild {
    /// The projection.
    pub projection: Name,
    /// The instance that is built.
    pub build: u64,
    /// What its tables are made of.
    pub form: String,
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Cancelled {
    projection: Name,
    build: u64,
    form: String,
}

#[derive(Serialize)]
struct Named<'a> {
    projection: &'a str,
}

/// Which dead letters are to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Retry {
    /// Those of the stream of the event at this position.
    Position(Position),
    /// Those of this stream.
    Stream {
        /// The tenant.
        tenant: Name,
        /// The stream in it.
        stream: StreamRef,
    },
    /// All.
    All,
}

#[derive(Serialize, Deserialize)]
struct Retried {
    projection: Name,
    retry: Retry,
}

#[derive(Serialize, Deserialize)]
struct Edited {
    projection: Name,
    position: Position,
    data: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Skipped {
    projection: Name,
    position: Position,
    reason: String,
}

/// What somebody decides.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    Pause,
    Resume,
    Rebuild(Rebuild),
    Cancel(Rebuild),
    Retry(Retry),
    /// The event at the position has this data for the projection, JSON; its stream is tried again.
    Edit(Position, Box<RawValue>),
    /// The event at the position is nothing for the projection, for this reason.
    Skip(Position, String),
}

impl Decision {
    fn event(self, projection: &Name) -> Result<(&'static str, String), serde_json::Error> {
        let projection = projection.clone();
        Ok(match self {
            Self::Pause => (PAUSED, serde_json::to_string(&Named { projection: &projection })?),
            Self::Resume => (RESUMED, serde_json::to_string(&Named { projection: &projection })?),
            Self::Rebuild(rebuild) => (REBUILD_REQUESTED, serde_json::to_string(&rebuild)?),
            Self::Cancel(Rebuild { build, form, .. }) => {
                (REBUILD_CANCELLED, serde_json::to_string(&Cancelled { projection, build, form })?)
            }
            Self::Retry(retry) => (RETRIED, serde_json::to_string(&Retried { projection, retry })?),
            Self::Edit(position, data) => {
                (EDITED, serde_json::to_string(&Edited { projection, position, data })?)
            }
            Self::Skip(position, reason) => {
                (SKIPPED, serde_json::to_string(&Skipped { projection, position, reason })?)
            }
        })
    }
}

/// What becomes of an event that somebody decided about.
#[derive(Clone, Debug)]
pub(super) enum Instead {
    /// It is nothing for the projection.
    Nothing,
    /// It has this data.
    Data(Arc<str>),
}

/// All decisions so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    /// The version of the stream.
    pub version: Version,
    /// Whether the projection rests.
    pub paused: bool,
    /// The last rebuild that was asked for and not cancelled; it may be done.
    pub rebuild: Option<Rebuild>,
    /// What was being built when the last rebuild was cancelled, if none was asked for since.
    pub cancelled_form: Option<String>,
    /// Whether something was decided about dead letters since a rebuild was asked for or cancelled. Only then can one more
    /// rebuild put rows in order: what it finds in the log is otherwise what the last one found.
    pub is_decided_anew: bool,
    /// The highest number that a build had.
    last_build: u64,
    instead: HashMap<Position, Instead>,
}

impl Control {
    /// What becomes of the event at a position, if somebody has decided about it.
    pub fn instead(&self, position: Position) -> Option<&Instead> {
        self.instead.get(&position)
    }

    /// The rebuild that was asked for and is not done, where this instance is the active one and tables are made of `form`. One
    /// of another form was asked for by another release or for another database.
    pub fn pending(&self, active: u64, form: &str) -> Option<&Rebuild> {
        self.rebuild.as_ref().filter(|rebuild| rebuild.build != active && rebuild.form == form)
    }

    /// The instance that is the active one where nobody has noted which is: in a log that was restored.
    pub fn active_by_log(&self) -> u64 {
        self.rebuild.as_ref().map_or(0, |rebuild| rebuild.build)
    }

    /// The number of the next build, which nobody had before.
    pub fn next_build(&self, active: u64) -> u64 {
        self.last_build.max(active) + 1
    }

    /// Reads what was decided since. Answers whether there was something.
    pub async fn read_on(
        this: &mut Arc<Self>,
        store: &Store,
        stream: &StreamKey,
    ) -> Result<bool, cairn_store::Error> {
        let mut changed = false;
        loop {
            let events = store.read_stream(stream, this.version, PAGE).await?;
            if events.is_empty() {
                return Ok(changed);
            }
            changed = true;
            let control = Arc::make_mut(this);
            for event in &events {
                if let Err(error) = control.apply(event) {
                    // Only this host writes the stream, so another release did.
                    tracing::error!(position = event.position, %error, "a decision about a projection cannot be read");
                }
            }
        }
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), serde_json::Error> {
        self.version = event.version;
        match &*event.event_type {
            RETRIED | EDITED | SKIPPED => self.is_decided_anew = true,
            REBUILD_REQUESTED | REBUILD_CANCELLED => self.is_decided_anew = false,
            _ => {}
        }
        match &*event.event_type {
            PAUSED => self.paused = true,
            RESUMED => self.paused = false,
            REBUILD_REQUESTED => {
                let rebuild: Rebuild = read(event)?;
                self.last_build = self.last_build.max(rebuild.build);
                self.cancelled_form = None;
                self.rebuild = Some(rebuild);
            }
            REBUILD_CANCELLED => {
                let cancelled: Cancelled = read(event)?;
                if self.rebuild.as_ref().is_some_and(|rebuild| rebuild.build == cancelled.build) {
                    self.rebuild = None;
                    self.cancelled_form = Some(cancelled.form);
                }
            }
            EDITED => {
                let edited: Edited = read(event)?;
                self.instead.insert(edited.position, Instead::Data(edited.data.get().into()));
            }
            SKIPPED => {
                self.instead.insert(read::<Skipped>(event)?.position, Instead::Nothing);
            }
            _ => {}
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(event: &RecordedEvent) -> Result<T, serde_json::Error> {
    serde_json::from_str(&event.data)
}

/// What an event of the stream wants done with dead letters.
#[derive(Debug)]
pub(super) enum Wish {
    /// Try these again.
    Retry(Retry),
    /// Take the event at the position off, and try what waited for it.
    Skip(Position),
}

/// What an event of the projection's stream wants done with dead letters, if it does.
pub(super) fn wish(event: &RecordedEvent) -> Result<Option<Wish>, serde_json::Error> {
    Ok(match &*event.event_type {
        RETRIED => Some(Wish::Retry(read::<Retried>(event)?.retry)),
        EDITED => Some(Wish::Retry(Retry::Position(read::<Edited>(event)?.position))),
        SKIPPED => Some(Wish::Skip(read::<Skipped>(event)?.position)),
        _ => None,
    })
}

/// Writes a decision behind this version of the stream. Answers its position.
pub(super) async fn decide(
    store: &Store,
    clock: &Clock,
    author: &Author,
    projection: &Name,
    version: Version,
    decision: Decision,
) -> Result<Position, host_log::Error> {
    let (event_type, data) =
        decision.event(projection).map_err(|error| host_log::Error::NotWritten(error.to_string()))?;
    host_log::append(store, clock, author, stream(projection), version, event_type, data).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Timestamp;
    use cairn_model::chain::Hash;

    fn fold(decisions: Vec<Decision>) -> Control {
        let mut control = Control::default();
        for (index, decision) in decisions.into_iter().enumerate() {
            let (event_type, data) = decision.event(&"files".into()).expect("JSON");
            let event = RecordedEvent {
                position: 100 + index as u64,
                stream: stream("files"),
                version: 1 + index as u64,
                event_type: event_type.into(),
                schema_version: 1,
                data,
                metadata: "{}".to_owned(),
                recorded_at: Timestamp::from_micros(0),
                hash: Hash([0; 32]),
            };
            control.apply(&event).expect("an event of its own");
        }
        control
    }

    fn rebuild(build: u64) -> Rebuild {
        Rebuild { projection: "files".into(), build, form: format!("form {build}"), reason: "because".into() }
    }

    #[test]
    fn the_last_rebuild_counts_and_a_number_is_never_used_twice() {
        let control = fold(vec![Decision::Rebuild(rebuild(1)), Decision::Rebuild(rebuild(2))]);
        assert_eq!(control.rebuild, Some(rebuild(2)));
        let control = fold(vec![Decision::Rebuild(rebuild(1)), Decision::Cancel(rebuild(1))]);
        assert_eq!((control.rebuild.clone(), control.next_build(0)), (None, 2));
        assert_eq!(control.cancelled_form.as_deref(), Some("form 1"));
        assert_eq!(fold(vec![Decision::Rebuild(rebuild(3))]).next_build(7), 8);
    }

    #[test]
    fn what_was_decided_last_about_an_event_counts() {
        let data = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let control = fold(vec![
            Decision::Edit(7, data(r#"{"n":1}"#)),
            Decision::Edit(7, data(r#"{"n":1.50}"#)),
            Decision::Skip(8, "old".to_owned()),
            Decision::Pause,
        ]);
        assert!(matches!(control.instead(7), Some(Instead::Data(text)) if &**text == r#"{"n":1.50}"#));
        assert!(matches!(control.instead(8), Some(Instead::Nothing)));
        assert!(control.instead(9).is_none() && control.paused);
    }
}
