//! Expressions. Everything is put in parentheses, so that no precedence is left to chance.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Ident, Query, TrimWhereField, UnaryOperator, Value,
};

use super::scope::{Found, Scope};
use super::types::{Typed, common};
use super::{HOST_SCHEMA, Renderer, Result, Type, collated, complaint, name, quoted, refuse};

impl Renderer<'_> {
    /// An expression with its type.
    pub(super) fn expr(&mut self, expr: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        match expr {
            Expr::Nested(inner) => self.expr(inner, scope),
            Expr::Value(value) => self.value(expr, &value.value),
            Expr::Identifier(column) => self.column(expr, None, column, scope),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, column] => self.column(expr, Some(relation), column, scope),
                _ => refuse(expr, format!("`{expr}` is not a column")),
            },
            Expr::UnaryOp { op, expr: operand } => self.unary(*op, operand, scope),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Expr::IsNull(operand) => self.is_null(operand, "IS NULL", scope),
            Expr::IsNotNull(operand) => self.is_null(operand, "IS NOT NULL", scope),
            Expr::IsTrue(operand) => self.is_truth(operand, "IS TRUE", scope),
            Expr::IsNotTrue(operand) => self.is_truth(operand, "IS NOT TRUE", scope),
            Expr::IsFalse(operand) => self.is_truth(operand, "IS FALSE", scope),
            Expr::IsNotFalse(operand) => self.is_truth(operand, "IS NOT FALSE", scope),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, "IS DISTINCT FROM", scope),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, "IS NOT DISTINCT FROM", scope),
            Expr::Between { expr, negated, low, high } => {
                let [value, low, high] = self.alike([expr, low, high], scope)?;
                let not = not(*negated);
                Ok(Typed::new(
                    format!("({} {not}BETWEEN {} AND {})", value.sql, low.sql, high.sql),
                    Type::Boolean,
                ))
            }
            Expr::InList { expr: value, list, negated } => self.in_list(expr, value, list, *negated, scope),
            Expr::InSubquery { expr: value, subquery, negated } => {
                self.in_subquery(expr, value, subquery, *negated, scope)
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(*negated, expr, pattern, escape_char.as_deref(), scope)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(expr, operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Expr::Cast { kind: CastKind::Cast, expr: value, data_type, format: None } => {
                self.cast(expr, value, data_type, scope)
            }
            Expr::Exists { subquery, negated } => {
                let (sql, _) = self.query(subquery, scope, None)?;
                Ok(Typed::sure(format!("({}EXISTS ({sql}))", not(*negated)), Type::Boolean))
            }
            Expr::Subquery(subquery) => self.scalar(expr, subquery, scope),
            Expr::Substring { expr: text, substring_from: Some(from), substring_for, .. } => {
                self.substring(text, from, substring_for.as_deref(), scope)
            }
            Expr::Trim { trim_where: None, trim_what: None, expr: text, trim_characters } => {
                let letters = match trim_characters.as_deref() {
                    None => None,
                    Some([one]) => Some(one),
                    Some(_) => return refuse(expr, "trim takes a text and its letters"),
                };
                self.trim(None, text, letters, scope)
            }
            Expr::Function(function) => self.function(expr, function, scope),
            Expr::Tuple(_) => refuse(expr, "a row is only compared, with another row or with IN (SELECT …)"),
            _ => refuse(expr, format!("`{expr}` is not in what SQLite and PostgreSQL share")),
        }
    }

    /// An expression of this type.
    pub(super) fn of(&mut self, expr: &Expr, ty: Type, scope: &Scope<'_>) -> Result<Typed> {
        self.expr(expr, scope)?.coerce(ty).map_err(|detail| complaint(expr, detail))
    }

    /// Expressions that are made of one type.
    pub(super) fn alike<const N: usize>(&mut self, all: [&Expr; N], scope: &Scope<'_>) -> Result<[Typed; N]> {
        let typed = all.iter().map(|expr| self.expr(expr, scope)).collect::<Result<Vec<_>>>()?;
        let made = unified(typed).map_err(|detail| complaint(all[0], detail))?;
        <[Typed; N]>::try_from(made).map_err(|_| complaint(all[0], "it is not what it seems"))
    }

    fn value(&self, expr: &Expr, value: &Value) -> Result<Typed> {
        match value {
            Value::SingleQuotedString(text) => Ok(Typed::text(text.clone())),
            Value::Boolean(truth) => Ok(Typed::sure(truth.to_string(), Type::Boolean)),
            Value::Null => Ok(Typed::null()),
            Value::Number(digits, false) => number(digits)
                .ok_or_else(|| complaint(expr, format!("`{digits}` is no decimal number of 64 bits"))),
            Value::Placeholder(text) => {
                let number = text.strip_prefix('$').and_then(|digits| digits.parse().ok());
                let Some((number, param)) = number.and_then(|number| Some((number, self.parameter(number)?)))
                else {
                    return refuse(expr, format!("`{text}` is not one of its parameters"));
                };
                let ty = Type::from(param.column_type);
                let sql = format!("${number}::{}", ty.sql());
                let sql = if ty == Type::Text { collated(&sql) } else { sql };
                Ok(Typed { sql, ty, nullable: param.nullable, literal: None })
            }
            other => refuse(expr, format!("the literal {other} is not in both databases")),
        }
    }

    fn column(
        &self,
        at: &Expr,
        relation: Option<&Ident>,
        column: &Ident,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let relation = relation.map(name).transpose()?;
        let wanted = name(column)?;
        match scope.column(relation.as_deref(), &wanted) {
            Found::Column { alias, column } => {
                let sql = format!("{}.{}", quoted(&alias), quoted(&wanted));
                Ok(Typed { sql, ty: column.ty, nullable: column.nullable, literal: None })
            }
            Found::Nothing => refuse(at, format!("there is no such column `{at}`")),
            Found::Several => refuse(at, format!("`{at}` could be several columns; name its table")),
        }
    }

    fn unary(&mut self, op: UnaryOperator, operand: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        if op == UnaryOperator::Not {
            let typed = self.of(operand, Type::Boolean, scope)?;
            return Ok(Typed { sql: format!("(NOT {})", typed.sql), ..typed });
        }
        // The smallest number has no positive one.
        if let (UnaryOperator::Minus, Expr::Value(value)) = (op, operand)
            && let Value::Number(digits, false) = &value.value
            && let Some(typed) = number(&format!("-{digits}"))
        {
            return Ok(typed);
        }
        let typed = self.expr(operand, scope)?;
        let sign = if op == UnaryOperator::Minus { "-" } else { "+" };
        match typed.ty {
            Type::Integer | Type::Real => {
                Ok(Typed { sql: format!("({sign} {})", typed.sql), literal: None, ..typed })
            }
            other => refuse(operand, format!("{} where a number is wanted", other.word())),
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let a = self.of(left, Type::Boolean, scope)?;
                let b = self.of(right, Type::Boolean, scope)?;
                let nullable = a.nullable || b.nullable;
                Ok(Typed { nullable, ..Typed::new(format!("({} {op} {})", a.sql, b.sql), Type::Boolean) })
            }
            BinaryOperator::StringConcat => {
                let a = self.of(left, Type::Text, scope)?;
                let b = self.of(right, Type::Text, scope)?;
                let nullable = a.nullable || b.nullable;
                Ok(Typed { nullable, ..Typed::new(format!("({} || {})", a.sql, b.sql), Type::Text) })
            }
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => self.compare(left, op, right, scope),
            _ => self.arithmetic(left, op, right, scope),
        }
    }

    fn arithmetic(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let (a, b) = (self.expr(left, scope)?, self.expr(right, scope)?);
        let is_number = |ty| matches!(ty, Type::Integer | Type::Real);
        let ty = match (a.ty, b.ty) {
            (Type::Integer, Type::Integer) => Type::Integer,
            (a, b) if is_number(a) && is_number(b) => Type::Real,
            (a, b) => return refuse(left, format!("`{op}` does not take {} and {}", a.word(), b.word())),
        };
        if *op == BinaryOperator::Modulo && ty == Type::Real {
            return refuse(left, "`%` takes whole numbers");
        }
        let wide = |typed: Typed| if typed.ty == ty { typed.sql } else { format!("({})::float8", typed.sql) };
        let (a, b) = (wide(a), wide(b));
        Ok(match op {
            // By zero SQLite gives null.
            BinaryOperator::Divide | BinaryOperator::Modulo => {
                Typed::new(format!("({a} {op} nullif({b}, '0'::{}))", ty.sql()), ty)
            }
            _ => Typed::new(format!("({a} {op} {b})"), ty),
        })
    }

    fn case(
        &mut self,
        at: &Expr,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let mut results = Vec::new();
        let mut tests = Vec::new();
        for case in conditions {
            tests.push(match operand {
                Some(operand) => {
                    let [a, b] = self.alike([operand, &case.condition], scope)?;
                    format!("({} = {})", a.sql, b.sql)
                }
                None => self.of(&case.condition, Type::Boolean, scope)?.sql,
            });
            results.push(self.expr(&case.result, scope)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.expr(otherwise, scope)?,
            None => Typed::null(),
        });
        let results = unified(results).map_err(|detail| complaint(at, detail))?;
        let nullable = results.iter().any(|result| result.nullable);
        let mut sql = "(CASE".to_owned();
        for (test, result) in tests.iter().zip(&results) {
            sql = format!("{sql} WHEN {test} THEN {}", result.sql);
        }
        // One result more than tests: the last is that of ELSE.
        let last = results.last().map_or("NULL", |result| result.sql.as_str());
        let ty = results.first().map_or(Type::Null, |result| result.ty);
        Ok(Typed { nullable, ..Typed::new(format!("{sql} ELSE {last} END)"), ty) })
    }

    fn cast(&mut self, at: &Expr, value: &Expr, data_type: &DataType, scope: &Scope<'_>) -> Result<Typed> {
        let to = match data_type {
            DataType::Text => Type::Text,
            DataType::Integer(None) | DataType::Int(None) | DataType::BigInt(None) => Type::Integer,
            DataType::Real | DataType::Double(_) | DataType::DoublePrecision => Type::Real,
            other => return refuse(at, format!("CAST is to TEXT, INTEGER or REAL, not to {other}")),
        };
        let typed = self.expr(value, scope)?;
        let sql = &typed.sql;
        let sql = match (typed.ty, to) {
            (Type::Null, _) => typed.coerce(to).map_err(|detail| complaint(at, detail))?.sql,
            (from, to) if from == to => format!("({sql})"),
            (Type::Integer | Type::Uuid, Type::Text) => collated(&format!("({sql})::text")),
            (Type::Timestamp, Type::Text) => {
                collated(&format!("to_char(({sql}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"))
            }
            (Type::Boolean, Type::Integer) => format!("(({sql})::int4::int8)"),
            (Type::Real, Type::Integer) => format!("{HOST_SCHEMA}.real_to_integer({sql})"),
            (Type::Text, Type::Integer) => format!("{HOST_SCHEMA}.text_to_integer({sql})"),
            (Type::Integer, Type::Real) => format!("(({sql})::float8)"),
            (from, to) => {
                return refuse(at, format!("a CAST of {} to {} means two things", from.word(), to.word()));
            }
        };
        Ok(Typed::new(sql, to))
    }

    /// SQLite takes the first row of several.
    fn scalar(&mut self, at: &Expr, subquery: &Query, scope: &Scope<'_>) -> Result<Typed> {
        let (sql, columns) = self.query(subquery, scope, None)?;
        let [column] = columns.as_slice() else {
            return refuse(at, format!("the subquery gives {} columns, not one", columns.len()));
        };
        let limit = if subquery.limit_clause.is_none() { " LIMIT 1" } else { "" };
        Ok(Typed::new(format!("({sql}{limit})"), column.ty))
    }

    pub(super) fn substring(
        &mut self,
        text: &Expr,
        from: &Expr,
        count: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let text = self.of(text, Type::Text, scope)?;
        let from = self.of(from, Type::Integer, scope)?;
        let count = count.map(|count| self.of(count, Type::Integer, scope)).transpose()?;
        let count = count.map(|count| format!(", {}", count.sql)).unwrap_or_default();
        Ok(Typed::new(format!("{HOST_SCHEMA}.substr({}, {}{count})", text.sql, from.sql), Type::Text))
    }

    pub(super) fn trim(
        &mut self,
        side: Option<TrimWhereField>,
        text: &Expr,
        letters: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let function = match side {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        };
        let text = self.of(text, Type::Text, scope)?;
        let letters = letters.map(|letters| self.of(letters, Type::Text, scope)).transpose()?;
        let nullable = text.nullable || letters.as_ref().is_some_and(|letters| letters.nullable);
        let letters = letters.map(|letters| format!(", {}", letters.sql)).unwrap_or_default();
        Ok(Typed { nullable, ..Typed::new(format!("{function}({}{letters})", text.sql), Type::Text) })
    }
}

/// The same expressions, all of one type.
pub(super) fn unified(all: Vec<Typed>) -> Result<Vec<Typed>, String> {
    let ty = match common(&all)? {
        Type::Null => Type::Text,
        ty => ty,
    };
    all.into_iter().map(|typed| typed.coerce(ty)).collect()
}

pub(super) const fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

/// A literal number: whole ones are of 64 bits, others are floats.
fn number(digits: &str) -> Option<Typed> {
    if let Ok(whole) = digits.parse::<i64>() {
        return Some(Typed::integer(whole));
    }
    let is_decimal = digits.contains(['.', 'e', 'E'])
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let value = digits.parse::<f64>().ok().filter(|value| is_decimal && value.is_finite())?;
    // Both databases read the digits as the nearest float.
    Some(Typed::sure(format!("'{value:e}'::float8"), Type::Real))
}
