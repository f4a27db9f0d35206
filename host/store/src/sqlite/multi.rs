//! Statements with many rows of parameters. The numbers of rows are from a fixed list, so there are few different texts
//! and each stays prepared.

use std::ops::Range;
use std::sync::Arc;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

/// A statement being bound.
pub(crate) type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The numbers of rows, from the largest.
const SIZES: [usize; 10] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];

/// SQLite's own limit of parameters of one statement.
const PARAMETER_LIMIT: usize = 32_766;

/// A statement whose text repeats one group of parameters.
#[derive(Debug)]
pub(crate) struct MultiRow {
    texts: Vec<(usize, Arc<str>)>,
}

impl MultiRow {
    /// `head`, then `(?, ?, …)` of `columns` parameters as often as needed, then `tail`.
    pub fn new(head: &str, columns: usize, tail: &str) -> Self {
        let group = format!("({})", vec!["?"; columns].join(", "));
        let texts = SIZES
            .into_iter()
            .filter(|size| *size == 1 || size * columns <= PARAMETER_LIMIT)
            .map(|size| (size, format!("{head}{}{tail}", vec![group.as_str(); size].join(", ")).into()))
            .collect();
        Self { texts }
    }

    /// How `count` rows are divided: ranges, and the statement for each.
    pub fn chunks(&self, count: usize) -> impl Iterator<Item = (Range<usize>, Bound<'static>)> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = count - start;
            // The list ends with 1, so something is found as long as a row is left.
            let (size, text) = self.texts.iter().find(|(size, _)| *size <= rest)?;
            let range = start..start + size;
            start += size;
            Some((range, sqlx::query(AssertSqlSafe(text.clone()))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_exactly_one_chunk() {
        let multi = MultiRow::new("VALUES ", 2, "");
        for count in [0, 1, 3, 4, 63, 64, 333, 1000] {
            let rows: Vec<usize> = multi.chunks(count).flat_map(|(range, _)| range).collect();
            assert_eq!(rows, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn wide_rows_stay_below_the_limit_of_parameters() {
        let multi = MultiRow::new("VALUES ", 1000, "");
        assert_eq!(multi.texts.first().map(|(size, _)| *size), Some(32));
    }
}
