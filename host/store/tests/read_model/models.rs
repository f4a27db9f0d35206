//! Read models are kept when they fit, and thrown away when they do not or are damaged.

use cairn_store::Store;

use crate::support::*;

pub async fn refill(store: &Store, version: u32) -> Vec<String> {
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

pub async fn a_read_model_is_kept_unless_version_form_or_log_differ(place: Place) {
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
    if place.is_postgres() {
        place.sql("UPDATE log_meta SET log_id = '0190e3a1-7c1e-7cc0-8000-000000000001'");
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(place.folder.path().join(format!("cairn.db{suffix}")));
    }
    let store = place.open().await;
    let model = store.open_read_model(&other).await.expect("opens");
    assert_eq!(things(&model).await, [""; 0], "another log");
}

pub async fn a_read_model_ahead_of_its_log_is_built_anew(place: Place) {
    let (store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 10).await.expect("applies");
    model.close().await.expect("closes");
    let model = store.open_read_model(&small(vec![all_things()])).await.expect("opens");
    assert_eq!(model.position().await.expect("reads"), 0);
}

pub async fn reset_empties_and_remove_removes(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply(vec![put(1, "a")], 0, 3).await.expect("applies");
    model.reset().await.expect("resets");
    assert_eq!(things(&model).await, [""; 0]);
    assert_eq!(model.position().await.expect("reads"), 0);
    model.remove().await.expect("removes");
    if place.is_postgres() {
        assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'read%'"), "0");
    } else {
        let left = std::fs::read_dir(place.folder.path().join("read")).expect("lists").count();
        assert_eq!(left, 0);
    }
}

pub async fn checksums_are_equal_for_equal_content_only(place: Place) {
    let (one, two) = (place.fresh(), place);
    let declared = small(vec![all_things()]);
    let (_a, first) = one.with(&declared).await;
    let (_b, second) = two.with(&declared).await;
    first.apply(vec![put(1, "a"), put(2, "b"), put(3, "c"), remove(3)], 0, 1).await.expect("applies");
    second.apply(vec![put(2, "x"), put(1, "a")], 0, 1).await.expect("applies");
    assert_ne!(first.checksum().await.expect("sums"), second.checksum().await.expect("sums"));
    second.apply(vec![put(2, "b")], 1, 2).await.expect("applies");
    assert_eq!(first.checksum().await.expect("sums"), second.checksum().await.expect("sums"));
}
