//! The same statements over the same rows on both databases, with the values at which they would differ by themselves.

use cairn_model::manifest::{ColumnType, Projection, Statement};
use cairn_model::row::Rows;
use cairn_model::{Change, Timestamp, Value};
use cairn_store::ReadModel;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::*;

const KINDS: [(&str, ColumnType); 7] = [
    ("n", ColumnType::Integer),
    ("r", ColumnType::Real),
    ("t", ColumnType::Text),
    ("b", ColumnType::Boolean),
    ("at", ColumnType::Timestamp),
    ("u", ColumnType::Uuid),
    ("j", ColumnType::Json),
];

/// Expressions over the columns, each with its type.
const EXPRESSIONS: &[(&str, ColumnType)] = &[
    ("n", ColumnType::Integer),
    ("r", ColumnType::Real),
    ("t", ColumnType::Text),
    ("b", ColumnType::Boolean),
    ("at", ColumnType::Timestamp),
    ("u", ColumnType::Uuid),
    ("j", ColumnType::Json),
    ("n / 3", ColumnType::Integer),
    ("n % 7", ColumnType::Integer),
    ("n / (id - 5)", ColumnType::Integer),
    ("n % (id - 5)", ColumnType::Integer),
    ("7 / n", ColumnType::Integer),
    ("r / (id - 5)", ColumnType::Real),
    ("-id + 2 * id - 1", ColumnType::Integer),
    ("id * 1.5", ColumnType::Real),
    ("-9223372036854775808", ColumnType::Integer),
    ("9223372036854775807", ColumnType::Integer),
    ("0.1 + 0.2", ColumnType::Real),
    ("abs(id - 9)", ColumnType::Integer),
    ("abs(r)", ColumnType::Real),
    ("round(r)", ColumnType::Real),
    ("round(id - 8.5)", ColumnType::Real),
    ("CAST(r AS INTEGER)", ColumnType::Integer),
    ("CAST(t AS INTEGER)", ColumnType::Integer),
    ("CAST(n AS REAL)", ColumnType::Real),
    ("CAST(n AS TEXT)", ColumnType::Text),
    ("CAST(u AS TEXT)", ColumnType::Text),
    ("CAST(at AS TEXT)", ColumnType::Text),
    ("CAST(b AS INTEGER)", ColumnType::Integer),
    ("lower(t)", ColumnType::Text),
    ("upper(t)", ColumnType::Text),
    ("length(t)", ColumnType::Integer),
    ("t || '-' || t", ColumnType::Text),
    ("concat(t, '-', CAST(n AS TEXT))", ColumnType::Text),
    ("replace(t, 'a', 'bb')", ColumnType::Text),
    ("trim(t)", ColumnType::Text),
    ("trim(t, 'aÄ')", ColumnType::Text),
    ("ltrim(t) || '.'", ColumnType::Text),
    ("rtrim(t, ' b')", ColumnType::Text),
    ("substr(t, 2)", ColumnType::Text),
    ("substr(t, -2)", ColumnType::Text),
    ("substr(t, 0, 2)", ColumnType::Text),
    ("substr(t, -3, 2)", ColumnType::Text),
    ("substr(t, -9, 8)", ColumnType::Text),
    ("substr(t, 3, -2)", ColumnType::Text),
    ("substr(t, 2, id - 4)", ColumnType::Text),
    ("substring(t, id - 6, 3)", ColumnType::Text),
    ("coalesce(t, 'none')", ColumnType::Text),
    ("coalesce(n, r_is_null.n, 0)", ColumnType::Integer),
    ("coalesce(u, '00000000-0000-0000-0000-000000000009')", ColumnType::Uuid),
    ("nullif(t, 'a')", ColumnType::Text),
    ("CASE WHEN n > 0 THEN 'plus' WHEN n IS NULL THEN NULL ELSE 'Minus' END", ColumnType::Text),
    ("CASE b WHEN TRUE THEN 1 ELSE 0 END", ColumnType::Integer),
    ("CASE WHEN id < 3 THEN NULL ELSE u END", ColumnType::Uuid),
    ("t < 'b'", ColumnType::Boolean),
    ("t LIKE 'A%'", ColumnType::Boolean),
    ("t LIKE 'ä%'", ColumnType::Boolean),
    ("t LIKE '%\\%'", ColumnType::Boolean),
    ("t LIKE '%!%%' ESCAPE '!'", ColumnType::Boolean),
    ("t LIKE '_'", ColumnType::Boolean),
    ("t NOT LIKE '%a_'", ColumnType::Boolean),
    ("n BETWEEN -1 AND 5", ColumnType::Boolean),
    ("n IN (1, 2, -1)", ColumnType::Boolean),
    ("t IN ('a', 'B')", ColumnType::Boolean),
    ("n NOT IN (SELECT n FROM mixed WHERE n > 0)", ColumnType::Boolean),
    ("(n, t) IN (SELECT n, t FROM mixed WHERE id < 9)", ColumnType::Boolean),
    ("(n, t) > (0, 'a')", ColumnType::Boolean),
    ("at > '2000-01-01T00:00:00.000000Z'", ColumnType::Boolean),
    ("u = '00000000-0000-0000-0000-000000000001'", ColumnType::Boolean),
    ("b AND n > 0", ColumnType::Boolean),
    ("b OR n IS NULL", ColumnType::Boolean),
    ("NOT b", ColumnType::Boolean),
    ("b IS TRUE", ColumnType::Boolean),
    ("b IS NOT FALSE", ColumnType::Boolean),
    ("t IS DISTINCT FROM 'a'", ColumnType::Boolean),
    ("EXISTS (SELECT 1 FROM mixed AS m WHERE m.id = mixed.id + 1 AND m.n > 0)", ColumnType::Boolean),
    ("(SELECT m.t FROM mixed AS m WHERE m.id > mixed.id ORDER BY m.t DESC)", ColumnType::Text),
    ("(SELECT count(m.n) FROM mixed AS m WHERE m.t = mixed.t)", ColumnType::Integer),
    ("row_number() OVER (PARTITION BY b ORDER BY t, id)", ColumnType::Integer),
    ("rank() OVER (ORDER BY n DESC)", ColumnType::Integer),
    ("dense_rank() OVER (ORDER BY t)", ColumnType::Integer),
    ("percent_rank() OVER (ORDER BY id)", ColumnType::Real),
    ("ntile(3) OVER (ORDER BY id)", ColumnType::Integer),
    ("lag(t) OVER (ORDER BY id)", ColumnType::Text),
    ("lead(n, 2, 0) OVER (ORDER BY id)", ColumnType::Integer),
    ("first_value(t) OVER (PARTITION BY b ORDER BY t DESC, id)", ColumnType::Text),
    ("nth_value(n, 2) OVER (ORDER BY id)", ColumnType::Integer),
    ("sum(id) OVER (ORDER BY id)", ColumnType::Integer),
    ("count(*) OVER (PARTITION BY t)", ColumnType::Integer),
];

