//! What is known about a file's content. The content itself is elsewhere.

use std::borrow::Cow;

use cairn_sdk::prelude::*;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The largest size, in bytes: the largest whole number that every JSON reader takes (2⁵³ − 1).
const SIZE_LIMIT_BYTES: u64 = 9_007_199_254_740_991;

/// The longest MIME type or digest, in bytes.
const TEXT_LIMIT_BYTES: usize = 255;

/// The size of a file in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileSize(pub u64);

impl Validate for FileSize {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        if self.0 > SIZE_LIMIT_BYTES {
            errors.push(FieldError::new("", "a size is at most 2^53 - 1"));
        }
    }
}

impl JsonSchema for FileSize {
    fn schema_name() -> Cow<'static, str> {
        "FileSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": SIZE_LIMIT_BYTES, "description": "in bytes" })
    }
}

/// A MIME type: `text/plain`, with parameters or without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MimeType(String);

impl MimeType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MimeType {
    /// What nothing is known of.
    fn default() -> Self {
        Self("application/octet-stream".to_owned())
    }
}

impl From<&str> for MimeType {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Validate for MimeType {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        let essence = self.0.split(';').next().unwrap_or_default().trim_end();
        let parts = essence.split_once('/');
        let is_valid = self.0.len() <= TEXT_LIMIT_BYTES
            && self.0.bytes().all(|b| (b' '..=b'~').contains(&b))
            && parts.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
        if !is_valid {
            errors.push(FieldError::new("", "a MIME type looks like `text/plain`"));
        }
    }
}

impl JsonSchema for MimeType {
    fn schema_name() -> Cow<'static, str> {
        "MimeType".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": TEXT_LIMIT_BYTES,
            "pattern": "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$",
        })
    }
}

/// A digest of a file's content, in whatever form its users agree on: `sha-256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Digest {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Validate for Digest {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        let is_valid =
            (1..=TEXT_LIMIT_BYTES).contains(&self.0.len()) && self.0.bytes().all(|b| b.is_ascii_graphic());
        if !is_valid {
            errors.push(FieldError::new("", "a digest is 1 to 255 visible ASCII characters"));
        }
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": TEXT_LIMIT_BYTES, "pattern": "^[!-~]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mime_types_look_like_mime_types() {
        let is_valid = |text: &str| {
            let mut errors = Vec::new();
            MimeType::from(text).validate(&mut errors);
            errors.is_empty()
        };
        for good in ["text/plain", "image/svg+xml", "text/plain; charset=utf-8", "a/b ;x"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "text", "text/", "/plain", "te xt/plain", "text/plain\n", "text/é"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
