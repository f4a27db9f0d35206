//! What events change in the tables, and what queries make of rows. The SQL itself runs in the tests of whole hosts.

use cairn_files::domain::{Cascade, File, FileEvent, Folder, FolderEvent};
use cairn_files::read_model::queries::*;
use cairn_files::read_model::{Files, ItemView, Page};
use cairn_sdk::prelude::*;
use cairn_sdk::shared::Call;
use cairn_sdk::testing::{ID, NOW, ask, context, principal, project, recorded, user};

use crate::words::*;

/// The statements and tables that an event's changes name.
fn touched(event: &RecordedEvent) -> Vec<&'static str> {
    let changes = project::<Files>(event).expect("the event is read");
    let name = |change: &Change| match change {
        Change::Put { table, .. } | Change::Remove { table, .. } => *table,
        Change::Run(call) => call.statement,
    };
    changes.iter().map(name).collect()
}

#[test]
fn every_change_fits_its_declaration() {
    let subject = || Subject::Group("staff".to_owned());
    let files = [
        file("a", Some(FOLDER)),
        FileEvent::FileRenamed { name: name("b") },
        FileEvent::FileMoved { parent_id: Some(OTHER) },
        file_deleted(),
        FileEvent::FileRestored { deletion: DELETION, with_folder: None, by: None },
        file_granted(subject(), Permission::Write),
        FileEvent::FilePermissionRevoked { subject: subject(), permission: Permission::Write },
        FileEvent::FileOwnershipTransferred { owner_id: user(2) },
    ];
    let folders = [
        folder("a", None),
        FolderEvent::FolderInheritanceSet { inherit: false },
        FolderEvent::FolderCascadeContinued {
            cascade: Cascade::Deletion,
            deletion: DELETION,
            with_folder: FOLDER,
            from: OTHER,
            by: None,
        },
    ];
    let files = files.into_iter().map(|event| recorded::<File>(ID, 1, event));
    let events = files.chain(folders.into_iter().map(|event| recorded::<Folder>(ID, 1, event)));
    for change in events.flat_map(|event| project::<Files>(&event).expect("the event is read")) {
        let table = |name: &str| Files::TABLES.iter().find(|table| table.name == name).expect("declared");
        let (values, declared) = match &change {
            Change::Put { table: name, row } => (row.len(), table(name).columns.len()),
            Change::Remove { table: name, key } => (key.len(), table(name).key.len()),
            Change::Run(call) => {
                let known = Files::STATEMENTS.iter().find(|known| known.name == call.statement);
                (call.params.len(), known.expect("declared").params.len())
            }
        };
        assert_eq!(values, declared, "{change:?}");
    }
}

#[test]
fn a_move_rewrites_the_tree() {
    let moved = |parent_id| recorded::<File>(ID, 2, FileEvent::FileMoved { parent_id });
    assert_eq!(touched(&moved(Some(FOLDER))), ["move_item", "tree_unlink", "tree_link"]);
    assert_eq!(touched(&moved(None)), ["move_item", "tree_unlink"]);
}

#[test]
fn what_is_made_again_gets_its_place_anew() {
    let made = |version, parent| touched(&recorded::<Folder>(ID, version, folder("a", parent)));
    assert_eq!(made(1, Some(FOLDER)), ["file_views", "tree_insert"]);
    assert_eq!(made(2, Some(FOLDER)), ["file_views", "tree_unlink", "tree_insert", "tree_link"]);
    assert_eq!(made(2, None), ["file_views", "tree_unlink", "tree_insert"]);
}

#[test]
fn all_events_are_wanted() {
    assert_eq!(Files::events().len(), 19);
}

/// A row of an item.
fn row(id: u128, kind: &str, text: &str, parent: Option<u128>) -> Vec<Value> {
    let is_file = kind == "file";
    vec![
        Uuid::from_u128(id).into(),
        kind.into(),
        text.into(),
        text.to_lowercase().into(),
        parent.map(Uuid::from_u128).into(),
        user(1).into(),
        is_file.then_some(3_i64).into(),
        is_file.then_some("text/plain").into(),
        Value::Null,
        1_i64.into(),
        false.into(),
        Value::Null,
        NOW.into(),
        NOW.into(),
        user(1).into(),
        user(1).into(),
    ]
}

fn caller() -> Context {
    context(principal(user(1)))
}

fn paths(page: &Page<ItemView>) -> Vec<(&str, u32)> {
    let items = page.items.iter();
    items.map(|item| (item.path.as_deref().unwrap_or_default(), item.depth.unwrap_or_default())).collect()
}

#[test]
fn a_page_ends_with_a_cursor_that_starts_the_next() {
    let children = |limit, cursor| FolderChildren { folder_id: None, limit, cursor };
    let rows = |_: &Call| Rows(vec![row(1, "file", "A", None), row(2, "file", "b", None)]);
    let page = ask::<Files, _>(&children(1, None), &caller(), rows).expect("a page");
    assert_eq!(page.items.len(), 1);
    let next = page.next.expect("there is more");
    let after = |call: &Call| {
        assert_eq!(call.params[..2], ["a".into(), Uuid::from_u128(1).into()]);
        Rows(vec![row(2, "file", "b", None)])
    };
    let page = ask::<Files, _>(&children(1, Some(next)), &caller(), after).expect("a page");
    assert_eq!((page.items.len(), page.next), (1, None));
    for bad in [children(0, None), children(1001, None), children(1, Some("?".to_owned()))] {
        let no = ask::<Files, _>(&bad, &caller(), rows).expect_err("invalid");
        assert!(matches!(no, Error::Rejected(no) if no.kind == RejectionKind::Invalid));
    }
}

