//! Writing and reading rows.

use std::time::{Duration, Instant};

use cairn_model::manifest::ColumnType;
use cairn_model::{Change, Timestamp, Value};
use cairn_store::{ApplyError, ReadError};

use crate::support::*;

const TYPES: [ColumnType; 7] = [
    ColumnType::Text,
    ColumnType::Integer,
    ColumnType::Real,
    ColumnType::Boolean,
    ColumnType::Timestamp,
    ColumnType::Uuid,
    ColumnType::Json,
];

fn samples() -> Vec<Value> {
    vec![
        Value::Text("ä'\"\\x".to_owned()),
        Value::Integer(i64::MIN),
        Value::Real(0.1 + 0.2),
        Value::Boolean(true),
        Value::Timestamp(Timestamp::from_micros(1_700_000_000_123_456)),
        Value::Text("0190e3a1-7c1e-7cc0-8000-000000000001".to_owned()),
        Value::Text("{\"a\":[1,null]}".to_owned()),
    ]
}

pub async fn values_of_every_type_come_back_put_run_and_batched(place: Place) {
    let columns: Vec<_> =
        TYPES.iter().enumerate().map(|(n, kind)| nullable(&format!("c{n}"), *kind)).collect();
    let names: Vec<String> = columns.iter().map(|column| column.name.to_string()).collect();
    let mut all = vec![column("id", ColumnType::Integer)];
    all.extend(columns);
    let list = names.join(", ");
    let insert = format!("INSERT INTO typed (id, {list}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    let batch = format!("INSERT INTO typed (id, {list}) SELECT id, {list} FROM input");
    let select = format!("SELECT id, {list} FROM typed WHERE id = $1");
    let declared = projection(
        vec![table("typed", all.clone(), &["id"])],
        vec![
            write("one", &insert, all.clone()),
            batched("many", &batch, all.clone()),
            read("by_id", &select, vec![column("id", ColumnType::Integer)], all),
        ],
    );
    let (_store, model) = place.with(&declared).await;
    let row = |id, values: Vec<Value>| [vec![Value::Integer(id)], values].concat();
    let nulls = vec![Value::Null; TYPES.len()];
    let changes = vec![
        Change::Put { table: "typed".into(), row: row(1, samples()) },
        run("one", row(2, samples())),
        run("many", row(3, samples())),
        run("many", row(4, nulls.clone())),
        Change::Put { table: "typed".into(), row: row(5, nulls.clone()) },
    ];
    model.apply(changes, 0, 7).await.expect("applies");
    assert_eq!(model.position().await.expect("reads"), 7);
    for (id, expected) in [(1, samples()), (2, samples()), (3, samples()), (4, nulls.clone()), (5, nulls)] {
        let rows = ask(&model, "by_id", vec![Value::Integer(id)]).await.expect("rows");
        assert_eq!(rows, [row(id, expected)], "{id}");
    }
}

pub async fn wrong_values_are_named(place: Place) {
    let columns: Vec<_> = TYPES.iter().enumerate().map(|(n, kind)| column(&format!("c{n}"), *kind)).collect();
    let (_store, model) = place.with(&projection(vec![table("typed", columns, &["c1"])], Vec::new())).await;
    let wrong = [
        (0, Value::Null),
        (0, Value::Integer(1)),
        (0, Value::Text("a\0b".to_owned())),
        (1, Value::Text("1".to_owned())),
        (2, Value::Real(f64::NAN)),
        (2, Value::Integer(1)),
        (3, Value::Integer(1)),
        (4, Value::Text("2024-01-01T00:00:00.000000Z".to_owned())),
        (4, Value::Timestamp(Timestamp::from_micros(i64::MAX))),
        (4, Value::Timestamp(Timestamp::from_micros(-62_135_596_800_000_001))),
        (5, Value::Text("0190E3A1-7C1E-7CC0-8000-000000000001".to_owned())),
        (6, Value::Text("{".to_owned())),
    ];
    for (number, value) in wrong {
        let mut row = samples();
        row[number] = value.clone();
        let good = Change::Put { table: "typed".into(), row: samples() };
        let bad = Change::Put { table: "typed".into(), row };
        let refused = model.apply(vec![good, bad], 0, 1).await;
        let Err(ApplyError::Rejected { change: Some(1), detail }) = refused else {
            panic!("{value:?}: {refused:?}")
        };
        assert!(detail.contains(&format!("`c{number}`")), "{detail}");
    }
    assert_eq!(model.position().await.expect("reads"), 0, "nothing was applied");
}

pub async fn a_batch_from_another_position_is_fenced(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 5).await.expect("applies");
    let fenced = model.apply(vec![put(1, "b")], 0, 5).await;
    assert!(matches!(fenced, Err(ApplyError::Fenced { expected: 0, actual: 5 })), "{fenced:?}");
    assert_eq!(things(&model).await, ["1=a"]);
}

