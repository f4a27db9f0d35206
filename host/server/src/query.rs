//! Queries: the guest says which statements it wants, the read model answers, the guest makes the answer of the rows.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::row::Rows;
use cairn_model::{Clock, Permissions, Position, Principal, ids};
use cairn_wasm::{GuestContext, QueryOutcome};
use serde_json::value::RawValue;

use crate::command::verdict;
use crate::plugins::{self, Registry};
use crate::problem::{Code, Problem};
use crate::projection::{Projections, View};

/// How often a guest may ask for more rows in one query.
const ROUNDS: usize = 16;

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
}

impl Queries {
    /// Queries of the present generation.
    pub fn new(registry: Arc<Registry>, projections: Projections, clock: Clock) -> Self {
        Self { registry, projections, clock }
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
        let command_id = ids::new_id(now);
        let context = Arc::new(GuestContext {
            now,
            seed: ids::seed(command_id),
            principal: request.principal,
            on_behalf_of: None,
            permissions: Permissions::NONE,
            command_id: command_id.to_string(),
            correlation_id: command_id.to_string(),
            causation_id: None,
        });
        let params: Arc<[u8]> = params.to_string().into_bytes().into();
        let mut answers: Vec<Rows> = Vec::new();
        for _ in 0..ROUNDS {
            let (component, name) = (plugin.component.clone(), query.spec.name.clone());
            let (context, params) = (context.clone(), params.clone());
            let blocking = move || (component.query(&context, &name, &params, &answers), answers);
            let (outcome, back) = tokio::task::spawn_blocking(blocking)
                .await
                .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
            answers = back;
            match outcome {
                Ok(QueryOutcome::Done(body)) => return Ok(Answer { body, position }),
                Ok(QueryOutcome::Rejected(rejection)) => return Err(verdict::rejected(rejection)),
                Ok(QueryOutcome::Read(calls)) => {
                    for call in &calls {
                        answers.push(session.read(call).await.map_err(read_failed)?);
                    }
                }
                Err(fault) => {
                    tracing::error!(query = %query.spec.name, %fault, "the guest failed");
                    return Err(verdict::fault(&fault));
                }
            }
        }
        Err(Problem::new(Code::PluginFault, format!("the query asked for rows more than {ROUNDS} times")))
    }
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
