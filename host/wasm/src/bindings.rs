//! The contract as Rust, generated from `wit/`. Only `convert`, `manifest` and `guest` look in here; the rest of the
//! crate speaks the host's own words.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
});
