//! A store with a read model, and declarations in few words.

use cairn_model::manifest::{AccessMode, Column, ColumnType, Index, OnFailure, Projection, Statement, Table};
use cairn_model::row::Rows;
use cairn_model::{Call, Change, Principal, Value};
use cairn_store::{Options, ReadError, ReadModel, Store};
use tempfile::TempDir;

pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub async fn open(&self) -> Store {
        Store::open(Options::new(self.folder.path())).await.expect("the store opens")
    }

    pub async fn with(&self, projection: &Projection) -> (Store, ReadModel) {
        let store = self.open().await;
        let model = store.open_read_model(projection).await.expect("the read model opens");
        (store, model)
    }
}

pub fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.into(), column_type, nullable: false }
}

pub fn nullable(name: &str, column_type: ColumnType) -> Column {
    Column { nullable: true, ..column(name, column_type) }
}

pub fn table(name: &str, columns: Vec<Column>, key: &[&str]) -> Table {
    let key = key.iter().map(|name| (*name).into()).collect();
    Table { name: name.into(), columns, key, indexes: Vec::new() }
}

pub fn index(columns: &[&str], unique: bool) -> Index {
    Index { columns: columns.iter().map(|name| (*name).into()).collect(), unique }
}

pub fn read(name: &str, sql: &str, params: Vec<Column>, columns: Vec<Column>) -> Statement {
    Statement {
        name: name.into(),
        access: AccessMode::Read,
        sql: sql.to_owned(),
        params,
        columns,
        batched: false,
    }
}

pub fn write(name: &str, sql: &str, params: Vec<Column>) -> Statement {
    let access = AccessMode::Write;
    Statement { name: name.into(), access, sql: sql.to_owned(), params, columns: Vec::new(), batched: false }
}

pub fn batched(name: &str, sql: &str, params: Vec<Column>) -> Statement {
    Statement { batched: true, ..write(name, sql, params) }
}

pub fn projection(tables: Vec<Table>, statements: Vec<Statement>) -> Projection {
    Projection {
        name: "things".into(),
        version: 1,
        events: Vec::new(),
        tables,
        statements,
        crosses_streams: false,
        on_failure: OnFailure::Park,
    }
}

/// Two small tables, `things(id, name)` and `links(a, b)`.
pub fn small(statements: Vec<Statement>) -> Projection {
    let things =
        table("things", vec![column("id", ColumnType::Integer), nullable("name", ColumnType::Text)], &["id"]);
    let links =
        table("links", vec![column("a", ColumnType::Integer), column("b", ColumnType::Integer)], &["a", "b"]);
    projection(vec![things, links], statements)
}

pub fn all_things() -> Statement {
    let columns = vec![column("id", ColumnType::Integer), nullable("name", ColumnType::Text)];
    read("all_things", "SELECT id, name FROM things ORDER BY id", Vec::new(), columns)
}

pub fn put(id: i64, name: &str) -> Change {
    Change::Put { table: "things".into(), row: vec![Value::Integer(id), Value::Text(name.to_owned())] }
}

pub fn remove(id: i64) -> Change {
    Change::Remove { table: "things".into(), key: vec![Value::Integer(id)] }
}

pub fn call(statement: &str, params: Vec<Value>) -> Call {
    Call { statement: statement.into(), params }
}

pub fn run(statement: &str, params: Vec<Value>) -> Change {
    Change::Run(call(statement, params))
}

pub fn admin() -> Principal {
    Principal::administrator("default")
}

pub async fn ask(model: &ReadModel, statement: &str, params: Vec<Value>) -> Result<Rows, ReadError> {
    let mut session = model.session(&admin()).await.expect("a session");
    session.read(&call(statement, params)).await
}

/// Every thing as `1=a`.
pub async fn things(model: &ReadModel) -> Vec<String> {
    let rows = ask(model, "all_things", Vec::new()).await.expect("rows");
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [Value::Integer(id), Value::Text(name)] => format!("{id}={name}"),
            other => panic!("{other:?}"),
        })
        .collect()
}
