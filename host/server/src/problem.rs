//! Everything that can go wrong for a caller, with its stable code, as RFC 9457 `application/problem+json`.
//!
//! A problem is a value that the inner layers return; it becomes a response only in `http`, which adds the trace id.
//! What goes beyond the public message was logged where it was handled.

use axum::http::{StatusCode, Uri};
use cairn_model::StreamRef;
use problem_details::ProblemDetails;
use serde::Serialize;

/// The stable codes. Each has its section in [`Code::help`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 400: the request's form is wrong.
    InvalidInput,
    /// 401: no key, or one that is not valid.
    Unauthenticated,
    /// 403: the caller may read the thing, but not do this.
    Forbidden,
    /// 404: there is no such thing, or none that the caller may know of.
    NotFound,
    /// 405: the path exists, but not with this method.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 409: another thing is in the way.
    Conflict,
    /// 412: `If-Match` names another version.
    VersionMismatch,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the body has another content type than the call takes.
    UnsupportedMediaType,
    /// 422: a rule of the domain forbids it.
    Rejected,
    /// 422: the idempotency key was used with another payload.
    IdempotencyKeyReused,
    /// 422: the component cannot be used.
    PluginInvalid,
    /// 500: the guest failed; nothing was written.
    PluginFault,
    /// 500: the host failed.
    Internal,
    /// 503: too much is under way.
    Overloaded,
    /// 503: the store cannot be reached or cannot write.
    StoreUnavailable,
    /// 503: it cannot be known now whether the command was written.
    OutcomeUnknown,
    /// 503: the read model is not yet where the caller wants it.
    ProjectionBehind,
}

impl Code {
    /// All codes, in the order of their status.
    pub const ALL: [Self; 19] = [
        Self::InvalidInput,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::VersionMismatch,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Rejected,
        Self::IdempotencyKeyReused,
        Self::PluginInvalid,
        Self::PluginFault,
        Self::Internal,
        Self::Overloaded,
        Self::StoreUnavailable,
        Self::OutcomeUnknown,
        Self::ProjectionBehind,
    ];

    /// The code as clients see it.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The same short sentence for every problem of this code.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Cause and fix, for people.
    pub const fn help(self) -> &'static str {
        self.row().3
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidInput => (
                "invalid-input",
                StatusCode::BAD_REQUEST,
                "The request is not well-formed",
                "Some part of the request breaks a rule of its form. `errors` names each part with a JSON pointer \
                 into the body, or with the parameter's name. Mend it and send the request again.",
            ),
            Self::Unauthenticated => (
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "No valid key",
                "Send `Authorization: Bearer <key>`. The administrator's key is in `admin.key` in the data folder.",
            ),
            Self::Forbidden => (
                "forbidden",
                StatusCode::FORBIDDEN,
                "Not allowed",
                "You may see this, but not do it. Somebody with `share` on it can grant what `detail` names.",
            ),
            Self::NotFound => (
                "not-found",
                StatusCode::NOT_FOUND,
                "Not found",
                "There is no such thing, or you may not know of it. Check the path's aggregate, id and command.",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "The path exists, but not with this method. The header `Allow` lists those that it has.",
            ),
            Self::RequestTimeout => (
                "request-timeout",
                StatusCode::REQUEST_TIMEOUT,
                "The request took too long",
                "The body did not arrive, or the answer was not ready, within the configured time. What a command \
                 did is known under its idempotency key: send it again with the same one.",
            ),
            Self::Conflict => (
                "conflict",
                StatusCode::CONFLICT,
                "In conflict with another thing",
                "The aggregate exists already, or another one holds a key (a name, say) that must be unique. \
                 `holder` names it, if you may know of it.",
            ),
            Self::VersionMismatch => (
                "version-mismatch",
                StatusCode::PRECONDITION_FAILED,
                "Changed in the meantime",
                "`If-Match` names another version than the present one, which `current_version` gives. Read the \
                 aggregate again and decide anew.",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
                "The body, or a line of an import, exceeds a limit of the host's configuration; `detail` names it. Commands and \
                 raw appends are bounded by `limits.body_bytes`.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Another content type is needed",
                "Send payloads as `Content-Type: application/json`, imports as `application/x-ndjson`; `detail` says which.",
            ),
            Self::Rejected => (
                "rejected",
                StatusCode::UNPROCESSABLE_ENTITY,
                "A rule of the domain forbids it",
                "The command was understood and is not possible in the present state. `domain_code` is the domain's \
                 own name of the rule.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
                "A key stands for one command with one payload. Use a new key for a new command.",
            ),
            Self::PluginInvalid => (
                "plugin-invalid",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The component cannot be used",
                "The component breaks the contract in wit/. `detail` says where.",
            ),
            Self::PluginFault => (
                "plugin-fault",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The plugin failed",
                "The component trapped, ran past its deadline, used too much memory or broke the contract. Nothing \
                 was written; other aggregates are not affected. The host's log has the backtrace under the trace id.",
            ),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The host failed",
                "A defect of the host. Its log has the cause under the trace id.",
            ),
            Self::Overloaded => (
                "overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "Too much is under way",
                "A queue of the host is full. Nothing was written. Wait as `Retry-After` says and send it again.",
            ),
            Self::StoreUnavailable => (
                "store-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is not available",
                "The log cannot be read or written now (disk full, connection lost). Nothing was written; the host \
                 goes on by itself when the store is back.",
            ),
            Self::OutcomeUnknown => (
                "outcome-unknown",
                StatusCode::SERVICE_UNAVAILABLE,
                "It is not known whether the command took effect",
                "The store failed during the commit and cannot be asked now. Send the command again with the same \
                 `Idempotency-Key`: it takes effect once.",
            ),
            Self::ProjectionBehind => (
                "projection-behind",
                StatusCode::SERVICE_UNAVAILABLE,
                "The read model is behind",
                "The read model did not reach `Cairn-Min-Position` in the time given by `Prefer: wait=<seconds>`.",
            ),
        }
    }
}

