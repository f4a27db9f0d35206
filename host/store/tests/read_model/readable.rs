//! The relation `readable` against the rules of the model.

use std::collections::BTreeSet;

use cairn_model::access::permissions;
use cairn_model::manifest::ColumnType;
use cairn_model::{
    Access, AccessEntry, Change, NewEvent, Permission, Permissions, Principal, StreamKey, StreamRef, Subject,
    Value,
};
use cairn_store::{Append, LogFilter, Outcome, ReadModel, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::support::*;

fn stream(number: u128) -> StreamKey {
    StreamKey::new("default", "folder", Uuid::from_u128(number))
}

fn declared() -> cairn_model::manifest::Projection {
    let items =
        table("items", vec![column("id", ColumnType::Uuid), column("parent", ColumnType::Integer)], &["id"]);
    let list = read(
        "list",
        "SELECT i.id FROM items AS i JOIN readable AS r ON r.aggregate = 'folder' AND r.id = i.id ORDER BY i.id",
        Vec::new(),
        vec![column("id", ColumnType::Uuid)],
    );
    let exists = read(
        "exists_list",
        "SELECT i.id FROM items AS i WHERE i.parent = $1 AND
         EXISTS (SELECT 1 FROM readable WHERE readable.aggregate = 'folder' AND readable.id = i.id) ORDER BY i.id",
        vec![column("parent", ColumnType::Integer)],
        vec![column("id", ColumnType::Uuid)],
    );
    projection(vec![items], vec![list, exists])
}

async fn set_access(store: &Store, number: u128, access: Access) {
    set_access_of(store, "folder", number, access).await;
}

/// Appends an event that changes who may do what with an aggregate.
pub async fn set_access_of(store: &Store, aggregate: &str, number: u128, access: Access) {
    let stream = StreamKey::new("default", aggregate, Uuid::from_u128(number));
    let (version, _) = store.head_of(&stream).await.expect("reads");
    let append = Append {
        events: vec![NewEvent { event_type: "Changed".into(), schema_version: 1, data: "{}".to_owned() }],
        metadata: "{}".to_owned(),
        access: Some(access),
        ..Append::check(stream, version)
    };
    assert!(matches!(store.append_and_wait(append).await, Outcome::Committed(_)));
}

async fn readable(model: &ReadModel, principal: &Principal) -> BTreeSet<u128> {
    let mut session = model.session(principal).await.expect("a session");
    let list = session.read(&call("list", Vec::new())).await.expect("rows");
    let exists = session.read(&call("exists_list", vec![Value::Integer(1)])).await.expect("rows");
    assert_eq!(list, exists);
    list.into_iter()
        .map(|row| match &row[0] {
            Value::Text(id) => id.parse::<Uuid>().expect("an id").as_u128(),
            other => panic!("{other:?}"),
        })
        .collect()
}

pub fn somebody(id: u128, groups: &[&str]) -> Principal {
    Principal {
        id: Uuid::from_u128(id),
        tenant: "default".into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        scopes: Vec::new(),
    }
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        (100..103u128).prop_map(|id| Subject::User(Uuid::from_u128(id))),
        "[gh]".prop_map(Subject::Group),
        Just(Subject::Everyone),
    ]
}

fn access(number: u128) -> impl Strategy<Value = Access> {
    let entry = (subject(), 0..5usize).prop_map(|(subject, which)| AccessEntry {
        subject,
        permissions: if which == 0 { Permissions::NONE } else { Permission::ALL[which].into() },
    });
    let parent = prop::option::weighted(0.8, 0..number.max(1));
    let owner = prop::option::weighted(0.2, 100..103u128);
    (owner, parent, prop::bool::weighted(0.8), vec(entry, 0..2)).prop_map(
        move |(owner, parent, inherits, entries)| Access {
            owner: owner.map(Uuid::from_u128),
            parent: parent.filter(|_| number > 0).map(|parent| stream(parent).local()),
            inherits,
            entries,
        },
    )
}