/// Whole queries, each with the types of its columns.
const QUERIES: &[(&str, &[ColumnType])] = &[
    ("SELECT id, t FROM mixed ORDER BY t, id", &[ColumnType::Integer, ColumnType::Text]),
    ("SELECT id, t FROM mixed ORDER BY t DESC, id DESC", &[ColumnType::Integer, ColumnType::Text]),
    ("SELECT id, n FROM mixed ORDER BY 2, 1", &[ColumnType::Integer, ColumnType::Integer]),
    ("SELECT id, n AS x FROM mixed ORDER BY x DESC NULLS FIRST, id", &[ColumnType::Integer, ColumnType::Integer]),
    ("SELECT id, at FROM mixed ORDER BY at DESC, id", &[ColumnType::Integer, ColumnType::Timestamp]),
    ("SELECT id, u FROM mixed ORDER BY u, id", &[ColumnType::Integer, ColumnType::Uuid]),
    ("SELECT id FROM mixed ORDER BY CASE WHEN id < 5 THEN 'a' ELSE 'B' END, id", &[ColumnType::Integer]),
    ("SELECT id FROM mixed WHERE t > 'Z' ORDER BY id LIMIT 5", &[ColumnType::Integer]),
    ("SELECT id FROM mixed ORDER BY id LIMIT -1 OFFSET 3", &[ColumnType::Integer]),
    ("SELECT id FROM mixed ORDER BY id LIMIT 4 OFFSET -1", &[ColumnType::Integer]),
    ("SELECT id FROM mixed ORDER BY id LIMIT 2, 3", &[ColumnType::Integer]),
    (
        "SELECT b, count(*), sum(n / 1000), avg(n % 100), avg(id), min(t), max(t), min(u), max(at), max(b) FROM mixed GROUP BY b ORDER BY b",
        &[
            ColumnType::Boolean,
            ColumnType::Integer,
            ColumnType::Integer,
            ColumnType::Real,
            ColumnType::Real,
            ColumnType::Text,
            ColumnType::Text,
            ColumnType::Uuid,
            ColumnType::Timestamp,
            ColumnType::Boolean,
        ],
    ),
    (
        "SELECT count(DISTINCT t), sum(id), count(n) FILTER (WHERE n > 0) FROM mixed WHERE id > 1000000",
        &[ColumnType::Integer, ColumnType::Integer, ColumnType::Integer],
    ),
    ("SELECT string_agg(t, ',' ORDER BY t, id) FROM mixed", &[ColumnType::Text]),
    ("SELECT t, count(*) AS c FROM mixed GROUP BY t HAVING count(*) > 1 ORDER BY t", &[ColumnType::Text, ColumnType::Integer]),
    ("SELECT DISTINCT t FROM mixed ORDER BY t", &[ColumnType::Text]),
    ("SELECT t FROM mixed UNION SELECT 'x' UNION SELECT NULL ORDER BY t", &[ColumnType::Text]),
    ("SELECT n FROM mixed EXCEPT SELECT 1 ORDER BY 1", &[ColumnType::Integer]),
    ("SELECT id AS i FROM mixed INTERSECT SELECT n FROM mixed ORDER BY i", &[ColumnType::Integer]),
    (
        "WITH RECURSIVE c (i, path) AS (SELECT 1, 'x' UNION ALL SELECT c.i + 1, c.path || m.t FROM c JOIN mixed AS m ON m.id = c.i WHERE c.i < 6)
         SELECT i, path FROM c ORDER BY i",
        &[ColumnType::Integer, ColumnType::Text],
    ),
    (
        "SELECT a.id, b.t FROM mixed AS a LEFT JOIN mixed AS b ON b.id = a.id + 1 AND b.t LIKE '%a%' ORDER BY b.t, a.id",
        &[ColumnType::Integer, ColumnType::Text],
    ),
    (
        "SELECT x.id, y.c FROM (SELECT id, n FROM mixed WHERE n IS NOT NULL) AS x CROSS JOIN (SELECT count(*) AS c FROM mixed) AS y ORDER BY x.id",
        &[ColumnType::Integer, ColumnType::Integer],
    ),
    ("SELECT * FROM (SELECT id, b FROM mixed) WHERE b = FALSE ORDER BY ID", &[ColumnType::Integer, ColumnType::Boolean]),
];

