//! Calls of functions: scalar ones, aggregates and window functions.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, TrimWhereField, WindowSpec, WindowType,
};

use super::expression::unified;
use super::scope::Scope;
use super::types::Typed;
use super::{HOST_SCHEMA, Renderer, Result, Type, complaint, refuse};

/// What stands around the arguments of an aggregate or window function.
#[derive(Default)]
struct Around {
    distinct: &'static str,
    order: String,
    /// FILTER and OVER, behind the arguments.
    tail: String,
    has_over: bool,
}

impl Around {
    fn call(&self, name: &str, args: &str) -> String {
        format!("{name}({}{args}{}){}", self.distinct, self.order, self.tail)
    }

    fn is_plain(&self) -> bool {
        self.distinct.is_empty() && self.order.is_empty() && self.tail.is_empty()
    }
}

impl Renderer<'_> {
    /// A call, checked before against the list of functions.
    pub(super) fn function(&mut self, at: &Expr, call: &Function, scope: &Scope<'_>) -> Result<Typed> {
        let name = call.name.to_string().to_ascii_lowercase();
        if !call.within_group.is_empty() || call.null_treatment.is_some() || call.uses_odbc_syntax {
            return refuse(at, format!("this form of `{name}` is not in both databases"));
        }
        let (args, star) = arguments(at, call)?;
        let around = self.around(at, call, scope)?;
        if star {
            return match name.as_str() {
                "count" => Ok(Typed::sure(around.call("count", "*"), Type::Integer)),
                _ => refuse(at, format!("`{name}` does not take `*`")),
            };
        }
        match name.as_str() {
            "count" | "sum" | "avg" | "min" | "max" | "string_agg" => {
                self.aggregate(at, &name, &args, &around, scope)
            }
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "ntile" | "lag" | "lead"
            | "first_value" | "last_value" | "nth_value" => self.window(at, &name, &args, &around, scope),
            _ if !around.is_plain() => refuse(at, format!("`{name}` is no aggregate")),
            _ => self.scalar_function(at, &name, &args, scope),
        }
    }

    fn around(&mut self, at: &Expr, call: &Function, scope: &Scope<'_>) -> Result<Around> {
        let mut around = Around::default();
        if let FunctionArguments::List(list) = &call.args {
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
                around.distinct = "DISTINCT ";
            }
            for clause in &list.clauses {
                let FunctionArgumentClause::OrderBy(items) = clause else {
                    return refuse(at, format!("`{clause}` is not in both databases"));
                };
                around.order = format!(" ORDER BY {}", self.order_items(items, &[], scope)?);
            }
        }
        if let Some(filter) = &call.filter {
            let filter = self.of(filter, Type::Boolean, scope)?;
            around.tail = format!(" FILTER (WHERE {})", filter.sql);
        }
        match &call.over {
            None => {}
            Some(WindowType::WindowSpec(window)) => {
                around.has_over = true;
                around.tail = format!("{} OVER ({})", around.tail, self.over(at, window, scope)?);
            }
            Some(WindowType::NamedWindow(_)) => return refuse(at, "write the window where it is used"),
        }
        Ok(around)
    }

    fn over(&mut self, at: &Expr, window: &WindowSpec, scope: &Scope<'_>) -> Result<String> {
        if window.window_name.is_some() || window.window_frame.is_some() {
            return refuse(at, "a window has PARTITION BY and ORDER BY only");
        }
        let mut parts = Vec::new();
        if !window.partition_by.is_empty() {
            let by = window
                .partition_by
                .iter()
                .map(|expr| self.expr(expr, scope).map(|typed| typed.settled().sql))
                .collect::<Result<Vec<_>>>()?;
            parts.push(format!("PARTITION BY {}", by.join(", ")));
        }
        if !window.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.order_items(&window.order_by, &[], scope)?));
        }
        Ok(parts.join(" "))
    }

    fn aggregate(
        &mut self,
        at: &Expr,
        name: &str,
        args: &[&Expr],
        around: &Around,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        if name == "string_agg" {
            let [text, separator] = args else {
                return refuse(at, "`string_agg` takes a text and a separator");
            };
            let text = self.of(text, Type::Text, scope)?;
            let separator = self.of(separator, Type::Text, scope)?;
            let sql = around.call(name, &format!("{}, {}", text.sql, separator.sql));
            return Ok(Typed::new(sql, Type::Text));
        }
        let [arg] = args else { return refuse(at, format!("`{name}` takes one value")) };
        let arg = self.expr(arg, scope)?.settled();
        let whole = || around.call(name, &arg.sql);
        match (name, arg.ty) {
            ("count", _) => Ok(Typed::sure(whole(), Type::Integer)),
            ("sum", Type::Integer) => Ok(Typed::new(format!("({})::int8", whole()), Type::Integer)),
            ("sum", Type::Real) => Ok(Typed::new(whole(), Type::Real)),
            // As SQLite divides: the sum as a float by the count.
            ("avg", Type::Integer | Type::Real) => {
                let (sum, count) = (around.call("sum", &arg.sql), around.call("count", &arg.sql));
                Ok(Typed::new(format!("(({sum})::float8 / nullif(({count})::float8, 0))"), Type::Real))
            }
            ("min" | "max", Type::Boolean) => {
                let function = if name == "min" { "bool_and" } else { "bool_or" };
                Ok(Typed::new(around.call(function, &arg.sql), Type::Boolean))
            }
            // There is no such aggregate of uuids; their texts are in the same order.
            ("min" | "max", Type::Uuid) => {
                let text = super::collated(&format!("({})::text", arg.sql));
                Ok(Typed::new(format!("({})::uuid", around.call(name, &text)), Type::Uuid))
            }
            ("min" | "max", ty) => Ok(Typed::new(whole(), ty)),
            (_, ty) => refuse(at, format!("`{name}` does not take {}", ty.word())),
        }
    }

    fn window(
        &mut self,
        at: &Expr,
        name: &str,
        args: &[&Expr],
        around: &Around,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        if !around.has_over {
            return refuse(at, format!("`{name}` needs OVER"));
        }
        match (name, args) {
            ("row_number" | "rank" | "dense_rank", []) => {
                Ok(Typed::sure(around.call(name, ""), Type::Integer))
            }
            ("percent_rank", []) => Ok(Typed::sure(around.call(name, ""), Type::Real)),
            ("ntile", [count]) => {
                let count = self.of(count, Type::Integer, scope)?;
                let sql = format!("({})::int8", around.call(name, &format!("({})::int4", count.sql)));
                Ok(Typed::sure(sql, Type::Integer))
            }
            ("first_value" | "last_value", [value]) => {
                let value = self.expr(value, scope)?.settled();
                Ok(Typed::new(around.call(name, &value.sql), value.ty))
            }
            ("nth_value" | "lag" | "lead", [value, number]) => {
                let value = self.expr(value, scope)?.settled();
                let number = self.of(number, Type::Integer, scope)?;
                let args = format!("{}, ({})::int4", value.sql, number.sql);
                Ok(Typed::new(around.call(name, &args), value.ty))
            }
            ("lag" | "lead", [value]) => {
                let value = self.expr(value, scope)?.settled();
                Ok(Typed::new(around.call(name, &value.sql), value.ty))
            }
            ("lag" | "lead", [value, number, otherwise]) => {
                let [value, otherwise] = self.alike([value, otherwise], scope)?;
                let number = self.of(number, Type::Integer, scope)?;
                let args = format!("{}, ({})::int4, {}", value.sql, number.sql, otherwise.sql);
                Ok(Typed::new(around.call(name, &args), value.ty))
            }
            _ => refuse(at, format!("`{name}` does not take {} values", args.len())),
        }
    }

    fn scalar_function(&mut self, at: &Expr, name: &str, args: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        match (name, args) {
            ("coalesce", [_, _, ..]) => {
                let values = args.iter().map(|arg| self.expr(arg, scope)).collect::<Result<_>>()?;
                let values = unified(values).map_err(|detail| complaint(at, detail))?;
                let nullable = values.iter().all(|value| value.nullable);
                let ty = values.first().map_or(Type::Text, |value| value.ty);
                let sql: Vec<String> = values.into_iter().map(|value| value.sql).collect();
                Ok(Typed { nullable, ..Typed::new(format!("coalesce({})", sql.join(", ")), ty) })
            }
            ("nullif", [a, b]) => {
                let [a, b] = self.alike([a, b], scope)?;
                Ok(Typed::new(format!("nullif({}, {})", a.sql, b.sql), a.ty))
            }
            ("concat", [_, ..]) => {
                let parts = args
                    .iter()
                    .map(|arg| Ok(format!("coalesce({}, '')", self.of(arg, Type::Text, scope)?.sql)))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Typed::sure(format!("({})", parts.join(" || ")), Type::Text))
            }
            ("abs", [value]) => {
                let value = self.expr(value, scope)?;
                match value.ty {
                    Type::Integer | Type::Real => {
                        Ok(Typed { sql: format!("abs({})", value.sql), literal: None, ..value })
                    }
                    other => refuse(at, format!("`abs` does not take {}", other.word())),
                }
            }
            ("round", [value]) => {
                let value = self.of(value, Type::Real, scope)?;
                Ok(Typed { sql: format!("{HOST_SCHEMA}.round({})", value.sql), literal: None, ..value })
            }
            ("length", [text]) => {
                let text = self.of(text, Type::Text, scope)?;
                Ok(Typed {
                    nullable: text.nullable,
                    ..Typed::new(format!("length({})::int8", text.sql), Type::Integer)
                })
            }
            ("lower" | "upper", [text]) => {
                let text = self.of(text, Type::Text, scope)?;
                Ok(Typed { sql: format!("{name}({})", text.sql), literal: None, ..text })
            }
            ("replace", [text, from, to]) => {
                let [text, from, to] = [text, from, to].map(|arg| self.of(arg, Type::Text, scope));
                let sql = format!("replace({}, {}, {})", text?.sql, from?.sql, to?.sql);
                Ok(Typed::new(sql, Type::Text))
            }
            ("ltrim", [text]) => self.trim(Some(TrimWhereField::Leading), text, None, scope),
            ("ltrim", [text, letters]) => {
                self.trim(Some(TrimWhereField::Leading), text, Some(letters), scope)
            }
            ("rtrim", [text]) => self.trim(Some(TrimWhereField::Trailing), text, None, scope),
            ("rtrim", [text, letters]) => {
                self.trim(Some(TrimWhereField::Trailing), text, Some(letters), scope)
            }
            ("trim", [text]) => self.trim(None, text, None, scope),
            ("trim", [text, letters]) => self.trim(None, text, Some(letters), scope),
            ("substr" | "substring", [text, from]) => self.substring(text, from, None, scope),
            ("substr" | "substring", [text, from, count]) => self.substring(text, from, Some(count), scope),
            _ => refuse(at, format!("`{name}` does not take {} values", args.len())),
        }
    }
}

/// The arguments, or that there is a star.
fn arguments<'a>(at: &Expr, call: &'a Function) -> Result<(Vec<&'a Expr>, bool)> {
    let list = match &call.args {
        FunctionArguments::List(list) => list,
        FunctionArguments::None | FunctionArguments::Subquery(_) => {
            return refuse(at, format!("`{}` needs parentheses and values in them", call.name));
        }
    };
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if list.args.len() == 1 => {
                return Ok((Vec::new(), true));
            }
            other => return refuse(at, format!("the argument `{other}` is not in both databases")),
        }
    }
    Ok((args, false))
}
