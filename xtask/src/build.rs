//! `cargo xtask build`: plugins and host, as they are shipped.

use crate::{plugins, shell};

/// What to build.
#[derive(clap::Args)]
pub struct Args {
    /// Only the plugins.
    #[arg(long)]
    plugins_only: bool,
    /// The guests of the tests as well, to target/guests/NAME.wasm.
    #[arg(long)]
    guests: bool,
}

/// Builds.
///
/// # Errors
/// When something does not build.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut built = plugins::build()?;
    if args.guests {
        built.extend(plugins::build_guests()?);
    }
    if !args.plugins_only {
        host()?;
        built.push(shell::built("release", "cairn"));
    }
    for path in built {
        println!("{}", path.strip_prefix(shell::root()).unwrap_or(&path).display());
    }
    Ok(())
}

/// Builds the host, optimised.
///
/// # Errors
/// When it does not build.
pub fn host() -> anyhow::Result<()> {
    shell::run(&mut shell::cargo(["build", "--release", "--package", "cairn"]))
}
