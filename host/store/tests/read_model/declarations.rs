//! What a projection may declare, and what it is told when it may not.

use cairn_model::Value;
use cairn_model::manifest::{ColumnType, Projection, Statement};
use cairn_store::{Error, check_projection};

use crate::support::*;

async fn complaint(projection: &Projection) -> String {
    match check_projection(projection).await {
        Ok(()) => "nothing".to_owned(),
        Err(Error::Manifest(error)) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

async fn of(statement: Statement) -> String {
    complaint(&small(vec![statement])).await
}

fn ids() -> Vec<cairn_model::manifest::Column> {
    vec![column("id", ColumnType::Integer)]
}

const READS: &[&str] = &[
        "SELECT id FROM things",
        "SELECT id FROM things;",
        "-- why\nSELECT id FROM things WHERE name LIKE 'a%' -- end",
        "SELECT t.id FROM things AS t JOIN readable AS r ON r.aggregate = 'file' AND CAST(r.id AS TEXT) = t.name",
        "WITH x AS (SELECT id FROM things) SELECT x.id FROM x JOIN readable r ON r.id = '0190e3a1-7c1e-7cc0-8000-000000000001' ORDER BY x.id LIMIT 5",
        "WITH RECURSIVE up (id) AS (SELECT a FROM links UNION ALL SELECT l.b FROM links l JOIN up u ON l.a = u.id)
         SELECT id FROM up",
        "SELECT count(*) FROM things WHERE EXISTS (SELECT 1 FROM links WHERE a = id)",
        "SELECT count(*) FROM things",
        "SELECT count(*) FROM readable",
        "WITH x AS (SELECT id FROM things) SELECT count(*) FROM x",
        "SELECT max(id) FROM things GROUP BY name HAVING count(*) > 1",
        "SELECT row_number() OVER (PARTITION BY name ORDER BY id) FROM things",
        "SELECT CASE WHEN id > 1 THEN 1 ELSE 0 END FROM things WHERE name IS NOT NULL AND id IN (1, 2)",
        "SELECT CAST(coalesce(nullif(substr(upper(name), 1, 2), 'A'), '0') AS INTEGER) FROM things",
        "SELECT id FROM (SELECT id FROM things) AS x",
        "SELECT length(lower(trim(name)) || 'x') + CAST(round(1.5) AS INTEGER) FROM things",
    ];

const WRITES: &[&str] = &[
    "INSERT INTO things (id, name) VALUES ($1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "UPDATE things SET name = 'x' WHERE id = $1",
    "DELETE FROM things WHERE id = $1",
    "WITH x AS (SELECT b FROM links WHERE a = $1) DELETE FROM things WHERE id IN (SELECT b FROM x)",
    "INSERT INTO links (a, b) SELECT id, $1 FROM things",
];

const BATCHES: &[&str] = &[
    "INSERT INTO things (id) SELECT id FROM input WHERE true ON CONFLICT (id) DO NOTHING",
    "DELETE FROM things WHERE id IN (SELECT id FROM input)",
    "UPDATE things SET name = 'x' WHERE (SELECT count(*) FROM input) > 1",
    "WITH x AS (SELECT id FROM input) INSERT INTO links (a, b) SELECT x.id, t.id FROM x CROSS JOIN things AS t",
];

/// All of them are checked, opened, and run.
pub async fn good_statements_run(place: Place) {
    let named = |kind: &str, number: usize| format!("{kind}_{number}");
    let mut statements = Vec::new();
    for (number, sql) in READS.iter().enumerate() {
        statements.push(read(
            &named("read", number),
            sql,
            Vec::new(),
            vec![nullable("id", ColumnType::Integer)],
        ));
    }
    statements
        .extend(WRITES.iter().enumerate().map(|(number, sql)| write(&named("write", number), sql, ids())));
    statements
        .extend(BATCHES.iter().enumerate().map(|(number, sql)| batched(&named("batch", number), sql, ids())));
    for statement in &statements {
        assert_eq!(of(statement.clone()).await, "nothing", "{}", statement.sql);
    }
    let (_store, model) = place.with(&small(statements)).await;
    let id = |id: i64| vec![Value::Integer(id)];
    let writes = (0..WRITES.len()).map(|number| run(&named("write", number), id(1)));
    let batches =
        (0..BATCHES.len()).flat_map(|number| [2, 3].map(|key| run(&named("batch", number), id(key))));
    model.apply(writes.chain(batches).collect::<Vec<_>>(), 0, 0).await.expect("applies");
    for number in 0..READS.len() {
        ask(&model, &named("read", number), Vec::new()).await.expect("rows");
    }
}

#[tokio::test]
async fn reads_that_reach_further_are_refused_with_their_place() {
    let cases = [
        ("SELECT id FROM secrets", "line 1, column 16: there is no table `secrets`"),
        ("SELECT id\nFROM things,\n  event_store", "line 3, column 3: there is no table `event_store`"),
        ("SELECT id FROM log.event_store", "`log.event_store` names another schema"),
        ("SELECT id FROM main.things", "names another schema"),
        ("SELECT name FROM sqlite_master", "there is no table `sqlite_master`"),
        ("SELECT id FROM things; DELETE FROM things", "2 statements"),
        ("DELETE FROM things", "one SELECT"),
        ("PRAGMA query_only = 1", "one SELECT"),
        ("ATTACH DATABASE 'x' AS y", "one SELECT"),
        ("WITH x AS (SELECT 1) DELETE FROM things", "one SELECT"),
        ("SELECT load_extension('x')", "line 1, column 8: the function `load_extension` is not allowed"),
        ("SELECT json_extract(name, '$.a') FROM things", "the function `json_extract`"),
        ("SELECT max(id, 1) FROM things", "PostgreSQL"),
        ("SELECT value FROM json_each('[1]')", "only tables"),
        ("SELECT id FROM things WHERE name GLOB 'a'", "share"),
        ("SELECT \"id\" FROM things", "quoted"),
        ("SELECT `id` FROM things", "quoted"),
        ("SELECT id FROM things FOR UPDATE", "locking"),
        ("SELECT id INTO x FROM things", "INTO"),
        ("SELECT id FROM things WHERE id = $1", "`$1` is not one of its 0 parameters"),
        ("SELECT id FROM things WHERE id = ?", "`?` is not one of its 0 parameters"),
        ("SELECT id FROM input", "there is no table `input`"),
        ("WITH things AS (SELECT 1 AS id) SELECT id FROM things", "cannot be the name of a common table"),
        ("WITH readable AS (SELECT 1 AS id) SELECT id FROM readable", "cannot be the name of a common table"),
        (
            "WITH event_store AS (SELECT 1 AS id) SELECT count(*) FROM event_store",
            "cannot be the name of a common table",
        ),
        ("SELECT missing FROM things", "no such column"),
        ("SELECT id, name FROM things", "gives 2 columns, and 1 are declared"),
        ("SELECT id FORM things WHERE", "line 1"),
        ("SELECT x'00'", "literal"),
        ("", "0 statements"),
    ];
    for (sql, expected) in cases {
        let found = of(read("s", sql, Vec::new(), ids())).await;
        assert!(found.contains("statement `s`") && found.contains(expected), "{sql}\n  {found}");
    }
    let unused = of(read("s", "SELECT id FROM things", ids(), ids())).await;
    assert!(unused.contains("$1 is declared and not used"), "{unused}");
}

#[tokio::test]
async fn writes_that_reach_further_are_refused() {
    let cases = [
        ("SELECT id FROM things WHERE id = $1", "one INSERT, UPDATE or DELETE"),
        ("DELETE FROM projection_positions WHERE position = $1", "there is no table `projection_positions`"),
        ("UPDATE projection_positions SET position = $1", "there is no table `projection_positions`"),
        ("INSERT INTO other (id) VALUES ($1)", "there is no table `other`"),
        ("INSERT OR REPLACE INTO things (id) VALUES ($1)", "ON CONFLICT"),
        ("REPLACE INTO things (id) VALUES ($1)", "ON CONFLICT"),
        ("DELETE FROM things WHERE id = $1 RETURNING id", "RETURNING"),
        ("DROP TABLE things", "one INSERT, UPDATE or DELETE"),
        (
            "DELETE FROM things WHERE id IN (SELECT id FROM readable WHERE id = $1)",
            "there is no table `readable`",
        ),
        ("DELETE FROM things WHERE id = $2", "`$2` is not one of its 1 parameters"),
    ];
    for (sql, expected) in cases {
        let found = of(write("s", sql, ids())).await;
        assert!(found.contains(expected), "{sql}\n  {found}");
    }
    let found = of(batched("s", "DELETE FROM things WHERE id = $1", ids())).await;
    assert!(found.contains("reads from `input`"), "{found}");
    let found = of(batched("s", "DELETE FROM things", ids())).await;
    assert!(found.contains("does not read its rows from `input`"), "{found}");
}

#[tokio::test]
async fn tables_are_checked_too() {
    let integer = |name: &str| column(name, ColumnType::Integer);
    let cases = [
        (table("sqlite_x", vec![integer("a")], &["a"]), "reserved"),
        (table("Things", vec![integer("a")], &["a"]), "not a name"),
        (table("x", vec![integer("a\" INTEGER); DROP TABLE y; --")], &["a"]), "not a name"),
        (table("x", vec![integer("a"), integer("a")], &["a"]), "there twice"),
        (table("x", vec![integer("a")], &[]), "a key is"),
        (table("x", vec![integer("a")], &["b"]), "no column `b`"),
        (table("x", vec![nullable("a", ColumnType::Text)], &["a"]), "must not be nullable"),
    ];
    for (table, expected) in cases {
        let found = complaint(&projection(vec![table], Vec::new())).await;
        assert!(found.contains(expected), "{found}");
    }
    let twice = table("x", vec![integer("a")], &["a"]);
    let found = complaint(&projection(vec![twice.clone(), twice], Vec::new())).await;
    assert!(found.contains("declared twice"), "{found}");
    let mut named = projection(Vec::new(), Vec::new());
    named.name = "../x".into();
    assert!(complaint(&named).await.contains("not a name"));
}
