//! Responses: problems get their trace id, every request its line in the log.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cairn_model::{Clock, ids};
use serde::Serialize;

use crate::problem::{Code, Problem};

/// After how many seconds a client should try again what was not possible now.
const RETRY_AFTER_S: &str = "1";

/// The W3C trace id of a request: 32 hexadecimal digits.
#[derive(Clone, Debug)]
pub struct TraceId(pub String);

impl TraceId {
    /// The caller's, from `traceparent`; otherwise a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(|text| {
            let id = text.split('-').nth(1)?;
            let valid = id.len() == 32
                && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                && id.bytes().any(|b| b != b'0');
            valid.then(|| id.to_owned())
        });
        Self(given.unwrap_or_else(|| ids::new_id(Clock::System.now()).simple().to_string()))
    }
}

/// A page of a list: `{"items": […], "next": <cursor or null>}`.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last one.
    pub next: Option<String>,
}

/// JSON with a status.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => json_bytes(status, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Problem::new(Code::Internal, "the answer could not be written as JSON").into_response()
        }
    }
}

/// JSON that is written already.
pub fn json_bytes(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header whose value is a number.
pub fn number(value: u64) -> HeaderValue {
    HeaderValue::from(value)
}

/// The entity tag of a version: `"7"`.
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// A problem becomes a response in two steps: here it gets its status, in `finish` its body, which names the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code().status();
        if matches!(self.code(), Code::BodyTooLarge | Code::RequestTimeout) {
            // What is left of the body is not read, so nothing can follow it on this connection; a client must know that.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The outermost layer.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let trace = TraceId::of(request.headers());
    request.extensions_mut().insert(trace.clone());
    let line = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some((method, path)) = line {
        let status = response.status().as_u16();
        let code = problem.as_ref().map(|problem| problem.code().name());
        tracing::debug!(%method, path, status, code, trace_id = trace.0, "answered");
    }
    let Some(problem) = problem else { return response };
    if problem.code().status().is_server_error() {
        tracing::warn!(
            code = problem.code().name(),
            detail = problem.detail(),
            trace_id = trace.0,
            "a request failed"
        );
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match problem.code().status() {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    *response.body_mut() = Body::from(problem.body(&trace.0));
    response
}

/// For paths that do not exist.
pub async fn no_route(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is no path `{}`", uri.path()))
}

/// For paths that exist with other methods.
pub async fn no_method(method: Method, uri: Uri) -> Response {
    let detail = format!("`{}` does not take {method}", uri.path());
    let mut response = Problem::new(Code::MethodNotAllowed, detail).into_response();
    // The router replaces this by the methods that the path has.
    response.headers_mut().remove(ALLOW);
    response
}
