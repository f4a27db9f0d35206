//! `GET /v1/events`: the log, in pages.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use cairn_model::Position;
use cairn_store::LogFilter;
use uuid::Uuid;

use super::Shared;
use super::request::{Caller, Params};
use super::respond::{Page, json};
use crate::problem::Problem;

/// The events after a position that match the filters, in order. A page that is not empty has a cursor to the next
/// one, which is good for this log only; so a reader at the end asks again with the cursor it has.
pub async fn page(
    State(services): State<Shared>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.administrator()?;
    let params = Params::read(query.as_deref(), &["after", "limit", "aggregate", "id", "type"])?;
    let limit = params.limit(&services.limits)?;
    let log_id = services.store.log_id();
    let after =
        params.get("after", "a position or a cursor of this log", |text| read_cursor(text, log_id))?;
    let filter = LogFilter {
        after: after.unwrap_or(0),
        limit,
        aggregate: params.text("aggregate").map(Into::into),
        id: params.get("id", "a lowercase UUID", cairn_model::stream::parse_id)?,
        event_types: params
            .text("type")
            .map(|list| list.split(',').map(Into::into).collect())
            .unwrap_or_default(),
        ..LogFilter::default()
    };
    let items = services.store.read_log(filter).await?;
    // A page may end early, so only an empty one is the last.
    let next = items.last().map(|event| format!("{}@{log_id}", event.position));
    Ok(json(StatusCode::OK, &Page { items, next }))
}

/// A position, or `<position>@<log id>`, which a restored backup or another log refuses.
fn read_cursor(text: &str, log_id: Uuid) -> Option<Position> {
    match text.split_once('@') {
        Some((position, log)) if log == log_id.to_string() => position.parse().ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}
