//! `/v1/projections…`: how far the read models are, rest, and rebuilds.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cairn_model::Position;
use serde::Serialize;

use super::Shared;
use super::request::{Caller, Path};
use super::respond::{Page, json, number};
use crate::problem::Problem;

/// The answer to a decision: once the projection is at the position, it has been carried out.
#[derive(Serialize)]
struct Decided {
    projection: String,
    position: Position,
}

/// 202: the decision stands in the log, and whichever host runs the projection carries it out.
pub fn decided(projection: String, position: Position) -> Response {
    let mut response = json(StatusCode::ACCEPTED, &Decided { projection, position });
    response.headers_mut().insert("cairn-position", number(position));
    response
}

/// Every projection with its position and its lag.
pub async fn list(State(services): State<Shared>, _caller: Caller) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &Page { items: services.projections.list().await?, next: None }))
}

/// One projection.
pub async fn one(
    State(services): State<Shared>,
    Path(name): Path<String>,
    _caller: Caller,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &services.projections.status(&name).await?))
}

/// Lets a projection rest.
pub async fn pause(
    State(services): State<Shared>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let position = services.projections.pause(&name, &author).await?;
    Ok(decided(name, position))
}

/// Lets a projection go on.
pub async fn resume(
    State(services): State<Shared>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let position = services.projections.resume(&name, &author).await?;
    Ok(decided(name, position))
}

/// Has a read model built anew, beside the one that queries read.
pub async fn rebuild(
    State(services): State<Shared>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let position = services.projections.rebuild(&name, &author).await?;
    Ok(decided(name, position))
}

/// Gives up what is being built.
pub async fn cancel_rebuild(
    State(services): State<Shared>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let position = services.projections.cancel_rebuild(&name, &author).await?;
    Ok(decided(name, position))
}