fn declared() -> Projection {
    let mut columns = vec![column("id", ColumnType::Integer)];
    columns.extend(KINDS.iter().map(|(name, kind)| nullable(name, *kind)));
    let mut statements: Vec<Statement> = Vec::new();
    for (number, (sql, kind)) in EXPRESSIONS.iter().enumerate() {
        let sql = format!(
            "SELECT mixed.id, {} FROM mixed LEFT JOIN (SELECT n FROM mixed WHERE id = 0) AS r_is_null ON TRUE ORDER BY mixed.id",
            qualified(sql)
        );
        let columns = vec![column("id", ColumnType::Integer), nullable("value", *kind)];
        statements.push(read(&format!("e{number}"), &sql, Vec::new(), columns));
    }
    for (number, (sql, kinds)) in QUERIES.iter().enumerate() {
        let columns = kinds.iter().enumerate().map(|(n, kind)| nullable(&format!("c{n}"), *kind)).collect();
        statements.push(read(&format!("q{number}"), sql, Vec::new(), columns));
    }
    let params = KINDS.iter().map(|(name, kind)| nullable(&format!("p_{name}"), *kind)).collect();
    let same = "SELECT id FROM mixed WHERE n = $1 OR r = $2 OR t = $3 OR b = $4 OR at = $5 OR u = $6 OR j = $7 ORDER BY id";
    statements.push(read("same", same, params, vec![column("id", ColumnType::Integer)]));
    let mut mixed = table("mixed", columns, &["id"]);
    mixed.indexes = vec![index(&["t", "id"], false), index(&["at"], false)];
    projection(vec![mixed], statements)
}