pub async fn an_older_epoch_is_refused(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply_under(5, vec![put(1, "a")], 0, 1).await.expect("applies");
    let late = model.apply_under(4, vec![put(1, "b")], 1, 2).await;
    assert!(matches!(late, Err(ApplyError::Superseded { epoch: 4, actual: 5 })), "{late:?}");
    model.apply_under(6, Vec::new(), 1, 2).await.expect("a later one takes over");
    let late = model.apply_under(5, vec![put(1, "b")], 2, 3).await;
    assert!(matches!(late, Err(ApplyError::Superseded { .. })), "{late:?}");
    assert_eq!(things(&model).await, ["1=a"]);
}

pub async fn a_broken_constraint_is_the_projections_fault_and_changes_nothing(place: Place) {
    let insert = write(
        "insert",
        "INSERT INTO things (id, name) VALUES ($1, $2)",
        vec![column("id", ColumnType::Integer), column("name", ColumnType::Text)],
    );
    let (_store, model) = place.with(&small(vec![all_things(), insert])).await;
    let again = || run("insert", vec![Value::Integer(1), Value::Text("x".to_owned())]);
    let refused = model.apply(vec![put(2, "b"), again(), again()], 0, 1).await;
    let Err(ApplyError::Rejected { detail, .. }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("`insert`"), "{detail}");
    assert_eq!(things(&model).await, [""; 0]);
    model.apply(vec![put(2, "b")], 0, 1).await.expect("the read model goes on");
}

pub async fn unique_values_can_be_swapped_in_a_batch(place: Place) {
    let mut declared = small(vec![all_things()]);
    declared.tables[0].indexes.push(index(&["name"], true));
    let (_store, model) = place.with(&declared).await;
    model.apply(vec![put(1, "a"), put(2, "b")], 0, 1).await.expect("applies");
    let swap = vec![put(1, "c"), put(2, "a"), put(1, "b"), remove(2), put(2, "a")];
    model.apply(swap, 1, 2).await.expect("applies");
    assert_eq!(things(&model).await, ["1=b", "2=a"]);
    let twice = model.apply(vec![put(3, "a")], 2, 3).await;
    assert!(matches!(twice, Err(ApplyError::Rejected { .. })), "{twice:?}");
}

pub async fn a_session_sees_one_position(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 1).await.expect("applies");
    let mut session = model.session(&admin()).await.expect("a session");
    model.apply(vec![put(1, "b"), put(2, "c")], 1, 2).await.expect("applies");
    assert_eq!(session.position(), 1);
    assert_eq!(session.read(&call("all_things", Vec::new())).await.expect("rows").len(), 1);
    assert_eq!(things(&model).await, ["1=b", "2=c"]);
}

pub async fn what_a_call_gets_wrong_is_named(place: Place) {
    let by_name = read(
        "by_name",
        "SELECT id FROM things WHERE name = $1",
        vec![column("name", ColumnType::Text)],
        vec![column("id", ColumnType::Integer)],
    );
    let lying = read("lying", "SELECT name FROM things", Vec::new(), vec![column("id", ColumnType::Text)]);
    let (_store, model) = place.with(&small(vec![all_things(), by_name, lying])).await;
    model.apply(vec![put(1, "a")], 0, 1).await.expect("applies");
    assert!(matches!(ask(&model, "nothing", Vec::new()).await, Err(ReadError::UnknownStatement(_))));
    for params in [Vec::new(), vec![Value::Integer(1)], vec![Value::Null]] {
        assert!(matches!(ask(&model, "by_name", params).await, Err(ReadError::Parameters { .. })));
    }
    let nameless = Change::Put { table: "things".into(), row: vec![Value::Integer(2), Value::Null] };
    model.apply(vec![nameless], 1, 1).await.expect("applies");
    let lie = ask(&model, "lying", Vec::new()).await;
    assert!(matches!(&lie, Err(ReadError::Column { column, .. }) if &**column == "id"), "{lie:?}");
}

pub async fn too_many_rows_and_too_much_time_end_a_read(place: Place) {
    let endless = read(
        "endless",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)
         SELECT count(*) FROM n",
        Vec::new(),
        vec![column("n", ColumnType::Integer)],
    );
    let (_store, model) = place.with(&small(vec![all_things(), endless])).await;
    let many: Vec<_> = (0..50).map(|id| put(id, "x")).collect();
    model.apply(many, 0, 1).await.expect("applies");
    let mut session = model.session(&admin()).await.expect("a session");
    let everything = call("all_things", Vec::new());
    assert!(matches!(
        session.read_up_to(&everything, 49).await,
        Err(ReadError::TooManyRows { limit: 49, .. })
    ));
    assert_eq!(session.read_up_to(&everything, 50).await.expect("rows").len(), 50);
    session.set_timeout(Duration::from_millis(100));
    let start = Instant::now();
    let late = session.read(&call("endless", Vec::new())).await;
    assert!(matches!(late, Err(ReadError::Timeout { timeout_ms: 100, .. })), "{late:?}");
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(session.read(&everything).await.expect("the session goes on").len(), 50);
}
