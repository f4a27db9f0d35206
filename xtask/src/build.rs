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
    optimised(&["cairn"])
}

/// Builds these programs, optimised. Whichever they are, their dependencies are built with the features that the whole
/// workspace asks for: otherwise each choice of programs would compile wasmtime once more.
///
/// # Errors
/// When one does not build.
pub fn optimised(programs: &[&str]) -> anyhow::Result<()> {
    // Guests have no native form.
    let mut cargo = shell::cargo(["build", "--release", "--workspace", "--exclude", "cairn-faulty"]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    shell::run(&mut cargo)
}
