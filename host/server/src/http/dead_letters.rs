//! `/v1/projections/{name}/dead-letters…`: events that a projection could not take, and what becomes of them.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cairn_model::stream::parse_id;
use cairn_model::{Position, StreamRef};
use serde::Deserialize;

use super::Shared;
use super::projections::decided;
use super::request::{Caller, Params, Path, json_body};
use super::respond::json;
use crate::problem::Problem;
use crate::projection::{LettersFilter, RetryWhat};

/// The longest reason.
const REASON_BYTES: usize = 2_000;

/// What a skip says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    reason: String,
}

/// The dead letters in pages, with the kinds of failures among all of them.
pub async fn list(
    State(services): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.administrator()?;
    let params = Params::read(query.as_deref(), &["after", "limit", "fingerprint", "stream"])?;
    let filter = LettersFilter {
        after: params.get("after", "a position", |text| text.parse().ok())?.unwrap_or(0),
        limit: params.limit(&services.limits)?,
        fingerprint: params.text("fingerprint").map(str::to_owned),
        stream: stream(&params)?,
    };
    Ok(json(StatusCode::OK, &services.projections.dead_letters(&name, filter).await?))
}

/// Tries the stream of a dead letter again; with a body the event has this data for the projection.
pub async fn retry(
    State(services): State<Shared>,
    Path((name, place)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let place = position(&place)?;
    let body = json_body(&headers, body, &services.limits).await?;
    let position = if body.is_empty() {
        services.projections.retry(&name, RetryWhat::Position(place), &author).await?
    } else {
        let data = std::str::from_utf8(&body).map_err(|_| Problem::invalid("", "the body is not UTF-8"))?;
        services.projections.edit(&name, place, data, &author).await?
    };
    Ok(decided(name, position))
}

/// Tries all dead letters again, or those of one stream.
pub async fn retry_all(
    State(services): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let params = Params::read(query.as_deref(), &["stream"])?;
    let what = stream(&params)?.map_or(RetryWhat::All, RetryWhat::Stream);
    let position = services.projections.retry(&name, what, &author).await?;
    Ok(decided(name, position))
}

/// Lets the projection go on without the event.
pub async fn skip(
    State(services): State<Shared>,
    Path((name, place)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let author = caller.administrator()?.author();
    let place = position(&place)?;
    let body = json_body(&headers, body, &services.limits).await?;
    let Skip { reason } = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid("", format!("the body must be {{\"reason\": …}}: {error}")))?;
    if reason.trim().is_empty() || reason.len() > REASON_BYTES {
        return Err(Problem::invalid("/reason", format!("must have 1 to {REASON_BYTES} bytes")));
    }
    let position = services.projections.skip(&name, place, &reason, &author).await?;
    Ok(decided(name, position))
}

fn position(text: &str) -> Result<Position, Problem> {
    text.parse()
        .ok()
        .filter(|position| *position > 0)
        .ok_or_else(|| Problem::invalid("position", format!("`{text}` is not a position")))
}

/// `stream=aggregate/id`.
fn stream(params: &Params) -> Result<Option<StreamRef>, Problem> {
    params.get("stream", "`aggregate/id`", |text| {
        let (aggregate, id) = text.split_once('/')?;
        Some(StreamRef { aggregate: aggregate.into(), id: parse_id(id)? })
    })
}
