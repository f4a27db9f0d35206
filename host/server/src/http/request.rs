//! What handlers take out of requests: the caller, headers with a form of their own, bodies, parameters.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{self, FromRequestParts};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use cairn_model::stream::parse_id;
use cairn_model::{Position, Principal, Version};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::respond::TraceId;
use super::{Limits, Shared};
use crate::host_log::Author;
use crate::problem::{Code, Problem};

/// The longest idempotency key.
const KEY_BYTES: usize = 255;
/// How much of a body that is too large is read and thrown away, in limits.
const DISCARDED_LIMITS: usize = 16;
/// How long a query waits for its projection if it does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// Who calls, and in which trace.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The principal.
    pub principal: Arc<Principal>,
    /// The W3C trace id.
    pub trace_id: String,
}

impl Caller {
    /// Lets only administrators pass.
    pub fn administrator(self) -> Result<Self, Problem> {
        if self.principal.has_scope(cairn_model::principal::ADMIN_SCOPE) {
            Ok(self)
        } else {
            Err(Problem::new(Code::Forbidden, "this needs the scope `admin`"))
        }
    }
}

impl Caller {
    /// The caller as the author of what the host is told to do.
    pub fn author(&self) -> Author {
        Author { actor: self.principal.id, trace_id: Some(self.trace_id.clone()), generation: 0 }
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        let text = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = text
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or_else(|| {
                Problem::new(Code::Unauthenticated, "the header `Authorization: Bearer <key>` is missing")
            })?;
        let principal = services.keys.find(key).await?;
        let principal =
            principal.ok_or_else(|| Problem::new(Code::Unauthenticated, "the key is not valid"))?;
        let trace_id = parts.extensions.get::<TraceId>().map(|trace| trace.0.clone()).unwrap_or_default();
        Ok(Self { principal, trace_id })
    }
}

/// The variable parts of a path. What is no text in them, as `%ff`, is a problem like any other.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        let path = extract::Path::from_request_parts(parts, services).await;
        path.map(|extract::Path(parts)| Self(parts))
            .map_err(|rejection| Problem::invalid("", format!("the path: {}", rejection.body_text())))
    }
}

/// An aggregate's id from a path.
pub fn id(text: &str) -> Result<Uuid, Problem> {
    parse_id(text).ok_or_else(|| {
        Problem::invalid("id", format!("`{text}` is not an id: it must be a UUID in lowercase with hyphens"))
    })
}

/// A JSON body within the limits; an absent one is empty.
pub async fn json_body(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let bytes = tokio::time::timeout(limits.body_timeout, read_body(body, limits.body_bytes))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not arrive in time"))??;
    if !bytes.is_empty() && !has_media_type(headers, "application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body must have the content type application/json",
        ));
    }
    Ok(bytes)
}

/// Reads a body. Of one that is too large the rest is thrown away, up to a multiple of the limit: a connection that is
/// closed while the client still sends would take the answer with it.
async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Problem::invalid("", format!("the body did not arrive: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit_bytes {
            whole.extend_from_slice(&data);
        } else if length > limit_bytes.saturating_mul(DISCARDED_LIMITS) {
            break;
        }
    }
    if length > limit_bytes {
        return Err(Problem::new(Code::BodyTooLarge, format!("the body exceeds {limit_bytes} bytes")));
    }
    Ok(whole.freeze())
}

/// Whether the body is said to be of this media type, whatever its parameters.
pub fn has_media_type(headers: &HeaderMap, name: &str) -> bool {
    let Some(text) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(name)
}

/// The version that `If-Match` names: one strong entity tag, as `ETag` gave it.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Problem::invalid("If-Match", "must be one version in quotes, as the header ETag gave it")
        })
}

/// The key under which the answer is kept.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES);
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Problem::invalid("Idempotency-Key", format!("must be 1 to {KEY_BYTES} visible ASCII characters"))
    })
}

/// The position that an answer must contain, and how long to wait for it (`Prefer: wait=<seconds>`).
pub fn min_position(headers: &HeaderMap, limits: &Limits) -> Result<Option<(Position, Duration)>, Problem> {
    static MIN_POSITION: HeaderName = HeaderName::from_static("cairn-min-position");
    let Some(value) = headers.get(&MIN_POSITION) else { return Ok(None) };
    let position = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Problem::invalid("Cairn-Min-Position", "must be a position, a whole number"))?;
    let mut wait = WAIT_DEFAULT;
    for preference in headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()) {
        for part in preference.split(',') {
            // RFC 7240: a preference may have parameters, of which `wait` knows none.
            let (name, value) =
                part.split(';').next().and_then(|part| part.split_once('=')).unwrap_or((part, ""));
            if name.trim().eq_ignore_ascii_case("wait") {
                let seconds: u64 = value
                    .trim()
                    .trim_matches('"')
                    .parse()
                    .map_err(|_| Problem::invalid("Prefer", "wait must be a whole number of seconds"))?;
                wait = Duration::from_secs(seconds).min(limits.wait);
            }
        }
    }
    Ok(Some((position, wait)))
}

/// The pairs of a query string, in their order.
pub fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    query.map(|query| form_urlencoded::parse(query.as_bytes()).into_owned().collect()).unwrap_or_default()
}

/// The parameters of a call that is the host's own: each known, none twice.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// `invalid-input` for a name that the call does not know, or one that is given twice.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let pairs = pairs(query);
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::invalid(
                    name.clone(),
                    format!("is not a parameter of this call; it takes: {list}"),
                ));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(Problem::invalid(name.clone(), "is given more than once"));
            }
        }
        Ok(Self(pairs))
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, text)| text.as_str())
    }

    /// A parameter, read by `read`, which says what it must be.
    pub fn get<T>(
        &self,
        name: &str,
        must_be: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| {
                read(text).ok_or_else(|| Problem::invalid(name, format!("`{text}` is not {must_be}")))
            })
            .transpose()
    }

    /// `limit`: 1 to the host's limit; 100 if it is not given.
    pub fn limit(&self, limits: &Limits) -> Result<u32, Problem> {
        let most = limits.page_items;
        let read = |text: &str| text.parse().ok().filter(|limit| (1..=most).contains(limit));
        Ok(self.get("limit", &format!("a number from 1 to {most}"), read)?.unwrap_or(100.min(most)))
    }
}
