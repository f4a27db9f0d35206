//! `decide`: the decision alone, without HTTP and log. Files that are in memory are renamed, JSON in and JSON out, and
//! the events are applied: once as native code, once in the component behind the workers that a host uses.

mod native;
mod workers;

mod watch;

use crate::table::{Row, microseconds, middle};

/// How many files take turns; behind workers, so many commands are under way at once.
const FILES: u64 = 256;

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// How many decisions a run takes.
    #[arg(long, default_value_t = 200_000)]
    decisions: u64,
    /// How many runs; the table has the one in the middle.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// One way to decide.
type Measure = fn(u64) -> anyhow::Result<f64>;

/// The ways, from the outside of the table to the inside: the first one is what the others are compared with.
const WAYS: [(&str, Measure); 2] = [
    ("decisions, native, one thread", native::measure),
    ("decisions, component, one worker with its queue", workers::measure),
];

impl Default for Args {
    fn default() -> Self {
        Self { decisions: 200_000, runs: 3 }
    }
}

impl Args {
    /// The defaults with another number of runs.
    pub fn runs(runs: usize) -> Self {
        Self { runs, ..Self::default() }
    }
}

/// Measures and prints the table.
///
/// # Errors
/// When the domain or the component does not do what it should.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let rows = rows(args)?;
    println!(
        "\nRename and apply, {FILES} files by turns, in processor time; medians of {} runs of {} decisions.\n",
        args.runs, args.decisions
    );
    println!("| measured | µs each | times native |\n| --- | ---: | ---: |");
    let native = rows.first().map_or(1.0, |row| row.per_second);
    for Row { what, per_second, .. } in rows {
        println!("| {what} | {} | {:.2} |", microseconds(1.0 / per_second), native / per_second);
    }
    Ok(())
}

/// All ways by turns, so that a noisy neighbour meets each of them; the middle of each.
///
/// # Errors
/// As [`run`].
pub fn rows(args: &Args) -> anyhow::Result<Vec<Row>> {
    let mut rates = WAYS.map(|_| Vec::new());
    for _ in 0..args.runs.max(1) {
        for ((what, measure), rates) in WAYS.iter().zip(&mut rates) {
            let rate = measure(args.decisions.max(1))?;
            eprintln!("{what}: {} µs each", microseconds(1.0 / rate));
            rates.push(rate);
        }
    }
    let rates = rates.map(middle);
    let rows = WAYS.iter().zip(rates).enumerate().map(|(index, ((what, _), per_second))| {
        let beside = if index == 0 { Vec::new() } else { vec![("native", rates[0])] };
        Row { what: (*what).to_owned(), per_second, latency_us: None, beside }
    });
    Ok(rows.collect())
}

/// The payload of the rename with this number. All are equally long.
fn payload(number: u64) -> Vec<u8> {
    format!("{{\"name\":\"{number:024x}\"}}").into_bytes()
}
