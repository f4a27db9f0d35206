//! What happened: domain events, the envelopes they travel in, snapshots, and how old events become present ones.

mod envelope;
mod event;
mod upcaster;

pub use envelope::{EventEnvelope, RecordedEvent, Snapshot};
pub use event::{DomainEvent, EncodedEvent, EventType};
pub use upcaster::{PastEvent, Upcaster};

/// Derives [`DomainEvent`] for an enum: each variant is an event type of its own, named as the variant is.
///
/// The fields of a variant are the event's data. They take serde's and schemars' attributes; documentation comments
/// become the descriptions in the manifest. `#[event(version = 2)]` says that the data's form has changed before, and
/// that an [`Upcaster`] brings older events to the present form.
///
/// ```
/// use cairn_sdk::prelude::*;
///
/// #[derive(DomainEvent, Clone, Debug, PartialEq)]
/// enum LampEvent {
///     /// Somebody lit it.
///     LampLit { watts: u32 },
///     /// It went out.
///     LampWentOut {},
/// }
/// let event = LampEvent::LampLit { watts: 40 };
/// assert_eq!(event.event_type(), "LampLit");
/// assert_eq!(LampEvent::decode("LampLit", br#"{"watts":40}"#).unwrap(), event);
/// assert_eq!(event.encode().unwrap().data, br#"{"watts":40}"#);
/// ```
pub use cairn_sdk_macros::DomainEvent;
