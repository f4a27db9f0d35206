//! Queries: the guest says which statements it wants, the read model answers, the guest makes the answer of the rows.
//!
//! Answers are kept in the cache while the read model is up to date: then rows, access and so the answer are a function of the
//! log up to one event, of the caller, the parameters, the code and the time. All of them are in the key, the event by its hash.
//! So there is nothing to invalidate: with the next event of the log, a revoke among them, the key is another one. While the
//! read model is behind, its rows are of an earlier moment than access, and nothing is kept or taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_bus::{Cache, Validity};
use cairn_model::chain::Hash;
use cairn_model::row::Rows;
use cairn_model::{Clock, Name, Permissions, Position, Principal, Timestamp, ids};
use cairn_store::Session;
use cairn_wasm::{Component, GuestContext, QueryOutcome};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::command::verdict;
use crate::plugins::{self, Registry};
use crate::problem::{Code, Problem};
use crate::projection::{Projections, View};

/// How often a guest may ask for more rows in one query.
const ROUNDS: usize = 16;

/// The time that queries see goes on in steps of so many microseconds: within one an answer stays the same.
const TIME_STEP_US: i64 = 1_000_000;

/// A query as somebody asks it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub principal: Arc<Principal>,
    /// The query.
    pub query: String,
    /// The parameters, as they stand in the URL.
    pub params: Vec<(String, String)>,
    /// The position that the answer must contain, and how long to wait for it.
    pub min_position: Option<(Position, Duration)>,
}

/// The answer to a query.
#[derive(Debug)]
pub struct Answer {
    /// JSON.
    pub body: Box<RawValue>,
    /// The position up to which the rows contain the log.
    pub position: Position,
}

/// The read side's entrance.
#[derive(Clone)]
pub struct Queries {
    registry: Arc<Registry>,
    projections: Projections,
    clock: Clock,
    cache: Cache,
}

impl Queries {
    /// Queries of the present generation.
    pub fn new(registry: Arc<Registry>, projections: Projections, clock: Clock, cache: Cache) -> Self {
        Self { registry, projections, clock, cache }
    }

    /// Answers a query. All of its statements see the rows at one moment.
    ///
    /// # Errors
    /// `not-found` for an unknown query, `invalid-input` for its parameters, `projection-behind`, what the domain
    /// rejects, and problems of the guest and the store.
    pub async fn run(&self, request: Request) -> Result<Answer, Problem> {
        let generation = self.registry.current();
        let (_, query) = generation.query(&request.query).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("no active plugin has a query `{}`", request.query))
        })?;
        let name = &query.spec.projection;
        let View { mut session, plugin } = match request.min_position {
            Some((position, patience)) => {
                self.projections.view_from(name, &request.principal, position, patience).await?
            }
            None => self.projections.view(name, &request.principal).await?,
        };
        // Rows of former declarations are answered by the code that belongs to them.
        let query = plugin.query(&request.query).ok_or_else(|| {
            Problem::new(Code::ProjectionBehind, format!("the read model `{name}` is being built"))
        })?;
        let params = serde_json::Value::Object(plugins::parameters(&query.spec, request.params)?);
        query.params.check(&params)?;
        let position = session.position();
        let now = self.clock.now();
        let now = Timestamp::from_micros(now.micros() - now.micros().rem_euclid(TIME_STEP_US));
        let params = params.to_string();
        let key = match end_of_log(&mut session, position).await {
            Some(hash) => key(&Asked {
                log_end: hash.to_string(),
                digest: plugin.component.digest().to_string(),
                query: &query.spec.name,
                params: &params,
                principal: &request.principal,
                now,
            }),
            None => None,
        };
        if let Some(key) = &key
            && let Some(body) = self.cache.get(key, Validity::At(position)).await
            && let Some(body) = json(&body)
        {
            return Ok(Answer { body, position });
        }
        let params: Arc<[u8]> = params.into_bytes().into();
        let command_id = ids::new_id(now);
        let context = Arc::new(GuestContext {
            now,
            seed: ids::seed(command_id),
            principal: request.principal,
            on_behalf_of: None,
            permissions: Permissions::NONE,
            command_id,
            correlation_id: None,
            causation_id: None,
        });
        let body = ask(&plugin.component, &query.spec.name, &mut session, context, params).await?;
        if let Some(key) = &key {
            let kept = Bytes::copy_from_slice(body.get().as_bytes());
            self.cache.put(key, Validity::At(position), kept);
        }
        Ok(Answer { body, position })
    }
}

/// Asks the guest, and gives it the rows that it wants, until it answers.
async fn ask(
    component: &Arc<Component>,
    query: &Name,
    session: &mut Session,
    context: Arc<GuestContext>,
    params: Arc<[u8]>,
) -> Result<Box<RawValue>, Problem> {
    let mut answers: Vec<Rows> = Vec::new();
    for _ in 0..ROUNDS {
        let (component, name) = (component.clone(), query.clone());
        let (context, params) = (context.clone(), params.clone());
        let blocking = move || (component.query(&context, &name, &params, &answers), answers);
        let (outcome, back) = tokio::task::spawn_blocking(blocking)
            .await
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        answers = back;
        match outcome {
            Ok(QueryOutcome::Done(body)) => return Ok(body),
            Ok(QueryOutcome::Rejected(rejection)) => return Err(verdict::rejected(rejection)),
            Ok(QueryOutcome::Read(calls)) => {
                for call in &calls {
                    answers.push(session.read(call).await.map_err(read_failed)?);
                }
            }
            Err(fault) => {
                tracing::error!(query = %query, %fault, "the guest failed");
                return Err(verdict::fault(&fault));
            }
        }
    }
    Err(Problem::new(Code::PluginFault, format!("the query asked for rows more than {ROUNDS} times")))
}

/// Everything that an answer depends on.
#[derive(Serialize)]
struct Asked<'a> {
    log_end: String,
    digest: String,
    query: &'a str,
    params: &'a str,
    principal: &'a Principal,
    now: Timestamp,
}

/// The key of an answer.
fn key(asked: &Asked<'_>) -> Option<Vec<u8>> {
    let mut key = b"answer ".to_vec();
    serde_json::to_writer(&mut key, asked).ok()?;
    Some(key)
}

/// The hash of the log's last event, if it is the one that the session's rows are at.
async fn end_of_log(session: &mut Session, position: Position) -> Option<Hash> {
    match session.log_end().await {
        Ok(end) => end.filter(|(end, _)| *end == position).map(|(_, hash)| hash),
        Err(error) => {
            tracing::debug!(%error, "the end of the log could not be read; the answer is not cached");
            None
        }
    }
}

fn json(bytes: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(bytes).ok()
}

fn read_failed(error: cairn_store::ReadError) -> Problem {
    match error {
        cairn_store::ReadError::Store(error) => error.into(),
        error => {
            tracing::error!(%error, "a statement of a query failed");
            Problem::new(Code::PluginFault, "a statement of the query failed")
        }
    }
}
