//! Comparisons: what is true or false of values.

use sqlparser::ast::{BinaryOperator, Expr, Query, Value};

use super::expression::{not, unified};
use super::scope::Scope;
use super::types::Typed;
use super::{Renderer, Result, Type, complaint, refuse, string};

impl Renderer<'_> {
    pub(super) fn compare(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        if let (Expr::Tuple(lefts), Expr::Tuple(rights)) = (left, right) {
            if lefts.len() != rights.len() {
                return refuse(left, "the rows are not of the same width");
            }
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for (left, right) in lefts.iter().zip(rights) {
                let [left, right] = self.alike([left, right], scope)?;
                a.push(left.sql);
                b.push(right.sql);
            }
            let sql = format!("(ROW({}) {op} ROW({}))", a.join(", "), b.join(", "));
            return Ok(Typed::new(sql, Type::Boolean));
        }
        let [a, b] = self.alike([left, right], scope)?;
        let nullable = a.nullable || b.nullable;
        Ok(Typed { nullable, ..Typed::new(format!("({} {op} {})", a.sql, b.sql), Type::Boolean) })
    }

    pub(super) fn is_null(&mut self, operand: &Expr, test: &str, scope: &Scope<'_>) -> Result<Typed> {
        let typed = self.expr(operand, scope)?.settled();
        Ok(Typed::sure(format!("({} {test})", typed.sql), Type::Boolean))
    }

    pub(super) fn is_truth(&mut self, operand: &Expr, test: &str, scope: &Scope<'_>) -> Result<Typed> {
        let typed = self.of(operand, Type::Boolean, scope)?;
        Ok(Typed::sure(format!("({} {test})", typed.sql), Type::Boolean))
    }

    pub(super) fn distinct(
        &mut self,
        left: &Expr,
        right: &Expr,
        test: &str,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let [a, b] = self.alike([left, right], scope)?;
        Ok(Typed::sure(format!("({} {test} {})", a.sql, b.sql), Type::Boolean))
    }

    pub(super) fn in_list(
        &mut self,
        at: &Expr,
        value: &Expr,
        list: &[Expr],
        negated: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        if list.is_empty() {
            return refuse(at, "an empty list is not in PostgreSQL");
        }
        let all: Vec<Typed> =
            std::iter::once(value).chain(list).map(|expr| self.expr(expr, scope)).collect::<Result<_>>()?;
        let made = unified(all).map_err(|detail| complaint(at, detail))?;
        let sql: Vec<&str> = made.iter().map(|typed| typed.sql.as_str()).collect();
        let sql = format!("({} {}IN ({}))", sql[0], not(negated), sql[1..].join(", "));
        Ok(Typed::new(sql, Type::Boolean))
    }

    pub(super) fn in_subquery(
        &mut self,
        at: &Expr,
        value: &Expr,
        subquery: &Query,
        negated: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let values: Vec<&Expr> = match value {
            Expr::Tuple(values) => values.iter().collect(),
            one => vec![one],
        };
        let typed: Vec<Typed> = values.iter().map(|value| self.expr(value, scope)).collect::<Result<_>>()?;
        let (_, columns) = self.query(subquery, scope, None)?;
        if columns.len() != typed.len() {
            return refuse(at, format!("the subquery gives {} columns", columns.len()));
        }
        let wanted: Vec<Type> = typed
            .iter()
            .zip(&columns)
            .map(|(typed, column)| if typed.literal.is_some() { column.ty } else { typed.ty })
            .collect();
        let (sql, _) = self.query(subquery, scope, Some(&wanted))?;
        let row = typed
            .into_iter()
            .zip(wanted)
            .map(|(typed, ty)| typed.coerce(ty).map(|typed| typed.sql))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|detail| complaint(value, detail))?;
        Ok(Typed::new(format!("(({}) {}IN ({sql}))", row.join(", "), not(negated)), Type::Boolean))
    }

    /// `LIKE` of SQLite ignores the case of ASCII letters, as ILIKE does under the collation `C`, and has no escape
    /// character of its own.
    pub(super) fn like(
        &mut self,
        negated: bool,
        text: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let value = self.of(text, Type::Text, scope)?;
        let sample = self.of(pattern, Type::Text, scope)?;
        let escape = match escape {
            None => String::new(),
            Some(Expr::Value(value)) => match &value.value {
                Value::SingleQuotedString(letter) if letter.chars().count() == 1 => letter.clone(),
                _ => return refuse(pattern, "ESCAPE takes one letter in quotes"),
            },
            Some(other) => return refuse(other, "ESCAPE takes one letter in quotes"),
        };
        let nullable = value.nullable || sample.nullable;
        let sql = format!("({} {}ILIKE {} ESCAPE {})", value.sql, not(negated), sample.sql, string(&escape));
        Ok(Typed { nullable, ..Typed::new(sql, Type::Boolean) })
    }
}
