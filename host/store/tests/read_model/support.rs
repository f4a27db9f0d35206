//! A store with a read model, and declarations in few words.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_model::manifest::{AccessMode, Column, ColumnType, Index, OnFailure, Projection, Statement, Table};
use cairn_model::row::Rows;
use cairn_model::{Call, Change, NewEvent, Principal, StreamKey, Value};
use cairn_servers::Postgres;
use cairn_store::{Append, Options, Outcome, PostgresOptions, ReadError, ReadModel, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;
use uuid::Uuid;

/// The server of this test process. It ends with the process.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start_with(&["max_connections=400"]));

static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A data folder, perhaps with a database.
pub struct Place {
    pub folder: TempDir,
    database: Option<String>,
}

impl Place {
    pub fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), database: None }
    }

    pub fn postgres() -> Self {
        let name = format!("place_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        SERVER.database(&name);
        Self { database: Some(name), ..Self::sqlite() }
    }

    /// Another place of the same kind.
    pub fn fresh(&self) -> Self {
        if self.is_postgres() { Self::postgres() } else { Self::sqlite() }
    }

    pub fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The database's settings, for this user.
    pub fn settings(&self, user: &str) -> Option<PostgresOptions> {
        let name = self.database.as_ref()?;
        Some(PostgresOptions::new(format!("postgres://{user}@127.0.0.1:{}/{name}", SERVER.port())))
    }

    /// Runs statements on the database as its superuser, and answers what they say.
    pub fn sql(&self, sql: &str) -> String {
        SERVER.sql(self.database.as_deref().expect("a database"), sql)
    }

    /// The same on the database, as somebody else; an error where it refuses.
    pub async fn sql_as(&self, user: &str, sql: &str) -> Result<String, sqlx::Error> {
        let settings = self.settings(user).expect("a database");
        let mut connection = PgConnection::connect(&settings.url).await?;
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_optional(&mut connection).await?;
        Ok(row.map_or_else(String::new, |row| row.try_get(0).unwrap_or_default()))
    }

    /// Another host's place at the same database.
    pub fn another_host(&self) -> Self {
        Self { database: self.database.clone(), ..Self::sqlite() }
    }

    pub async fn open(&self) -> Store {
        self.try_open(self.settings("cairn")).await.expect("the store opens")
    }

    pub async fn try_open(&self, postgres: Option<PostgresOptions>) -> Result<Store, cairn_store::Error> {
        Store::open(Options { postgres, ..Options::new(self.folder.path()) }).await
    }

    pub async fn with(&self, projection: &Projection) -> (Store, ReadModel) {
        let store = self.open().await;
        let model = store.open_read_model(projection).await.expect("the read model opens");
        (store, model)
    }
}

/// Appends so many events, so that a read model may be at their positions.
pub async fn fill_log(store: &Store, events: u64) {
    for number in 0..events {
        let append = Append {
            events: vec![NewEvent { event_type: "Made".into(), schema_version: 1, data: "{}".to_owned() }],
            metadata: "{}".to_owned(),
            ..Append::check(
                StreamKey::new("default", "file", Uuid::from_u128(u128::from(number) + 1_000_000)),
                0,
            )
        };
        assert!(matches!(store.append_and_wait(append).await, Outcome::Committed(_)));
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
