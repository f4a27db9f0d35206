//! Files and folders, the first domain of Cairn.
//!
//! `domain` has the rules: what a name is, who may put what where, what happens to what is in a folder. `read_model` has
//! the tables and the questions that are answered from them. `policies` carries a folder's deletion to what is in it.

pub mod domain;
pub mod policies;
pub mod read_model;

use domain::commands::*;
use domain::{File, Folder};
use policies::FolderCascade;
use read_model::Files;
use read_model::queries::*;

cairn_sdk::plugin! {
    name: "files",
    aggregates: [
        File { commands: [
            CreateFile, RenameFile, MoveFile, UpdateFileContent, DeleteFile, RestoreFile, GrantFilePermission,
            RevokeFilePermission, TransferFileOwnership, DeleteFileWithFolder, RestoreFileWithFolder,
        ] },
        Folder { commands: [
            CreateFolder, RenameFolder, MoveFolder, SetFolderInheritance, DeleteFolder, RestoreFolder,
            GrantFolderPermission, RevokeFolderPermission, TransferFolderOwnership, DeleteFolderWithFolder,
            RestoreFolderWithFolder, ContinueFolderCascade,
        ] },
    ],
    projections: [
        Files { queries: [
            GetFile, GetFolder, FolderChildren, FolderTree, Ancestors, Search, Trash, SharedWithMe, GetPermissions,
        ] },
    ],
    policies: [FolderCascade],
}
