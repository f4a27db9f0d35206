//! FROM: tables, common tables, the host's relations, subqueries and joins.

use sqlparser::ast::{Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};

use super::scope::{Column, Relation, Scope};
use super::{HOST_SCHEMA, Renderer, Result, Type, name, quoted, refuse, refuse_name};

impl Renderer<'_> {
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
}
