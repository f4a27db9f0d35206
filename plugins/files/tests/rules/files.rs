//! The rules of files, each as a sentence.

use crate::words::*;
use cairn_files::domain::commands::*;
use cairn_files::domain::{Digest, File, FileEvent, FileSize, Folder, MimeType};
use cairn_sdk::prelude::*;
use cairn_sdk::testing::{COMMAND_ID, NOW, given, user};

fn create(text: &str, parent_id: Option<Uuid>) -> CreateFile {
    CreateFile {
        name: name(text),
        parent_id,
        size: FileSize(3),
        mime_type: Some(MimeType::from("text/plain")),
    }
}

#[test]
fn whoever_makes_a_file_owns_it() {
    given::<File>([])
        .when(create("a.txt", None))
        .then([file("a.txt", None)])
        .and_claims([&own_id(), &format!("owner/{}/name/a.txt", user(1))])
        .and_state(|file| {
            assert_eq!(file.item.owner_id, user(1));
            assert_eq!((file.item.created_by(), file.item.updated_by()), (user(1), user(1)));
            assert_eq!((file.created_at(), file.updated_at()), (NOW, NOW));
        });
}

#[test]
fn a_file_needs_a_name_only() {
    let command = CreateFile { name: name("a"), parent_id: None, size: FileSize(0), mime_type: None };
    given::<File>([]).when(command).and_state(|file| assert_eq!(file.mime_type, MimeType::default()));
}

#[test]
fn names_have_to_be_names() {
    for bad in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
        given::<File>([]).when(create(bad, None)).then_invalid("/name");
        given::<File>([file("a", None)]).when(RenameFile { name: name(bad) }).then_invalid("/name");
    }
}

#[test]
fn content_has_to_be_described_well() {
    let command = UpdateFileContent {
        size: FileSize(u64::MAX),
        mime_type: MimeType::from("text"),
        digest: Some(Digest::from("")),
    };
    given::<File>([file("a", None)]).when(command.clone()).then_invalid("/size");
    given::<File>([file("a", None)]).when(command.clone()).then_invalid("/mime_type");
    given::<File>([file("a", None)]).when(command).then_invalid("/digest");
}

#[test]
fn a_file_goes_into_a_living_folder_that_may_be_written_to() {
    given::<File>([])
        .with::<Folder>(FOLDER, [folder("docs", None)])
        .when(create("a.txt", Some(FOLDER)))
        .then([file("a.txt", Some(FOLDER))])
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/a.txt")]);
    given::<File>([]).when(create("a.txt", Some(FOLDER))).then_not_found();
    given::<File>([])
        .with::<Folder>(FOLDER, [folder("docs", None)])
        .as_principal(user(2))
        .when(create("a.txt", Some(FOLDER)))
        .then_not_found();
    given::<File>([])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_granted(Subject::Everyone, Permission::Read)])
        .as_principal(user(2))
        .when(create("a.txt", Some(FOLDER)))
        .then_forbidden();
    given::<File>([])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .when(create("a.txt", Some(FOLDER)))
        .then_rejected("parent-deleted");
}

#[test]
fn grants_on_folders_far_above_count() {
    let staff = || Subject::Group("staff".to_owned());
    let scenario = || {
        given::<File>([])
            .with::<Folder>(OTHER, [folder("top", None), folder_granted(staff(), Permission::Write)])
            .with::<Folder>(FOLDER, [folder("docs", Some(OTHER))])
            .as_principal(user(2))
    };
    scenario().when(create("a.txt", Some(FOLDER))).then_not_found();
    scenario().in_group("staff").when(create("a.txt", Some(FOLDER))).and_state(|file| {
        assert_eq!(file.item.owner_id, user(2));
    });
}

#[test]
fn names_are_claimed_in_normal_form() {
    given::<File>([])
        .when(create("Cafe\u{301}", None))
        .and_claims([&own_id(), &format!("owner/{}/name/Caf\u{e9}", user(1))]);
}

#[test]
fn a_file_is_renamed_once() {
    let rename = || RenameFile { name: name("b.txt") };
    given::<File>([file("a.txt", None)])
        .when(rename())
        .then([FileEvent::FileRenamed { name: name("b.txt") }])
        .and_claims([&own_id(), &format!("owner/{}/name/b.txt", user(1))]);
    given::<File>([file("b.txt", None)]).when(rename()).then_nothing();
    given::<File>([]).when(rename()).then_not_found();
}

#[test]
fn changing_takes_write() {
    let readable = || given::<File>([file("a", None), file_granted(Subject::Everyone, Permission::Read)]);
    readable().as_principal(user(2)).when(RenameFile { name: name("b") }).then_forbidden();
    readable().as_principal(user(2)).when(DeleteFile {}).then_forbidden();
    given::<File>([file("a", None)])
        .as_principal(user(2))
        .when(RenameFile { name: name("b") })
        .then_not_found();
    given::<File>([file("a", None), file_granted(Subject::User(user(2)), Permission::Write)])
        .as_principal(user(2))
        .when(RenameFile { name: name("b") })
        .then([FileEvent::FileRenamed { name: name("b") }])
        .and_state(|file| assert_eq!(file.item.updated_by(), user(2)));
}

