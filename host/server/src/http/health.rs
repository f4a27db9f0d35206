//! What needs no key: is the process alive, is it ready, what does a problem's code mean.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::request::Path;
use super::respond::json;
use crate::problem::{Code, Problem};

/// `GET /livez`: the process answers.
pub async fn live() -> Response {
    json(StatusCode::OK, &json!({"status": "alive"}))
}

/// `GET /readyz`: the log can be read and written, and the host is not about to stop. How the relay to Redis stands is said
/// too, but whether Redis is there makes no host unready: nothing but speed is lost with it.
pub async fn ready(State(services): State<Shared>) -> Result<Response, Problem> {
    if services.stopping.is_cancelled() {
        return Err(Problem::new(Code::Overloaded, "the host is stopping"));
    }
    if let Err(error) = services.store.check().await {
        tracing::warn!(%error, "not ready");
        return Err(Problem::new(Code::StoreUnavailable, error.to_string()));
    }
    if !*services.store.facts_intact().borrow() {
        return Err(Problem::new(Code::StoreUnavailable, "access and claims are being rebuilt from the log"));
    }
    let mut body = json!({"status": "ready", "position": services.store.head()});
    if let Some(relay) = &services.relay {
        let status = relay.borrow().clone();
        body["relay"] = status.map_or_else(|| json!({"elsewhere": true}), |status| json!(status));
    }
    Ok(json(StatusCode::OK, &body))
}

/// `GET /docs/problems/{code}`: cause and fix.
pub async fn problem(Path(name): Path<String>) -> Result<Response, Problem> {
    let code = Code::ALL
        .into_iter()
        .find(|code| code.name() == name)
        .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no problem code `{name}`")))?;
    let text = format!("{} ({})\n{}\n\n{}\n", code.name(), code.status(), code.title(), code.help());
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
