//! The read side's reading half: questions, answered from the rows of one projection.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::projection::Projection;
use super::tables::Statement;
use crate::shared::{Call, Context, Error, Fault, Result, Rows, Value};

/// The most rows that a host gives for one call.
const PAGE_ROWS: usize = 10_000;

/// How many pages are asked for at once after the first.
const PAGES_AT_ONCE: usize = 10;

/// A question; its fields are the parameters. Derive it.
pub trait Query: DeserializeOwned + JsonSchema {
    /// The answer.
    type Response: Serialize + JsonSchema;

    /// The name in paths.
    const NAME: &'static str;
    /// What it answers, in one sentence.
    const DESCRIPTION: &'static str;

    /// The name in paths.
    fn query_name(&self) -> &'static str {
        Self::NAME
    }
}

/// A projection that answers queries of type `Q`.
pub trait QueryHandler<Q: Query>: Projection {
    /// Answers from rows that `db` selects.
    ///
    /// # Errors
    /// A rejection; or the wish for rows, handed on by `?`.
    fn handle(query: &Q, ctx: &Context, db: &Db) -> Result<Q::Response>;
}

/// The rows of the projection. As with aggregates, the first call of [`Db::select`] leaves with a wish, and the
/// repeated call finds it fulfilled.
#[derive(Debug, Default)]
pub struct Db {
    answers: RefCell<Vec<Option<Rows>>>,
    asked: RefCell<usize>,
}

impl Db {
    /// With the rows so far; the glue and the test kit make it.
    pub fn new(answers: Vec<Rows>) -> Self {
        Self { answers: RefCell::new(answers.into_iter().map(Some).collect()), asked: RefCell::new(0) }
    }

    /// The rows that the statement answers for these parameters.
    ///
    /// # Errors
    /// The wish for the rows, which `?` hands on.
    pub fn select<const N: usize>(&self, statement: &Statement, params: [Value; N]) -> Result<Rows> {
        let mut rows = self.select_all(vec![Call { statement: statement.name, params: params.into() }])?;
        Ok(rows.pop().unwrap_or_default())
    }

    /// All rows of a statement that may have more than a host gives for one call (10 000), but at most `most`. The
    /// statement has two more parameters at its end, for `LIMIT` and `OFFSET`, and an order without ties. All pages are
    /// read in one transaction, so none overlaps another.
    ///
    /// # Errors
    /// The wish for the rows, which `?` hands on.
    pub fn select_paged<const N: usize>(
        &self,
        statement: &Statement,
        params: [Value; N],
        most: usize,
    ) -> Result<Rows> {
        let page = |number: usize| {
            let place = [PAGE_ROWS, number * PAGE_ROWS].map(|count| Value::from(count as u64));
            Call { statement: statement.name, params: params.iter().cloned().chain(place).collect() }
        };
        let mut rows = Rows::default();
        let mut pages = 0;
        while rows.len() == pages * PAGE_ROWS && rows.len() < most {
            let until = if pages == 0 { 1 } else { (pages + PAGES_AT_ONCE).min(most.div_ceil(PAGE_ROWS)) };
            for part in self.select_all((pages..until).map(page).collect())? {
                rows.0.extend(part.0);
            }
            pages = until;
        }
        rows.0.truncate(most);
        Ok(rows)
    }

    /// The rows of a fixed number of statements at once.
    ///
    /// # Errors
    /// As for [`Self::select_all`].
    pub fn select_each<const N: usize>(&self, calls: [Call; N]) -> Result<[Rows; N]> {
        let rows = self.select_all(calls.into())?;
        rows.try_into().map_err(|_| Fault::new("as many answers as calls were expected").into())
    }

    /// The rows of several statements at once: one round to the host instead of one for each.
    ///
    /// # Errors
    /// The wish for the rows, which `?` hands on.
    pub fn select_all(&self, calls: Vec<Call>) -> Result<Vec<Rows>> {
        let mut answers = self.answers.borrow_mut();
        let mut asked = self.asked.borrow_mut();
        let from = *asked;
        *asked += calls.len();
        if *asked > answers.len() {
            let missing = calls.into_iter().skip(answers.len().saturating_sub(from)).collect();
            return Err(Error::Reads(missing));
        }
        Ok(answers[from..*asked].iter_mut().map(|rows| rows.take().unwrap_or_default()).collect())
    }
}

impl Statement {
    /// A call of this statement, for [`Db::select_all`].
    pub fn call<const N: usize>(&self, params: [Value; N]) -> Call {
        Call { statement: self.name, params: params.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Statement = Statement::read("numbers", "", &[], &[]);

    /// All of `total` numbered rows, and the number of rounds.
    fn numbers(total: usize, most: usize) -> (Vec<u64>, usize) {
        let mut answers: Vec<Rows> = Vec::new();
        for round in 1.. {
            match Db::new(answers.clone()).select_paged(&NUMBERS, [true.into()], most) {
                Ok(rows) => return (rows.read(|row| row.take()).expect("numbers"), round),
                Err(Error::Reads(calls)) => answers.extend(calls.iter().map(|call| {
                    let [Value::Boolean(true), Value::Integer(limit), Value::Integer(offset)] =
                        call.params[..]
                    else {
                        panic!("{call:?}")
                    };
                    let until = (offset + limit).min(i64::try_from(total).expect("small"));
                    Rows((offset..until).map(|number| vec![Value::Integer(number)]).collect())
                })),
                Err(other) => panic!("{other}"),
            }
        }
        unreachable!("the loop has no end")
    }

    #[test]
    fn long_answers_come_in_pages_and_few_rounds() {
        for (total, most, rounds) in [
            (0, 9, 2),
            (9_999, 100_000, 2),
            (10_000, 100_000, 3),
            (35_000, 100_000, 3),
            (250_000, 500_000, 5),
        ] {
            let (found, taken) = numbers(total, most);
            assert_eq!((found.len(), taken), (total, rounds), "{total}");
            assert!(found.iter().zip(0..).all(|(number, place)| *number == place));
        }
        assert_eq!(numbers(35_000, 20_001).0.len(), 20_001);
    }
}
