//! The files of read models: kept when they fit, thrown away when they do not.

use cairn_store::{ApplyError, Store};

use crate::support::*;

async fn refill(store: &Store, version: u32) -> Vec<String> {
    let mut declared = small(vec![all_things()]);
    declared.version = version;
    let model = store.open_read_model(&declared).await.expect("opens");
    let found = things(&model).await;
    if model.position().await.expect("reads") == 0 {
        // Position 0 is the only one that an empty log knows.
        model.apply(vec![put(1, "a")], 0, 0).await.expect("applies");
    }
    model.close().await.expect("closes");
    found
}

#[tokio::test]
async fn a_read_model_is_kept_unless_version_form_or_log_differ() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(refill(&store, 1).await, [""; 0]);
    assert_eq!(refill(&store, 1).await, ["1=a"]);
    assert_eq!(refill(&store, 2).await, [""; 0], "another version");
    let mut other = small(vec![all_things()]);
    other.version = 2;
    other.tables[1].indexes.push(index(&["b"], false));
    let model = store.open_read_model(&other).await.expect("opens");
    assert_eq!(things(&model).await, [""; 0], "another form");
    model.apply(vec![put(1, "a")], 0, 0).await.expect("applies");
    model.close().await.expect("closes");
    store.close().await;
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(place.folder.path().join(format!("cairn.db{suffix}")));
    }
    let store = place.open().await;
    let model = store.open_read_model(&other).await.expect("opens");
    assert_eq!(things(&model).await, [""; 0], "another log");
}

#[tokio::test]
async fn a_read_model_ahead_of_its_log_is_built_anew() {
    let place = Place::new();
    let (store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 10).await.expect("applies");
    model.close().await.expect("closes");
    let model = store.open_read_model(&small(vec![all_things()])).await.expect("opens");
    assert_eq!(model.position().await.expect("reads"), 0);
}

#[tokio::test]
async fn a_file_that_is_gone_or_no_database_is_built_anew() {
    let place = Place::new();
    let store = place.open().await;
    let path = place.folder.path().join("read/things.sqlite");
    refill(&store, 1).await;
    assert!(path.exists());
    std::fs::remove_file(&path).expect("removes");
    assert_eq!(refill(&store, 1).await, [""; 0]);
    std::fs::write(&path, vec![7; 10_000]).expect("writes");
    assert_eq!(refill(&store, 1).await, [""; 0]);
    assert_eq!(refill(&store, 1).await, ["1=a"]);
}

#[tokio::test]
async fn reset_empties_and_remove_removes() {
    let place = Place::new();
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 3).await.expect("applies");
    model.reset().await.expect("resets");
    assert_eq!(things(&model).await, [""; 0]);
    assert_eq!(model.position().await.expect("reads"), 0);
    model.remove().await.expect("removes");
    let left = std::fs::read_dir(place.folder.path().join("read")).expect("lists").count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn checksums_are_equal_for_equal_content_only() {
    let (one, two) = (Place::new(), Place::new());
    let declared = small(vec![all_things()]);
    let (_a, first) = one.with(&declared).await;
    let (_b, second) = two.with(&declared).await;
    first.apply(vec![put(1, "a"), put(2, "b"), put(3, "c"), remove(3)], 0, 1).await.expect("applies");
    second.apply(vec![put(2, "x"), put(1, "a")], 0, 1).await.expect("applies");
    assert_ne!(first.checksum().await.expect("sums"), second.checksum().await.expect("sums"));
    second.apply(vec![put(2, "b")], 1, 2).await.expect("applies");
    assert_eq!(first.checksum().await.expect("sums"), second.checksum().await.expect("sums"));
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_used_is_built_anew() {
    let place = Place::new();
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 3).await.expect("applies");
    assert_eq!(things(&model).await, ["1=a"]);
    for entry in std::fs::read_dir(place.folder.path().join("read")).expect("lists") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removes");
    }
    let fenced = model.apply(vec![put(2, "b")], 3, 4).await;
    assert!(matches!(fenced, Err(ApplyError::Fenced { expected: 3, actual: 0 })), "{fenced:?}");
    assert_eq!(model.position().await.expect("reads"), 0);
    model.apply(vec![put(1, "a"), put(2, "b")], 0, 4).await.expect("applies");
    assert_eq!(things(&model).await, ["1=a", "2=b"]);
}
