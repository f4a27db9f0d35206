//! INSERT, UPDATE and DELETE.

use cairn_model::manifest::Table;
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, FromTable, Insert, ObjectName, OnConflict,
    OnConflictAction, OnInsert, Query, SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Update,
    UpdateTableFromKind,
};

use super::scope::{Column, Relation, Scope};
use super::{Renderer, Result, Type, complaint, name, quoted, refuse, unsupported};
use crate::read_model::check::Complaint;

impl Renderer<'_> {
    /// A write, without what stands in front of it.
    pub(super) fn write(&mut self, statement: &Statement, scope: &Scope<'_>) -> Result<String> {
        match statement {
            Statement::Insert(insert) => self.insert(insert, scope),
            Statement::Update(update) => self.update(update, scope),
            Statement::Delete(delete) => self.delete(delete, scope),
            _ => unsupported("this statement"),
        }
    }

    fn insert(&mut self, insert: &Insert, scope: &Scope<'_>) -> Result<String> {
        let TableObject::TableName(object) = &insert.table else {
            return unsupported("this target of INSERT");
        };
        let is_plain = insert.table_alias.is_none()
            && insert.insert_alias.is_none()
            && insert.assignments.is_empty()
            && insert.partitioned.is_none()
            && insert.after_columns.is_empty()
            && insert.priority.is_none()
            && insert.settings.is_none()
            && insert.output.is_none()
            && !insert.overwrite
            && !insert.ignore;
        if !is_plain {
            return refuse(object, "a clause of this INSERT is not in both databases");
        }
        let (own, table) = self.target(object)?;
        let columns = columns_of(&table, &insert.columns)?;
        let types: Vec<Type> = columns.iter().map(|column| column.ty).collect();
        let Some(source) = &insert.source else { return refuse(object, "an INSERT has rows") };
        let rows = self.rows(source, scope, &types)?;
        let names: Vec<String> =
            columns.iter().filter_map(|column| column.name.as_deref().map(quoted)).collect();
        let mut sql =
            format!("INSERT INTO {} AS {} ({}) {rows}", self.in_schema(&own), quoted(&own), names.join(", "));
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => {
                sql = format!("{sql} {}", self.on_conflict(conflict, &own, &table, scope)?);
            }
            Some(_) => return refuse(object, "an INSERT is plain or has ON CONFLICT"),
        }
        Ok(sql)
    }

    /// VALUES, or a query.
    fn rows(&mut self, source: &Query, scope: &Scope<'_>, types: &[Type]) -> Result<String> {
        let SetExpr::Values(values) = &*source.body else {
            return self.query(source, scope, Some(types)).map(|(sql, _)| sql);
        };
        if source.with.is_some() || source.order_by.is_some() || source.limit_clause.is_some() {
            return unsupported("a clause around VALUES");
        }
        let mut rows = Vec::new();
        for row in &values.rows {
            if row.content.len() != types.len() {
                let detail = format!("{} values for {} columns", row.content.len(), types.len());
                return Err(Complaint::whole(detail));
            }
            let row = row
                .content
                .iter()
                .zip(types)
                .map(|(expr, ty)| self.of(expr, *ty, scope).map(|typed| typed.sql))
                .collect::<Result<Vec<_>>>()?;
            rows.push(format!("({})", row.join(", ")));
        }
        Ok(format!("VALUES {}", rows.join(", ")))
    }

    fn on_conflict(
        &mut self,
        conflict: &OnConflict,
        own: &str,
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<String> {
        let target = match &conflict.conflict_target {
            None => String::new(),
            Some(ConflictTarget::Columns(columns)) => {
                let columns = columns
                    .iter()
                    .map(|column| name(column).map(|name| quoted(&name)))
                    .collect::<Result<Vec<_>>>()?;
                format!(" ({})", columns.join(", "))
            }
            Some(ConflictTarget::OnConstraint(constraint)) => {
                return refuse(constraint, "ON CONFLICT names columns");
            }
        };
        let update = match &conflict.action {
            OnConflictAction::DoNothing => return Ok(format!("ON CONFLICT{target} DO NOTHING")),
            OnConflictAction::DoUpdate(update) => update,
        };
        if target.is_empty() {
            return unsupported("ON CONFLICT without columns that updates");
        }
        self.upserts = true;
        let columns: Vec<Column> = table.columns.iter().map(Column::of).collect();
        let relation = |alias: &str, only_qualified| Relation {
            alias: alias.to_owned(),
            only_qualified,
            columns: columns.clone(),
        };
        let place = scope.reading(vec![relation(own, false), relation("excluded", true)]);
        let mut sql = format!(
            "ON CONFLICT{target} DO UPDATE SET {}",
            self.set_columns(&update.assignments, table, &place)?
        );
        if let Some(condition) = &update.selection {
            sql = format!("{sql} WHERE {}", self.of(condition, Type::Boolean, &place)?.sql);
        }
        Ok(sql)
    }

    fn update(&mut self, update: &Update, scope: &Scope<'_>) -> Result<String> {
        if !update.order_by.is_empty() || update.limit.is_some() || update.output.is_some() {
            return unsupported("a clause of this UPDATE");
        }
        let (target, relation, table) = self.written(&update.table)?;
        let mut relations = vec![relation];
        let mut from = String::new();
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(items)) => {
                let (sql, found) = self.from(items, scope)?;
                if let Some(twice) = found.iter().find(|found| found.alias == relations[0].alias) {
                    return Err(Complaint::whole(format!("`{}` is there twice", twice.alias)));
                }
                from = sql;
                relations.extend(found);
            }
            Some(UpdateTableFromKind::BeforeSet(_)) => return unsupported("FROM in front of SET"),
        }
        let place = scope.reading(relations);
        let set = self.set_columns(&update.assignments, &table, &place)?;
        let mut sql = format!("UPDATE {target} SET {set}{from}");
        if let Some(condition) = &update.selection {
            sql = format!("{sql} WHERE {}", self.of(condition, Type::Boolean, &place)?.sql);
        }
        Ok(sql)
    }

    fn delete(&mut self, delete: &Delete, scope: &Scope<'_>) -> Result<String> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let is_plain = delete.tables.is_empty()
            && delete.using.is_none()
            && delete.order_by.is_empty()
            && delete.limit.is_none()
            && delete.output.is_none();
        let ([table], true) = (from.as_slice(), is_plain) else {
            return unsupported("a clause of this DELETE");
        };
        let (target, relation, _) = self.written(table)?;
        let place = scope.reading(vec![relation]);
        let mut sql = format!("DELETE FROM {target}");
        if let Some(condition) = &delete.selection {
            sql = format!("{sql} WHERE {}", self.of(condition, Type::Boolean, &place)?.sql);
        }
        Ok(sql)
    }

    fn set_columns(
        &mut self,
        assignments: &[Assignment],
        table: &Table,
        place: &Scope<'_>,
    ) -> Result<String> {
        let mut texts = Vec::new();
        for assignment in assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return refuse(&assignment.value, "SET names one column for each value");
            };
            let columns = columns_of(table, std::slice::from_ref(target))?;
            let [Column { name: Some(name), ty, .. }] = columns.as_slice() else {
                return refuse(target, format!("there is no such column `{target}`"));
            };
            texts.push(format!("{} = {}", quoted(name), self.of(&assignment.value, *ty, place)?.sql));
        }
        Ok(texts.join(", "))
    }

    /// The one table that is changed, with its text.
    fn written(&self, item: &TableWithJoins) -> Result<(String, Relation, Table)> {
        let TableFactor::Table { name: object, alias, .. } = &item.relation else {
            return refuse(&item.relation, "a write changes one table");
        };
        if !item.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return refuse(&item.relation, "a write changes one table");
        }
        let (own, table) = self.target(object)?;
        let alias = alias.as_ref().map(|alias| name(&alias.name)).transpose()?.unwrap_or_else(|| own.clone());
        let columns = table.columns.iter().map(Column::of).collect();
        let sql = format!("{} AS {}", self.in_schema(&own), quoted(&alias));
        Ok((sql, Relation { alias, only_qualified: false, columns }, table))
    }

    fn target(&self, object: &ObjectName) -> Result<(String, Table)> {
        let own = object.to_string().to_ascii_lowercase();
        match self.table(&own) {
            Some(table) => Ok((own, table.clone())),
            None => refuse(object, format!("there is no table `{own}` in this projection")),
        }
    }
}

/// The columns of these names; without names, all.
fn columns_of(table: &Table, names: &[ObjectName]) -> Result<Vec<Column>> {
    if names.is_empty() {
        return Ok(table.columns.iter().map(Column::of).collect());
    }
    names
        .iter()
        .map(|object| {
            let own = object.to_string().to_ascii_lowercase();
            let column = table.columns.iter().find(|column| *column.name == *own);
            column
                .map(Column::of)
                .ok_or_else(|| complaint(object, format!("there is no such column `{object}`")))
        })
        .collect()
}
