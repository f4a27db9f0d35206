//! A folder takes what is in it along, and nothing else: the handlers' part and the policy's.

use crate::words::*;
use cairn_files::domain::commands::*;
use cairn_files::domain::{File, FileEvent, Folder, FolderEvent};
use cairn_files::policies::FolderCascade;
use cairn_sdk::prelude::*;
use cairn_sdk::shared::Call;
use cairn_sdk::testing::{ID, context, given, principal, react, recorded, user};

const LATER: Uuid = Uuid::from_u128(0xd1);

fn go() -> DeleteFileWithFolder {
    DeleteFileWithFolder { folder_id: FOLDER, deletion: DELETION }
}

fn come() -> RestoreFileWithFolder {
    RestoreFileWithFolder { folder_id: FOLDER, deletion: DELETION }
}

fn gone(by: Option<Uuid>) -> FileEvent {
    FileEvent::FileDeleted { deletion: DELETION, with_folder: Some(FOLDER), by }
}

fn back(by: Option<Uuid>) -> FileEvent {
    FileEvent::FileRestored { deletion: DELETION, with_folder: Some(FOLDER), by }
}

#[test]
fn a_file_goes_with_its_folder_and_keeps_its_name() {
    given::<File>([file("a", Some(FOLDER))])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .as_policy_for(user(3))
        .when(go())
        .then([gone(Some(user(3)))])
        .and_claims([&format!("folder/{FOLDER}/name/a")])
        .and_state(|file| assert_eq!(file.item.updated_by(), user(3)));
}

#[test]
fn it_goes_with_a_folder_far_above() {
    given::<File>([file("a", Some(OTHER))])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .with::<Folder>(OTHER, [folder("sub", Some(FOLDER))])
        .as_policy_for(user(1))
        .when(go())
        .then([gone(Some(user(1)))]);
}

#[test]
fn it_stays_where_the_cause_no_longer_holds() {
    let docs = || folder("docs", None);
    let came_too_late = [
        // The folder is back, or was deleted anew.
        vec![docs(), folder_deleted(DELETION), folder_restored(DELETION)],
        vec![docs(), folder_deleted(DELETION), folder_restored(DELETION), folder_deleted(LATER)],
    ];
    for history in came_too_late {
        given::<File>([file("a", Some(FOLDER))])
            .with::<Folder>(FOLDER, history)
            .as_policy_for(user(1))
            .when(go())
            .then_nothing();
    }
    // Moved out, or deleted by itself, in between.
    for events in [vec![file("a", None)], vec![file("a", Some(FOLDER)), file_deleted()]] {
        given::<File>(events)
            .with::<Folder>(FOLDER, [docs(), folder_deleted(DELETION)])
            .as_policy_for(user(1))
            .when(go())
            .then_nothing();
    }
}

#[test]
fn it_comes_back_with_the_folder() {
    given::<File>([file("a", Some(FOLDER)), file_gone_with(FOLDER)])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION), folder_restored(DELETION)])
        .as_policy_for(user(1))
        .when(come())
        .then([back(Some(user(1)))])
        .and_claims([&format!("folder/{FOLDER}/name/a")]);
}

#[test]
fn what_did_not_go_with_it_does_not_come_back_with_it() {
    let restored = || [folder("docs", None), folder_deleted(DELETION), folder_restored(DELETION)];
    let gone_otherwise = FileEvent::FileDeleted { deletion: LATER, with_folder: None, by: None };
    for events in [vec![file("a", Some(FOLDER))], vec![file("a", Some(FOLDER)), gone_otherwise]] {
        given::<File>(events)
            .with::<Folder>(FOLDER, restored())
            .as_policy_for(user(1))
            .when(come())
            .then_nothing();
    }
    // The folder is still gone.
    given::<File>([file("a", Some(FOLDER)), file_gone_with(FOLDER)])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .as_policy_for(user(1))
        .when(come())
        .then_nothing();
    // It did not come back by itself either.
    given::<File>([file("a", Some(FOLDER)), file_gone_with(FOLDER)])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .when(RestoreFile {})
        .then_rejected("parent-deleted");
}

