//! `GET /v1/queries/{query}`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::Shared;
use super::request::{Caller, Path, min_position, pairs};
use super::respond::{json_bytes, number};
use crate::problem::Problem;
use crate::query::Request;

/// Answers a query; `Cairn-Position` says up to where the answer contains the log.
pub async fn run(
    State(services): State<Shared>,
    Path(query): Path<String>,
    RawQuery(params): RawQuery,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = Request {
        principal: caller.principal,
        query,
        params: pairs(params.as_deref()),
        min_position: min_position(&headers, &services.limits)?,
    };
    let answer = services.queries.run(request).await?;
    let body: Box<str> = answer.body.into();
    let mut response = json_bytes(StatusCode::OK, String::from(body));
    response.headers_mut().insert("cairn-position", number(answer.position));
    Ok(response)
}
