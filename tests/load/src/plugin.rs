//! The files plugin as a component, for what is measured without a host around it.

use std::sync::Arc;

use anyhow::Context;
use cairn_wasm::{Component, Engine, Limits};

/// The component, and the engine that it was compiled with: with a host's limits.
///
/// # Errors
/// When the component cannot be read or loaded.
pub fn files() -> anyhow::Result<(Engine, Arc<Component>)> {
    let engine = Engine::new(Limits::default()).context("cannot make an engine")?;
    let path = cairn_tests::files_plugin();
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let component = Component::load(&engine, &bytes, None).context("cannot load the files plugin")?;
    Ok((engine, Arc::new(component)))
}
