//! From plugin crates to components: finds them, compiles them for Wasm, wraps the core module as a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

use crate::shell;

/// The target that plugins are compiled for. It has no operating system, so nothing can be asked of one.
const TARGET: &str = "wasm32-unknown-unknown";

/// A crate that becomes a component.
#[derive(Debug, PartialEq, Eq)]
struct Plugin {
    /// The crate's name: `cairn-files`.
    package: String,
    /// The component's file name without its extension: `files`.
    name: String,
}

/// Builds `plugins/*` to `target/plugins/NAME.wasm` and answers these paths.
///
/// # Errors
/// When the Wasm target is missing and cannot be added, or a crate does not build.
pub fn build() -> anyhow::Result<Vec<PathBuf>> {
    build_all(&shell::root().join("plugins"), &shell::target().join("plugins"))
}

/// Builds the guests of the tests, `tests/guests/*`, to `target/guests/NAME.wasm`.
///
/// # Errors
/// As [`build`].
pub fn build_guests() -> anyhow::Result<Vec<PathBuf>> {
    build_all(&shell::root().join("tests/guests"), &shell::target().join("guests"))
}

fn build_all(sources: &Path, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let plugins = find(sources)?;
    if plugins.is_empty() {
        return Ok(Vec::new());
    }
    ensure_target()?;
    let mut cargo = shell::cargo(["build", "--profile", "plugin", "--target", TARGET]);
    for plugin in &plugins {
        cargo.args(["--package", &plugin.package]);
    }
    shell::run(&mut cargo)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    plugins.iter().map(|plugin| wrap(plugin, out)).collect()
}

/// The folders in `sources` whose crate is a `cdylib`, in the order of their names.
fn find(sources: &Path) -> anyhow::Result<Vec<Plugin>> {
    let mut plugins = Vec::new();
    let Ok(entries) = fs::read_dir(sources) else { return Ok(plugins) };
    for entry in entries {
        let path = entry?.path().join("Cargo.toml");
        if path.is_file() {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            plugins.extend(parse(&text));
        }
    }
    plugins.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(plugins)
}

/// The plugin that this Cargo.toml describes, if it is one. Our own files are regular enough to be read by lines.
fn parse(toml: &str) -> Option<Plugin> {
    let value = |key: &str| {
        let line = toml.lines().find(|line| line.split('=').next().is_some_and(|left| left.trim() == key))?;
        Some(line.split_once('=')?.1.trim().to_owned())
    };
    if !value("crate-type")?.contains("\"cdylib\"") {
        return None;
    }
    let package = value("name")?.trim_matches('"').to_owned();
    let name = package.strip_prefix("cairn-").unwrap_or(&package).to_owned();
    Some(Plugin { package, name })
}

/// Wraps the core module as a component. The file is written only when it changes, so that what watches it rests.
fn wrap(plugin: &Plugin, out: &Path) -> anyhow::Result<PathBuf> {
    let module = shell::target().join(TARGET).join("plugin").join(plugin.package.replace('-', "_") + ".wasm");
    let bytes = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("{} cannot be wrapped as a component", plugin.package))?;
    let path = out.join(&plugin.name).with_extension("wasm");
    if fs::read(&path).is_ok_and(|old| old == component) {
        return Ok(path);
    }
    let aside = path.with_extension("part");
    fs::write(&aside, &component).with_context(|| format!("cannot write {}", aside.display()))?;
    fs::rename(&aside, &path).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("    Wrapped {} ({} KiB)", path.display(), component.len() / 1024);
    Ok(path)
}

/// Adds the Wasm target to the toolchain where it is missing.
fn ensure_target() -> anyhow::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = shell::output(Command::new(rustc).args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    if !shell::works(Command::new("rustup").arg("--version")) {
        bail!(
            "this Rust toolchain lacks the target {TARGET}, which plugins are compiled for, and there is no rustup to \
             add it with. Install rustup, or your system's package with the standard library for that target, and run \
             this again."
        );
    }
    eprintln!("     Adding the target {TARGET}");
    shell::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(shell::root())).with_context(|| {
        format!(
            "the target {TARGET} cannot be added. It is downloaded once; is there a connection? `rustup target add \
             {TARGET}` tries it again."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cdylib_is_a_plugin_and_loses_its_prefix() {
        let toml = "[package]\nname = \"cairn-files\"\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n";
        let plugin = parse(toml).expect("a plugin");
        assert_eq!(plugin, Plugin { package: "cairn-files".to_owned(), name: "files".to_owned() });
    }

    #[test]
    fn other_crates_are_none() {
        assert_eq!(parse("[package]\nname = \"files-import\"\n"), None);
        assert_eq!(parse("[package]\nname = \"x\"\n[lib]\ncrate-type = [\"rlib\"]\n"), None);
    }
}
