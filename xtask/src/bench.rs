//! `cargo xtask bench`: builds what is measured, optimised, and starts the program that measures (`tests/load`).

use std::ffi::OsString;
use std::process::Command;

use anyhow::Context;

use crate::{build, plugins, shell};

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// Commands per second over HTTP, beside the limits that the machine sets; with `--database postgres` on a private server.
    Commands(Args),
    /// One, two and three hosts on one PostgreSQL: what they cost each other.
    Hosts(Args),
    /// How fast a read model comes back from the log, beside a native loop over the same log.
    Rebuild(Args),
    /// What the bare decision costs, natively and in the component.
    Decide(Args),
}

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Further arguments; `--help` here lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

/// Builds and becomes the program that measures.
///
/// # Errors
/// When something does not build.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let (what, args) = match bench {
        Bench::Commands(args) => ("commands", args),
        Bench::Hosts(args) => ("hosts", args),
        Bench::Rebuild(args) => ("rebuild", args),
        Bench::Decide(args) => ("decide", args),
    };
    plugins::build()?;
    build::optimised(&["cairn", "cairn-load"])?;
    let mut load = Command::new(shell::built("release", "cairn-load"));
    load.arg(what).args(&args.rest).current_dir(shell::root());
    load.env("CAIRN_BIN", shell::built("release", "cairn"));
    // Durability is what is measured, so the data must be on the disk of the checkout: /tmp may be memory.
    let folder = shell::target().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    load.env("TMPDIR", folder);
    load.env("CAIRN_FILES_PLUGIN", shell::target().join("plugins/files.wasm"));
    shell::exec(&mut load)
}
