//! The commands of folders and how folders decide on them.

use cairn_sdk::prelude::*;

use super::super::rules::{self, Return};
use super::super::{Cascade, Deletion, Folder, FolderEvent, ItemName};

/// Makes a folder, on level 200 at the deepest. Whoever makes it owns it.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "create", full_name = "create_folder", creates)]
#[serde(deny_unknown_fields)]
pub struct CreateFolder {
    /// Its name.
    #[validate]
    pub name: ItemName,
    /// The folder to put it in; null or missing for the root. It takes `write` there.
    #[serde(default)]
    pub parent_id: Option<Uuid>,
}

/// Gives a folder another name.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "rename", full_name = "rename_folder", permission = "write")]
#[serde(deny_unknown_fields)]
pub struct RenameFolder {
    /// The name from now on.
    #[validate]
    pub name: ItemName,
}

/// Puts a folder into another folder, or at the root; on level 200 at the deepest. What is below it goes along, however
/// deep that comes.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "move", full_name = "move_folder", permission = "write")]
#[serde(deny_unknown_fields)]
pub struct MoveFolder {
    /// The folder to put it in, which takes `write` there; null for the root.
    #[serde(deserialize_with = "nullable")]
    #[schemars(schema_with = "nullable_schema::<Uuid>")]
    pub parent_id: Option<Uuid>,
}

/// Cuts a folder off from the grants above it, or lets it take them again.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "set_inheritance", full_name = "set_folder_inheritance", permission = "share")]
#[serde(deny_unknown_fields)]
pub struct SetFolderInheritance {
    /// Whether it takes the grants of the folder above.
    pub inherit: bool,
}

/// Deletes a folder. What is in it follows.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "delete", full_name = "delete_folder", permission = "delete")]
#[serde(deny_unknown_fields)]
pub struct DeleteFolder {}

/// Brings a deleted folder back. What went with it follows.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "restore", full_name = "restore_folder", permission = "delete")]
#[serde(deny_unknown_fields)]
pub struct RestoreFolder {}

/// Lets somebody do more with a folder. Nobody grants what they lack.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "grant", full_name = "grant_folder_permission", permission = "share")]
#[serde(deny_unknown_fields)]
pub struct GrantFolderPermission {
    /// Who.
    #[validate]
    pub subject: Subject,
    /// What.
    pub permission: Permission,
}

/// Takes a grant on a folder away.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "revoke", full_name = "revoke_folder_permission", permission = "share")]
#[serde(deny_unknown_fields)]
pub struct RevokeFolderPermission {
    /// Who.
    #[validate]
    pub subject: Subject,
    /// What.
    pub permission: Permission,
}

/// Gives a folder another owner.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "transfer_ownership", full_name = "transfer_folder_ownership", permission = "admin")]
#[serde(deny_unknown_fields)]
pub struct TransferFolderOwnership {
    /// The owner from now on.
    pub owner_id: Uuid,
}

/// Lets a folder go with a folder that was deleted. It does nothing where that no longer holds.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(
    name = "delete_with_folder",
    full_name = "delete_folder_with_folder",
    permission = "delete",
    internal
)]
#[serde(deny_unknown_fields)]
pub struct DeleteFolderWithFolder {
    /// The folder whose deletion began it: the one above, or one above that.
    pub folder_id: Uuid,
    /// Its deletion.
    pub deletion: Uuid,
}

/// Lets a folder come back with a folder. It does nothing where it did not go with it.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(
    name = "restore_with_folder",
    full_name = "restore_folder_with_folder",
    permission = "delete",
    internal
)]
#[serde(deny_unknown_fields)]
pub struct RestoreFolderWithFolder {
    /// The folder whose return began it: the one above, or one above that.
    pub folder_id: Uuid,
    /// The deletion that was undone.
    pub deletion: Uuid,
}

/// Goes on with what follows a folder's deletion or its return, where more is in it than is seen to at once. It does
/// nothing where the folder is otherwise by now.
#[derive(Command, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(name = "continue_cascade", full_name = "continue_folder_cascade", permission = "delete", internal)]
#[serde(deny_unknown_fields)]
pub struct ContinueFolderCascade {
    /// Which of the two.
    pub cascade: Cascade,
    /// The folder that all this began with.
    pub folder_id: Uuid,
    /// The deletion, the one that is undone where it is a return.
    pub deletion: Uuid,
    /// The first of the things in the folder, by their ids, that are still to be seen to.
    pub from: Uuid,
}

impl CommandHandler<CreateFolder> for Folder {
    fn handle(&self, command: &CreateFolder, ctx: &Context) -> Handled<Self, CreateFolder> {
        rules::can_hold(command.parent_id, ctx)?;
        Ok(Decision::event(FolderEvent::FolderCreated {
            name: command.name.clone(),
            parent_id: command.parent_id,
            owner_id: ctx.actor(),
        }))
    }
}

impl CommandHandler<RenameFolder> for Folder {
    fn handle(&self, command: &RenameFolder, _: &Context) -> Handled<Self, RenameFolder> {
        let name = rules::rename(&self.item, &command.name)?;
        Ok(Decision::maybe(name.map(|name| FolderEvent::FolderRenamed { name: name.clone() })))
    }
}

