//! Reading events, snapshots, access and keys.

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{Access, AccessEntry, Permission, Principal, StreamKey, StreamRef, Subject, Timestamp};
use cairn_store::{LogFilter, NewSnapshot};
use uuid::Uuid;

use crate::place::{Place, Saying, append, committed, event, fill, local, stream};

pub async fn the_log_is_filtered_and_paged(place: Place) {
    let store = place.open().await;
    for number in 0..30u64 {
        let mut new = append(stream(u128::from(number % 3)), number / 3);
        if number % 3 == 0 {
            new.stream.aggregate = "folder".into();
        }
        if number % 2 == 0 {
            new.events = vec![event("{}")];
            new.events[0].event_type = "Even".into();
        }
        if number % 3 == 2 {
            new.stream.tenant = "other".into();
        }
        committed(&store.append_and_wait(new).await);
    }
    let positions = async |filter: LogFilter| -> Vec<u64> {
        store.read_log(filter).await.expect("reads").into_iter().map(|event| event.position).collect()
    };
    let page = LogFilter { after: 10, limit: 5, ..LogFilter::default() };
    assert_eq!(positions(page).await, [11, 12, 13, 14, 15]);
    let even = LogFilter { event_types: vec!["Even".into()], limit: 3, ..LogFilter::default() };
    assert_eq!(positions(even).await, [1, 3, 5]);
    let folders = LogFilter { aggregate: Some("folder".into()), after: 4, limit: 2, ..LogFilter::default() };
    assert_eq!(positions(folders).await, [7, 10]);
    let tenant = LogFilter { tenant: Some("other".into()), limit: 2, ..LogFilter::default() };
    assert_eq!(positions(tenant).await, [3, 6]);
    let one = LogFilter { id: Some(stream(1).id), limit: 2, after: 2, ..LogFilter::default() };
    assert_eq!(positions(one).await, [5, 8]);
    let whole = LogFilter {
        tenant: Some("default".into()),
        aggregate: Some("file".into()),
        id: Some(stream(1).id),
        after: 6,
        limit: 2,
        event_types: vec!["Even".into()],
    };
    assert_eq!(positions(whole).await, [11, 17]);
    assert_eq!(positions(LogFilter { after: 30, ..LogFilter::default() }).await, [0; 0]);
}

pub async fn the_hosts_own_streams_are_read_in_order(place: Place) {
    let store = place.open().await;
    let own = |number| StreamKey { tenant: "cairn".into(), aggregate: "plugin".into(), ..stream(number) };
    for (version, number) in [(0, 2), (0, 1), (1, 2), (0, 3), (1, 1)] {
        committed(&store.append_and_wait(append(own(number), version)).await);
        fill(&store, &stream(number), version..version + 1).await;
        let other = StreamKey { aggregate: "key".into(), ..own(number) };
        committed(&store.append_and_wait(append(other, version)).await);
    }
    let positions = async |after, limit| -> Vec<u64> {
        let events = store.read_host_log("plugin", after, limit).await.expect("reads");
        events.into_iter().map(|event| event.position).collect()
    };
    assert_eq!(positions(0, 9).await, [1, 4, 7, 10, 13]);
    assert_eq!(positions(4, 2).await, [7, 10]);
    assert_eq!(store.read_host_log("other", 0, 9).await.expect("reads"), []);
}

pub async fn a_stream_is_read_by_versions_and_times(place: Place) {
    let store = place.open().await;
    let start = place.clock.now();
    for version in 0..4 {
        fill(&store, &stream(1), version..version + 1).await;
        fill(&store, &stream(2), version..version + 1).await;
        place.clock.advance_micros(1_000_000);
    }
    let events = store.read_stream(&stream(1), 1, 2).await.expect("reads");
    let places: Vec<_> = events.iter().map(|event| (event.version, event.position)).collect();
    assert_eq!(places, [(2, 3), (3, 5)]);
    let at = async |seconds: i64| {
        let time = Timestamp::from_micros(start.micros() + seconds * 1_000_000);
        store.version_at(&stream(1), time).await.expect("reads")
    };
    assert_eq!([at(-1).await, at(0).await, at(1).await, at(100).await], [0, 1, 2, 4]);
    assert_eq!(store.head_of(&stream(1)).await.expect("reads"), (4, 7));
    assert_eq!(store.head_of(&stream(9)).await.expect("reads"), (0, 0));
}

