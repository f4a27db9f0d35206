//! A JSON Schema of the manifest, compiled once.

use cairn_model::manifest::Query;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use crate::problem::{Code, Problem};

/// How many wrong parts of an input are listed.
const ERRORS_LISTED: usize = 20;

/// A compiled schema. References to other documents are refused: a host fetches nothing.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Compiles it. `format` is checked, not only noted.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(schema)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Checks a body.
    ///
    /// # Errors
    /// `invalid-input`, with a JSON pointer for each part that is wrong (the first twenty).
    pub fn check(&self, input: &Value) -> Result<(), Problem> {
        if self.0.is_valid(input) {
            return Ok(());
        }
        Err(self.errors(input).fold(
            Problem::new(Code::InvalidInput, "the payload does not match the command's schema"),
            |problem, (pointer, detail)| problem.with_error(pointer, detail),
        ))
    }

    /// What is wrong with the input: a JSON pointer and a detail for each part (the first twenty).
    pub fn errors<'a>(&'a self, input: &'a Value) -> impl Iterator<Item = (String, String)> + 'a {
        self.0
            .iter_errors(input)
            .take(ERRORS_LISTED)
            .map(|error| (error.instance_path().as_str().to_owned(), error.to_string()))
    }
}

/// The parameters of a query from the pairs of a URL's query string. A pair is text; where the schema asks for a
/// number or a boolean it is read as one.
///
/// # Errors
/// `invalid-input` for a parameter that is given twice or cannot be read as its type.
pub fn parameters(query: &Query, pairs: Vec<(String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut params = Map::new();
    for (name, text) in pairs {
        if text.contains('\0') {
            return Err(Problem::invalid(name, "contains U+0000, which no text in a store has"));
        }
        let declared = query
            .params_schema
            .pointer(&format!("/properties/{}", name.replace('~', "~0").replace('/', "~1")));
        let value = match declared {
            Some(schema) => coerce(schema, &text).map_err(|detail| Problem::invalid(name.clone(), detail))?,
            None => Value::String(text),
        };
        if params.insert(name.clone(), value).is_some() {
            return Err(Problem::invalid(name, "is given more than once"));
        }
    }
    Ok(params)
}

fn coerce(schema: &Value, text: &str) -> Result<Value, String> {
    let has = |wanted: &str| match &schema["type"] {
        Value::String(name) => name == wanted,
        Value::Array(names) => names.iter().any(|name| name == wanted),
        _ => false,
    };
    if has("string") {
        return Ok(Value::String(text.to_owned()));
    }
    if has("integer") {
        return text.parse::<i64>().map(Value::from).map_err(|_| format!("`{text}` is not a whole number"));
    }
    if has("number") {
        return text.parse::<f64>().map(Value::from).map_err(|_| format!("`{text}` is not a number"));
    }
    if has("boolean") {
        return text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| format!("`{text}` is neither true nor false"));
    }
    Ok(Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_parts_are_named_by_pointer() {
        let schema = Schema::compile(&json!({
            "type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}},
        }));
        let problem = schema.expect("a schema").check(&json!({"a": {"b": "x"}})).expect_err("wrong");
        let body: Value = serde_json::from_slice(&problem.body("")).expect("JSON");
        assert_eq!(body["errors"][0]["pointer"], "/a/b");
    }

    #[test]
    fn texts_become_what_the_schema_asks_for() {
        assert_eq!(coerce(&json!({"type": ["integer", "null"]}), "12"), Ok(json!(12)));
        assert_eq!(coerce(&json!({"type": "boolean"}), "true"), Ok(json!(true)));
        assert_eq!(coerce(&json!({"$ref": "#/x"}), "12"), Ok(json!("12")));
        assert!(coerce(&json!({"type": "integer"}), "1e3").is_err());
    }

    #[test]
    fn a_reference_to_another_document_is_refused() {
        assert!(Schema::compile(&json!({"$ref": "http://127.0.0.1:1/x.json"})).is_err());
    }
}
