//! What operators can do with projections: rest them, build them anew, and decide about dead letters. Every decision is an
//! event in the log; the answer is its position, and once the projection has come there it has been carried out.

use cairn_model::{Name, Position, StreamRef, Timestamp};
use cairn_store::{DeadLetter, LetterFilter, LetterGroup, LogFilter};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::control::{self, Control, Decision, Rebuild, Retry};
use super::{Projections, Running};
use crate::host_log::{self, Author};
use crate::problem::{Code, Problem};

/// How often a decision is made again because somebody else has made one meanwhile.
const ATTEMPTS: usize = 20;

/// Which dead letters are wanted.
#[derive(Clone, Debug)]
pub struct LettersFilter {
    /// Only those behind this position.
    pub after: Position,
    /// At most so many.
    pub limit: u32,
    /// Only failures of this kind.
    pub fingerprint: Option<String>,
    /// Only those of this stream.
    pub stream: Option<StreamRef>,
}

/// Which dead letters are to be tried again.
#[derive(Clone, Debug)]
pub enum RetryWhat {
    /// Those of the stream of the event at this position.
    Position(Position),
    /// Those of this stream.
    Stream(StreamRef),
    /// All.
    All,
}

/// A page of dead letters, with the kinds of failures among all of them.
#[derive(Debug, Serialize)]
pub struct LettersPage {
    items: Vec<Letter>,
    next: Option<String>,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Letter {
    position: Position,
    tenant: Name,
    aggregate: Name,
    id: Uuid,
    version: u64,
    #[serde(rename = "type")]
    event_type: Name,
    cause: String,
    detail: Option<String>,
    attempts: u32,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    digest: String,
    fingerprint: String,
    waits_for: Option<Position>,
    edited: Option<Box<RawValue>>,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            position: letter.position,
            tenant: letter.stream.tenant,
            aggregate: letter.stream.aggregate,
            id: letter.stream.id,
            version: letter.version,
            event_type: letter.event_type,
            cause: letter.cause,
            detail: letter.detail,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            digest: letter.digest,
            fingerprint: letter.fingerprint,
            waits_for: letter.waits_for,
            edited: letter.edited.and_then(|data| RawValue::from_string(data).ok()),
        }
    }
}

#[derive(Debug, Serialize)]
struct Group {
    fingerprint: String,
    failed: u64,
    waiting: u64,
    cause: String,
    first: Position,
    last: Position,
}

impl From<LetterGroup> for Group {
    fn from(group: LetterGroup) -> Self {
        let LetterGroup { fingerprint, failed, waiting, cause, first, last } = group;
        Self { fingerprint, failed, waiting, cause, first, last }
    }
}

impl Projections {
    /// Lets a projection rest, a rebuild of it too. Nothing happens if it rests already.
    ///
    /// # Errors
    /// `not-found`; problems of the store.
    pub async fn pause(&self, name: &str, author: &Author) -> Result<Position, Problem> {
        let decide = |control: &Control| Ok((!control.paused).then_some(Decision::Pause));
        self.find(name)?.decide(author, decide).await
    }

    /// Lets a projection go on.
    ///
    /// # Errors
    /// `not-found`; problems of the store.
    pub async fn resume(&self, name: &str, author: &Author) -> Result<Position, Problem> {
        let decide = |control: &Control| Ok(control.paused.then_some(Decision::Resume));
        self.find(name)?.decide(author, decide).await
    }

