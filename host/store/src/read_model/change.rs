//! A guest's changes, checked against the declarations, with tables and statements by their numbers.

use cairn_model::Change;
use cairn_model::manifest::AccessMode;

use super::compile::Compiled;
use super::error::ApplyError;
use super::group::Op;
use super::values::encode_all;

/// Checks the changes; says which one is wrong.
pub(super) fn check(compiled: &Compiled, changes: Vec<Change>) -> Result<Vec<Op>, ApplyError> {
    let rejected = |index: usize, detail: String| ApplyError::Rejected { change: Some(index), detail };
    changes
        .into_iter()
        .enumerate()
        .map(|(index, change)| op(compiled, change).map_err(|detail| rejected(index, detail)))
        .collect()
}

fn op(compiled: &Compiled, change: Change) -> Result<Op, String> {
    match change {
        Change::Put { table: name, row } => {
            let table = compiled.table(&name).ok_or_else(|| format!("there is no table `{name}`"))?;
            let declared = &compiled.tables[table];
            let row = encode_all(row, &declared.declared.columns)
                .map_err(|detail| format!("put into `{name}`: {detail}"))?;
            let key = declared.key.iter().map(|column| row[*column].clone()).collect();
            Ok(Op::Put { table, key, row })
        }
        Change::Remove { table: name, key } => {
            let table = compiled.table(&name).ok_or_else(|| format!("there is no table `{name}`"))?;
            let key = encode_all(key, &compiled.tables[table].key_columns)
                .map_err(|detail| format!("remove from `{name}`: {detail}"))?;
            Ok(Op::Remove { table, key })
        }
        Change::Run(call) => {
            let name = call.statement;
            let statement = compiled
                .statement(&name, AccessMode::Write)
                .ok_or_else(|| format!("there is no write statement `{name}`"))?;
            let params = encode_all(call.params, &compiled.statements[statement].declared.params)
                .map_err(|detail| format!("run `{name}`: {detail}"))?;
            Ok(Op::Run { statement, params })
        }
    }
}