#[test]
fn the_children_of_a_folder_that_nobody_sees_are_not_found() {
    let query = FolderChildren { folder_id: Some(FOLDER), limit: 10, cursor: None };
    let no = ask::<Files, _>(&query, &caller(), |_: &Call| Rows::default()).expect_err("not found");
    assert!(matches!(no, Error::Rejected(no) if no.kind == RejectionKind::NotFound));
}

#[test]
fn a_tree_has_paths_and_is_sorted_by_them() {
    let with_depth = |mut row: Vec<Value>, depth: i64| {
        row.push(depth.into());
        row
    };
    let rows = move |call: &Call| match call.statement {
        "item_by_id" => Rows(vec![row(1, "folder", "top", None)]),
        _ => Rows(vec![
            with_depth(row(3, "file", "z.txt", Some(1)), 1),
            with_depth(row(2, "folder", "docs", Some(1)), 1),
            with_depth(row(4, "file", "a.txt", Some(2)), 2),
            // Its folder may not be read.
            with_depth(row(5, "file", "granted.txt", Some(9)), 4),
        ]),
    };
    let query = FolderTree { folder_id: Some(Uuid::from_u128(1)), depth: None };
    let page = ask::<Files, _>(&query, &caller(), rows).expect("a tree");
    assert_eq!(paths(&page), [("docs", 1), ("docs/a.txt", 2), ("z.txt", 1), ("…/granted.txt", 4)]);
}

#[test]
fn the_whole_tree_begins_at_the_highest_readable_folders() {
    let tree = |depth: Option<u32>| {
        // With a depth no more is read than is wanted.
        let rows = move |call: &Call| {
            let statement = if depth.is_some() { "whole_tree_to_depth" } else { "whole_tree" };
            assert_eq!(call.statement, statement);
            assert!(depth.is_none_or(|depth| call.params[0] == depth.into()));
            Rows(vec![
                row(4, "file", "a.txt", Some(2)),
                row(2, "folder", "docs", Some(9)),
                row(3, "file", "b.txt", None),
            ])
        };
        ask::<Files, _>(&FolderTree { folder_id: None, depth }, &caller(), rows).expect("a tree")
    };
    assert_eq!(paths(&tree(None)), [("b.txt", 1), ("docs", 1), ("docs/a.txt", 2)]);
    assert_eq!(paths(&tree(Some(1))), [("b.txt", 1), ("docs", 1)]);
}

#[test]
fn what_is_shared_twice_is_listed_once() {
    let mut caller = principal(user(2));
    caller.groups.push("staff".to_owned());
    let rows = |call: &Call| match &call.params[0] {
        Value::Text(kind) if kind == "everyone" => Rows::default(),
        _ => Rows(vec![row(1, "file", "a", None)]),
    };
    let page =
        ask::<Files, _>(&SharedWithMe { limit: 10, cursor: None }, &context(caller), rows).expect("a page");
    assert_eq!(page.items.len(), 1);
}

#[test]
fn all_groups_of_a_caller_count() {
    let in_groups = |count: usize| {
        let mut caller = principal(user(2));
        caller.groups.extend((0..count).map(|number| format!("group {number}")));
        context(caller)
    };
    let query = SharedWithMe { limit: 10, cursor: None };
    for wanted in ["group 0", "group 299"] {
        let page = ask::<Files, _>(&query, &in_groups(300), |call: &Call| {
            let declared = Files::STATEMENTS.iter().find(|known| known.name == call.statement);
            assert_eq!(declared.map(|known| known.params.len()), Some(call.params.len()));
            let is_there = call.params.contains(&wanted.into());
            Rows(if is_there { vec![row(1, "file", "a", None)] } else { Vec::new() })
        });
        assert_eq!(page.expect("a page").items.len(), 1, "{wanted}");
    }
    let no = ask::<Files, _>(&query, &in_groups(2_001), |_: &Call| Rows::default()).expect_err("too many");
    assert!(matches!(no, Error::Rejected(no) if no.code == "too-many-groups"));
}

#[test]
fn permissions_show_owner_and_grants() {
    let rows = |call: &Call| match call.statement {
        "security" => Rows(vec![vec!["folder".into(), user(1).into(), false.into()]]),
        _ => Rows(vec![vec!["group".into(), "staff".into(), "write".into(), NOW.into(), user(1).into()]]),
    };
    let view = ask::<Files, _>(&GetPermissions { id: FOLDER }, &caller(), rows).expect("permissions");
    assert_eq!((view.owner_id, view.inherits), (user(1), false));
    assert_eq!(view.items[0].subject, Subject::Group("staff".to_owned()));
    assert_eq!(view.items[0].permission, Permission::Write);
}
