//! A folder takes what is in it along, when it goes and when it comes back.
//!
//! The commands name the deletion that they belong to, and their handlers look whether it still holds: the folder may be
//! back, an item moved out or gone by itself. A folder that was taken along makes the policy look below it once more, so
//! that what came into it in the meantime follows too.

use cairn_sdk::prelude::*;

use crate::domain::commands::{
    DeleteFileWithFolder, DeleteFolderWithFolder, RestoreFileWithFolder, RestoreFolderWithFolder,
};
use crate::domain::{File, Folder, FolderEvent, ItemKind};
use crate::read_model::sql::{GONE_WITH, LIVING_BELOW};
use crate::read_model::{Files, read_kind};

/// Deletes and restores what is in a folder.
#[derive(Debug, Clone, Copy)]
pub struct FolderCascade;

impl Policy for FolderCascade {
    type State = ();
    type Reads = Files;
    const NAME: &'static str = "folder_cascade";
    const DESCRIPTION: &'static str =
        "Deletes what is in a deleted folder, and restores what went with a restored one.";
    const EVENTS: &'static [&'static str] = &["FolderDeleted", "FolderRestored"];

    fn react(event: &RecordedEvent, _: Option<()>, _: &Context, db: &Db) -> Result<Reaction> {
        let folder = event.stream.id;
        match event.decode::<FolderEvent>()?.event {
            FolderEvent::FolderDeleted { deletion, with_folder, .. } => {
                take_along(folder, with_folder.unwrap_or(folder), deletion, db)
            }
            // Where a folder came back with another, that one brings back all that went with the deletion.
            FolderEvent::FolderRestored { deletion, with_folder: None, .. } => bring_back(deletion, db),
            _ => Ok(Reaction::none()),
        }
    }
}

/// Deletes what lives below, the deepest first, so that nothing ever lives in a deleted folder for long.
fn take_along(folder: Uuid, folder_id: Uuid, deletion: Uuid, db: &Db) -> Result<Reaction> {
    let below: Vec<(Uuid, ItemKind, u32)> = db
        .select_paged(&LIVING_BELOW, [folder.into()], usize::MAX)?
        .read(|row| Ok((row.take()?, read_kind(row)?, row.take()?)))?;
    let deepest = below.iter().map(|(_, _, depth)| *depth).max().unwrap_or(0);
    let mut reaction = Reaction::none();
    for (id, kind, depth) in below {
        // Files of a depth go before its folders.
        let stage = (deepest - depth) * 2;
        match kind {
            ItemKind::File => {
                reaction.send::<File, _>(id, &DeleteFileWithFolder { folder_id, deletion }, stage)?;
            }
            ItemKind::Folder => {
                reaction.send::<Folder, _>(id, &DeleteFolderWithFolder { folder_id, deletion }, stage + 1)?;
            }
        }
    }
    Ok(reaction)
}

/// Restores what went along, the highest first, so that everything comes back into a living folder.
fn bring_back(deletion: Uuid, db: &Db) -> Result<Reaction> {
    let gone: Vec<(Uuid, ItemKind, u32, Uuid)> = db
        .select_paged(&GONE_WITH, [deletion.into()], usize::MAX)?
        .read(|row| Ok((row.take()?, read_kind(row)?, row.take()?, row.take()?)))?;
    let highest = gone.iter().map(|(_, _, depth, _)| *depth).min().unwrap_or(0);
    let mut reaction = Reaction::none();
    for (id, kind, depth, folder_id) in gone {
        let stage = depth - highest;
        match kind {
            ItemKind::File => {
                reaction.send::<File, _>(id, &RestoreFileWithFolder { folder_id, deletion }, stage)?;
            }
            ItemKind::Folder => {
                reaction.send::<Folder, _>(id, &RestoreFolderWithFolder { folder_id, deletion }, stage)?;
            }
        }
    }
    Ok(reaction)
}
