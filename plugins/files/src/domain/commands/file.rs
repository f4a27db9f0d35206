//! The commands of files and how files decide on them.

use cairn_sdk::prelude::*;

use super::super::rules::{self, Return};
use super::super::{Deletion, Digest, File, FileEvent, FileSize, ItemName, MimeType};

/// Makes a file, on level 200 at the deepest. Whoever makes it owns it.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "create", full_name = "create_file", creates)]
#[serde(deny_unknown_fields)]
pub struct CreateFile {
    /// Its name.
    #[validate]
    pub name: ItemName,
    /// The folder to put it in; null or missing for the root. It takes `write` there.
    #[serde(default)]
    pub parent_id: Option<Uuid>,
    /// The size of its content in bytes.
    #[validate]
    #[serde(default)]
    pub size: FileSize,
    /// The type of its content.
    #[validate]
    #[serde(default)]
    pub mime_type: Option<MimeType>,
}

/// Gives a file another name.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "rename", full_name = "rename_file", permission = "write")]
#[serde(deny_unknown_fields)]
pub struct RenameFile {
    /// The name from now on.
    #[validate]
    pub name: ItemName,
}

/// Puts a file into another folder, or at the root; on level 200 at the deepest.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "move", full_name = "move_file", permission = "write")]
#[serde(deny_unknown_fields)]
pub struct MoveFile {
    /// The folder to put it in, which takes `write` there; null for the root.
    #[serde(deserialize_with = "nullable")]
    #[schemars(schema_with = "nullable_schema::<Uuid>")]
    pub parent_id: Option<Uuid>,
}

/// Says that a file has other content.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "update_content", full_name = "update_file_content", permission = "write")]
#[serde(deny_unknown_fields)]
pub struct UpdateFileContent {
    /// The size in bytes.
    #[validate]
    pub size: FileSize,
    /// The type.
    #[validate]
    pub mime_type: MimeType,
    /// The digest.
    #[validate]
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// Deletes a file.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "delete", full_name = "delete_file", permission = "delete")]
#[serde(deny_unknown_fields)]
pub struct DeleteFile {}

/// Brings a deleted file back.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "restore", full_name = "restore_file", permission = "delete")]
#[serde(deny_unknown_fields)]
pub struct RestoreFile {}

/// Lets somebody do more with a file. Nobody grants what they lack.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "grant", full_name = "grant_file_permission", permission = "share")]
#[serde(deny_unknown_fields)]
pub struct GrantFilePermission {
    /// Who.
    #[validate]
    pub subject: Subject,
    /// What.
    pub permission: Permission,
}

/// Takes a grant on a file away.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "revoke", full_name = "revoke_file_permission", permission = "share")]
#[serde(deny_unknown_fields)]
pub struct RevokeFilePermission {
    /// Who.
    #[validate]
    pub subject: Subject,
    /// What.
    pub permission: Permission,
}

/// Gives a file another owner.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "transfer_ownership", full_name = "transfer_file_ownership", permission = "admin")]
#[serde(deny_unknown_fields)]
pub struct TransferFileOwnership {
    /// The owner from now on.
    pub owner_id: Uuid,
}

/// Lets a file go with a folder that was deleted. It does nothing where that no longer holds.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(
    name = "delete_with_folder",
    full_name = "delete_file_with_folder",
    permission = "delete",
    internal
)]
#[serde(deny_unknown_fields)]
pub struct DeleteFileWithFolder {
    /// The folder whose deletion began it: the one that the file is in, or one above that.
    pub folder_id: Uuid,
    /// Its deletion.
    pub deletion: Uuid,
}

/// Lets a file come back with a folder. It does nothing where it did not go with it.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(
    name = "restore_with_folder",
    full_name = "restore_file_with_folder",
    permission = "delete",
    internal
)]
#[serde(deny_unknown_fields)]
pub struct RestoreFileWithFolder {
    /// The folder whose return began it: the one that the file is in, or one above that.
    pub folder_id: Uuid,
    /// The deletion that was undone.
    pub deletion: Uuid,
}

impl CommandHandler<CreateFile> for File {
    fn handle(&self, command: &CreateFile, ctx: &Context) -> Handled<Self, CreateFile> {
        rules::can_hold(command.parent_id, ctx)?;
        Ok(Decision::event(FileEvent::FileCreated {
            name: command.name.clone(),
            parent_id: command.parent_id,
            owner_id: ctx.actor(),
            size: command.size,
            mime_type: command.mime_type.clone().unwrap_or_default(),
        }))
    }
}

