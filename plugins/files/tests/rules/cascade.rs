//! A folder takes what is in it along, and nothing else: the handlers' part and the policy's.

use crate::words::*;
use cairn_files::domain::commands::*;
use cairn_files::domain::{Cascade, File, FileEvent, Folder, FolderEvent};
use cairn_files::policies::FolderCascade;
use cairn_sdk::prelude::*;
use cairn_sdk::shared::Call;
use cairn_sdk::testing::{ID, context, given, principal, react, recorded, user};
use serde::de::DeserializeOwned;

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
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/a")])
        .and_state(|file| assert_eq!(file.item.updated_by(), user(3)));
}

#[test]
fn what_is_farther_down_goes_when_the_folder_that_it_is_in_has_gone() {
    let in_sub = |sub| {
        given::<File>([file("a", Some(OTHER))])
            .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
            .with::<Folder>(OTHER, sub)
            .as_policy_for(user(1))
            .when(go())
    };
    let gone_along = FolderEvent::FolderDeleted { deletion: DELETION, with_folder: Some(FOLDER), by: None };
    in_sub(vec![folder("sub", Some(FOLDER)), gone_along]).then([gone(Some(user(1)))]);
    in_sub(vec![folder("sub", Some(FOLDER))]).then_nothing();
    // That one was moved out before it went by itself: its own deletion takes the file along.
    in_sub(vec![folder("sub", None), folder_deleted(LATER)]).then_nothing();
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
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/a")]);
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
    // It does not come back by itself either.
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
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/a")]);
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

fn child(id: u128, kind: &str) -> Vec<Value> {
    vec![Uuid::from_u128(id).into(), kind.into()]
}

fn sent(reaction: &Reaction) -> Vec<(&str, Uuid, &str, u32)> {
    let commands = reaction.commands.iter();
    commands.map(|sent| (sent.target.aggregate.as_ref(), sent.target.id, sent.command, sent.stage)).collect()
}

/// What the policy does about an event of the folder [`ID`], of whose things the statement answers these.
fn answers(event: FolderEvent, statement: &'static str, children: Vec<Vec<Value>>) -> Reaction {
    let ctx = context(principal(user(0)));
    let event = recorded::<Folder>(ID, 2, event);
    react::<FolderCascade>(&event, &ctx, rows(statement, children)).expect("a reaction")
}

fn payload<T: DeserializeOwned>(reaction: &Reaction, index: usize) -> T {
    serde_json::from_slice(&reaction.commands[index].payload).expect("a payload")
}

#[test]
fn the_policy_deletes_what_is_directly_in_a_folder() {
    let (top, sub) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let children = || vec![child(11, "file"), child(12, "folder")];
    let reaction = answers(folder_deleted(DELETION), "living_children", children());
    assert_eq!(
        sent(&reaction),
        [("file", top, "delete_with_folder", 0), ("folder", sub, "delete_with_folder", 0)]
    );
    let command = DeleteFileWithFolder { folder_id: ID, deletion: DELETION };
    assert_eq!(payload::<DeleteFileWithFolder>(&reaction, 0), command);
    // A folder that was taken along names the folder that it began with.
    let along = FolderEvent::FolderDeleted { deletion: DELETION, with_folder: Some(FOLDER), by: None };
    let reaction = answers(along, "living_children", children());
    assert_eq!(payload::<DeleteFileWithFolder>(&reaction, 0), go());
}

#[test]
fn the_policy_brings_back_what_is_directly_in_a_folder_and_went_with_it() {
    let (top, sub) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let children = || vec![child(11, "file"), child(12, "folder")];
    let reaction = answers(folder_restored(DELETION), "gone_children", children());
    assert_eq!(
        sent(&reaction),
        [("file", top, "restore_with_folder", 0), ("folder", sub, "restore_with_folder", 0)]
    );
    let along = FolderEvent::FolderRestored { deletion: DELETION, with_folder: Some(FOLDER), by: None };
    let reaction = answers(along, "gone_children", children());
    assert_eq!(payload::<RestoreFileWithFolder>(&reaction, 0), come());
}

#[test]
fn of_a_large_folder_the_policy_sees_to_a_part_at_a_time() {
    let many = || (0..5_001).map(|number| child(100 + number, "file")).collect::<Vec<_>>();
    let next = Uuid::from_u128(5_100);
    for (event, statement, cascade) in [
        (folder_deleted(DELETION), "living_children", Cascade::Deletion),
        (folder_restored(DELETION), "gone_children", Cascade::Return),
    ] {
        let reaction = answers(event, statement, many());
        assert_eq!(reaction.commands.len(), 5_001);
        assert_eq!(sent(&reaction)[5_000], ("folder", ID, "continue_cascade", 0));
        let go_on = ContinueFolderCascade { cascade, folder_id: ID, deletion: DELETION, from: next };
        assert_eq!(payload::<ContinueFolderCascade>(&reaction, 5_000), go_on);

        let event = goes_on(cascade, FOLDER);
        let reaction = answers(event, statement, vec![child(5_100, "file")]);
        assert_eq!(sent(&reaction).len(), 1);
        assert_eq!(payload::<DeleteFileWithFolder>(&reaction, 0), go(), "the two have the same fields");
    }
}

fn goes_on(cascade: Cascade, with_folder: Uuid) -> FolderEvent {
    let from = Uuid::from_u128(5_100);
    FolderEvent::FolderCascadeContinued { cascade, deletion: DELETION, with_folder, from, by: None }
}

#[test]
fn it_goes_on_only_while_the_folder_is_as_it_was() {
    let [gone, back, gone_again] = [
        vec![folder("docs", None), folder_deleted(DELETION)],
        vec![folder("docs", None), folder_deleted(DELETION), folder_restored(DELETION)],
        vec![
            folder("docs", None),
            folder_deleted(DELETION),
            folder_restored(DELETION),
            folder_deleted(LATER),
        ],
    ];
    for (cascade, history, goes) in [
        (Cascade::Deletion, &gone, true),
        (Cascade::Deletion, &back, false),
        (Cascade::Deletion, &gone_again, false),
        (Cascade::Return, &gone, false),
        (Cascade::Return, &back, true),
        // What is on its way back comes and goes with the later deletion.
        (Cascade::Return, &gone_again, true),
    ] {
        let from = Uuid::from_u128(5_100);
        let command = ContinueFolderCascade { cascade, folder_id: FOLDER, deletion: DELETION, from };
        let then = given::<Folder>(history.clone()).as_policy_for(user(1)).when(command);
        if goes {
            let mut event = goes_on(cascade, FOLDER);
            if let FolderEvent::FolderCascadeContinued { by, .. } = &mut event {
                *by = Some(user(1));
            }
            then.then([event]);
        } else {
            then.then_nothing();
        }
    }
}
