//! A batch equals its changes one by one.

use cairn_model::manifest::{ColumnType, Projection};
use cairn_model::{Change, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::*;

fn declared() -> Projection {
    let two = || vec![column("a", ColumnType::Integer), column("b", ColumnType::Integer)];
    small(vec![
        all_things(),
        write(
            "rename",
            "UPDATE things SET name = name || $1 WHERE id < 3",
            vec![column("x", ColumnType::Text)],
        ),
        write(
            "link_things",
            "INSERT INTO links (a, b) SELECT id, $1 FROM things WHERE true ON CONFLICT (a, b) DO NOTHING",
            vec![column("b", ColumnType::Integer)],
        ),
        batched(
            "link",
            "INSERT INTO links (a, b) SELECT a, b FROM input WHERE true ON CONFLICT (a, b) DO NOTHING",
            two(),
        ),
        batched(
            "unlink",
            "DELETE FROM links WHERE a IN (SELECT a FROM input)",
            vec![column("a", ColumnType::Integer)],
        ),
        write(
            "things_from_links",
            "INSERT INTO things (id, name) SELECT a, 'from link' FROM links WHERE b = $1 ON CONFLICT (id) DO NOTHING",
            vec![column("b", ColumnType::Integer)],
        ),
    ])
}

fn change() -> impl Strategy<Value = Change> {
    let small = || (0..6i64).prop_map(Value::Integer);
    prop_oneof![
        4 => (0..6i64, "[a-c]").prop_map(|(id, name)| put(id, &name)),
        2 => (0..6i64).prop_map(remove),
        2 => (small(), small()).prop_map(|(a, b)| Change::Put { table: "links".into(), row: vec![a, b] }),
        1 => (small(), small()).prop_map(|(a, b)| Change::Remove { table: "links".into(), key: vec![a, b] }),
        1 => "[x-z]".prop_map(|x| run("rename", vec![Value::Text(x)])),
        1 => small().prop_map(|b| run("link_things", vec![b])),
        2 => (small(), small()).prop_map(|(a, b)| run("link", vec![a, b])),
        1 => small().prop_map(|a| run("unlink", vec![a])),
        1 => small().prop_map(|b| run("things_from_links", vec![b])),
    ]
}

pub async fn random_batches_equal_their_changes_one_by_one(place: Place) {
    let (one, two) = (place.fresh(), place);
    let (_a, batches) = one.with(&declared()).await;
    let (_b, singles) = two.with(&declared()).await;
    let mut runner = TestRunner::default();
    let (mut batch_position, mut single_position) = (0, 0);
    for case in 0..150 {
        let changes = vec(change(), 1..40).new_tree(&mut runner).expect("changes").current();
        batches.apply(changes.clone(), batch_position, batch_position + 1).await.expect("applies");
        batch_position += 1;
        for change in &changes {
            singles.apply(vec![change.clone()], single_position, single_position + 1).await.expect("applies");
            single_position += 1;
        }
        let (left, right) =
            (batches.checksum().await.expect("sums"), singles.checksum().await.expect("sums"));
        assert_eq!(left, right, "case {case}: {changes:#?}");
    }
}