#[test]
fn a_file_moves_into_folders_and_back_to_the_root() {
    let to = |parent_id| MoveFile { parent_id };
    given::<File>([file("a", None)])
        .with::<Folder>(FOLDER, [folder("docs", None)])
        .when(to(Some(FOLDER)))
        .then([FileEvent::FileMoved { parent_id: Some(FOLDER) }])
        .and_claims([&own_id(), &format!("folder/{FOLDER}/name/a")])
        .and_access(Some(Access {
            owner: Some(user(1)),
            parent: Some(StreamRef::of::<Folder>(FOLDER)),
            inherits: true,
            entries: Vec::new(),
        }));
    given::<File>([file("a", Some(FOLDER))]).when(to(None)).then([FileEvent::FileMoved { parent_id: None }]);
    given::<File>([file("a", Some(FOLDER))]).when(to(Some(FOLDER))).then_nothing();
    given::<File>([file("a", None)]).when(to(Some(FOLDER))).then_not_found();
    given::<File>([file("a", None)])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(DELETION)])
        .when(to(Some(FOLDER)))
        .then_rejected("parent-deleted");
    given::<File>([file("a", None)])
        .with_by::<Folder>(
            FOLDER,
            user(2),
            [
                cairn_files::domain::FolderEvent::FolderCreated {
                    name: name("theirs"),
                    parent_id: None,
                    owner_id: user(2),
                },
                folder_granted(Subject::Everyone, Permission::Read),
            ],
        )
        .when(to(Some(FOLDER)))
        .then_forbidden();
}

#[test]
fn content_changes_once() {
    let update = || UpdateFileContent {
        size: FileSize(9),
        mime_type: MimeType::from("image/png"),
        digest: Some(Digest::from("sha-256:00")),
    };
    let updated = || FileEvent::FileContentUpdated {
        size: FileSize(9),
        mime_type: MimeType::from("image/png"),
        digest: Some(Digest::from("sha-256:00")),
    };
    given::<File>([file("a", None)]).when(update()).then([updated()]);
    given::<File>([file("a", None), updated()]).when(update()).then_nothing();
}

#[test]
fn a_deleted_file_gives_its_name_free_and_changes_only_by_restore() {
    given::<File>([file("a", None)])
        .when(DeleteFile {})
        .then([FileEvent::FileDeleted { deletion: COMMAND_ID, with_folder: None, by: None }])
        .and_claims([&own_id()])
        .and_state(|file| {
            assert!(file.item.is_deleted());
            assert_eq!(file.item.soft_delete.deleted_at, Some(NOW));
        });
    let deleted = || given::<File>([file("a", None), file_deleted()]);
    deleted().when(RenameFile { name: name("b") }).then_rejected("deleted");
    deleted().when(RenameFile { name: name("a") }).then_rejected("deleted");
    deleted().when(MoveFile { parent_id: None }).then_rejected("deleted");
    deleted().when(DeleteFile {}).then_rejected("deleted");
    deleted().when(TransferFileOwnership { owner_id: user(2) }).then_rejected("deleted");
    deleted()
        .when(GrantFilePermission { subject: Subject::Everyone, permission: Permission::Read })
        .then_rejected("deleted");
    deleted()
        .when(RevokeFilePermission { subject: Subject::Everyone, permission: Permission::Read })
        .then_rejected("deleted");
    deleted()
        .when(UpdateFileContent { size: FileSize(1), mime_type: MimeType::default(), digest: None })
        .then_rejected("deleted");
    deleted()
        .when(RestoreFile {})
        .then([FileEvent::FileRestored { deletion: DELETION, with_folder: None, by: None }])
        .and_claims([&own_id(), &format!("owner/{}/name/a", user(1))])
        .and_state(|file| assert!(!file.item.is_deleted()));
    given::<File>([file("a", None)]).when(RestoreFile {}).then_rejected("not-deleted");
}

#[test]
fn a_file_that_events_from_elsewhere_make_again_lives_and_is_as_they_say() {
    given::<File>([file("a", Some(FOLDER)), file_gone_with(FOLDER), file("b", None)])
        .when(RenameFile { name: name("c") })
        .then([FileEvent::FileRenamed { name: name("c") }])
        .and_claims([&own_id(), &format!("owner/{}/name/c", user(1))])
        .and_state(|file| assert!(!file.item.is_deleted() && file.item.deletion.is_none()));
}

