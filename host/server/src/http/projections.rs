//! `GET /v1/projections`: how far the read models are.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Shared;
use super::request::Caller;
use super::respond::{Page, json};
use crate::problem::Problem;

/// Every projection with its position and its lag.
pub async fn list(State(services): State<Shared>, _caller: Caller) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &Page { items: services.projections.list(), next: None }))
}
