//! `GET /v1/export`: the log as lines of JSON.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::Shared;
use super::request::{Caller, Params};
use super::respond::number;
use crate::problem::Problem;
use crate::transfer::Outgoing;

/// The media type of lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Every event behind `after`, up to the log's present end, which `Cairn-Position` names. A log that cannot be read to that end
/// breaks the answer off: whoever got all of it got its end too.
pub async fn export(
    State(services): State<Shared>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.administrator()?;
    let params = Params::read(query.as_deref(), &["after"])?;
    let after = params.get("after", "a position", |text| text.parse().ok())?.unwrap_or(0);
    let head = services.store.look().await?;
    let outgoing = Outgoing::new(services.store.clone(), after, head);
    let pages = stream::try_unfold(outgoing, |mut outgoing| async {
        match outgoing.next().await {
            Ok(page) => Ok(page.map(|page| (Bytes::from(page.lines), outgoing))),
            Err(error) => {
                tracing::error!(%error, "an export was broken off");
                Err(error)
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pages));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response.headers_mut().insert("cairn-position", number(head));
    Ok(response)
}
