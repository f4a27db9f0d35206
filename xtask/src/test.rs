//! `cargo xtask test`: everything that CI runs, step by step, with the runner's summary at the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{plugins, servers, shell};

/// How to test.
#[derive(clap::Args)]
pub struct Args {
    /// The long campaigns: all rounds and sizes instead of a short form of each.
    #[arg(long)]
    full: bool,
    /// Leave out the checks of format, lints and licences.
    #[arg(long)]
    only_tests: bool,
    /// Run only tests whose name contains this.
    filter: Option<String>,
}

/// How a step went.
enum Outcome {
    Passed,
    /// Not done, and why.
    Skipped(String),
    Failed(String),
}

/// What was done, for the summary at the end.
#[derive(Default)]
struct Report {
    rows: Vec<(&'static str, Outcome, Duration)>,
    /// The summary lines that test runners wrote.
    runner: Vec<String>,
}

impl Report {
    /// Does a step; one that fails does not keep the others from being done.
    fn step(&mut self, name: &'static str, work: impl FnOnce(&mut Vec<String>) -> anyhow::Result<Outcome>) {
        eprintln!("\n==> {name}");
        let started = Instant::now();
        let outcome = work(&mut self.runner).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(why) = &outcome {
            eprintln!("error: {why}");
        }
        self.rows.push((name, outcome, started.elapsed()));
    }

    /// Prints the summary; an error if a step failed.
    fn finish(self) -> anyhow::Result<()> {
        println!("\nSummary");
        for line in &self.runner {
            println!("  {line}");
        }
        let mut failed = 0;
        for (name, outcome, took) in &self.rows {
            let text = match outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
                Outcome::Failed(why) => {
                    failed += 1;
                    format!("FAILED: {why}")
                }
            };
            println!("  {name:<12} {:>7.1} s  {text}", took.as_secs_f64());
        }
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.rows.len());
        }
        println!("  all {} steps passed or were skipped for the reason given", self.rows.len());
        Ok(())
    }
}

/// Runs all steps.
///
/// # Errors
/// When one of them failed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut report = Report::default();
    if !args.only_tests {
        report.step("format", |_| pass(&mut shell::cargo(["fmt", "--all", "--check"])));
        report.step("lints", |_| {
            pass(&mut shell::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        });
        report.step("licences", |_| deny(&["licenses", "bans", "sources"]));
        report.step("advisories", |_| advisories());
    }
    report.step("servers", |_| servers::provide().map(|()| Outcome::Passed));
    report.step("plugins", |_| {
        plugins::build()?;
        plugins::build_guests()?;
        Ok(Outcome::Passed)
    });
    report.step("host", |_| {
        // The same selection as the tests', or every dependency would be built once for each.
        // Guests have no native form.
        pass(&mut shell::cargo(["build", "--workspace", "--all-targets", "--exclude", "cairn-faulty"]))
    });
    if !args.only_tests {
        report.step("docs", |_| {
            let mut doc = shell::cargo(["doc", "--workspace", "--no-deps"]);
            pass(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
    }
    report.step("doctests", |runner| {
        let mut command = shell::cargo(["test", "--workspace", "--doc"]);
        tested(command.args(&args.filter), runner)
    });
    report.step("tests", |runner| {
        let nextest = shell::works(&mut shell::cargo(["nextest", "--version"]));
        let words: &[&str] = if nextest {
            &["nextest", "run", "--no-fail-fast"]
        } else {
            &["test", "--all-targets", "--no-fail-fast"]
        };
        let mut command = shell::cargo(words);
        command.arg("--workspace").args(&args.filter);
        if args.full {
            command.env("CAIRN_FULL", "1");
            if nextest {
                command.args(["--profile", "full"]);
            }
        }
        tested(&mut command, runner)
    });
    report.finish()
}

fn pass(command: &mut Command) -> anyhow::Result<Outcome> {
    shell::run(command).map(|()| Outcome::Passed)
}

fn deny(checks: &[&str]) -> anyhow::Result<Outcome> {
    if !shell::works(&mut shell::cargo(["deny", "--version"])) {
        return Ok(Outcome::Skipped(
            "cargo-deny is not installed (cargo install --locked cargo-deny)".to_owned(),
        ));
    }
    pass(shell::cargo(["deny", "check"]).args(checks))
}

/// The list of advisories comes from the net; a machine without one still tests the rest.
fn advisories() -> anyhow::Result<Outcome> {
    if shell::works(&mut shell::cargo(["deny", "--version"]))
        && !shell::works(&mut shell::cargo(["deny", "fetch", "db"]))
    {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched".to_owned()));
    }
    deny(&["advisories"])
}

/// Runs a test runner, passing its output on, and keeps what it says in summary.
fn tested(command: &mut Command, runner: &mut Vec<String>) -> anyhow::Result<Outcome> {
    let text = shell::line(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{text}`"))?;
    let out = child.stdout.take().map(|pipe| thread::spawn(move || pass_on(pipe, std::io::stdout())));
    let err = child.stderr.take().map(|pipe| thread::spawn(move || pass_on(pipe, std::io::stderr())));
    let status = child.wait().with_context(|| format!("cannot wait for `{text}`"))?;
    let lines: Vec<String> =
        [out, err].into_iter().flatten().flat_map(|t| t.join().unwrap_or_default()).collect();
    runner.extend(summary(&lines));
    if status.success() {
        Ok(Outcome::Passed)
    } else {
        Ok(Outcome::Failed(format!("`{text}` failed ({status})")))
    }
}

/// Copies line by line and answers the lines that a summary is made of.
fn pass_on(from: impl Read, mut to: impl Write) -> Vec<String> {
    let mut kept = Vec::new();
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { break };
        let text = String::from_utf8_lossy(&line).into_owned();
        // Nobody may be reading any more; the tests go on all the same.
        let _ = writeln!(to, "{text}");
        let start = text.trim_start();
        if start.starts_with("Summary [") || start.starts_with("test result:") {
            kept.push(start.to_owned());
        }
    }
    kept
}

/// nextest writes one summary; cargo's own runner one per test binary, which are added up.
fn summary(lines: &[String]) -> Vec<String> {
    let mut counts = [0_u64; 3];
    let mut all = Vec::new();
    let mut binaries = 0;
    for line in lines {
        let Some(result) = line.strip_prefix("test result:") else {
            all.push(line.clone());
            continue;
        };
        binaries += 1;
        for (count, word) in counts.iter_mut().zip(["passed", "failed", "ignored"]) {
            let number =
                result.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
            *count += number.unwrap_or(0_u64);
        }
    }
    if binaries > 0 {
        let [passed, failed, ignored] = counts;
        all.push(format!("{binaries} test binaries: {passed} passed, {failed} failed, {ignored} ignored"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_are_added_up() {
        let lines = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ];
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        assert_eq!(summary(&lines), ["2 test binaries: 5 passed, 1 failed, 1 ignored"]);
    }

    #[test]
    fn a_summary_of_nextest_is_kept() {
        let text = "     Summary [   0.015s] 4 tests run: 4 passed, 0 skipped\nother\n";
        let kept = pass_on(text.as_bytes(), std::io::sink());
        assert_eq!(kept, ["Summary [   0.015s] 4 tests run: 4 passed, 0 skipped"]);
        assert_eq!(summary(&kept), kept);
    }
}
