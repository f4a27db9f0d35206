//! The programs and components under test: named by the environment, or where cargo and `cargo xtask` put them. What
//! is missing is built, so that `cargo test -p cairn-tests` works by itself; what is there is taken as it is, since
//! `cargo xtask test` has just built it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The path that a variable names, or else the one in the target folder, which `cargo <build>` makes if it is missing.
fn find(variable: &str, path: &str, build: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = target().join(path);
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo).args(build).current_dir(root()).status().expect("cargo starts");
        assert!(
            status.success() && path.exists(),
            "`cargo {}` did not make {}",
            build.join(" "),
            path.display()
        );
    }
    path
}

/// The host: `CAIRN_BIN`, or target/debug/cairn.
pub fn cairn() -> PathBuf {
    find("CAIRN_BIN", "debug/cairn", &["build", "--package", "cairn"])
}

/// The importer: `CAIRN_IMPORT_BIN`, or target/debug/files-import.
pub fn files_import() -> PathBuf {
    find("CAIRN_IMPORT_BIN", "debug/files-import", &["build", "--package", "files-import"])
}

/// The files plugin: `CAIRN_FILES_PLUGIN`, or target/plugins/files.wasm.
pub fn files_plugin() -> PathBuf {
    find("CAIRN_FILES_PLUGIN", "plugins/files.wasm", &["xtask", "build", "--plugins-only"])
}

/// A component that misbehaves, from `tests/guests`: `target/guests/<name>.wasm`.
pub fn guest(name: &str) -> PathBuf {
    let path = format!("guests/{name}.wasm");
    find("CAIRN_GUEST", &path, &["xtask", "build", "--plugins-only", "--guests"])
}
