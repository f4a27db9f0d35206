//! The read side's reading half: questions, answered from the rows of one projection.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::projection::Projection;
use super::tables::Statement;
use crate::shared::{Call, Context, Error, Fault, Result, Rows, Value};

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
