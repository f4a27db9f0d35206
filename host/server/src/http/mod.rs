//! The API over HTTP: one file for each group of calls, in reading order; what they share is in `respond` and
//! `request`. Handlers translate and call one of the services; they decide nothing.

pub mod accept;
mod aggregates;
mod audit;
mod dead_letters;
mod export;
mod health;
mod import;
mod log;
mod plugins;
mod projections;
mod queries;
mod request;
mod respond;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use cairn_bus::Status;
use cairn_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth::Keys;
use crate::command::Commands;
use crate::plugins::Registry;
use crate::projection::Projections;
use crate::query::Queries;

/// The services that handlers translate for.
pub struct Services {
    /// The write path.
    pub commands: Commands,
    /// The read side.
    pub queries: Queries,
    /// The read side's engine.
    pub projections: Projections,
    /// What is loaded.
    pub registry: Arc<Registry>,
    /// The log.
    pub store: Store,
    /// How the relay to Redis stands, if there is a Redis and this host publishes.
    pub relay: Option<watch::Receiver<Option<Status>>>,
    /// Who may come in.
    pub keys: Keys,
    /// The data folder, where large bodies are put aside.
    pub data: PathBuf,
    /// Limits of requests.
    pub limits: Limits,
    /// Says that the host is about to stop: it is no longer ready.
    pub stopping: CancellationToken,
}

/// Limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// The most items of a page.
    pub page_items: u32,
    /// The longest that a query waits for its projection.
    pub wait: Duration,
}

type Shared = Arc<Services>;

/// All routes.
pub fn router(services: Services) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/docs/problems/{code}", get(health::problem))
        .route("/v1/aggregates/{aggregate}/{item}", get(aggregates::state).post(aggregates::create))
        .route("/v1/aggregates/{aggregate}/{id}/{part}", get(aggregates::part).post(aggregates::command))
        .route("/v1/streams/{aggregate}/{id}/events", post(streams::append))
        .route("/v1/queries/{query}", get(queries::run))
        .route("/v1/events", get(log::page))
        .route("/v1/plugins", get(plugins::list))
        .route("/v1/plugins/{name}", get(plugins::one))
        .route("/v1/projections", get(projections::list))
        .route("/v1/projections/{name}", get(projections::one))
        .route("/v1/projections/{name}/pause", post(projections::pause))
        .route("/v1/projections/{name}/resume", post(projections::resume))
        .route(
            "/v1/projections/{name}/rebuild",
            post(projections::rebuild).delete(projections::cancel_rebuild),
        )
        .route("/v1/projections/{name}/dead-letters", get(dead_letters::list))
        .route("/v1/projections/{name}/dead-letters/retry", post(dead_letters::retry_all))
        .route("/v1/projections/{name}/dead-letters/{position}/retry", post(dead_letters::retry))
        .route("/v1/projections/{name}/dead-letters/{position}/skip", post(dead_letters::skip))
        .route("/v1/audit/verify", get(audit::verify))
        .route("/v1/export", get(export::export))
        .route("/v1/import", post(import::import))
        .fallback(respond::no_route)
        .method_not_allowed_fallback(respond::no_method)
        .layer(middleware::from_fn(respond::finish))
        .with_state(Arc::new(services))
}
