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

/// Raw appends per second, by the size of their batches: the same rows into the same tables with nothing around them.
/// An example of the store's crate measures it, on this PostgreSQL database, which it empties, or on SQLite.
pub fn raw_appends(database: Option<&str>) -> Vec<(String, f64)> {
    let folder = std::env::temp_dir().join("append_bench");
    let target = database.map_or_else(|| folder.to_string_lossy().into_owned(), str::to_owned);
    let rows = example("cairn-store", "append_bench", &[&target]);
    // The example leaves its databases in its folder.
    let _ = std::fs::remove_dir_all(&folder);
    rows.lines().filter_map(raw_append).collect()
}

/// A line of the example's table: the batch, the store's rate, the raw rate.
fn raw_append(line: &str) -> Option<(String, f64)> {
    let mut columns = line.split_whitespace();
    let (batch, _, raw) = (columns.next()?, columns.next()?, columns.next()?);
    let what = match batch {
        "single" => "one row a transaction".to_owned(),
        batch => format!("batches of {}", batch.parse::<u32>().ok()?),
    };
    Some((what, raw.parse().ok()?))
}

/// What an example of another crate writes; nothing where it cannot be run, which is said.
fn example(package: &str, name: &str, args: &[&str]) -> String {
    eprintln!("{package}: example {name}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", package, "--example", name, "--"]).args(args);
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => {
            eprintln!("left out: the example ended with {}", output.status);
            String::new()
        }
        Err(error) => {
            eprintln!("left out: cargo cannot be started: {error}");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_rate_is_the_last_column() {
        let rows =
            [" batch     store /s       raw /s", "  1000        41000        66000", "single  -  2000"];
        let rates: Vec<_> = rows.into_iter().filter_map(raw_append).collect();
        let expected = [("batches of 1000", 66_000.0), ("one row a transaction", 2_000.0)];
        assert_eq!(rates, expected.map(|(what, rate)| (what.to_owned(), rate)));
    }
}
