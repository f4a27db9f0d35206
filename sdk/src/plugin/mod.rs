//! What makes a component of a domain: the registry of its types, and the glue between them and the contract.
//!
//! Authors use [`crate::plugin!`] and nothing else of this module.

mod aggregate;
mod allocator;
mod convert;
mod describe;
mod guest;
mod read_side;
mod upcast;

pub(crate) use aggregate::restore;
pub use aggregate::{AggregateType, CommandEntry, ErasedAggregate, HandleOutcome, Handles};
pub use guest::Resident;
pub use read_side::{Answers, PolicyEntry, ProjectionEntry, QueryEntry};
pub use upcast::UpcasterEntry;

/// A plugin's registry. [`crate::plugin!`] implements it.
pub trait Plugin: 'static {
    /// The plugin's name.
    const NAME: &'static str;
    /// Its semantic version.
    const VERSION: &'static str;
    /// What it is for.
    const DESCRIPTION: &'static str;
    /// The write side.
    const AGGREGATES: &'static [AggregateType];
    /// The read side.
    const PROJECTIONS: &'static [ProjectionEntry];
    /// What can be asked.
    const QUERIES: &'static [QueryEntry];
    /// What happens by itself.
    const POLICIES: &'static [PolicyEntry];
    /// How old events become present ones.
    const UPCASTERS: &'static [UpcasterEntry];
}

/// Makes a component of a domain: the one line that a plugin needs besides its domain code.
///
/// ```text
/// cairn_sdk::plugin! {
///     name: "lamps",
///     aggregates: [Lamp { commands: [InstallLamp, LightLamp] }],
///     projections: [Lamps { queries: [LitLamps] }],
///     policies: [TurnOffAtNight],
///     upcasters: [LampLitV1],
/// }
/// ```
///
/// The version and the description are those of the package. Every list but `aggregates` may be left out.
#[macro_export]
macro_rules! plugin {
    (
        name: $name:literal,
        aggregates: [$($aggregate:ty { commands: [$($command:ty),* $(,)?] }),* $(,)?]
        $(, projections: [$($projection:ty { queries: [$($query:ty),* $(,)?] }),* $(,)?])?
        $(, policies: [$($policy:ty),* $(,)?])?
        $(, upcasters: [$($upcaster:ty),* $(,)?])?
        $(,)?
    ) => {
        $(
            impl $crate::plugin::Handles for $aggregate {
                const COMMANDS: &'static [$crate::plugin::CommandEntry<Self>] =
                    &[$($crate::plugin::CommandEntry::of::<$command>()),*];
            }
        )*

        /// The plugin's registry, as the glue reads it.
        #[derive(Debug)]
        pub struct CairnPlugin;

        impl $crate::plugin::Plugin for CairnPlugin {
            const NAME: &'static str = $name;
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const DESCRIPTION: &'static str = env!("CARGO_PKG_DESCRIPTION");
            const AGGREGATES: &'static [$crate::plugin::AggregateType] =
                &[$($crate::plugin::AggregateType::of::<$aggregate>()),*];
            const PROJECTIONS: &'static [$crate::plugin::ProjectionEntry] =
                &[$($($crate::plugin::ProjectionEntry::of::<$projection>()),*)?];
            const QUERIES: &'static [$crate::plugin::QueryEntry] =
                &[$($($($crate::plugin::QueryEntry::of::<$projection, $query>(),)*)*)?];
            const POLICIES: &'static [$crate::plugin::PolicyEntry] =
                &[$($($crate::plugin::PolicyEntry::of::<$policy>()),*)?];
            const UPCASTERS: &'static [$crate::plugin::UpcasterEntry] =
                &[$($($crate::plugin::UpcasterEntry::of::<$upcaster>()),*)?];
        }

        #[cfg(target_arch = "wasm32")]
        mod cairn_component_exports {
            use super::CairnPlugin;

            $crate::bindings::export_plugin!(CairnPlugin with_types_in $crate::bindings);
        }
    };
}
