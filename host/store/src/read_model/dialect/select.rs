//! SELECT: its columns, its conditions, its groups.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind,
    WildcardAdditionalOptions,
};

use super::query::Body;
use super::scope::{Column, Relation, Scope};
use super::types::Typed;
use super::{Renderer, Result, Type, complaint, name, quoted, refuse};

impl Renderer<'_> {
    pub(super) fn select(
        &mut self,
        select: &Select,
        scope: &Scope<'_>,
        wanted: Option<&[Type]>,
    ) -> Result<Body> {
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

    pub(super) fn items(
        &mut self,
        items: &[SelectItem],
        place: &Scope<'_>,
    ) -> Result<Vec<(Option<String>, Typed)>> {
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