/// A part of the input that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer into the body; for what is not in the body the name of the parameter or header.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What a caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    code: Code,
    detail: String,
    extensions: Extensions,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Extensions {
    code: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<StreamRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u64>,
}

impl Problem {
    /// A problem of this code; `detail` is for the caller's eyes.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let extensions = Extensions { code: code.name(), ..Extensions::default() };
        Self(Box::new(Inner { code, detail: detail.into(), extensions }))
    }

    /// `invalid-input` with one wrong part.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(Code::InvalidInput, detail.clone()).with_error(pointer, detail)
    }

    /// Adds a part of the input that is wrong.
    #[must_use]
    pub fn with_error(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.extensions.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Adds the domain's own code.
    #[must_use]
    pub fn with_domain_code(mut self, code: impl Into<String>) -> Self {
        self.0.extensions.domain_code = Some(code.into());
        self
    }

    /// Names the aggregate that is in the way.
    #[must_use]
    pub fn with_holder(mut self, holder: StreamRef) -> Self {
        self.0.extensions.holder = Some(holder);
        self
    }

    /// Names the present version.
    #[must_use]
    pub fn with_current_version(mut self, version: u64) -> Self {
        self.0.extensions.current_version = Some(version);
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The public message.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The body of the response.
    pub fn body(&self, trace_id: &str) -> Vec<u8> {
        let code = self.0.code;
        let extensions = Extensions { trace_id: trace_id.to_owned(), ..self.0.extensions.clone() };
        let kind: Uri = format!("/docs/problems/{}", code.name()).parse().unwrap_or_default();
        let details = ProblemDetails::new()
            .with_type(kind)
            .with_status(code.status())
            .with_title(code.title())
            .with_detail(self.0.detail.clone())
            .with_extensions(extensions);
        serde_json::to_vec(&details).unwrap_or_default()
    }
}

impl From<cairn_store::Error> for Problem {
    fn from(error: cairn_store::Error) -> Self {
        if matches!(error, cairn_store::Error::Overloaded) {
            return Self::new(Code::Overloaded, "too many reads are under way");
        }
        tracing::error!(%error, "the store failed");
        Self::new(Code::StoreUnavailable, "the store cannot be read now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_rfc_9457_says() {
        let problem = Problem::invalid("/name", "is empty").with_domain_code("name-empty");
        let body: serde_json::Value = serde_json::from_slice(&problem.body("4bf9")).expect("JSON");
        let expected = serde_json::json!({
            "type": "/docs/problems/invalid-input",
            "title": "The request is not well-formed",
            "status": 400,
            "detail": "is empty",
            "code": "invalid-input",
            "trace_id": "4bf9",
            "errors": [{"pointer": "/name", "detail": "is empty"}],
            "domain_code": "name-empty",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn codes_are_unique() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
