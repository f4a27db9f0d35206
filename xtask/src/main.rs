//! The commands of a checkout: build, serve, test, measure.
//!
//! What a newcomer and CI do is one command each, so that neither has to know which target, profile and tool belongs
//! to which crate. This crate depends on little: it is the first thing that is compiled in a fresh clone, and
//! whatever needs an HTTP client or a database is a program of its own that it starts.

mod bench;
mod build;
mod demo;
mod plugins;
mod serve;
mod servers;
mod shell;
mod test;

use clap::{CommandFactory, Parser, Subcommand};

/// The commands of a Cairn checkout.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Build and run the host on 127.0.0.1:8080 with SQLite under data/ and the files plugin active.
    Serve(serve::Args),
    /// Build the plugins to target/plugins/NAME.wasm and the host to target/release/cairn.
    Build(build::Args),
    /// Run everything that CI runs.
    Test(test::Args),
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run a host with a directory tree imported, and say what to try with it.
    Demo(demo::Args),
    /// What `demo` does beside the host that it becomes.
    #[command(hide = true)]
    DemoImport(demo::ImportArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Build(args)) => build::run(&args),
        Some(Command::Test(args)) => test::run(&args),
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::DemoImport(args)) => demo::import(&args),
        None => Ok(Cli::command().print_help()?),
    }
}
