//! Builds guests for tests: `cargo build` for the Wasm target, then the core module wrapped as a component. A test calls
//! this itself, so that `cargo test` in one crate is enough.
//!
//! This is a test helper: what goes wrong ends the test with a message.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

/// The guest that misbehaves on request, as a component.
///
/// # Panics
/// When it cannot be built.
pub fn faulty() -> Arc<[u8]> {
    component("cairn-faulty")
}

/// A plugin of this workspace as a component; each is built once in a process.
///
/// # Panics
/// When it cannot be built.
pub fn component(package: &str) -> Arc<[u8]> {
    static BUILT: Mutex<Option<HashMap<String, Arc<[u8]>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(package.to_owned()).or_insert_with(|| wrap(&core_module(package)).into()).clone()
}

/// A plugin of this workspace as the compiler makes it: a core module.
///
/// # Panics
/// When it cannot be built.
pub fn core_module(package: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "plugin", "--target", TARGET, "--package", package])
        .current_dir(&root)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{package} does not build ({status}); is the target {TARGET} installed?"),
        Err(error) => panic!("cargo does not start: {error}"),
    }
    let module = root.join(target).join(TARGET).join("plugin").join(package.replace('-', "_") + ".wasm");
    std::fs::read(&module).unwrap_or_else(|error| panic!("{}: {error}", module.display()))
}

fn wrap(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .unwrap_or_else(|error| panic!("the module cannot be wrapped as a component: {error:#}"))
}
