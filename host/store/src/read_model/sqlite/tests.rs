//! What can only be seen from inside: the plans that SQLite makes, and the fence without the parser in front of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_model::manifest::{AccessMode, Column, ColumnType, Index, OnFailure, Projection, Statement, Table};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::fence::{self, Fence};
use super::texts::Texts;
use crate::read_model::compile::Compiled;
use crate::sqlite::{DERIVED, steer_planner};

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.into(), column_type, nullable: true }
}

fn files(sql: &str) -> Projection {
    let mut id = column("id", ColumnType::Uuid);
    id.nullable = false;
    let columns = vec![id, column("parent_id", ColumnType::Uuid), column("name", ColumnType::Text)];
    let indexes = vec![Index { columns: vec!["parent_id".into(), "name".into()], unique: false }];
    Projection {
        name: "files".into(),
        version: 1,
        events: Vec::new(),
        tables: vec![Table { name: "file_views".into(), columns, key: vec!["id".into()], indexes }],
        statements: vec![Statement {
            name: "list".into(),
            access: AccessMode::Read,
            sql: sql.to_owned(),
            params: vec![column("parent", ColumnType::Uuid)],
            columns: vec![column("id", ColumnType::Uuid)],
            batched: false,
        }],
        crosses_streams: false,
        on_failure: OnFailure::Park,
    }
}

async fn database(compiled: &Compiled) -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("connects");
    for table in &Texts::new(compiled).tables {
        sqlx::raw_sql(AssertSqlSafe(table.create.clone())).execute(&mut connection).await.expect("creates");
    }
    sqlx::raw_sql("ATTACH DATABASE ':memory:' AS log").execute(&mut connection).await.expect("attaches");
    let log = DERIVED.replace("CREATE TABLE IF NOT EXISTS ", "CREATE TABLE log.");
    sqlx::raw_sql(AssertSqlSafe(log)).execute(&mut connection).await.expect("creates");
    steer_planner(&mut connection, "log").await.expect("steers");
    connection
}

async fn plan(sql: &str) -> Vec<String> {
    let compiled = Compiled::new(&files(sql), 0).expect("compiles");
    let mut connection = database(&compiled).await;
    let explain = format!("EXPLAIN QUERY PLAN {}", Texts::new(&compiled).statements[0]);
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.expect("explains");
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}

#[tokio::test]
async fn readable_is_looked_up_row_by_row() {
    let join = "JOIN readable AS r ON r.aggregate = 'file' AND r.id = f.id";
    let exists = "EXISTS (SELECT 1 FROM readable AS r WHERE r.aggregate = 'file' AND r.id = f.id)";
    let statements = [
        format!("SELECT f.id FROM file_views AS f {join} WHERE f.parent_id = $1 ORDER BY f.name LIMIT 50"),
        format!(
            "SELECT f.id FROM file_views AS f {join} WHERE f.name LIKE '%' || CAST($1 AS TEXT) || '%' ORDER BY f.id LIMIT 50"
        ),
        format!(
            "SELECT f.id FROM file_views AS f WHERE f.parent_id = $1 AND {exists} ORDER BY f.name LIMIT 50"
        ),
        "SELECT f.id FROM readable AS r JOIN file_views AS f ON r.id = f.id WHERE f.parent_id = $1 LIMIT 50"
            .to_owned(),
    ];
    for sql in statements {
        let plan = plan(&sql).await;
        let text = plan.join("\n");
        assert!(
            plan[0].starts_with("SCAN f") || plan[0].starts_with("SEARCH f"),
            "the list is walked first:\n{sql}\n{text}"
        );
        assert!(
            text.contains("SEARCH a USING PRIMARY KEY (id=?"),
            "access is looked up by its key:\n{sql}\n{text}"
        );
        assert!(!text.contains("SCAN a") && !text.contains("MATERIALIZE readable"), "{sql}\n{text}");
        assert!(!text.contains("TEMP B-TREE FOR ORDER BY"), "{sql}\n{text}");
    }
}

#[tokio::test]
async fn rows_are_removed_by_their_key() {
    let compiled = Compiled::new(&files("SELECT id FROM file_views WHERE id = $1"), 0).expect("compiles");
    let mut connection = database(&compiled).await;
    let explain = "EXPLAIN QUERY PLAN DELETE FROM file_views WHERE (id) IN (VALUES (?), (?), (?), (?))";
    let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await.expect("explains");
    let text: Vec<String> = rows.iter().map(|row| row.get::<String, _>(3)).collect();
    assert!(text.join("\n").contains("SEARCH file_views USING PRIMARY KEY"), "{text:?}");
}

#[tokio::test]
async fn the_fence_holds_without_the_parser() {
    let compiled = Compiled::new(&files("SELECT id FROM file_views WHERE id = $1"), 0).expect("compiles");
    let mut connection = database(&compiled).await;
    sqlx::raw_sql("CREATE TABLE main.other (a); CREATE TABLE log.event_store (data)")
        .execute(&mut connection)
        .await
        .expect("creates");
    let tables = BTreeSet::from(["file_views".to_owned()]);
    fence::raise(
        &mut connection,
        Arc::new(Fence { tables: tables.clone(), common_tables: BTreeSet::new(), writes: true }),
    )
    .await
    .expect("raises");
    let insert = "INSERT INTO file_views (id) VALUES ('a')";
    sqlx::raw_sql(insert).execute(&mut connection).await.expect("a projection writes its rows");
    fence::raise(&mut connection, Arc::new(Fence { tables, common_tables: BTreeSet::new(), writes: false }))
        .await
        .expect("raises");
    let refused = [
        insert,
        "UPDATE file_views SET id = 'b'",
        "DELETE FROM file_views",
        "SELECT * FROM other",
        "SELECT count(*) FROM other",
        "SELECT * FROM log.event_store",
        "SELECT * FROM log.claims",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM pragma_database_list",
        "PRAGMA database_list",
        "PRAGMA query_only = off",
        "ATTACH DATABASE ':memory:' AS x",
        "DETACH DATABASE log",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "DROP TABLE file_views",
        "SELECT load_extension('x')",
        "SELECT randomblob(1000000000)",
        "SELECT sqlite_version()",
        "VACUUM INTO '/tmp/x'",
        "ANALYZE",
        "REINDEX",
        "SAVEPOINT x",
    ];
    for sql in refused {
        assert!(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.is_err(), "{sql}");
    }
    let rows = sqlx::raw_sql("SELECT id FROM file_views").fetch_all(&mut connection).await.expect("reads");
    assert_eq!(rows.len(), 1);
}
