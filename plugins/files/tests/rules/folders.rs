//! The rules of folders, each as a sentence.

use crate::words::*;
use cairn_files::domain::commands::*;
use cairn_files::domain::{File, FileEvent, FileSize, Folder, FolderEvent, MimeType};
use cairn_sdk::plugin::Handles;
use cairn_sdk::prelude::*;
use cairn_sdk::testing::{COMMAND_ID, Given, ID, given, user};
use std::fmt::Debug;

fn create(text: &str, parent_id: Option<Uuid>) -> CreateFolder {
    CreateFolder { name: name(text), parent_id }
}

#[test]
fn folders_are_made_in_folders() {
    given::<Folder>([]).when(create("docs", None)).then([folder("docs", None)]);
    given::<Folder>([])
        .with::<Folder>(FOLDER, [folder("top", None)])
        .when(create("docs", Some(FOLDER)))
        .then([folder("docs", Some(FOLDER))])
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/docs")]);
    given::<Folder>([]).when(create("docs", Some(FOLDER))).then_not_found();
    given::<Folder>([]).when(create("docs", Some(ID))).then_not_found();
    given::<Folder>([folder("docs", None)]).when(create("docs", None)).then_conflict("exists");
}

#[test]
fn no_folder_goes_below_itself() {
    let to = |parent| MoveFolder { parent_id: Some(parent) };
    given::<Folder>([folder("a", None)]).when(to(ID)).then_rejected("folder-below-itself");
    let chain = || {
        given::<Folder>([folder("a", None)])
            .with::<Folder>(FOLDER, [folder("b", Some(ID))])
            .with::<Folder>(OTHER, [folder("c", Some(FOLDER))])
    };
    chain().when(to(FOLDER)).then_rejected("folder-below-itself");
    chain().when(to(OTHER)).then_rejected("folder-below-itself");
    given::<Folder>([folder("a", None)])
        .with::<Folder>(FOLDER, [folder("b", None)])
        .with::<Folder>(OTHER, [folder("c", Some(FOLDER))])
        .when(to(OTHER))
        .then([FolderEvent::FolderMoved { parent_id: Some(OTHER) }]);
    given::<Folder>([folder("a", Some(OTHER))]).when(to(OTHER)).then_nothing();
    given::<Folder>([folder("a", None)]).when(to(OTHER)).then_not_found();
    given::<Folder>([folder("a", None), folder_deleted(DELETION)]).when(to(OTHER)).then_rejected("deleted");
}

/// The folders of a chain from the root down.
fn level(number: u128) -> Uuid {
    Uuid::from_u128(0x1000 + number)
}

/// A scenario with a chain of so many folders, each in the one before it.
fn below_levels<A: Handles<Event: Debug + PartialEq>>(
    own: impl IntoIterator<Item = A::Event>,
    levels: u128,
) -> Given<A> {
    (1..=levels).fold(given::<A>(own), |scenario, number| {
        let parent = (number > 1).then(|| level(number - 1));
        scenario.with::<Folder>(level(number), [folder("level", parent)])
    })
}

#[test]
fn nothing_is_made_or_moved_deeper_than_200_levels() {
    let file_in = |number| CreateFile {
        name: name("a"),
        parent_id: Some(level(number)),
        size: FileSize(3),
        mime_type: Some(MimeType::from("text/plain")),
    };
    below_levels::<Folder>([], 199)
        .when(create("last", Some(level(199))))
        .then([folder("last", Some(level(199)))]);
    below_levels::<Folder>([], 200).when(create("more", Some(level(200)))).then_rejected("too-deep");
    below_levels::<File>([], 199).when(file_in(199)).then([file("a", Some(level(199)))]);
    below_levels::<File>([], 200).when(file_in(200)).then_rejected("too-deep");
    let to = Some(level(200));
    below_levels::<Folder>([folder("f", None)], 200)
        .when(MoveFolder { parent_id: to })
        .then_rejected("too-deep");
    below_levels::<File>([file("f", None)], 200).when(MoveFile { parent_id: to }).then_rejected("too-deep");
    // Up again, and beside it, everything is as ever.
    below_levels::<File>([file("f", to)], 200)
        .when(MoveFile { parent_id: Some(level(1)) })
        .then([FileEvent::FileMoved { parent_id: Some(level(1)) }]);
    below_levels::<File>([file("f", to)], 200)
        .when(RenameFile { name: name("g") })
        .then([FileEvent::FileRenamed { name: name("g") }]);
}

#[test]
fn a_folder_is_cut_off_once() {
    let set = |inherit| SetFolderInheritance { inherit };
    given::<Folder>([folder("a", None)])
        .when(set(false))
        .then([FolderEvent::FolderInheritanceSet { inherit: false }])
        .and_access(Some(Access {
            owner: Some(user(1)),
            parent: None,
            inherits: false,
            entries: Vec::new(),
        }));
    given::<Folder>([folder("a", None)]).when(set(true)).then_nothing();
}

#[test]
fn behind_a_cut_the_grants_above_do_not_count() {
    let scenario = |inherit| {
        given::<Folder>([])
            .with::<Folder>(
                OTHER,
                [folder("top", None), folder_granted(Subject::Everyone, Permission::Admin)],
            )
            .with::<Folder>(
                FOLDER,
                [folder("docs", Some(OTHER)), FolderEvent::FolderInheritanceSet { inherit }],
            )
            .as_principal(user(2))
            .when(create("mine", Some(FOLDER)))
    };
    scenario(false).then_not_found();
    scenario(true).and_state(|folder| assert_eq!(folder.item.owner_id, user(2)));
}

#[test]
fn a_folder_is_deleted_and_restored() {
    given::<Folder>([folder("a", None)])
        .when(DeleteFolder {})
        .then([FolderEvent::FolderDeleted { deletion: COMMAND_ID, with_folder: None, by: None }])
        .and_claims([&own_id()]);
    given::<Folder>([folder("a", None), folder_deleted(DELETION)])
        .when(RestoreFolder {})
        .then([folder_restored(DELETION)])
        .and_claims([&own_id(), &format!("owner/{}/name/a", user(1))]);
    given::<Folder>([folder("a", None), folder_deleted(DELETION)])
        .when(RenameFolder { name: name("b") })
        .then_rejected("deleted");
    given::<Folder>([folder("a", None), folder_deleted(DELETION)])
        .when(SetFolderInheritance { inherit: false })
        .then_rejected("deleted");
}

#[test]
fn grants_renames_and_owners_work_as_for_files() {
    given::<Folder>([folder("a", None)])
        .when(RenameFolder { name: name("b") })
        .then([FolderEvent::FolderRenamed { name: name("b") }]);
    given::<Folder>([folder("a", None)])
        .when(GrantFolderPermission { subject: Subject::Everyone, permission: Permission::Read })
        .then([folder_granted(Subject::Everyone, Permission::Read)]);
    given::<Folder>([folder("a", None), folder_granted(Subject::Everyone, Permission::Read)])
        .when(RevokeFolderPermission { subject: Subject::Everyone, permission: Permission::Read })
        .then([FolderEvent::FolderPermissionRevoked {
            subject: Subject::Everyone,
            permission: Permission::Read,
        }]);
    given::<Folder>([folder("a", None)])
        .when(TransferFolderOwnership { owner_id: user(2) })
        .then([FolderEvent::FolderOwnershipTransferred { owner_id: user(2) }]);
}
