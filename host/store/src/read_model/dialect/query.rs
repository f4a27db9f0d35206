//! Queries: WITH, SELECT, joins, sorting and limits.

use sqlparser::ast::{
    Cte, CteAsMaterialized, Distinct, Expr, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause,
    OrderBy, OrderByExpr, OrderByKind, OrderBySort, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableFactor, TableWithJoins, Value,
    WildcardAdditionalOptions, With,
};

use super::scope::{Column, Relation, Scope};
use super::types::{Typed, common};
use super::{HOST_SCHEMA, Renderer, Result, Type, complaint, name, quoted, refuse, refuse_name, unsupported};
use crate::read_model::check::Complaint;

/// A query's body: its text, its columns, and what its ORDER BY may name besides them.
type Body = (String, Vec<Column>, Vec<Relation>);

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

    fn select(&mut self, select: &Select, scope: &Scope<'_>, wanted: Option<&[Type]>) -> Result<Body> {
        plain(select)?;
        let (from, relations) = self.from(&select.from, scope)?;
        let place = scope.reading(relations);
        let items = self.items(&select.projection, &place)?;
        if let Some(wanted) = wanted
            && wanted.len() != items.len()
        {
            return refuse(
                select,
                format!("it gives {} columns where {} are wanted", items.len(), wanted.len()),
            );
        }
        let mut columns = Vec::new();
        let mut texts = Vec::new();
        for (index, (name, typed)) in items.into_iter().enumerate() {
            let typed = match wanted.and_then(|wanted| wanted.get(index)) {
                Some(ty) => typed.coerce(*ty).map_err(|detail| complaint(select, detail))?,
                None => typed.settled(),
            };
            texts.push(match &name {
                Some(name) => format!("{} AS {}", typed.sql, quoted(name)),
                None => typed.sql,
            });
            columns.push(Column { name, ty: typed.ty, nullable: typed.nullable });
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => "",
            Some(Distinct::Distinct) => "DISTINCT ",
            Some(Distinct::On(_)) => return refuse(select, "DISTINCT ON is not in SQLite"),
        };
        let mut sql = format!("SELECT {distinct}{}{from}", texts.join(", "));
        if let Some(condition) = &select.selection {
            sql = format!("{sql} WHERE {}", self.of(condition, Type::Boolean, &place)?.sql);
        }
        sql.push_str(&self.group(select, &place)?);
        if let Some(condition) = &select.having {
            sql = format!("{sql} HAVING {}", self.of(condition, Type::Boolean, &place)?.sql);
        }
        let Scope { relations, .. } = place;
        Ok((sql, columns, relations))
    }

    fn group(&mut self, select: &Select, place: &Scope<'_>) -> Result<String> {
        let by = match &select.group_by {
            GroupByExpr::Expressions(by, modifiers) if modifiers.is_empty() => by,
            _ => return refuse(select, "GROUP BY names columns"),
        };
        if by.is_empty() {
            return Ok(String::new());
        }
        let mut texts = Vec::new();
        for expr in by {
            let typed = self.expr(expr, place)?;
            if typed.literal.is_some() {
                return refuse(expr, "GROUP BY names columns");
            }
            texts.push(typed.sql);
        }
        Ok(format!(" GROUP BY {}", texts.join(", ")))
    }

    fn items(&mut self, items: &[SelectItem], place: &Scope<'_>) -> Result<Vec<(Option<String>, Typed)>> {
        let mut found = Vec::new();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let own = match expr {
                        Expr::Identifier(column) => Some(name(column)?),
                        Expr::CompoundIdentifier(parts) => parts.last().map(name).transpose()?,
                        _ => None,
                    };
                    found.push((own, self.expr(expr, place)?));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    found.push((Some(name(alias)?), self.expr(expr, place)?));
                }
                SelectItem::Wildcard(options) => {
                    no_options(options)?;
                    found.extend(place.relations.iter().flat_map(all_columns));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), options) => {
                    no_options(options)?;
                    let alias = of.to_string().to_ascii_lowercase();
                    let Some(relation) = place.relations.iter().find(|relation| relation.alias == alias)
                    else {
                        return refuse(of, format!("there is no relation `{of}` here"));
                    };
                    found.extend(all_columns(relation));
                }
                other => {
                    return refuse(other, format!("`{other}` is not in what SQLite and PostgreSQL share"));
                }
            }
        }
        Ok(found)
    }

    /// FROM with its text; without relations it is empty.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        scope: &Scope<'_>,
    ) -> Result<(String, Vec<Relation>)> {
        if from.is_empty() {
            return Ok((String::new(), Vec::new()));
        }
        let mut relations: Vec<Relation> = Vec::new();
        let mut texts = Vec::new();
        for item in from {
            let (sql, found) = self.joined(item, scope)?;
            for relation in found {
                if relations.iter().any(|other| other.alias == relation.alias) {
                    return refuse(&item.relation, format!("`{}` is there twice", relation.alias));
                }
                relations.push(relation);
            }
            texts.push(sql);
        }
        Ok((format!(" FROM {}", texts.join(", ")), relations))
    }

    fn joined(&mut self, item: &TableWithJoins, scope: &Scope<'_>) -> Result<(String, Vec<Relation>)> {
        let (mut sql, mut relations) = self.factor(&item.relation, scope)?;
        for join in &item.joins {
            let (right, found) = self.factor(&join.relation, scope)?;
            let is_left = matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
            for mut relation in found {
                for column in relation.columns.iter_mut().filter(|_| is_left) {
                    column.nullable = true;
                }
                if relations.iter().any(|other| other.alias == relation.alias) {
                    return refuse(&join.relation, format!("`{}` is there twice", relation.alias));
                }
                relations.push(relation);
            }
            let place = scope.reading(relations);
            sql = format!("({sql} {})", self.join(join, &right, &place)?);
            relations = place.relations;
        }
        Ok((sql, relations))
    }

    fn join(&mut self, join: &Join, right: &str, place: &Scope<'_>) -> Result<String> {
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN", constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ("LEFT JOIN", constraint),
            JoinOperator::CrossJoin(JoinConstraint::None) => return Ok(format!("CROSS JOIN {right}")),
            _ => return refuse(&join.relation, "joins are JOIN, LEFT JOIN and CROSS JOIN"),
        };
        match constraint {
            JoinConstraint::On(condition) => {
                let condition = self.of(condition, Type::Boolean, place)?;
                Ok(format!("{word} {right} ON {}", condition.sql))
            }
            JoinConstraint::None if word == "JOIN" => Ok(format!("CROSS JOIN {right}")),
            _ => refuse(&join.relation, "a join has ON"),
        }
    }

    fn factor(&mut self, factor: &TableFactor, scope: &Scope<'_>) -> Result<(String, Vec<Relation>)> {
        match factor {
            TableFactor::Table { name: table, alias, .. } => {
                let own = table.to_string().to_ascii_lowercase();
                let alias = match alias {
                    Some(alias) if !alias.columns.is_empty() => {
                        return refuse_name(&alias.name, "a relation's columns cannot be renamed here");
                    }
                    Some(alias) => name(&alias.name)?,
                    None => own.clone(),
                };
                let (sql, columns) = self.relation(factor, &own, scope)?;
                let sql = format!("{sql} AS {}", quoted(&alias));
                Ok((sql, vec![Relation { alias, only_qualified: false, columns }]))
            }
            TableFactor::Derived { lateral: false, subquery, alias, .. } => {
                let (sql, columns) = self.query(subquery, scope, None)?;
                let alias = match alias {
                    Some(alias) if !alias.columns.is_empty() => {
                        return refuse_name(&alias.name, "a subquery's columns cannot be renamed here");
                    }
                    Some(alias) => name(&alias.name)?,
                    None => {
                        self.unnamed += 1;
                        // No statement can have such a name.
                        format!("#{}", self.unnamed)
                    }
                };
                let sql = format!("({sql}) AS {}", quoted(&alias));
                Ok((sql, vec![Relation { alias, only_qualified: false, columns }]))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let (sql, relations) = self.joined(table_with_joins, scope)?;
                Ok((if table_with_joins.joins.is_empty() { sql } else { format!("({sql})") }, relations))
            }
            other => refuse(other, "only tables, subqueries and joins can be read"),
        }
    }

    /// A common table, a table of the projection, or the host's relation.
    fn relation(&self, at: &TableFactor, own: &str, scope: &Scope<'_>) -> Result<(String, Vec<Column>)> {
        if let Some(columns) = scope.common_table(own) {
            return Ok((quoted(own), columns.to_vec()));
        }
        if let Some(table) = self.table(own) {
            return Ok((self.in_schema(own), table.columns.iter().map(Column::of).collect()));
        }
        if own == "readable" {
            let column = |name: &str, ty| Column { name: Some(name.to_owned()), ty, nullable: false };
            let columns = vec![column("aggregate", Type::Text), column("id", Type::Uuid)];
            return Ok((format!("{HOST_SCHEMA}.readable"), columns));
        }
        refuse(at, format!("there is no table `{own}` in this projection"))
    }

    fn order(&mut self, order: &OrderBy, columns: &[Column], place: Option<&Scope<'_>>) -> Result<String> {
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
    fn limit(
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

/// Refuses the clauses of other databases.
fn plain(select: &Select) -> Result<()> {
    let is_plain = select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none()
        && select.select_modifiers.is_none()
        && select.optimizer_hints.is_empty()
        && select.flavor == SelectFlavor::Standard;
    if is_plain { Ok(()) } else { refuse(select, "a clause of this SELECT is not in both databases") }
}

fn no_options(options: &WildcardAdditionalOptions) -> Result<()> {
    let has_options = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    if has_options { refuse(options, "`*` stands alone") } else { Ok(()) }
}

fn all_columns(relation: &Relation) -> impl Iterator<Item = (Option<String>, Typed)> {
    relation.columns.iter().filter_map(|column| {
        let name = column.name.clone()?;
        let sql = format!("{}.{}", quoted(&relation.alias), quoted(&name));
        Some((Some(name), Typed { sql, ty: column.ty, nullable: column.nullable, literal: None }))
    })
}

fn quantifier(quantifier: SetQuantifier) -> Result<&'static str> {
    match quantifier {
        SetQuantifier::All => Ok(" ALL"),
        SetQuantifier::None => Ok(""),
        _ => unsupported("this form of UNION"),
    }
}
