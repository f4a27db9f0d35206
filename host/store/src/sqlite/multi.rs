//! Several statements, each with many rows of parameters, in one round trip to the connection's thread.
//!
//! The numbers of rows are from a fixed list, so there are few different texts and each stays prepared. Rows that are missing
//! to the next number are NULL in every column: what comes of them has to be nothing.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, Type};

/// A statement being bound.
pub(crate) type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The numbers of rows, from the smallest. Small ones are exact, since most batches are small; large ones are few, since a
/// script's text is made of one number for each of its statements.
const SIZES: [usize; 11] = [1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512];

/// From this number of rows on a statement goes alone.
const ALONE_FROM: usize = 64;

/// SQLite's own limit of parameters of one statement.
const PARAMETER_LIMIT: usize = 32_766;

/// A statement whose text repeats one group of parameters.
#[derive(Debug)]
pub(crate) struct MultiRow {
    columns: usize,
    texts: Vec<(usize, Arc<str>)>,
}

impl MultiRow {
    /// `head`, then `(?, ?, …)` of `columns` parameters as often as needed, then `tail`. A group of NULLs must do nothing.
    pub fn new(head: &str, columns: usize, tail: &str) -> Self {
        let group = format!("({})", vec!["?"; columns].join(", "));
        let texts = SIZES
            .into_iter()
            .filter(|size| *size == 1 || size * columns <= PARAMETER_LIMIT)
            .map(|size| (size, format!("{head}{}{tail};", vec![group.as_str(); size].join(", ")).into()))
            .collect();
        Self { columns, texts }
    }

    /// An insertion: `head` is `INSERT INTO table (columns)`, and the column with the number `required`, counted from 0, is never
    /// NULL in a row that is meant.
    pub fn insert(head: &str, columns: usize, required: usize, tail: &str) -> Self {
        let tail = format!(") WHERE column{} IS NOT NULL{tail}", required + 1);
        Self::new(&format!("{head} SELECT * FROM (VALUES "), columns, &tail)
    }

    /// The statement for so many rows, or for as many of them as one can take.
    fn for_rows(&self, count: usize) -> Option<&(usize, Arc<str>)> {
        self.texts.iter().find(|(size, _)| *size >= count).or_else(|| self.texts.last())
    }
}

/// Statements that run one after the other, up to the first that fails. Small ones go together in one round trip; one with many
/// rows goes alone, or there would be no end of different texts, each of which stays prepared.
#[derive(Debug, Default)]
pub(crate) struct Script {
    parts: Vec<Part>,
    /// Whether the last part takes no more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Part {
    text: String,
    parameters: Parameters,
}

/// The parameters of a script, in the order of the statements' question marks.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    values: SqliteArguments,
    failed: Option<BoxDynError>,
}

impl Parameters {
    /// Binds the next one.
    pub fn bind<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> &mut Self {
        if let Err(error) = self.values.add(value) {
            self.failed.get_or_insert(error);
        }
        self
    }
}

impl Part {
    fn query(self) -> Result<Bound<'static>, sqlx::Error> {
        match self.parameters.failed {
            // Every text in it is a constant of this crate, or made of checked names of a manifest.
            None => Ok(sqlx::query_with(AssertSqlSafe(self.text), self.parameters.values)),
            Some(error) => Err(sqlx::Error::Encode(error)),
        }
    }
}

impl Script {
    /// Adds a statement without parameters; it ends with a semicolon.
    pub fn push(&mut self, statement: &str) {
        self.part(1).text.push_str(statement);
    }

    /// Adds a statement for all of these rows; `bind` is told a row's number. No rows, no statement.
    pub fn rows<T>(
        &mut self,
        statement: &MultiRow,
        rows: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        bind: impl Fn(&mut Parameters, usize, T),
    ) {
        let mut rows = rows.into_iter().enumerate();
        while rows.len() > 0 {
            let count = rows.len();
            let Some((size, text)) = statement.for_rows(count) else { return };
            let part = self.part(*size);
            part.text.push_str(text);
            for (index, row) in rows.by_ref().take(*size) {
                bind(&mut part.parameters, index, row);
            }
            for _ in count * statement.columns..size * statement.columns {
                part.parameters.bind(None::<i64>);
            }
        }
    }

    /// The part for a statement with so many rows.
    fn part(&mut self, rows: usize) -> &mut Part {
        let alone = rows >= ALONE_FROM;
        if self.closed || alone || self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        self.closed = alone;
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// Runs it. What it made of the database stands, up to the statement that failed, unless a transaction is given up.
    pub async fn execute(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for part in self.parts {
            part.query()?.execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Runs it and answers the rows of all of its statements, one after the other.
    pub async fn fetch_all(self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut rows = Vec::new();
        for part in self.parts {
            rows.extend(part.query()?.fetch_all(&mut *connection).await?);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_row_is_bound_once_and_few_statements_do() {
        let multi = MultiRow::new("VALUES ", 2, "");
        for count in [0, 1, 5, 63, 64, 333, 512, 513, 1000] {
            let mut script = Script::default();
            let seen = RefCell::new(Vec::new());
            script.rows(&multi, 0..count, |parameters, index, row| {
                assert_eq!(index, row);
                seen.borrow_mut().push(index);
                parameters.bind(0_i64).bind(0_i64);
            });
            assert_eq!(script.parts.len(), count.div_ceil(512));
            for part in script.parts {
                assert_eq!(part.text.matches(';').count(), 1);
                assert_eq!(part.text.matches('?').count(), part.parameters.values.len());
            }
            assert_eq!(seen.into_inner(), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn small_statements_share_a_round_trip_and_large_ones_go_alone_in_their_order() {
        let multi = MultiRow::new("VALUES ", 1, "");
        let mut script = Script::default();
        script.push("BEGIN;");
        for count in [1, 3, 64, 2, 2, 700] {
            script.rows(&multi, 0..count, |parameters, _, _| {
                parameters.bind(0_i64);
            });
        }
        let statements: Vec<usize> = script.parts.iter().map(|part| part.text.matches(';').count()).collect();
        assert_eq!(statements, [3, 1, 2, 1, 1]);
    }

    #[test]
    fn wide_rows_stay_below_the_limit_of_parameters() {
        let multi = MultiRow::new("VALUES ", 1000, "");
        assert_eq!(multi.texts.last().map(|(size, _)| *size), Some(32));
    }
}
