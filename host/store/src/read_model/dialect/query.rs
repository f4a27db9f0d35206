//! Queries: WITH, UNION and its like, and what is around them.

use sqlparser::ast::{Cte, CteAsMaterialized, Query, SetExpr, SetOperator, SetQuantifier, With};

use super::scope::{Column, Relation, Scope};
use super::types::{Typed, common};
use super::{Renderer, Result, Type, complaint, name, quoted, refuse, refuse_name, unsupported};
use crate::read_model::check::Complaint;

/// A query's body: its text, its columns, and what its ORDER BY may name besides them.
pub(super) type Body = (String, Vec<Column>, Vec<Relation>);

impl Renderer<'_> {
    /// The whole of a `read` statement: the declared columns, and no more rows than the last parameter says.
    pub(super) fn read(&mut self, query: &Query, scope: &Scope<'_>) -> Result<String> {
        let declared = &self.declared.columns;
        let (_, found) = self.query(query, scope, None)?;
        if found.len() != declared.len() {
            let detail = format!("it gives {} columns, and {} are declared", found.len(), declared.len());
            return Err(Complaint::whole(detail));
        }
        let wanted: Vec<Type> = declared.iter().map(|column| column.column_type.into()).collect();
        let most = format!("${}::int8", self.declared.params.len() + 1);
        self.limited(query, scope, Some(&wanted), Some(&most)).map(|(sql, _)| sql)
    }

    /// A query, with columns of these types if they are given.
    pub(super) fn query(
        &mut self,
        query: &Query,
        scope: &Scope<'_>,
        wanted: Option<&[Type]>,
    ) -> Result<(String, Vec<Column>)> {
        self.limited(query, scope, wanted, None)
    }

    fn limited(
        &mut self,
        query: &Query,
        scope: &Scope<'_>,
        wanted: Option<&[Type]>,
        most: Option<&str>,
    ) -> Result<(String, Vec<Column>)> {
        if query.fetch.is_some()
            || !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return unsupported("what stands behind the query");
        }
        let (with, inner) = self.with(query.with.as_ref(), scope, None)?;
        let (body, columns, relations) = self.body(&query.body, &inner, wanted)?;
        let mut sql = format!("{with}{body}");
        if let Some(order) = &query.order_by {
            let place = inner.reading(relations);
            let is_select = matches!(&*query.body, SetExpr::Select(_));
            sql = format!("{sql} ORDER BY {}", self.order(order, &columns, is_select.then_some(&place))?);
        }
        sql.push_str(&self.limit(query.limit_clause.as_ref(), &inner, most)?);
        Ok((sql, columns))
    }

    /// Refuses everything but a WITH.
    pub(super) fn only_with(&self, query: &Query) -> Result<()> {
        if query.order_by.is_some() || query.limit_clause.is_some() {
            return unsupported("ORDER BY or LIMIT of a write");
        }
        Ok(())
    }

    /// The WITH clause, the host's own common table first, and the place behind it.
    pub(super) fn with<'s>(
        &mut self,
        with: Option<&With>,
        scope: &'s Scope<'s>,
        own: Option<(String, Vec<Column>)>,
    ) -> Result<(String, Scope<'s>)> {
        let mut inner = scope.inner();
        let mut parts = Vec::new();
        if let Some((sql, columns)) = own {
            parts.push(sql);
            inner.common_tables.push(("input".to_owned(), columns));
        }
        for cte in with.iter().flat_map(|with| &with.cte_tables) {
            let recursive = with.is_some_and(|with| with.recursive);
            let (name, sql, columns) = self.common_table(cte, recursive, &inner)?;
            parts.push(sql);
            inner.common_tables.push((name, columns));
        }
        if parts.is_empty() {
            return Ok((String::new(), inner));
        }
        let word = if with.is_some_and(|with| with.recursive) { "WITH RECURSIVE" } else { "WITH" };
        Ok((format!("{word} {} ", parts.join(", ")), inner))
    }

    fn common_table(
        &mut self,
        cte: &Cte,
        recursive: bool,
        scope: &Scope<'_>,
    ) -> Result<(String, String, Vec<Column>)> {
        let at = &cte.alias.name;
        let own = name(at)?;
        let (sql, mut columns) = match self.anchor(cte, recursive)? {
            Some((anchor, recursive_part, quantifier)) => {
                let (first, mut columns) = self.set(anchor, scope, None)?;
                self.rename(cte, &mut columns)?;
                for column in &mut columns {
                    column.nullable = true;
                }
                let types: Vec<Type> = columns.iter().map(|column| column.ty).collect();
                let mut inner = scope.inner();
                inner.common_tables.push((own.clone(), columns.clone()));
                let (next, _) = self.set(recursive_part, &inner, Some(&types))?;
                (format!("{first} UNION{quantifier} {next}"), columns)
            }
            None => self.query(&cte.query, scope, None)?,
        };
        self.rename(cte, &mut columns)?;
        let mut names = Vec::new();
        for column in &columns {
            match &column.name {
                Some(name) => names.push(quoted(name)),
                None => return refuse_name(at, format!("each column of `{own}` needs a name: `… AS name`")),
            }
        }
        let materialized = match cte.materialized {
            None => "",
            Some(CteAsMaterialized::Materialized) => "MATERIALIZED ",
            Some(CteAsMaterialized::NotMaterialized) => "NOT MATERIALIZED ",
        };
        let sql = format!("{} ({}) AS {materialized}({sql})", quoted(&own), names.join(", "));
        Ok((own, sql, columns))
    }

    /// The two halves of a common table that reads itself.
    fn anchor<'q>(
        &self,
        cte: &'q Cte,
        recursive: bool,
    ) -> Result<Option<(&'q SetExpr, &'q SetExpr, &'static str)>> {
        let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = &*cte.query.body
        else {
            return Ok(None);
        };
        let text = right.to_string().to_ascii_lowercase();
        let own = name(&cte.alias.name)?;
        let names_itself =
            text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).any(|word| word == own);
        if !recursive || !names_itself {
            return Ok(None);
        }
        if cte.query.order_by.is_some() || cte.query.limit_clause.is_some() || cte.query.with.is_some() {
            return refuse_name(
                &cte.alias.name,
                "a common table that reads itself is only SELECT … UNION … SELECT",
            );
        }
        Ok(Some((left, right, quantifier(*set_quantifier)?)))
    }

    fn rename(&self, cte: &Cte, columns: &mut [Column]) -> Result<()> {
        let given = &cte.alias.columns;
        if given.is_empty() {
            return Ok(());
        }
        if given.len() != columns.len() {
            let detail = format!("it gives {} columns, and {} are named", columns.len(), given.len());
            return refuse_name(&cte.alias.name, detail);
        }
        for (column, given) in columns.iter_mut().zip(given) {
            column.name = Some(name(&given.name)?);
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr, scope: &Scope<'_>, wanted: Option<&[Type]>) -> Result<Body> {
        match body {
            SetExpr::Select(select) => self.select(select, scope, wanted),
            other => {
                let (sql, columns) = self.set(other, scope, wanted)?;
                Ok((sql, columns, Vec::new()))
            }
        }
    }

    fn set(
        &mut self,
        body: &SetExpr,
        scope: &Scope<'_>,
        wanted: Option<&[Type]>,
    ) -> Result<(String, Vec<Column>)> {
        match body {
            SetExpr::Select(select) => {
                self.select(select, scope, wanted).map(|(sql, columns, _)| (sql, columns))
            }
            SetExpr::Query(query) => {
                let (sql, columns) = self.query(query, scope, wanted)?;
                Ok((format!("({sql})"), columns))
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let types = match wanted {
                    Some(types) => types.to_vec(),
                    None => self.common_types(body, left, right, scope)?,
                };
                let (a, mut columns) = self.set(left, scope, Some(&types))?;
                let (b, others) = self.set(right, scope, Some(&types))?;
                for (column, other) in columns.iter_mut().zip(others) {
                    column.nullable |= other.nullable;
                }
                if *op == SetOperator::Minus {
                    return refuse(body, "MINUS is called EXCEPT");
                }
                Ok((format!("({a} {op}{} {b})", quantifier(*set_quantifier)?), columns))
            }
            other => refuse(other, "a query is made of SELECT, UNION, INTERSECT and EXCEPT"),
        }
    }

    /// The types that both sides can have.
    fn common_types(
        &mut self,
        at: &SetExpr,
        left: &SetExpr,
        right: &SetExpr,
        scope: &Scope<'_>,
    ) -> Result<Vec<Type>> {
        let (a, b) = (self.outline(left, scope)?, self.outline(right, scope)?);
        if a.len() != b.len() {
            return refuse(at, format!("one side gives {} columns, the other {}", a.len(), b.len()));
        }
        a.iter().zip(&b).map(|(a, b)| common([a, b]).map_err(|detail| complaint(at, detail))).collect()
    }

    /// The columns of a side, literals as literals.
    fn outline(&mut self, side: &SetExpr, scope: &Scope<'_>) -> Result<Vec<Typed>> {
        if let SetExpr::Select(select) = side {
            let (_, relations) = self.from(&select.from, scope)?;
            let place = scope.reading(relations);
            let items = self.items(&select.projection, &place)?;
            return Ok(items.into_iter().map(|(_, typed)| typed).collect());
        }
        let (_, columns) = self.set(side, scope, None)?;
        Ok(columns.into_iter().map(|column| Typed::new(String::new(), column.ty)).collect())
    }
}

fn quantifier(quantifier: SetQuantifier) -> Result<&'static str> {
    match quantifier {
        SetQuantifier::All => Ok(" ALL"),
        SetQuantifier::None => Ok(""),
        _ => unsupported("this form of UNION"),
    }
}
