//! What the machine allows without the host: programs of other crates that measure one part alone.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// The echo server, as a process of its own like the host.
pub struct Echo {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Echo {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not say where it listens.
    pub fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut process = Command::new(program)
            .arg("echo")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the echo server")?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line).context("the echo server says nothing")?;
        }
        let address = line.trim().parse().with_context(|| format!("the echo server said {line:?}"))?;
        Ok(Self { process, address })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Rates that an example of another crate measures: what it calls each, and the rate per second.
pub fn example(package: &str, name: &str, args: &[&str]) -> Vec<(String, f64)> {
    eprintln!("{package}: example {name}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", package, "--example", name, "--"]).args(args);
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => rates(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            eprintln!("left out: the example ended with {}", output.status);
            Vec::new()
        }
        Err(error) => {
            eprintln!("left out: cargo cannot be started: {error}");
            Vec::new()
        }
    }
}

/// Reads lines of the form `<what>: <number>/s…`.
fn rates(output: &str) -> Vec<(String, f64)> {
    output.lines().filter_map(rate).collect()
}

fn rate(line: &str) -> Option<(String, f64)> {
    let (what, rest) = line.rsplit_once(": ")?;
    let number: String = rest.split("/s").next()?.chars().filter(|c| !matches!(c, ' ' | ',' | '_')).collect();
    rest.contains("/s").then_some(())?;
    Some((what.trim().to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_found_among_other_lines() {
        let output =
            "warming up\nbatches of 1000: 66,000/s\nhandle and apply: 250000.5/s (4.0 µs)\nno number: x/s\n";
        let expected = [("batches of 1000".to_owned(), 66_000.0), ("handle and apply".to_owned(), 250_000.5)];
        assert_eq!(rates(output), expected);
    }
}
