//! ORDER BY and LIMIT, where SQLite and PostgreSQL differ silently.

use sqlparser::ast::{Expr, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderBySort, Value};

use super::scope::{Column, Scope};
use super::{Renderer, Result, Type, name, quoted, refuse, unsupported};

impl Renderer<'_> {
    pub(super) fn order(
        &mut self,
        order: &OrderBy,
        columns: &[Column],
        place: Option<&Scope<'_>>,
    ) -> Result<String> {
        let OrderByKind::Expressions(items) = &order.kind else { return unsupported("ORDER BY ALL") };
        match place {
            Some(place) => self.order_items(items, columns, place),
            None => self.order_items(items, columns, &Scope::root()),
        }
    }

    /// What to sort by. Nulls come where SQLite has them: before everything.
    pub(super) fn order_items(
        &mut self,
        items: &[OrderByExpr],
        columns: &[Column],
        place: &Scope<'_>,
    ) -> Result<String> {
        let mut texts = Vec::new();
        for item in items {
            if item.with_fill.is_some() {
                return refuse(&item.expr, "WITH FILL is not in both databases");
            }
            let (sql, nullable) = self.order_item(&item.expr, columns, place)?;
            let is_descending = match item.options.sort {
                None | Some(OrderBySort::Asc) => false,
                Some(OrderBySort::Desc) => true,
                Some(_) => return refuse(&item.expr, "sorting is ASC or DESC"),
            };
            let nulls = match item.options.nulls_first {
                Some(true) => " NULLS FIRST",
                Some(false) => " NULLS LAST",
                None if !nullable => "",
                None if is_descending => " NULLS LAST",
                None => " NULLS FIRST",
            };
            texts.push(format!("{sql}{}{nulls}", if is_descending { " DESC" } else { "" }));
        }
        Ok(texts.join(", "))
    }

    /// A column of the answer by its name or number, or an expression.
    fn order_item(&mut self, expr: &Expr, columns: &[Column], place: &Scope<'_>) -> Result<(String, bool)> {
        if let Expr::Value(value) = expr
            && let Value::Number(digits, _) = &value.value
        {
            let number = digits.parse::<usize>().ok().filter(|number| *number >= 1);
            return match number.and_then(|number| columns.get(number - 1)) {
                Some(column) => Ok((digits.clone(), column.nullable)),
                None => refuse(expr, format!("there is no column {digits}")),
            };
        }
        if let Expr::Identifier(ident) = expr {
            let own = name(ident)?;
            let mut named = columns.iter().filter(|column| column.name.as_deref() == Some(&own));
            if let Some(column) = named.next() {
                return if named.next().is_some() {
                    refuse(expr, format!("`{own}` could be several columns"))
                } else {
                    Ok((quoted(&own), column.nullable))
                };
            }
        }
        let typed = self.expr(expr, place)?.settled();
        Ok((typed.sql, typed.nullable))
    }

    /// SQLite takes a negative LIMIT for none, and a negative OFFSET for 0.
    pub(super) fn limit(
        &mut self,
        clause: Option<&LimitClause>,
        scope: &Scope<'_>,
        most: Option<&str>,
    ) -> Result<String> {
        let (limit, offset) = match clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            Some(_) => return unsupported("LIMIT BY"),
        };
        let mut number = |expr: &Expr| -> Result<String> {
            let typed = self.of(expr, Type::Integer, scope)?;
            if typed.nullable {
                return refuse(expr, "what may be null is no limit");
            }
            Ok(typed.sql)
        };
        let mut sql = String::new();
        let own = limit.map(&mut number).transpose()?;
        let own = own.map(|limit| format!("(CASE WHEN {limit} >= 0 THEN {limit} END)"));
        match (own, most) {
            (Some(own), Some(most)) => sql = format!(" LIMIT least({own}, {most})"),
            (Some(own), None) => sql = format!(" LIMIT {own}"),
            (None, Some(most)) => sql = format!(" LIMIT {most}"),
            (None, None) => {}
        }
        if let Some(offset) = offset {
            sql = format!("{sql} OFFSET greatest({}, 0)", number(offset)?);
        }
        Ok(sql)
    }
}
