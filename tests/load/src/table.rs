//! The Markdown table that a measurement ends in.

use crate::drive::Measured;

/// A row: what was measured, the result, and what it is compared with.
#[derive(Clone, Debug)]
pub struct Row {
    /// What.
    pub what: String,
    /// Per second.
    pub per_second: f64,
    /// Latencies, where there are any: p50 and p99 in microseconds.
    pub latency_us: Option<(u64, u64)>,
    /// The names and the rates of the limits that it is compared with.
    pub beside: Vec<(&'static str, f64)>,
}

/// The run in the middle by its rate.
pub fn median(mut runs: Vec<Measured>) -> Option<Measured> {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

/// The number in the middle.
pub fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| measured | per second | p50 | p99 | of the limits |\n| --- | ---: | ---: | ---: | --- |\n",
    );
    for Row { what, per_second, latency_us, beside } in rows {
        let (p50, p99) = match latency_us {
            Some((p50, p99)) => (milliseconds(*p50), milliseconds(*p99)),
            None => (String::new(), String::new()),
        };
        let beside: Vec<String> = beside
            .iter()
            .map(|(name, limit)| format!("{:.0} % of {name}", 100.0 * per_second / limit))
            .collect();
        text.push_str(&format!(
            "| {what} | {} | {p50} | {p99} | {} |\n",
            thousands(*per_second),
            beside.join(", ")
        ));
    }
    text
}

fn milliseconds(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 µs")]
    let ms = us as f64 / 1_000.0;
    format!("{ms:.2} ms")
}

/// A time in seconds as microseconds.
pub fn microseconds(seconds: f64) -> String {
    format!("{:.2}", seconds * 1e6)
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_well() {
        let row = Row {
            what: "create, 32 connections".to_owned(),
            per_second: 12_345.6,
            latency_us: Some((1_500, 20_000)),
            beside: vec![("echo", 49_382.4)],
        };
        let text = markdown(&[row]);
        assert!(
            text.ends_with("| create, 32 connections | 12,346 | 1.50 ms | 20.00 ms | 25 % of echo |\n"),
            "{text}"
        );
        assert_eq!((thousands(7.0).as_str(), thousands(1_000_000.0).as_str()), ("7", "1,000,000"));
    }
}