#[test]
fn a_folder_that_came_and_went_again_takes_along_what_was_on_its_way_back() {
    given::<File>([file("a", Some(FOLDER)), file_gone_with(FOLDER)])
        .with::<Folder>(
            FOLDER,
            [
                folder("docs", None),
                folder_deleted(DELETION),
                folder_restored(DELETION),
                folder_deleted(LATER),
            ],
        )
        .as_policy_for(user(1))
        .when(come())
        .then([
            back(Some(user(1))),
            FileEvent::FileDeleted { deletion: LATER, with_folder: Some(FOLDER), by: Some(user(1)) },
        ])
        .and_claims([&format!("folder/{FOLDER}/name/a")]);
}

#[test]
fn folders_go_and_come_as_files_do() {
    given::<Folder>([folder("sub", Some(FOLDER))])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .as_policy_for(user(1))
        .when(DeleteFolderWithFolder { folder_id: FOLDER, deletion: DELETION })
        .then([FolderEvent::FolderDeleted {
            deletion: DELETION,
            with_folder: Some(FOLDER),
            by: Some(user(1)),
        }]);
}

/// Stands for the read model: rows for the one statement that is expected.
fn rows(statement: &'static str, rows: Vec<Vec<Value>>) -> impl Fn(&Call) -> Rows {
    move |call| {
        assert_eq!(call.statement, statement);
        Rows(rows.clone())
    }
}

fn sent(reaction: &Reaction) -> Vec<(&str, Uuid, &str, u32)> {
    let commands = reaction.commands.iter();
    commands.map(|sent| (sent.target.aggregate.as_ref(), sent.target.id, sent.command, sent.stage)).collect()
}

#[test]
fn the_policy_deletes_the_deepest_first() {
    let (deep, sub, top) = (Uuid::from_u128(11), Uuid::from_u128(12), Uuid::from_u128(13));
    let below = vec![
        vec![deep.into(), "file".into(), 2_i64.into()],
        vec![top.into(), "file".into(), 1_i64.into()],
        vec![sub.into(), "folder".into(), 1_i64.into()],
    ];
    let event = recorded::<Folder>(ID, 2, folder_deleted(DELETION));
    let ctx = context(principal(user(0)));
    let reaction = react::<FolderCascade>(&event, &ctx, rows("living_below", below)).expect("a reaction");
    assert_eq!(
        sent(&reaction),
        [
            ("file", deep, "delete_with_folder", 0),
            ("file", top, "delete_with_folder", 2),
            ("folder", sub, "delete_with_folder", 3),
        ]
    );
    let payload: DeleteFileWithFolder =
        serde_json::from_slice(&reaction.commands[0].payload).expect("a payload");
    assert_eq!(payload, DeleteFileWithFolder { folder_id: ID, deletion: DELETION });
}

#[test]
fn a_folder_that_was_taken_along_names_the_folder_that_took_it() {
    let straggler = Uuid::from_u128(11);
    let event = FolderEvent::FolderDeleted { deletion: DELETION, with_folder: Some(FOLDER), by: None };
    let below = vec![vec![straggler.into(), "file".into(), 1_i64.into()]];
    let ctx = context(principal(user(0)));
    let event = recorded::<Folder>(ID, 2, event);
    let reaction = react::<FolderCascade>(&event, &ctx, rows("living_below", below)).expect("a reaction");
    let payload: DeleteFileWithFolder =
        serde_json::from_slice(&reaction.commands[0].payload).expect("a payload");
    assert_eq!(payload, go());
}

#[test]
fn the_policy_restores_the_highest_first_and_only_from_the_top() {
    let (deep, sub) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let gone = vec![
        vec![sub.into(), "folder".into(), 1_i64.into(), ID.into()],
        vec![deep.into(), "file".into(), 2_i64.into(), ID.into()],
    ];
    let ctx = context(principal(user(0)));
    let event = recorded::<Folder>(ID, 3, folder_restored(DELETION));
    let reaction = react::<FolderCascade>(&event, &ctx, rows("gone_with", gone)).expect("a reaction");
    assert_eq!(
        sent(&reaction),
        [("folder", sub, "restore_with_folder", 0), ("file", deep, "restore_with_folder", 1),]
    );
    let event = FolderEvent::FolderRestored { deletion: DELETION, with_folder: Some(FOLDER), by: None };
    let reaction = react::<FolderCascade>(&recorded::<Folder>(ID, 3, event), &ctx, |_: &Call| unreachable!());
    assert_eq!(reaction, Ok(Reaction::none()));
}