pub async fn every_stream_is_listed_once(place: Place) {
    let store = place.open().await;
    let mut expected: Vec<StreamKey> = Vec::new();
    for number in 0..7 {
        for (tenant, aggregate) in [("a", "file"), ("a", "folder"), ("b", "file")] {
            let key = StreamKey::new(tenant, aggregate, Uuid::from_u128(number));
            fill(&store, &key, 0..2).await;
            expected.push(key);
        }
    }
    let mut found: Vec<StreamKey> = Vec::new();
    loop {
        let page = store.streams(found.last(), 4).await.expect("reads");
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

pub async fn the_newest_fitting_snapshot_is_found(place: Place) {
    let store = place.open().await;
    let (own, other) = (Hash::of(b"own"), Hash::of(b"other"));
    for version in [10, 30, 20] {
        let state = Bytes::from(format!("state {version}"));
        let snapshot = NewSnapshot { stream: stream(1), version, state_version: 1, digest: own, state };
        store.save_snapshot(snapshot).await.expect("saves");
    }
    let find = async |state_version, digest, up_to| {
        let found = store.snapshot(&stream(1), state_version, digest, up_to).await.expect("reads");
        found.map(|(version, state)| (version, String::from_utf8(state.to_vec()).expect("UTF-8")))
    };
    assert_eq!(find(1, own, 100).await, Some((30, "state 30".to_owned())));
    assert_eq!(find(1, own, 29).await, Some((20, "state 20".to_owned())));
    assert_eq!(find(1, own, 19).await, None, "the third newest is gone");
    assert_eq!(find(2, own, 100).await, None);
    assert_eq!(find(1, other, 100).await, None);
}

fn below(parent: Option<StreamRef>) -> Access {
    let entry =
        AccessEntry { subject: Subject::Group("staff".into()), permissions: Permission::Write.into() };
    Access { owner: Some(Uuid::from_u128(5)), parent, inherits: false, entries: vec![entry] }
}

pub async fn an_access_chain_ends_and_does_not_run_in_circles(place: Place) {
    let store = place.open().await;
    let chain = async |number| {
        let rows = store.access_chain(&stream(number)).await.expect("reads");
        rows.into_iter().map(|row| (row.stream, row.version, row.access)).collect::<Vec<_>>()
    };
    let nothing = (local(1), 0, None);
    assert_eq!(chain(1).await, std::slice::from_ref(&nothing));
    fill(&store, &stream(2), 0..1).await;
    committed(&store.append_and_wait(append(stream(2), 1).with_access(below(Some(local(1))))).await);
    committed(&store.append_and_wait(append(stream(3), 0).with_access(below(Some(local(2))))).await);
    let (two, three) = (below(Some(local(1))), below(Some(local(2))));
    assert_eq!(chain(3).await, [(local(3), 1, Some(three)), (local(2), 2, Some(two.clone())), nothing]);
    // Its parent is made, and is the child of its grandchild.
    committed(&store.append_and_wait(append(stream(1), 0).with_access(below(Some(local(2))))).await);
    assert_eq!(chain(1).await, [(local(1), 1, Some(below(Some(local(2))))), (local(2), 2, Some(two))]);
    committed(&store.append_and_wait(append(stream(1), 1).with_access(below(None))).await);
    assert_eq!(chain(1).await, [(local(1), 2, Some(below(None)))]);
}

pub async fn keys_are_found_until_they_are_revoked(place: Place) {
    let store = place.open().await;
    let principal = Principal::administrator("default");
    let hash = Hash::of(b"secret");
    assert_eq!(store.find_key(hash).await.expect("reads"), None);
    let id = store.save_key(hash, &principal).await.expect("saves");
    assert_eq!(store.save_key(hash, &principal).await.expect("saves"), id);
    assert_eq!(store.find_key(hash).await.expect("reads"), Some(principal));
    assert!(store.revoke_key(id).await.expect("revokes"));
    assert!(!store.revoke_key(id).await.expect("revokes"));
    assert_eq!(store.find_key(hash).await.expect("reads"), None);
    let keys = store.keys().await.expect("reads");
    assert_eq!(keys.len(), 1);
    assert!(keys[0].revoked_at.is_some());
}
