//! `cargo xtask serve`: the main job, from a fresh clone to a running host.

use std::ffi::OsString;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::{build, plugins, shell};

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// What to pass on.
#[derive(clap::Args)]
pub struct Args {
    /// Further arguments of `cairn serve`, such as `--listen 127.0.0.1:9000` or `--data DIR`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

/// Builds and becomes the host.
///
/// # Errors
/// When the address is in use or something does not build.
pub fn run(args: &Args) -> anyhow::Result<()> {
    check_address(&listen_address(&args.rest))?;
    plugins::build()?;
    build::host()?;
    shell::exec(host(&shell::target().join("plugins/files.wasm")).args(&args.rest))
}

/// `cairn serve` with this plugin, in the checkout's folder.
pub fn host(plugin: &Path) -> Command {
    let mut command = Command::new(shell::built("release", "cairn"));
    command.arg("serve").arg("--plugin").arg(plugin).current_dir(shell::root());
    command
}

/// Where the host is going to listen, as its arguments or its environment say.
fn listen_address(args: &[OsString]) -> String {
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        if let Some(address) = arg.strip_prefix("--listen=") {
            return address.to_owned();
        }
        if arg == "--listen"
            && let Some(address) = args.next()
        {
            return address.into_owned();
        }
    }
    std::env::var("CAIRN_LISTEN").unwrap_or_else(|_| DEFAULT_LISTEN.to_owned())
}

/// Says before minutes of building that the host could not listen afterwards.
fn check_address(address: &str) -> anyhow::Result<()> {
    let addresses =
        address.to_socket_addrs().with_context(|| format!("`{address}` is no address to listen on"))?;
    match TcpListener::bind(&*addresses.collect::<Vec<_>>()) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "cannot listen on {address}: {error}. Is another host running there? Stop it, or choose another address: \
             cargo xtask serve --listen 127.0.0.1:8081"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_as_the_host_reads_it() {
        let address = |args: &[&str]| listen_address(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(address(&["--listen", "127.0.0.1:1"]), "127.0.0.1:1");
        assert_eq!(address(&["--data", "x", "--listen=127.0.0.1:2"]), "127.0.0.1:2");
    }

    #[test]
    fn an_address_in_use_is_said() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let error = check_address(&address).expect_err("in use").to_string();
        assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    }
}
