//! `POST /v1/streams/{aggregate}/{id}/events`: raw appends, for integration and for histories from other stores.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use cairn_model::principal::{ADMIN_SCOPE, APPEND_SCOPE};

use super::Shared;
use super::aggregates::committed;
use super::request::{Caller, Path, id, idempotency_key, if_match, json_body};
use crate::command::RawAppend;
use crate::problem::{Code, Problem};

/// Appends events to one stream, all or none.
pub async fn append(
    State(services): State<Shared>,
    Path((aggregate, item)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !caller.principal.has_scope(APPEND_SCOPE) && !caller.principal.has_scope(ADMIN_SCOPE) {
        return Err(Problem::new(Code::Forbidden, format!("this needs the scope `{APPEND_SCOPE}`")));
    }
    let append = RawAppend {
        id: id(&item)?,
        body: json_body(&headers, body, &services.limits).await?,
        if_match: if_match(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
        principal: caller.principal,
        trace_id: caller.trace_id,
        aggregate: aggregate.clone(),
    };
    Ok(committed(&aggregate, services.commands.append(append).await?))
}
