//! How an event fails, and how long it is tried again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use cairn_model::chain::Hash;
use cairn_model::{Position, RecordedEvent, Timestamp};
use cairn_store::DeadLetter;
use cairn_wasm::Fault;

/// How often an event is tried again before it is set aside.
const RETRIES: usize = 3;
/// The first pause; it doubles, and chance makes it up to twice as long.
const PAUSE: Duration = Duration::from_millis(40);
/// For how long nothing that fails in the same way is tried again before it is set aside.
const MEMORY: Duration = Duration::from_secs(60);
/// How many kinds of failures are remembered.
const REMEMBERED: usize = 1_000;
/// How long a cause may be; the rest of it is cut off.
const CAUSE_BYTES: usize = 2_000;
/// How long a backtrace may be.
const DETAIL_BYTES: usize = 16_000;

/// Why a projection could not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the guest or the tables said.
    pub cause: String,
    /// Where in the guest it was.
    pub detail: Option<String>,
}

impl Failure {
    /// What the guest said about the event, or the tables about its changes.
    pub fn new(cause: &str) -> Self {
        Self { cause: cut(cause, CAUSE_BYTES), detail: None }
    }

    /// Of a call in which the guest stopped.
    pub fn fault(fault: &Fault) -> Self {
        let cause = cut(&format!("{}: {}", fault.kind.name(), fault.message), CAUSE_BYTES);
        Self { cause, detail: fault.backtrace.as_deref().map(|text| cut(text, DETAIL_BYTES)) }
    }

    /// Equal for failures of one kind: the same type of event, the same words whatever the numbers and ids in them, the same
    /// place in the guest.
    pub fn fingerprint(&self, event_type: &str) -> String {
        let words = [event_type, &shape(&self.cause), &shape(self.detail.as_deref().unwrap_or_default())];
        Hash::of(words.join("\n").as_bytes()).to_string()[..16].to_owned()
    }

    /// The dead letter of an event that failed like this, `attempts` times, first then and at last now.
    pub fn letter(
        &self,
        event: &RecordedEvent,
        attempts: u32,
        first: Timestamp,
        now: Timestamp,
        digest: &str,
    ) -> DeadLetter {
        DeadLetter {
            position: event.position,
            stream: event.stream.clone(),
            version: event.version,
            event_type: event.event_type.clone(),
            cause: self.cause.clone(),
            detail: self.detail.clone(),
            attempts,
            first_failed_at: first,
            last_failed_at: now,
            digest: digest.to_owned(),
            fingerprint: self.fingerprint(&event.event_type),
            waits_for: None,
            edited: None,
        }
    }
}

/// The dead letter of an event that waits for the one at a position.
pub(super) fn waiting(event: &RecordedEvent, head: &Head, now: Timestamp, digest: &str) -> DeadLetter {
    DeadLetter {
        cause: format!("waits for the event at position {}", head.position),
        waits_for: Some(head.position),
        fingerprint: head.fingerprint.clone(),
        ..Failure::new("").letter(event, 0, now, now, digest)
    }
}

/// The event that a stream waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Where it is.
    pub position: Position,
    /// How it failed.
    pub fingerprint: String,
}

/// The pauses between attempts. What has just failed to the end is not waited for again: a guest is a function, so a
/// thousand events that fail alike must not cost a thousand times the patience of one.
#[derive(Debug, Default)]
pub(super) struct Patience(HashMap<String, Instant>);

impl Patience {
    /// After this time an event is not tried again, however few attempts there were.
    pub const TIME: Duration = Duration::from_secs(3);

    /// The pauses between the attempts at an event.
    pub fn pauses() -> impl Iterator<Item = Duration> {
        ExponentialBuilder::default().with_min_delay(PAUSE).with_jitter().with_max_times(RETRIES).build()
    }

    /// Whether it makes sense to try again what failed like this.
    pub fn allows(&self, fingerprint: &str) -> bool {
        self.0.get(fingerprint).is_none_or(|since| since.elapsed() > MEMORY)
    }

    /// Remembers what failed to the end, from the first time on, and again when that is forgotten.
    pub fn ends(&mut self, fingerprint: String) {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        if self.allows(&fingerprint) {
            self.0.insert(fingerprint, Instant::now());
        }
    }

    /// Forgets everything.
    pub fn renew(&mut self) {
        self.0.clear();
    }
}

fn cut(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A text without what is different in each of its kind: every run of hexadecimal digits with a digit in it, and its hyphens.
fn shape(text: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    let mut shape = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars().chain([' ']) {
        if is_part(letter) {
            run.push(letter);
            continue;
        }
        let is_number = run.bytes().any(|byte| byte.is_ascii_digit());
        shape.push_str(if is_number { "#" } else { &run });
        run.clear();
        shape.push(letter);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_have_one_fingerprint() {
        let print = |event_type: &str, cause: &str| Failure::new(cause).fingerprint(event_type);
        let one = print("Made", "no folder 0190e3a1-7c1e-7cc0-8000-000000000001 at 17");
        assert_eq!(one, print("Made", "no folder 0190e3a1-7c1e-7cc0-8000-0000000000ff at 3"));
        assert_ne!(one, print("Made", "no file 0190e3a1-7c1e-7cc0-8000-000000000001 at 17"));
        assert_ne!(one, print("Moved", "no folder 0190e3a1-7c1e-7cc0-8000-000000000001 at 17"));
    }

    #[test]
    fn patience_ends_for_what_failed_to_the_end() {
        let mut patience = Patience::default();
        assert!(patience.allows("a"));
        patience.ends("a".to_owned());
        assert!(!patience.allows("a") && patience.allows("b"));
        patience.renew();
        assert!(patience.allows("a"));
        assert_eq!(Patience::pauses().count(), RETRIES);
        assert!(Patience::pauses().all(|pause| pause >= PAUSE));
    }

    #[test]
    fn long_causes_are_cut_between_letters() {
        assert_eq!(cut("aäö", 2), "a");
        assert_eq!(cut("aäö", 3), "aä");
    }
}
