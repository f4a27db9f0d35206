//! `/v1/aggregates…`: commands, state, history, access.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use cairn_model::{Access, Permissions, Principal, StreamKey, StreamRef, Timestamp, access};
use cairn_store::Committed;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::request::{Caller, Params, Path, id, idempotency_key, if_match, json_body};
use super::respond::{Page, etag, json, json_bytes, number};
use super::{Services, Shared};
use crate::command::{Cause, Moment, Request, StateView};
use crate::problem::{Code, Problem};

/// `POST /v1/aggregates/{aggregate}/{command}`: a creating command; the host makes the id.
pub async fn create(
    State(services): State<Shared>,
    Path((aggregate, command)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    handle(&services, caller, aggregate, None, command, &headers, body).await
}

/// `POST /v1/aggregates/{aggregate}/{id}/{command}`.
pub async fn command(
    State(services): State<Shared>,
    Path((aggregate, item, command)): Path<(String, String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = id(&item)?;
    handle(&services, caller, aggregate, Some(id), command, &headers, body).await
}

async fn handle(
    services: &Services,
    caller: Caller,
    aggregate: String,
    id: Option<Uuid>,
    command: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = Request {
        principal: caller.principal,
        id,
        command,
        payload: json_body(headers, body, &services.limits).await?,
        if_match: if_match(headers)?,
        idempotency_key: idempotency_key(headers)?,
        cause: Cause { trace_id: caller.trace_id, ..Cause::default() },
        aggregate: aggregate.clone(),
    };
    Ok(committed(&aggregate, services.commands.execute(request).await?))
}

/// The answer to what was appended, or found to change nothing.
pub(super) fn committed(aggregate: &str, committed: Committed) -> Response {
    let status = if committed.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json_bytes(status, committed.body);
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(committed.version));
    headers.insert("cairn-position", number(committed.position));
    if committed.created
        && let Ok(location) = HeaderValue::try_from(format!("/v1/aggregates/{aggregate}/{}", committed.id))
    {
        headers.insert(LOCATION, location);
    }
    response
}

#[derive(Serialize)]
struct StateBody<'a> {
    aggregate: &'a str,
    id: Uuid,
    version: u64,
    state: &'a RawValue,
    access: &'a Option<Access>,
}

/// `GET /v1/aggregates/{aggregate}/{id}`: the folded state, now or at `?version=` or `?at=`.
pub async fn state(
    State(services): State<Shared>,
    Path((aggregate, item)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    let id = id(&item)?;
    let params = Params::read(query.as_deref(), &["version", "at"])?;
    let version =
        params.get("version", "a version, 1 or more", |text| text.parse().ok().filter(|v| *v > 0))?;
    let at = params.get("at", "an RFC 3339 time", Timestamp::parse)?;
    let moment = match (version, at) {
        (Some(_), Some(_)) => return Err(Problem::invalid("at", "goes not together with `version`")),
        (Some(version), None) => Some(Moment::Version(version)),
        (None, Some(time)) => Some(Moment::At(time)),
        (None, None) => None,
    };
    let view = match moment {
        Some(moment) => services.commands.state_at(caller.principal, &aggregate, id, moment).await?,
        None => services.commands.state(caller.principal, &aggregate, id).await?,
    };
    let StateView { version, state, access } = view;
    let body = StateBody { aggregate: &aggregate, id, version, state: &state, access: &access };
    let mut response = json(StatusCode::OK, &body);
    response.headers_mut().insert(ETAG, etag(version));
    Ok(response)
}

/// `GET /v1/aggregates/{aggregate}/{id}/events` and `…/access`.
pub async fn part(
    State(services): State<Shared>,
    Path((aggregate, item, part)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Response, Problem> {
    let id = id(&item)?;
    match part.as_str() {
        "events" => history(&services, caller, &aggregate, id, query.as_deref()).await,
        "access" => who_may(&services, caller, &aggregate, id, query.as_deref()).await,
        other => Err(Problem::new(
            Code::NotFound,
            format!("an aggregate has no part `{other}`; commands take POST"),
        )),
    }
}

/// The events of one aggregate, for everyone who may read it.
async fn history(
    services: &Services,
    caller: Caller,
    aggregate: &str,
    id: Uuid,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let params = Params::read(query, &["after", "limit"])?;
    let after = params.get("after", "a version", |text| text.parse().ok())?.unwrap_or(0);
    let limit = params.limit(&services.limits)?;
    let tenant = caller.principal.tenant.clone();
    let present = services.commands.state(caller.principal, aggregate, id).await?.version;
    let stream = StreamKey::new(tenant, aggregate, id);
    let items = services.store.read_stream(&stream, after, limit).await?;
    let next = items.last().filter(|event| event.version < present).map(|event| event.version.to_string());
    Ok(json(StatusCode::OK, &Page { items, next }))
}

#[derive(Serialize)]
struct AccessBody {
    principal: Uuid,
    permissions: Permissions,
    grants: Vec<access::Grant>,
}

/// What a principal may do with the aggregate, and every grant that it comes from.
async fn who_may(
    services: &Services,
    caller: Caller,
    aggregate: &str,
    id: Uuid,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let params = Params::read(query, &["principal", "groups"])?;
    let other = params.get("principal", "a lowercase UUID", cairn_model::stream::parse_id)?;
    let groups =
        params.text("groups").map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default();
    let own = caller.principal.clone();
    services.commands.state(caller.principal, aggregate, id).await?;
    let principal = match other.filter(|other| *other != own.id) {
        Some(id) => Principal { id, tenant: own.tenant.clone(), groups, scopes: Vec::new() },
        None => (*own).clone(),
    };
    let stream = StreamKey::new(own.tenant.clone(), aggregate, id);
    let rows = services.store.access_chain(&stream).await?;
    let chain: Vec<(StreamRef, Access)> =
        rows.into_iter().map_while(|row| Some((row.stream, row.access?))).collect();
    let body = AccessBody {
        principal: principal.id,
        permissions: access::permissions(&principal, chain.iter().map(|(_, access)| access)),
        grants: access::explain(&principal, &chain),
    };
    Ok(json(StatusCode::OK, &body))
}