impl CommandHandler<RenameFile> for File {
    fn handle(&self, command: &RenameFile, _: &Context) -> Handled<Self, RenameFile> {
        let name = rules::rename(&self.item, &command.name)?;
        Ok(Decision::maybe(name.map(|name| FileEvent::FileRenamed { name: name.clone() })))
    }
}

impl CommandHandler<MoveFile> for File {
    fn handle(&self, command: &MoveFile, ctx: &Context) -> Handled<Self, MoveFile> {
        let parent_id = command.parent_id;
        let goes = rules::goes_elsewhere(&self.item, parent_id, ctx)?;
        Ok(Decision::maybe(goes.then_some(FileEvent::FileMoved { parent_id })))
    }
}

impl CommandHandler<UpdateFileContent> for File {
    fn handle(&self, command: &UpdateFileContent, _: &Context) -> Handled<Self, UpdateFileContent> {
        rules::lives(&self.item)?;
        let UpdateFileContent { size, mime_type, digest } = command.clone();
        if (self.size, &self.mime_type, &self.digest) == (size, &mime_type, &digest) {
            return Ok(Decision::nothing());
        }
        Ok(Decision::event(FileEvent::FileContentUpdated { size, mime_type, digest }))
    }
}

impl CommandHandler<DeleteFile> for File {
    fn handle(&self, _: &DeleteFile, ctx: &Context) -> Handled<Self, DeleteFile> {
        let deletion = rules::new_deletion(&self.item, ctx)?;
        Ok(Decision::event(FileEvent::FileDeleted { deletion, with_folder: None, by: ctx.on_behalf_of() }))
    }
}

impl CommandHandler<RestoreFile> for File {
    fn handle(&self, _: &RestoreFile, ctx: &Context) -> Handled<Self, RestoreFile> {
        let deletion = rules::deletion_to_undo(&self.item, ctx)?;
        Ok(Decision::event(FileEvent::FileRestored { deletion, with_folder: None, by: ctx.on_behalf_of() }))
    }
}

impl CommandHandler<GrantFilePermission> for File {
    fn handle(&self, command: &GrantFilePermission, ctx: &Context) -> Handled<Self, GrantFilePermission> {
        let GrantFilePermission { subject, permission } = command.clone();
        let grants = rules::grants(&self.item, &subject, permission, ctx)?;
        Ok(Decision::maybe(grants.then_some(FileEvent::FilePermissionGranted { subject, permission })))
    }
}

impl CommandHandler<RevokeFilePermission> for File {
    fn handle(&self, command: &RevokeFilePermission, _: &Context) -> Handled<Self, RevokeFilePermission> {
        let RevokeFilePermission { subject, permission } = command.clone();
        let revokes = rules::revokes(&self.item, &subject, permission)?;
        Ok(Decision::maybe(revokes.then_some(FileEvent::FilePermissionRevoked { subject, permission })))
    }
}

impl CommandHandler<TransferFileOwnership> for File {
    fn handle(&self, command: &TransferFileOwnership, _: &Context) -> Handled<Self, TransferFileOwnership> {
        let owner_id = command.owner_id;
        let transfers = rules::transfers(&self.item, owner_id)?;
        Ok(Decision::maybe(transfers.then_some(FileEvent::FileOwnershipTransferred { owner_id })))
    }
}

impl CommandHandler<DeleteFileWithFolder> for File {
    fn handle(&self, command: &DeleteFileWithFolder, ctx: &Context) -> Handled<Self, DeleteFileWithFolder> {
        let (deletion, with_folder) = (command.deletion, Some(command.folder_id));
        let goes = rules::goes_with(&self.item, deletion, ctx)?;
        let event = FileEvent::FileDeleted { deletion, with_folder, by: ctx.on_behalf_of() };
        Ok(Decision::maybe(goes.then_some(event)))
    }
}

impl CommandHandler<RestoreFileWithFolder> for File {
    fn handle(&self, command: &RestoreFileWithFolder, ctx: &Context) -> Handled<Self, RestoreFileWithFolder> {
        let (deletion, with_folder, by) = (command.deletion, Some(command.folder_id), ctx.on_behalf_of());
        let back = FileEvent::FileRestored { deletion, with_folder, by };
        Ok(match rules::comes_with(&self.item, deletion, ctx)? {
            Return::Stays => Decision::nothing(),
            Return::Comes => Decision::event(back),
            Return::ComesAndGoes(Deletion { id: deletion, with_folder }) => {
                Decision::events([back, FileEvent::FileDeleted { deletion, with_folder, by }])
            }
        })
    }
}
