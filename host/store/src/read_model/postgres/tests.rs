//! What can only be seen from inside: the plans that PostgreSQL makes, and the seal on the caller.

use std::sync::{Arc, LazyLock};

use cairn_model::manifest::{AccessMode, Column, ColumnType, Index, OnFailure, Projection, Statement, Table};
use cairn_model::{Clock, Principal};
use cairn_servers::Postgres;
use sqlx::{AssertSqlSafe, Executor, Row};
use tempfile::TempDir;

use super::{Host, Texts, code, host};
use crate::read_model::compile::Compiled;
use crate::read_model::{Origin, ReadModel};
use crate::{Options, PostgresOptions, Store};

static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.into(), column_type, nullable: false }
}

fn files(statements: &[&str]) -> Projection {
    let columns = vec![
        column("id", ColumnType::Uuid),
        Column { nullable: true, ..column("parent_id", ColumnType::Uuid) },
        column("name", ColumnType::Text),
    ];
    let index = |columns: &[&str]| Index {
        columns: columns.iter().map(|name| (*name).into()).collect(),
        unique: false,
    };
    let indexes = vec![index(&["parent_id", "name", "id"]), index(&["name", "id"])];
    let statement = |(number, sql): (usize, &&str)| Statement {
        name: format!("list_{number}").into(),
        access: AccessMode::Read,
        sql: (*sql).to_owned(),
        params: vec![column("parent", ColumnType::Uuid)],
        columns: vec![column("id", ColumnType::Uuid)],
        batched: false,
    };
    Projection {
        name: "files".into(),
        version: 1,
        events: Vec::new(),
        tables: vec![Table { name: "file_views".into(), columns, key: vec!["id".into()], indexes }],
        statements: statements.iter().enumerate().map(statement).collect(),
        crosses_streams: false,
        on_failure: OnFailure::Park,
    }
}

/// A store on a database of its own, and a second host's side of its read models.
async fn place(database: &str, projection: &Projection) -> (TempDir, Store, Arc<Host>) {
    let url = SERVER.database(database);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { postgres: Some(PostgresOptions::new(&url)), ..Options::new(folder.path()) };
    let store = Store::open(options).await.expect("the store opens");
    let host = Arc::new(Host::open(url.parse().expect("a URL"), None).await.expect("opens"));
    let origin = Origin { log_id: store.log_id(), head: 0, clock: Clock::System };
    ReadModel::open(&host, origin, projection, 0).await.expect("the read model opens");
    (folder, store, host)
}

#[tokio::test]
async fn readable_is_looked_up_row_by_row() {
    let join = "JOIN readable AS r ON r.aggregate = 'file' AND r.id = f.id";
    let exists = "EXISTS (SELECT 1 FROM readable AS r WHERE r.aggregate = 'file' AND r.id = f.id)";
    let texts = [
        format!("SELECT f.id FROM file_views AS f {join} WHERE f.parent_id = $1 ORDER BY f.name LIMIT 50"),
        format!(
            "SELECT f.id FROM file_views AS f {join} WHERE f.name LIKE '%7%' AND f.id <> $1 ORDER BY f.name, f.id LIMIT 50"
        ),
        format!(
            "SELECT f.id FROM file_views AS f WHERE f.parent_id = $1 AND {exists} ORDER BY f.name LIMIT 50"
        ),
        "SELECT f.id FROM readable AS r JOIN file_views AS f ON r.id = f.id WHERE f.parent_id = $1 LIMIT 50"
            .to_owned(),
    ];
    let statements: Vec<&str> = texts.iter().map(String::as_str).collect();
    let projection = files(&statements);
    let (_folder, _store, host) = place("plans", &projection).await;
    SERVER.sql(
        "plans",
        "INSERT INTO public.access VALUES ('00000000-0000-0000-0000-000000000001', 'file', 'default', 1, NULL, NULL, NULL,
             true, '[{\"subject\":\"everyone\",\"permissions\":[\"read\"]}]');
         INSERT INTO public.access SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 'file', 'default',
             1, NULL, 'file', '00000000-0000-0000-0000-000000000001', true, '[]' FROM generate_series(2, 20000) AS n;
         INSERT INTO read_files.file_views SELECT id, ('00000000-0000-0000-0001-' || lpad((row_number() OVER () % 100)::text, 12, '0'))::uuid,
             'name ' || id FROM public.access;
         ANALYZE",
    );
    let sql = Texts::new(&Compiled::new(&projection, 0).expect("compiles")).statements;
    let mut transaction = host.queries().begin().await.expect("begins");
    let (caller, seal) =
        host.sealed(&Principal { scopes: Vec::new(), ..Principal::administrator("default") });
    sqlx::query("SELECT set_config('cairn.caller', $1, true), set_config('cairn.seal', $2, true)")
        .bind(caller)
        .bind(seal)
        .execute(&mut *transaction)
        .await
        .expect("is sealed");
    for sql in sql {
        let explain = sql
            .replace("$1::uuid", "'00000000-0000-0000-0001-000000000007'::uuid")
            .replace("$2::int8", "101::int8");
        let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN ANALYZE {explain}")))
            .fetch_all(&mut *transaction)
            .await
            .expect("explains");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan using access_pkey on access a"), "{sql}\n{plan}");
        assert!(!plan.contains("Seq Scan on access"), "{sql}\n{plan}");
    }
}

#[tokio::test]
async fn nobody_says_who_calls_but_the_host() {
    let (_folder, _store, host) = place("seals", &files(&["SELECT id FROM file_views WHERE id = $1"])).await;
    SERVER.sql(
        "seals",
        "INSERT INTO public.access VALUES ('00000000-0000-0000-0000-000000000001', 'file', 'default', 1, NULL, NULL, NULL, true, '[]')",
    );
    let (caller, seal) = host.sealed(&Principal::administrator("default"));
    let other = caller.replace("default", "others");
    let mut seen = Vec::new();
    for (words, seal) in [(&caller, &seal), (&other, &seal), (&caller, &"00".repeat(32))] {
        let mut transaction = host.queries().begin().await.expect("begins");
        sqlx::query("SELECT set_config('cairn.caller', $1, true), set_config('cairn.seal', $2, true)")
            .bind(words)
            .bind(seal)
            .execute(&mut *transaction)
            .await
            .expect("is said");
        let read = transaction.fetch_one("SELECT count(*) FROM cairn.readable").await;
        seen.push(read.map(|row| row.get::<i64, _>(0)).map_err(|error| code(&error).unwrap_or_default()));
    }
    let unsealed = || Err(host::UNSEALED.to_owned());
    assert_eq!(seen, [Ok(1), unsealed(), unsealed()]);
    let mut bare = host.queries().acquire().await.expect("a connection");
    let read = bare.fetch_one("SELECT count(*) FROM cairn.readable").await;
    let read = read.map(|row| row.get::<i64, _>(0)).map_err(|error| code(&error).unwrap_or_default());
    assert_eq!(read, unsealed(), "who said nothing");
}
