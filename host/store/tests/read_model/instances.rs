//! Instances of a read model: one is read while another one is built, and one transaction moves the readers.

use cairn_store::{Error, Fence, Instances, Switch};
use uuid::Uuid;

use crate::support::*;

pub async fn queries_move_in_one_step_and_what_nobody_needs_goes(place: Place) {
    let store = place.open().await;
    fill_log(&store, 9).await;
    let (old, mut new) = (small(vec![all_things()]), small(vec![all_things()]));
    new.version = 2;
    let (old_form, new_form) = (store.read_model_form(&old), store.read_model_form(&new));
    assert_ne!(old_form, new_form);
    assert_eq!(store.instances("things").await.expect("reads"), None);
    store.note_component("things", &old_form, "one", 0).await.expect("notes");
    store.note_component("things", &new_form, "other", 0).await.expect("notes nothing");
    store.note_component("things", &old_form, "same form", 0).await.expect("notes");
    let known = store.instances("things").await.expect("reads").expect("is noted");
    let first = Instances { active: 0, previous: None, form: old_form, digest: "same form".to_owned() };
    assert_eq!(known, first);

    let running = store.open_read_model(&old).await.expect("opens");
    running.apply(vec![put(1, "old")], 0, 5).await.expect("applies");
    let build = store.open_instance(&new, 1).await.expect("opens");
    build.apply(vec![put(1, "new")], 0, 6).await.expect("applies");
    assert_eq!(things(&running).await, ["1=old"]);
    build.close().await.expect("closes");
    let build = store.open_instance(&new, 1).await.expect("opens");
    assert_eq!((build.instance(), build.position().await.expect("a position")), (1, 6), "it is kept");
    store.sweep_instances("things", Some(1)).await.expect("sweeps");
    assert_eq!(store.instance_standing("things", 1).await.expect("reads").expect("is there").position, 6);

    let epoch = store.lease("projection/things", Uuid::from_u128(1), std::time::Duration::from_secs(60));
    let epoch = epoch.await.expect("asks").expect("is free");
    let fence = Fence { lease: "projection/things".into(), epoch };
    let switch = Switch { projection: &new, from: 0, to: 1, form: &new_form, digest: "two" };
    let late = store.switch_read_model(&switch, &Fence { epoch: epoch + 1, ..fence.clone() }).await;
    assert!(matches!(late, Err(Error::Superseded { .. })), "{late:?}");
    assert!(store.switch_read_model(&switch, &fence).await.expect("switches"));
    assert!(!store.switch_read_model(&switch, &fence).await.expect("is done already"));
    let known = store.instances("things").await.expect("reads").expect("is noted");
    assert_eq!((known.active, known.previous, &*known.digest), (1, Some(0), "two"));
    if place.is_postgres() {
        assert_eq!(place.sql("SELECT name FROM public.things"), "new", "the view goes with it");
    }
    assert_eq!(things(&store.open_read_model(&new).await.expect("opens")).await, ["1=new"]);

    // The one before is kept until the next one is built.
    store.sweep_instances("things", None).await.expect("sweeps");
    assert_eq!(things(&running).await, ["1=old"]);
    running.close().await.expect("closes");
    store.sweep_instances("things", Some(2)).await.expect("sweeps");
    assert_eq!(store.instance_standing("things", 0).await.expect("reads"), None);
    assert!(store.instance_standing("things", 1).await.expect("reads").is_some());
    // A cancelled build goes, and so does one that nobody knows.
    store.open_instance(&new, 2).await.expect("opens").close().await.expect("closes");
    store.sweep_instances("things", None).await.expect("sweeps");
    assert_eq!(store.instance_standing("things", 2).await.expect("reads"), None);
    assert_eq!(things(&store.open_read_model(&new).await.expect("opens")).await, ["1=new"]);
}
