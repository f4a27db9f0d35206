//! Only on SQLite: files that somebody removes or overwrites.

use cairn_store::ApplyError;

use crate::models::refill;
use crate::support::*;

pub async fn a_file_that_is_gone_or_no_database_is_built_anew(place: Place) {
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

pub async fn a_file_that_is_removed_while_it_is_used_is_built_anew(place: Place) {
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