/// `n` is in two relations of the statements for expressions.
fn qualified(sql: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.' || letter == '\'';
    if sql.contains("SELECT") {
        return sql.replace("n NOT IN", "mixed.n NOT IN").replace("(n, t) IN", "(mixed.n, t) IN");
    }
    let mut out = String::new();
    let mut word = String::new();
    for letter in sql.chars().chain([' ']) {
        if is_word(letter) {
            word.push(letter);
            continue;
        }
        if word == "n" {
            out.push_str("mixed.");
        }
        out.push_str(&word);
        word.clear();
        out.push(letter);
    }
    out
}

fn samples() -> Vec<Vec<Value>> {
    let texts = [
        "a",
        "B",
        "ä",
        "Ä",
        "",
        " ab ",
        "a%b",
        "a\\",
        "\\%",
        "12abc",
        "-7",
        "  42",
        "99999999999999999999",
        "日本語",
        "a'b",
        "Zz",
    ];
    let numbers = [0, 1, -1, 5, 7, -7, i64::MAX, i64::MIN + 1, 2_000_000_000, 4_000_000_000];
    let reals = [0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 0.1, 1e300, -1e19, 1e-300, 0.499_999_999_999_999_94];
    let times =
        [0, 1, -62_135_596_800_000_000, 253_402_300_799_999_999, 1_700_000_000_123_456, 946_684_800_000_000];
    (0..40)
        .map(|id: usize| {
            let uuid = format!("00000000-0000-0000-0000-0000000000{:02x}", id * 7 % 16);
            let mut row = vec![
                Value::Integer(i64::try_from(id).expect("small")),
                Value::Integer(numbers[id % numbers.len()]),
                Value::Real(reals[id % reals.len()]),
                Value::Text(texts[id % texts.len()].to_owned()),
                Value::Boolean(id.is_multiple_of(3)),
                Value::Timestamp(Timestamp::from_micros(times[id % times.len()])),
                Value::Text(uuid),
                Value::Text(format!("{{\"a\":[{id},null,\"ä\\u0000\"]}}")),
            ];
            // Every column is null somewhere.
            if id % 5 == 4 {
                row[1 + id % 7] = Value::Null;
            }
            row
        })
        .collect()
}

async fn both() -> (Place, ReadModel, Place, ReadModel) {
    let (left, right) = (Place::sqlite(), Place::postgres());
    let (_a, one) = left.with(&declared()).await;
    let (_b, two) = right.with(&declared()).await;
    (left, one, right, two)
}

