//! What is checked of a body before anybody decides on it.

use bytes::Bytes;
use serde_json::Value;

use crate::plugins::CommandEntry;
use crate::problem::Problem;

/// Checks a payload and gives it on as it came; an empty body is an empty object.
pub(super) fn check(entry: CommandEntry<'_>, payload: Bytes) -> Result<Bytes, Problem> {
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    let value = parse(&payload)?;
    entry.command.payload.check(&value)?;
    Ok(payload)
}

/// Reads a body as JSON without U+0000.
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid("", format!("the body is not JSON: {error}")))?;
    // The escape is the only way to write U+0000 in JSON, so most bodies need no walk.
    if body.windows(6).any(|window| window == b"\\u0000")
        && let Some(pointer) = find_nul(&value)
    {
        return Err(Problem::invalid(pointer, "contains U+0000, which no store can keep as text"));
    }
    Ok(value)
}

/// A pointer to the first text with U+0000 in it.
fn find_nul(value: &Value) -> Option<String> {
    let below = |key: &str, value| {
        find_nul(value).map(|rest| format!("/{}{rest}", key.replace('~', "~0").replace('/', "~1")))
    };
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| below(&index.to_string(), item))
        }
        Value::Object(fields) => {
            fields.iter().find_map(
                |(key, value)| {
                    if key.contains('\0') { Some(String::new()) } else { below(key, value) }
                },
            )
        }
        _ => None,
    }
}
