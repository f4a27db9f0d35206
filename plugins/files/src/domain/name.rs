//! Names of files and folders.

use std::borrow::Cow;

use cairn_sdk::prelude::*;
use schemars::{Schema, SchemaGenerator, json_schema};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest name, in bytes of UTF-8.
pub const NAME_LIMIT_BYTES: usize = 255;

/// The name of a file or a folder: 1 to 255 bytes of UTF-8 without `/` or NUL, and not `.` or `..`.
///
/// It is kept as it was given. Two names are the same if their Unicode normal forms (NFC) are; case matters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemName(String);

impl ItemName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names are compared.
    pub fn normalized(&self) -> Cow<'_, str> {
        if is_nfc(&self.0) { Cow::Borrowed(&self.0) } else { Cow::Owned(self.0.nfc().collect()) }
    }

    /// The form in which names are sorted and searched: normalized, without case.
    pub fn sort_key(&self) -> String {
        sort_key(&self.0)
    }
}

/// The text in the form in which names are sorted and searched.
pub fn sort_key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfc().collect::<String>().to_lowercase().nfc().collect()
}

impl From<&str> for ItemName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Validate for ItemName {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        let wrong = match self.0.as_str() {
            "" => "a name has at least one character",
            "." | ".." => "`.` and `..` are no names",
            name if name.len() > NAME_LIMIT_BYTES => "a name has at most 255 bytes",
            name if name.contains('/') => "a name has no `/`",
            name if name.contains('\0') => "a name has no NUL",
            _ => return,
        };
        errors.push(FieldError::new("", wrong));
    }
}

impl JsonSchema for ItemName {
    fn schema_name() -> Cow<'static, str> {
        "ItemName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Lengths in a schema are characters; the limit in bytes is checked by `validate`.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "1 to 255 bytes of UTF-8 without `/` or NUL, and not `.` or `..`",
            "minLength": 1,
            "maxLength": NAME_LIMIT_BYTES,
            "pattern": "^[^/]+$",
            "not": { "enum": [".", ".."] },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(name: &str) -> bool {
        let mut errors = Vec::new();
        ItemName::from(name).validate(&mut errors);
        errors.is_empty()
    }

    #[test]
    fn names_follow_the_rule() {
        let longest = "é".repeat(127) + "e";
        for good in ["a", ".hidden", "...", "a b", "日本語", "a\nb", &longest] {
            assert!(is_valid(good), "{good:?}");
        }
        let too_long = "é".repeat(128);
        for bad in ["", ".", "..", "a/b", "/", "a\0", &too_long] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_are_compared_in_normal_form_and_sorted_without_case() {
        let (composed, decomposed) = (ItemName::from("Caf\u{e9}"), ItemName::from("Cafe\u{301}"));
        assert_eq!(composed.normalized(), decomposed.normalized());
        assert_ne!(composed.normalized(), ItemName::from("caf\u{e9}").normalized());
        assert_eq!(composed.sort_key(), "caf\u{e9}");
        assert_eq!(decomposed.sort_key(), "caf\u{e9}");
    }
}