impl CommandHandler<MoveFolder> for Folder {
    fn handle(&self, command: &MoveFolder, ctx: &Context) -> Handled<Self, MoveFolder> {
        let parent_id = command.parent_id;
        let goes = rules::folder_goes_elsewhere(&self.item, parent_id, ctx)?;
        Ok(Decision::maybe(goes.then_some(FolderEvent::FolderMoved { parent_id })))
    }
}

impl CommandHandler<SetFolderInheritance> for Folder {
    fn handle(&self, command: &SetFolderInheritance, _: &Context) -> Handled<Self, SetFolderInheritance> {
        rules::lives(&self.item)?;
        let inherit = command.inherit;
        Ok(Decision::maybe(
            (self.inherits != inherit).then_some(FolderEvent::FolderInheritanceSet { inherit }),
        ))
    }
}

impl CommandHandler<DeleteFolder> for Folder {
    fn handle(&self, _: &DeleteFolder, ctx: &Context) -> Handled<Self, DeleteFolder> {
        let deletion = rules::new_deletion(&self.item, ctx)?;
        Ok(Decision::event(FolderEvent::FolderDeleted {
            deletion,
            with_folder: None,
            by: ctx.on_behalf_of(),
        }))
    }
}

impl CommandHandler<RestoreFolder> for Folder {
    fn handle(&self, _: &RestoreFolder, ctx: &Context) -> Handled<Self, RestoreFolder> {
        let deletion = rules::deletion_to_undo(&self.item, ctx)?;
        Ok(Decision::event(FolderEvent::FolderRestored {
            deletion,
            with_folder: None,
            by: ctx.on_behalf_of(),
        }))
    }
}

impl CommandHandler<GrantFolderPermission> for Folder {
    fn handle(&self, command: &GrantFolderPermission, ctx: &Context) -> Handled<Self, GrantFolderPermission> {
        let GrantFolderPermission { subject, permission } = command.clone();
        let grants = rules::grants(&self.item, &subject, permission, ctx)?;
        Ok(Decision::maybe(grants.then_some(FolderEvent::FolderPermissionGranted { subject, permission })))
    }
}

impl CommandHandler<RevokeFolderPermission> for Folder {
    fn handle(&self, command: &RevokeFolderPermission, _: &Context) -> Handled<Self, RevokeFolderPermission> {
        let RevokeFolderPermission { subject, permission } = command.clone();
        let revokes = rules::revokes(&self.item, &subject, permission)?;
        Ok(Decision::maybe(revokes.then_some(FolderEvent::FolderPermissionRevoked { subject, permission })))
    }
}

impl CommandHandler<TransferFolderOwnership> for Folder {
    fn handle(
        &self,
        command: &TransferFolderOwnership,
        _: &Context,
    ) -> Handled<Self, TransferFolderOwnership> {
        let owner_id = command.owner_id;
        let transfers = rules::transfers(&self.item, owner_id)?;
        Ok(Decision::maybe(transfers.then_some(FolderEvent::FolderOwnershipTransferred { owner_id })))
    }
}

impl CommandHandler<DeleteFolderWithFolder> for Folder {
    fn handle(
        &self,
        command: &DeleteFolderWithFolder,
        ctx: &Context,
    ) -> Handled<Self, DeleteFolderWithFolder> {
        let (deletion, with_folder) = (command.deletion, Some(command.folder_id));
        let goes = rules::goes_with(&self.item, deletion, ctx)?;
        let event = FolderEvent::FolderDeleted { deletion, with_folder, by: ctx.on_behalf_of() };
        Ok(Decision::maybe(goes.then_some(event)))
    }
}

impl CommandHandler<RestoreFolderWithFolder> for Folder {
    fn handle(
        &self,
        command: &RestoreFolderWithFolder,
        ctx: &Context,
    ) -> Handled<Self, RestoreFolderWithFolder> {
        let (deletion, with_folder, by) = (command.deletion, Some(command.folder_id), ctx.on_behalf_of());
        let back = FolderEvent::FolderRestored { deletion, with_folder, by };
        Ok(match rules::comes_with(&self.item, deletion, ctx)? {
            Return::Stays => Decision::nothing(),
            Return::Comes => Decision::event(back),
            Return::ComesAndGoes(Deletion { id: deletion, with_folder }) => {
                Decision::events([back, FolderEvent::FolderDeleted { deletion, with_folder, by }])
            }
        })
    }
}

impl CommandHandler<ContinueFolderCascade> for Folder {
    fn handle(&self, command: &ContinueFolderCascade, ctx: &Context) -> Handled<Self, ContinueFolderCascade> {
        let ContinueFolderCascade { cascade, folder_id: with_folder, deletion, from } = command.clone();
        let goes_on = rules::cascade_goes_on(&self.item, cascade, deletion);
        let by = ctx.on_behalf_of();
        let event = FolderEvent::FolderCascadeContinued { cascade, deletion, with_folder, from, by };
        Ok(Decision::maybe(goes_on.then_some(event)))
    }
}
