//! A folder takes what is in it along, when it goes and when it comes back.
//!
//! It goes level by level: the policy answers for what is directly in the folder, and the folders among that make it
//! answer for what is in them. So it is always about one folder, however much is below it, and of a large one it sees to a
//! part at a time.
//!
//! The commands name the deletion that they belong to, and their handlers look whether it still holds for the folder that
//! the item is in by now: that one may be back, the item moved out or gone by itself. Nothing comes into a folder that is
//! deleted, and what is deleted moves nowhere, so nothing is missed either.

use cairn_sdk::prelude::*;

use crate::domain::commands::{
    ContinueFolderCascade, DeleteFileWithFolder, DeleteFolderWithFolder, RestoreFileWithFolder,
    RestoreFolderWithFolder,
};
use crate::domain::{Cascade, File, Folder, FolderEvent, ItemKind};
use crate::read_model::sql::{GONE_CHILDREN, LIVING_CHILDREN};
use crate::read_model::{Files, read_kind};

/// How many of the things in a folder are seen to at once.
const PART: usize = 5_000;

/// Deletes and restores what is in a folder.
#[derive(Debug, Clone, Copy)]
pub struct FolderCascade;

impl Policy for FolderCascade {
    type State = ();
    type Reads = Files;
    const NAME: &'static str = "folder_cascade";
    const DESCRIPTION: &'static str =
        "Deletes what is in a deleted folder, and restores what went with a restored one.";
    const EVENTS: &'static [&'static str] = &["FolderDeleted", "FolderRestored", "FolderCascadeContinued"];

    fn react(event: &RecordedEvent, _: Option<()>, _: &Context, db: &Db) -> Result<Reaction> {
        let folder = event.stream.id;
        let begun = |cascade, deletion, with_folder: Option<Uuid>| Errand {
            folder,
            cascade,
            deletion,
            began_with: with_folder.unwrap_or(folder),
            from: Uuid::nil(),
        };
        let errand = match event.decode::<FolderEvent>()?.event {
            FolderEvent::FolderDeleted { deletion, with_folder, .. } => {
                begun(Cascade::Deletion, deletion, with_folder)
            }
            FolderEvent::FolderRestored { deletion, with_folder, .. } => {
                begun(Cascade::Return, deletion, with_folder)
            }
            FolderEvent::FolderCascadeContinued {
                cascade, deletion, with_folder: began_with, from, ..
            } => Errand { folder, cascade, deletion, began_with, from },
            _ => return Ok(Reaction::none()),
        };
        errand.run(db)
    }
}

/// What is to be done about what is in a folder.
struct Errand {
    folder: Uuid,
    cascade: Cascade,
    deletion: Uuid,
    /// The folder that all this began with.
    began_with: Uuid,
    /// The first of the things in it that are still to be seen to.
    from: Uuid,
}

impl Errand {
    /// Sends a command to each thing in the folder that it is about. One more than that is read: where there is more, the
    /// folder itself gets a command to go on from there.
    fn run(&self, db: &Db) -> Result<Reaction> {
        let (folder, from, most) = (self.folder.into(), self.from.into(), Value::from(PART as u64 + 1));
        let rows = match self.cascade {
            Cascade::Deletion => db.select(&LIVING_CHILDREN, [folder, from, most])?,
            Cascade::Return => db.select(&GONE_CHILDREN, [folder, self.deletion.into(), from, most])?,
        };
        let children: Vec<(Uuid, ItemKind)> = rows.read(|row| Ok((row.take()?, read_kind(row)?)))?;
        let mut reaction = Reaction::none();
        for (id, kind) in children.iter().take(PART) {
            self.send(*id, *kind, &mut reaction)?;
        }
        if let Some((from, _)) = children.get(PART) {
            let Self { cascade, began_with: folder_id, deletion, .. } = *self;
            let go_on = ContinueFolderCascade { cascade, folder_id, deletion, from: *from };
            reaction.send::<Folder, _>(self.folder, &go_on, 0)?;
        }
        Ok(reaction)
    }

    fn send(&self, id: Uuid, kind: ItemKind, reaction: &mut Reaction) -> Result<(), Fault> {
        let (folder_id, deletion) = (self.began_with, self.deletion);
        match (self.cascade, kind) {
            (Cascade::Deletion, ItemKind::File) => {
                reaction.send::<File, _>(id, &DeleteFileWithFolder { folder_id, deletion }, 0)
            }
            (Cascade::Deletion, ItemKind::Folder) => {
                reaction.send::<Folder, _>(id, &DeleteFolderWithFolder { folder_id, deletion }, 0)
            }
            (Cascade::Return, ItemKind::File) => {
                reaction.send::<File, _>(id, &RestoreFileWithFolder { folder_id, deletion }, 0)
            }
            (Cascade::Return, ItemKind::Folder) => {
                reaction.send::<Folder, _>(id, &RestoreFolderWithFolder { folder_id, deletion }, 0)
            }
        }
    }
}
