//! Putting a batch of changes in an order with few statements and the same result. A pure function.
//!
//! A change joins the last group of its kind (its table's, or its statement's) unless a group behind that one touches a
//! table that the change touches too; then it opens a group. Changes of different tables commute, so this equals
//! their own order.

use std::collections::HashMap;

use super::values::SqlValue;

/// A row's key, or its values.
pub(super) type Values = Vec<SqlValue>;

/// A checked change: tables and statements by their numbers.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Insert the row or replace the one with this key.
    Put { table: usize, key: Values, row: Values },
    /// Delete the row with this key.
    Remove { table: usize, key: Values },
    /// Run the statement.
    Run { statement: usize, params: Values },
}

/// Changes that are made together.
#[derive(Debug)]
pub(super) enum Group {
    /// The last thing that happens to each key; `None` deletes.
    Table { table: usize, rows: Vec<(Values, Option<Values>)> },
    /// Calls of one statement that follow each other.
    Run { statement: usize, calls: Vec<Values> },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Table(usize),
    Run(usize),
}

/// Groups changes; `touches` says which tables a statement reads or writes.
pub(super) fn group<'a>(ops: Vec<Op>, touches: impl Fn(usize) -> &'a [usize]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut last_of_kind: HashMap<Kind, usize> = HashMap::new();
    let mut last_touch: HashMap<usize, usize> = HashMap::new();
    // Where a key's row is in its group; a new group of the table forgets the old one's places.
    let mut places: HashMap<usize, HashMap<Values, usize>> = HashMap::new();
    for op in ops {
        let (kind, own) = match &op {
            Op::Put { table, .. } | Op::Remove { table, .. } => (Kind::Table(*table), [*table]),
            Op::Run { statement, .. } => (Kind::Run(*statement), [0]),
        };
        let tables = match &op {
            Op::Run { statement, .. } => touches(*statement),
            _ => own.as_slice(),
        };
        let open = last_of_kind.get(&kind).copied().filter(|group| {
            tables.iter().all(|table| last_touch.get(table).is_none_or(|last| last <= group))
        });
        let index = open.unwrap_or_else(|| {
            groups.push(match kind {
                Kind::Table(table) => Group::Table { table, rows: Vec::new() },
                Kind::Run(statement) => Group::Run { statement, calls: Vec::new() },
            });
            if let Kind::Table(table) = kind {
                places.remove(&table);
            }
            groups.len() - 1
        });
        last_of_kind.insert(kind, index);
        for table in tables {
            let last = last_touch.entry(*table).or_insert(index);
            *last = index.max(*last);
        }
        match (&mut groups[index], op) {
            (Group::Table { rows, .. }, Op::Put { table, key, row }) => {
                set(rows, places.entry(table).or_default(), key, Some(row));
            }
            (Group::Table { rows, .. }, Op::Remove { table, key }) => {
                set(rows, places.entry(table).or_default(), key, None);
            }
            (Group::Run { calls, .. }, Op::Run { params, .. }) => calls.push(params),
            // A group is found by its kind.
            _ => {}
        }
    }
    groups
}

fn set(
    rows: &mut Vec<(Values, Option<Values>)>,
    places: &mut HashMap<Values, usize>,
    key: Values,
    row: Option<Values>,
) {
    if let Some(place) = places.get(&key) {
        rows[*place].1 = row;
    } else {
        places.insert(key.clone(), rows.len());
        rows.push((key, row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: usize, key: i64) -> Op {
        Op::Put { table, key: vec![SqlValue::Integer(key)], row: vec![SqlValue::Integer(key)] }
    }

    fn shape(ops: Vec<Op>, touches: &[Vec<usize>]) -> Vec<String> {
        group(ops, |statement| &touches[statement])
            .into_iter()
            .map(|group| match group {
                Group::Table { table, rows } => format!("table {table}: {}", rows.len()),
                Group::Run { statement, calls } => format!("run {statement}: {}", calls.len()),
            })
            .collect()
    }

    #[test]
    fn puts_of_a_table_are_one_group_across_other_tables_statements() {
        let run = || Op::Run { statement: 0, params: Vec::new() };
        let ops = vec![put(0, 1), run(), put(0, 2), run(), put(0, 1)];
        assert_eq!(shape(ops, &[vec![1]]), ["table 0: 2", "run 0: 2"]);
    }

    #[test]
    fn a_statement_that_touches_the_table_is_a_barrier() {
        let run = || Op::Run { statement: 0, params: Vec::new() };
        let ops = vec![put(0, 1), run(), put(0, 2), put(1, 1), run()];
        let shape = shape(ops, &[vec![0]]);
        assert_eq!(shape, ["table 0: 1", "run 0: 1", "table 0: 1", "table 1: 1", "run 0: 1"]);
    }
}
