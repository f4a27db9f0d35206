//! Compiled code on disk, so that a restart does not compile again.
//!
//! Loading compiled code runs it, so nothing is loaded that this host did not write: the file is ours alone (mode 600 in
//! the data folder) and begins with a SHA-256 over its name and contents. Whatever is not right is compiled again.
#![expect(
    unsafe_code,
    reason = "wasmtime cannot check compiled code; we load only what we wrote and what is unharmed"
)]

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_model::chain::Hash;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::component::LoadError;
use crate::engine::Engine;

const SEAL_BYTES: usize = 32;

/// Compiles the component, or takes what was compiled before.
pub(crate) fn compile(
    engine: &Engine,
    bytes: &[u8],
    digest: Hash,
    folder: Option<&Path>,
) -> Result<Component, LoadError> {
    let failed = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
    let Some(folder) = folder else { return Component::from_binary(&engine.wasm, bytes).map_err(failed) };
    let path = path(engine, digest, folder);
    if let Some(component) = read(engine, &path) {
        return Ok(component);
    }
    let code = engine.wasm.precompile_component(bytes).map_err(failed)?;
    if let Err(error) = write(&path, &code) {
        tracing::warn!(path = %path.display(), %error, "compiled code could not be kept; the next start compiles again");
    }
    load(engine, &code).map_err(failed)
}

fn path(engine: &Engine, digest: Hash, folder: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    engine.wasm.precompile_compatibility_hash().hash(&mut hasher);
    folder.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
}

fn read(engine: &Engine, path: &Path) -> Option<Component> {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "compiled code cannot be read; it is compiled again");
            return None;
        }
    };
    let (found, code) = file.split_at_checked(SEAL_BYTES)?;
    if found != seal(path, code) {
        tracing::warn!(path = %path.display(), "compiled code is damaged; it is compiled again");
        return None;
    }
    load(engine, code)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "compiled code does not load"))
        .ok()
}

fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from `precompile_component` just now, or from a file of ours whose seal holds.
    unsafe { Component::deserialize(&engine.wasm, code) }
}

fn seal(path: &Path, code: &[u8]) -> [u8; SEAL_BYTES] {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize().into()
}

/// Writes aside and renames, so that nobody ever sees half a file.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("{}-{number}.part", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    file.write_all(&seal(path, code))?;
    file.write_all(code)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}
