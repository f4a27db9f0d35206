//! Events as others get them: CloudEvents 1.0 in JSON, structured mode.
//!
//! | attribute | is |
//! | --- | --- |
//! | `id`, `source` | the position; `/cairn/<log id>`: together unique in the world |
//! | `type`, `subject`, `time` | the event type; `<aggregate>/<id>`; when it was recorded |
//! | `data` | the JSON of the log, byte for byte |
//! | `tenant`, `aggregate`, `aggregateid`, `version`, `position`, `schemaversion` | where it stands and how to read it |
//! | `actor`, `onbehalfof`, `commandid`, `correlationid`, `causationid` | why it happened |
//! | `traceparent` | of the request; the span is made up from the hash |
//! | `hash` | its link in the log's hash chain |
//!
//! Numbers are strings, because the integers of CloudEvents end at 2³¹ − 1 and positions do not.

use cairn_model::{RecordedEvent, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'a str,
    subject: String,
    time: Timestamp,
    datacontenttype: &'static str,
    tenant: &'a str,
    aggregate: &'a str,
    aggregateid: Uuid,
    version: String,
    position: String,
    schemaversion: String,
    actor: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    onbehalfof: Option<Uuid>,
    commandid: Uuid,
    correlationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    hash: String,
    data: &'a RawValue,
}

/// The event, of the log `log_id`, in JSON.
///
/// # Errors
/// When data or metadata are not what the log writes, which only a damaged log can cause.
pub fn to_json(event: &RecordedEvent, log_id: Uuid) -> Result<String, serde_json::Error> {
    let metadata = event.read_metadata()?;
    let hash = event.hash.to_string();
    serde_json::to_string(&CloudEvent {
        specversion: "1.0",
        id: event.position.to_string(),
        source: source(log_id),
        r#type: &event.event_type,
        subject: event.local_stream().to_string(),
        time: event.recorded_at,
        datacontenttype: "application/json",
        tenant: &event.stream.tenant,
        aggregate: &event.stream.aggregate,
        aggregateid: event.stream.id,
        version: event.version.to_string(),
        position: event.position.to_string(),
        schemaversion: event.schema_version.to_string(),
        actor: metadata.actor,
        onbehalfof: metadata.on_behalf_of,
        commandid: metadata.command_id,
        correlationid: &metadata.correlation_id,
        causationid: metadata.causation_id.as_deref(),
        traceparent: traceparent(&metadata.trace_id, &hash),
        data: serde_json::from_str(&event.data)?,
        hash,
    })
}

/// Which log an event is of, and which place in its history: what is needed to recognise it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Stamp {
    pub source: String,
    pub position: String,
    pub hash: String,
}

/// Reads the stamp; `None` if this is no event of ours.
pub(crate) fn read_stamp(json: &str) -> Option<Stamp> {
    serde_json::from_str(json).ok()
}

pub(crate) fn source(log_id: Uuid) -> String {
    format!("/cairn/{log_id}")
}

/// W3C: version, trace, span, flags. Neither trace nor span may be zero.
fn traceparent(trace_id: &str, hash: &str) -> Option<String> {
    let lower_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let some = |text: &str| text.bytes().any(|b| b != b'0');
    let span = hash.get(..16)?;
    let valid = trace_id.len() == 32 && lower_hex(trace_id) && some(trace_id) && some(span);
    valid.then(|| format!("00-{trace_id}-{span}-00"))
}

#[cfg(test)]
mod tests {
    use cairn_model::StreamKey;
    use cairn_model::chain::Hash;
    use serde_json::{Value, json};

    use super::*;

    fn event() -> RecordedEvent {
        let log_id = Uuid::from_u128(9);
        let metadata = json!({
            "actor": Uuid::from_u128(2), "tenant": "default", "command_id": Uuid::from_u128(3), "correlation_id": "c\"1",
            "causation_id": "41", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "digest": "", "generation": 1,
            "log_id": log_id, "occurred_at": "2024-01-01T00:00:00.000000Z",
        });
        RecordedEvent {
            position: 42,
            stream: StreamKey::new("default", "file", Uuid::from_u128(1)),
            version: 7,
            event_type: "FileRenamed".into(),
            schema_version: 2,
            data: r#"{ "size":1e400,"name":"a\u0000b","name":2 }"#.to_owned(),
            metadata: metadata.to_string(),
            recorded_at: Timestamp::parse("2024-01-02T03:04:05.678901Z").expect("a time"),
            hash: Hash::of(b"x"),
        }
    }

    #[test]
    fn every_attribute_is_there_and_data_is_what_the_log_holds() {
        let event = event();
        let text = to_json(&event, Uuid::from_u128(9)).expect("written");
        assert!(text.ends_with(&format!("\"data\":{}}}", event.data)), "{text}");
        let (head, _) = text.split_once(",\"data\":").expect("data");
        let head: Value = serde_json::from_str(&format!("{head}}}")).expect("JSON");
        let hash = event.hash.to_string();
        assert_eq!(
            head,
            json!({
                "specversion": "1.0", "id": "42", "source": "/cairn/00000000-0000-0000-0000-000000000009",
                "type": "FileRenamed", "subject": "file/00000000-0000-0000-0000-000000000001",
                "time": "2024-01-02T03:04:05.678901Z", "datacontenttype": "application/json", "tenant": "default",
                "aggregate": "file", "aggregateid": Uuid::from_u128(1), "version": "7", "position": "42",
                "schemaversion": "2", "actor": Uuid::from_u128(2), "commandid": Uuid::from_u128(3),
                "correlationid": "c\"1", "causationid": "41", "hash": hash,
                "traceparent": format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-00", &hash[..16]),
            })
        );
        let stamp = read_stamp(&text).expect("a stamp");
        assert_eq!((stamp.source, stamp.position), (source(Uuid::from_u128(9)), "42".to_owned()));
    }

    #[test]
    fn names_of_attributes_are_as_the_specification_wants_them() {
        let text = to_json(&event(), Uuid::from_u128(9)).expect("written");
        let names: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(&text).expect("an object");
        for name in names.keys() {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && name.len() <= 20,
                "{name}"
            );
        }
    }

    #[test]
    fn a_damaged_event_is_refused() {
        let log_id = Uuid::from_u128(9);
        assert!(to_json(&RecordedEvent { data: "{".to_owned(), ..event() }, log_id).is_err());
        assert!(to_json(&RecordedEvent { metadata: "{}".to_owned(), ..event() }, log_id).is_err());
    }

    #[test]
    fn a_trace_that_is_none_is_left_out() {
        let hash = "f".repeat(64);
        for trace in ["", "xyz", &"0".repeat(32), &"G".repeat(32)] {
            assert_eq!(traceparent(trace, &hash), None);
        }
    }
}
