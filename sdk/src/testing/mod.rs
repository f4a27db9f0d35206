//! Tests of a domain, natively and without a host, in sentences: given what happened, when a command comes, then this.
//!
//! ```
//! use cairn_sdk::prelude::*;
//! use cairn_sdk::testing::{given, user};
//!
//! # mod lamp {
//! # use cairn_sdk::prelude::*;
//! # #[derive(DomainEvent, Clone, Debug, PartialEq)]
//! # pub enum LampEvent {
//! #     /// Somebody installed it.
//! #     LampInstalled {},
//! #     /// Somebody lit it.
//! #     LampLit { watts: u32 },
//! # }
//! # /// Lights a lamp.
//! # #[derive(Command, Serialize, Deserialize, JsonSchema)]
//! # #[command(name = "light", full_name = "light_lamp")]
//! # #[serde(deny_unknown_fields)]
//! # pub struct LightLamp { pub watts: u32 }
//! # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
//! # pub struct Lamp { id: Uuid, watts: u32, #[serde(skip)] root: Root<LampEvent> }
//! # impl Entity for Lamp {
//! #     fn id(&self) -> Uuid { self.id }
//! #     fn created_at(&self) -> Timestamp { Timestamp::default() }
//! #     fn updated_at(&self) -> Timestamp { Timestamp::default() }
//! # }
//! # impl AggregateRoot for Lamp {
//! #     type Event = LampEvent;
//! #     const NAME: &'static str = "lamp";
//! #     const DESCRIPTION: &'static str = "A lamp.";
//! #     fn new(id: Uuid) -> Self { Self { id, watts: 0, root: Root::default() } }
//! #     fn root(&self) -> &Root<LampEvent> { &self.root }
//! #     fn root_mut(&mut self) -> &mut Root<LampEvent> { &mut self.root }
//! #     fn apply(&mut self, event: &EventEnvelope<LampEvent>) {
//! #         if let LampEvent::LampLit { watts } = event.event { self.watts = watts }
//! #     }
//! #     fn access(&self) -> Option<Access> {
//! #         let entry = AccessControlEntry { subject: Subject::Everyone, permission: Permission::Write };
//! #         Some(Access { entries: cairn_sdk::domain::merge_entries(&[entry]), ..Access::default() })
//! #     }
//! # }
//! # impl CommandHandler<LightLamp> for Lamp {
//! #     fn handle(&self, command: &LightLamp, _: &Context) -> Handled<Self, LightLamp> {
//! #         if command.watts > 100 { return Err(Rejection::rejected("too-bright", "100 watts are enough").into()) }
//! #         Ok(Decision::event(LampEvent::LampLit { watts: command.watts }))
//! #     }
//! # }
//! # cairn_sdk::plugin! { name: "lamps", aggregates: [Lamp { commands: [LightLamp] }] }
//! # }
//! # use lamp::*;
//! # fn main() {
//! given::<Lamp>([LampEvent::LampInstalled {}])
//!     .as_principal(user(2))
//!     .when(LightLamp { watts: 40 })
//!     .then([LampEvent::LampLit { watts: 40 }]);
//!
//! given::<Lamp>([LampEvent::LampInstalled {}]).when(LightLamp { watts: 1000 }).then_rejected("too-bright");
//! # }
//! ```
//!
//! Every `when` also checks, without being asked, that the decision is the same when it is made again, that its events
//! lead to the same state when they come back from the log, and that a snapshot taken anywhere with the events after it
//! folds to the same state as all events do.

mod read_side;
mod repository;
mod scenario;
mod world;

pub use read_side::{Reader, ask, project, react, recorded};
pub use repository::{InMemoryRepository, RepositoryError};
pub use scenario::{Given, Then, given};
pub use world::World;

use uuid::Uuid;

use crate::domain::Permissions;
use crate::shared::{Context, ContextParts, Principal, Timestamp};

/// The id of the aggregate that a scenario is about, unless it says otherwise.
pub const ID: Uuid = Uuid::from_u128(0x1);

/// The id of every command in a scenario.
pub const COMMAND_ID: Uuid = Uuid::from_u128(0xc0);

/// The time of every command in a scenario. What is given happened earlier.
pub const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A user. `user(1)` is who acts in a scenario that does not say otherwise.
pub const fn user(number: u64) -> Uuid {
    Uuid::from_u128((0xa11ce << 64) | number as u128)
}

/// A context for this caller, with all permissions.
pub fn context(principal: Principal) -> Context {
    Context::new(parts(principal), Vec::new())
}

pub(crate) fn parts(principal: Principal) -> ContextParts {
    ContextParts {
        now: NOW,
        seed: (1, 2),
        tenant: "default".to_owned(),
        principal,
        on_behalf_of: None,
        permissions: Permissions::ALL,
        command_id: COMMAND_ID,
        correlation_id: None,
        causation_id: None,
    }
}

/// A principal with this id, without groups.
pub const fn principal(id: Uuid) -> Principal {
    Principal { id, groups: Vec::new() }
}