pub async fn a_list_shows_what_the_model_says(place: Place) {
    let (store, model) = place.with(&declared()).await;
    let mut runner = TestRunner::default();
    let items = (0..30u128).map(|number| Change::Put {
        table: "items".into(),
        row: vec![Value::Text(Uuid::from_u128(number).to_string()), Value::Integer(1)],
    });
    model.apply(items.collect::<Vec<_>>(), 0, 0).await.expect("applies");
    for case in 0..20 {
        let mut chain: Vec<Access> = Vec::new();
        for number in 0..25 {
            let access = access(number).new_tree(&mut runner).expect("access").current();
            set_access(&store, number, access.clone()).await;
            chain.push(access);
        }
        for principal in [somebody(100, &[]), somebody(101, &["g"]), somebody(200, &["h", "x"]), admin()] {
            let expected: BTreeSet<u128> = (0..25u128)
                .filter(|number| {
                    let mut links = Vec::new();
                    let mut next = Some(*number as usize);
                    while let Some(link) = next {
                        links.push(&chain[link]);
                        next = chain[link].parent.as_ref().map(|parent| parent.id.as_u128() as usize);
                    }
                    permissions(&principal, links).contains(Permission::Read)
                })
                .collect();
            assert_eq!(
                readable(&model, &principal).await,
                expected,
                "case {case}, {principal:?}, {chain:#?}"
            );
        }
    }
}

pub async fn a_revoke_is_seen_at_once_and_tenants_do_not_mix(place: Place) {
    let (store, model) = place.with(&declared()).await;
    let item = Change::Put {
        table: "items".into(),
        row: vec![Value::Text(Uuid::from_u128(1).to_string()), Value::Integer(1)],
    };
    model.apply(vec![item], 0, 0).await.expect("applies");
    let me = somebody(100, &[]);
    let entry = AccessEntry { subject: Subject::Everyone, permissions: Permission::Read.into() };
    let open = Access { entries: vec![entry], ..Access::default() };
    set_access(&store, 1, open).await;
    assert_eq!(readable(&model, &me).await, BTreeSet::from([1]));
    let mut stranger = me.clone();
    stranger.tenant = "other".into();
    assert_eq!(readable(&model, &stranger).await, BTreeSet::new());
    set_access(&store, 1, Access::default()).await;
    assert_eq!(readable(&model, &me).await, BTreeSet::new(), "the read model has not moved, the list has");
}

pub async fn a_session_says_where_its_log_ends(place: Place) {
    let (store, model) = place.with(&declared()).await;
    let me = somebody(100, &[]);
    let mut empty = model.session(&me).await.expect("a session");
    assert_eq!(empty.log_end().await.expect("asks"), None);
    drop(empty);
    for number in 1..4 {
        set_access(&store, number, Access::default()).await;
        let mut session = model.session(&me).await.expect("a session");
        let last = store.read_log(LogFilter::default()).await.expect("reads").pop().expect("an event");
        let end = session.log_end().await.expect("asks");
        assert_eq!(end, Some((last.position, last.hash)));
        // What comes later is not seen.
        session.read(&call("list", Vec::new())).await.expect("rows");
        set_access(&store, number + 10, Access::default()).await;
        assert_eq!(session.log_end().await.expect("asks"), end);
    }
    store.begin_rebuild_facts().await.expect("begins");
    let mut session = model.session(&me).await.expect("a session");
    assert_eq!(session.log_end().await.expect("asks"), None, "nobody knows who may read what");
}

pub async fn a_circle_of_parents_ends(place: Place) {
    let (store, model) = place.with(&declared()).await;
    let item = Change::Put {
        table: "items".into(),
        row: vec![Value::Text(Uuid::from_u128(1).to_string()), Value::Integer(1)],
    };
    model.apply(vec![item], 0, 0).await.expect("applies");
    let below = |parent| Access {
        parent: Some(StreamRef::new("folder", Uuid::from_u128(parent))),
        inherits: true,
        ..Access::default()
    };
    set_access(&store, 1, below(2)).await;
    set_access(&store, 2, below(1)).await;
    assert_eq!(readable(&model, &somebody(100, &[])).await, BTreeSet::new());
}