#[test]
fn nothing_is_restored_into_a_deleted_folder() {
    given::<File>([file("a", Some(FOLDER)), file_deleted()])
        .with::<Folder>(FOLDER, [folder("docs", None), folder_deleted(OTHER)])
        .when(RestoreFile {})
        .then_rejected("parent-deleted");
    // Whether or not the caller can see the folder.
    given::<File>([
        file("a", Some(FOLDER)),
        file_granted(Subject::User(user(2)), Permission::Delete),
        file_deleted(),
    ])
    .with::<Folder>(FOLDER, [folder("docs", None)])
    .as_principal(user(2))
    .when(RestoreFile {})
    .then([FileEvent::FileRestored { deletion: DELETION, with_folder: None, by: None }]);
}

#[test]
fn nobody_grants_what_they_lack() {
    let sharer = || {
        given::<File>([
            file("a", None),
            file_granted(Subject::User(user(2)), Permission::Share),
            file_granted(Subject::User(user(2)), Permission::Write),
        ])
        .as_principal(user(2))
    };
    let grant = |permission| GrantFilePermission { subject: Subject::User(user(3)), permission };
    sharer().when(grant(Permission::Write)).then([file_granted(Subject::User(user(3)), Permission::Write)]);
    sharer().when(grant(Permission::Read)).then([file_granted(Subject::User(user(3)), Permission::Read)]);
    sharer().when(grant(Permission::Delete)).then_forbidden();
    sharer().when(grant(Permission::Admin)).then_forbidden();
    given::<File>([file("a", None), file_granted(Subject::User(user(2)), Permission::Write)])
        .as_principal(user(2))
        .when(grant(Permission::Write))
        .then_forbidden();
}

#[test]
fn grants_are_given_and_taken_once() {
    let staff = || Subject::Group("staff".to_owned());
    let granted = || file_granted(staff(), Permission::Write);
    let grant = || GrantFilePermission { subject: staff(), permission: Permission::Write };
    let revoke = || RevokeFilePermission { subject: staff(), permission: Permission::Write };
    given::<File>([file("a", None)])
        .when(grant())
        .then([granted()])
        .and_state(|file| assert!(file.item.has_permission(&staff(), Permission::Read)));
    given::<File>([file("a", None), granted()]).when(grant()).then_nothing();
    given::<File>([file("a", None), granted()])
        .when(revoke())
        .then([FileEvent::FilePermissionRevoked { subject: staff(), permission: Permission::Write }])
        .and_state(|file| assert!(file.item.get_acl().is_empty()));
    given::<File>([file("a", None)]).when(revoke()).then_nothing();
    let nameless =
        GrantFilePermission { subject: Subject::Group(String::new()), permission: Permission::Read };
    given::<File>([file("a", None)]).when(nameless).then_invalid("/subject/group");
}

#[test]
fn ownership_goes_over_with_the_name_at_the_root() {
    let transfer = |owner_id| TransferFileOwnership { owner_id };
    given::<File>([file("a", None)])
        .when(transfer(user(2)))
        .then([FileEvent::FileOwnershipTransferred { owner_id: user(2) }])
        .and_claims([&own_id(), &format!("owner/{}/name/a", user(2))]);
    given::<File>([file("a", None)]).when(transfer(user(1))).then_nothing();
    given::<File>([file("a", None), file_granted(Subject::User(user(2)), Permission::Share)])
        .as_principal(user(2))
        .when(transfer(user(2)))
        .then_forbidden();
    given::<File>([file("a", None), file_granted(Subject::User(user(2)), Permission::Admin)])
        .as_principal(user(2))
        .when(transfer(user(2)))
        .then([FileEvent::FileOwnershipTransferred { owner_id: user(2) }]);
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    assert!(serde_json::from_str::<CreateFile>(r#"{"name": "a", "nmae": "b"}"#).is_err());
    assert!(serde_json::from_str::<MoveFile>("{}").is_err());
    assert!(serde_json::from_str::<MoveFile>(r#"{"parent_id": null}"#).is_ok());
    let schema = serde_json::to_value(schemars::schema_for!(MoveFile)).expect("JSON");
    assert_eq!(schema["required"], serde_json::json!(["parent_id"]));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}

#[test]
fn the_state_reads_as_the_contract_says() {
    let mut state = File::new(Uuid::from_u128(1));
    state.replay(&EventEnvelope {
        position: 1,
        stream: StreamRef::of::<File>(Uuid::from_u128(1)),
        version: 1,
        occurred_at: NOW,
        actor: user(1),
        event: file("a.txt", None),
    });
    let json = serde_json::to_value(&state).expect("JSON");
    let keys = [
        "id",
        "kind",
        "name",
        "parent_id",
        "owner_id",
        "size",
        "mime_type",
        "digest",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "is_deleted",
        "deleted_at",
        "deletion",
        "acl",
    ];
    let object = json.as_object().expect("an object");
    assert!(keys.iter().all(|key| object.contains_key(*key)), "{json}");
    assert_eq!(object.len(), keys.len(), "{json}");
    assert_eq!(json["kind"], "file");
}