fn puts(rows: Vec<Vec<Value>>) -> Vec<Change> {
    rows.into_iter().map(|row| Change::Put { table: "mixed".into(), row }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_and_queries_give_the_same_rows() {
    let (_left, one, _right, two) = both().await;
    one.apply(puts(samples()), 0, 1).await.expect("applies");
    two.apply(puts(samples()), 0, 1).await.expect("applies");
    assert_eq!(one.checksum().await.expect("sums"), two.checksum().await.expect("sums"));
    let mut different = Vec::new();
    for statement in declared().statements.iter().filter(|statement| statement.params.is_empty()) {
        let name = &*statement.name;
        let (a, b) = (ask(&one, name, Vec::new()).await, ask(&two, name, Vec::new()).await);
        match (a, b) {
            (Ok(a), Ok(b)) if same(&a, &b) => {}
            (a, b) => different.push(format!(
                "{}\n  SQLite     {}\n  PostgreSQL {}",
                statement.sql,
                first(&a, &b),
                first(&b, &a)
            )),
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Floats are compared by their bits.
fn same(a: &Rows, b: &Rows) -> bool {
    let bits = |rows: &Rows| serde_json::to_string(rows).expect("JSON");
    a == b && bits(a) == bits(b)
}

fn first(a: &Result<Rows, cairn_store::ReadError>, b: &Result<Rows, cairn_store::ReadError>) -> String {
    match (a, b) {
        (Ok(a), Ok(b)) => {
            format!("{:?}", a.iter().zip(b).find(|(a, b)| a != b).map_or_else(|| a.first(), |(a, _)| Some(a)))
        }
        (a, _) => format!("{:?}", a.as_ref().map(Vec::len)),
    }
}

fn value(kind: ColumnType) -> BoxedStrategy<Value> {
    let some = match kind {
        ColumnType::Text => any::<String>().prop_map(|text| Value::Text(text.replace('\0', ""))).boxed(),
        ColumnType::Json => {
            any::<String>().prop_map(|text| Value::Text(serde_json::to_string(&text).expect("JSON"))).boxed()
        }
        ColumnType::Integer => any::<i64>().prop_map(Value::Integer).boxed(),
        ColumnType::Real => {
            any::<f64>().prop_filter("finite", |real| real.is_finite()).prop_map(Value::Real).boxed()
        }
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::Timestamp => (-62_135_596_800_000_000..253_402_300_800_000_000i64)
            .prop_map(|micros| Value::Timestamp(Timestamp::from_micros(micros)))
            .boxed(),
        ColumnType::Uuid => {
            any::<u128>().prop_map(|id| Value::Text(uuid::Uuid::from_u128(id).to_string())).boxed()
        }
    };
    prop_oneof![1 => Just(Value::Null), 5 => some].boxed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_value_is_kept_found_and_sorted_alike() {
    let (_left, one, _right, two) = both().await;
    let mut runner = TestRunner::default();
    let kinds: Vec<_> = KINDS.iter().map(|(_, kind)| value(*kind)).collect();
    let rows: Vec<Vec<Value>> = (0..400)
        .map(|id| {
            let values = kinds.new_tree(&mut runner).expect("values").current();
            [vec![Value::Integer(id)], values].concat()
        })
        .collect();
    one.apply(puts(rows.clone()), 0, 1).await.expect("applies");
    two.apply(puts(rows.clone()), 0, 1).await.expect("applies");
    assert_eq!(one.checksum().await.expect("sums"), two.checksum().await.expect("sums"));
    for row in rows.iter().take(100) {
        let params = row[1..].to_vec();
        let found = ask(&one, "same", params.clone()).await.expect("rows");
        assert_eq!(found, ask(&two, "same", params).await.expect("rows"), "{row:?}");
    }
    for (number, (sql, _)) in QUERIES
        .iter()
        .enumerate()
        .filter(|(_, (sql, _))| sql.contains("ORDER BY t") || sql.contains("ORDER BY at"))
    {
        let name = format!("q{number}");
        let (a, b) = (ask(&one, &name, Vec::new()).await, ask(&two, &name, Vec::new()).await);
        assert_eq!(a.expect("rows"), b.expect("rows"), "{sql}");
    }
}
