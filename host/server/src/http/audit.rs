//! `GET /v1/audit/verify`: is the log what was written?

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use super::request::Caller;
use super::respond::json;
use crate::problem::Problem;

/// Walks the hash chain: `{valid, checked, first_invalid_position}`.
pub async fn verify(State(services): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    caller.administrator()?;
    Ok(json(StatusCode::OK, &services.store.verify(0).await?))
}