    /// Has a new read model built beside the one that queries read.
    ///
    /// # Errors
    /// `not-found`; `conflict` while one is being built; problems of the store.
    pub async fn rebuild(&self, name: &str, author: &Author) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        let active = projection.active().await?;
        let decide = |control: &Control| {
            if control.pending(active, &projection.form).is_some() {
                return Err(Problem::new(Code::Conflict, format!("`{name}` is being rebuilt already")));
            }
            Ok(Some(Decision::Rebuild(Rebuild {
                projection: projection.name.clone(),
                build: control.next_build(active),
                form: projection.form.clone(),
                reason: "somebody asked for it".to_owned(),
            })))
        };
        projection.decide(author, decide).await
    }

    /// Gives up what is being built.
    ///
    /// # Errors
    /// `not-found`, also if nothing is being built; problems of the store.
    pub async fn cancel_rebuild(&self, name: &str, author: &Author) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        let active = projection.active().await?;
        let decide = |control: &Control| match control.pending(active, &projection.form) {
            Some(rebuild) => Ok(Some(Decision::Cancel(rebuild.clone()))),
            None => Err(Problem::new(Code::NotFound, format!("`{name}` is not being rebuilt"))),
        };
        projection.decide(author, decide).await
    }

    /// Events that are set aside.
    ///
    /// # Errors
    /// `not-found`; problems of the store.
    pub async fn dead_letters(&self, name: &str, filter: LettersFilter) -> Result<LettersPage, Problem> {
        let projection = self.find(name)?;
        let (aggregate, id) = filter.stream.map(|stream| (stream.aggregate, stream.id)).unzip();
        let LettersFilter { after, limit, fingerprint, .. } = filter;
        let wanted = LetterFilter { after, limit, fingerprint, aggregate, id, ..LetterFilter::default() };
        let model = &projection.readable()?.model;
        let letters = model.dead_letters(&wanted).await?;
        let is_full = u32::try_from(letters.len()).is_ok_and(|count| count == limit);
        let next = letters.last().filter(|_| is_full).map(|letter| letter.position.to_string());
        let groups = model.letter_groups().await?.into_iter().map(Group::from).collect();
        Ok(LettersPage { items: letters.into_iter().map(Letter::from).collect(), next, groups })
    }

    /// Tries dead letters again, each once.
    ///
    /// # Errors
    /// `not-found` where nothing is set aside; problems of the store.
    pub async fn retry(&self, name: &str, what: RetryWhat, author: &Author) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        let retry = match what {
            RetryWhat::All => Retry::All,
            RetryWhat::Position(position) => Retry::Position(projection.letter(position).await?.position),
            RetryWhat::Stream(stream) => {
                let of = LetterFilter {
                    aggregate: Some(stream.aggregate.clone()),
                    id: Some(stream.id),
                    limit: 1,
                    ..LetterFilter::default()
                };
                let letters = projection.readable()?.model.dead_letters(&of).await?;
                let letter = letters.into_iter().next().ok_or_else(|| {
                    Problem::new(Code::NotFound, format!("`{name}` has set nothing of {stream} aside"))
                })?;
                Retry::Stream { tenant: letter.stream.tenant, stream }
            }
        };
        projection.decide(author, |_| Ok(Some(Decision::Retry(retry.clone())))).await
    }

    /// Gives a dead letter other data for this projection, and tries its stream again. The log keeps the event as it is.
    ///
    /// # Errors
    /// `not-found`; `invalid-input` if the data does not match the event's schema; problems of the store.
    pub async fn edit(
        &self,
        name: &str,
        position: Position,
        data: &str,
        author: &Author,
    ) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        let letter = projection.letter(position).await?;
        let value: serde_json::Value = serde_json::from_str(data)
            .map_err(|error| Problem::invalid("", format!("the body is not JSON: {error}")))?;
        let here = LogFilter { after: position - 1, limit: 1, ..LogFilter::default() };
        let schema_version = projection.store.read_log(here).await?.first().map(|event| event.schema_version);
        if let Some((_, known)) = projection.plugin.event(&letter.stream.aggregate, &letter.event_type)
            && Some(known.schema_version) == schema_version
        {
            known.data.check(&value)?;
        }
        let data = RawValue::from_string(cairn_model::line::compact(data))
            .map_err(|error| Problem::invalid("", format!("the body is not JSON: {error}")))?;
        projection.decide(author, |_| Ok(Some(Decision::Edit(position, data.clone())))).await
    }

    /// Lets the projection go on without a dead letter.
    ///
    /// # Errors
    /// `not-found`; problems of the store.
    pub async fn skip(
        &self,
        name: &str,
        position: Position,
        reason: &str,
        author: &Author,
    ) -> Result<Position, Problem> {
        let projection = self.find(name)?;
        projection.letter(position).await?;
        projection.decide(author, |_| Ok(Some(Decision::Skip(position, reason.to_owned())))).await
    }
}

impl Running {
    async fn active(&self) -> Result<u64, Problem> {
        Ok(self.store.instances(&self.name).await?.map_or(0, |known| known.active))
    }

    fn readable(&self) -> Result<std::sync::Arc<super::Instance>, Problem> {
        self.serving.load_full().ok_or_else(|| {
            Problem::new(Code::ProjectionBehind, format!("the read model `{}` is being built", self.name))
        })
    }

    /// The dead letter at this position.
    async fn letter(&self, position: Position) -> Result<DeadLetter, Problem> {
        let here = LetterFilter { after: position.saturating_sub(1), limit: 1, ..LetterFilter::default() };
        let letters = self.readable()?.model.dead_letters(&here).await?;
        letters.into_iter().find(|letter| letter.position == position).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("`{}` has no dead letter at position {position}", self.name))
        })
    }

    /// Makes a decision on what was decided so far, and writes it to the log. `None` decides nothing.
    async fn decide(
        &self,
        author: &Author,
        decide: impl Fn(&Control) -> Result<Option<Decision>, Problem>,
    ) -> Result<Position, Problem> {
        for _ in 0..ATTEMPTS {
            let control = self.control().await?;
            let Some(decision) = decide(&control)? else { return Ok(self.store.head()) };
            let author = Author { generation: self.generation, ..author.clone() };
            match control::decide(&self.store, &self.clock, &author, &self.name, control.version, decision)
                .await
            {
                Ok(position) => {
                    // Whoever waits for decisions in this process hears of it now.
                    self.control().await?;
                    return Ok(position);
                }
                Err(host_log::Error::Stale) => {}
                Err(host_log::Error::Store(error)) => return Err(error.into()),
                Err(host_log::Error::Unknown(error)) => {
                    tracing::error!(projection = %self.name, error, "it is not known whether a decision was written");
                    let detail = "the log failed while the decision was written and cannot be asked now";
                    return Err(Problem::new(Code::OutcomeUnknown, detail));
                }
                Err(host_log::Error::NotWritten(error)) => {
                    tracing::error!(projection = %self.name, error, "a decision was not written");
                    return Err(Problem::new(Code::StoreUnavailable, "the log cannot be written now"));
                }
            }
        }
        Err(Problem::new(Code::Overloaded, "others decide about this projection at the same time"))
    }
}
