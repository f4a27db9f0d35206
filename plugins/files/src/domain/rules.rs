//! The rules that files and folders share. Each answers what is to happen; the handlers make events of it.

use cairn_sdk::prelude::*;
use cairn_sdk::shared::Need;

use super::folder::{Cascade, Folder};
use super::item::{Deletion, Item};
use super::name::ItemName;

/// The most grants that an item can have.
const GRANTS_LIMIT: usize = 1000;

/// The levels that things can be made in or moved to; what is at the root is on the first.
const LEVELS_LIMIT: usize = 200;

/// All that the rules want to know of another folder. Nothing else of its state is read, which may be long.
#[derive(Deserialize)]
struct Standing {
    deletion: Option<Deletion>,
}

impl Standing {
    /// How a folder stands, whatever the caller may do with it.
    fn of(folder_id: Uuid, ctx: &Context) -> Result<Option<Self>> {
        Ok(ctx.inspect_as::<Folder, Self>(folder_id)?.map(|found| found.state))
    }

    fn is_deleted_by(&self, deletion_id: Uuid) -> bool {
        self.deletion.is_some_and(|deletion| deletion.id == deletion_id)
    }
}

/// A deleted thing changes only by being restored.
pub(super) fn lives(item: &Item) -> Result<()> {
    if item.is_deleted() {
        return Err(Rejection::rejected("deleted", format!("the {} is deleted", item.kind.name())).into());
    }
    Ok(())
}

fn parent_deleted() -> Error {
    Rejection::rejected("parent-deleted", "the folder above is deleted").into()
}

/// Things are put only into a folder that exists, lives, may be written to and is not too far down. Answers the folder and
/// everything above it.
///
/// A folder that moves takes along what is below it, and nothing here knows how far down that goes: a tree can become
/// deeper than the limit by moves, though by nothing else. From 1 000 levels on the host decides nothing about it any more.
pub(super) fn can_hold(parent_id: Option<Uuid>, ctx: &Context) -> Result<Vec<StreamRef>> {
    let Some(parent_id) = parent_id else {
        return Ok(Vec::new());
    };
    let parent = StreamRef::of::<Folder>(parent_id);
    ctx.prefetch(&[Need::Aggregate(parent.clone()), Need::Ancestors(parent.clone())])?;
    let found: Loaded<Standing> = ctx.load_as::<Folder, _>(parent_id)?;
    found.require(Permission::Write)?;
    if found.state.deletion.is_some() {
        return Err(parent_deleted());
    }
    let above = ctx.ancestors(&parent)?;
    if above.len() >= LEVELS_LIMIT {
        let message = format!("the folder is on level {}, and there are {LEVELS_LIMIT}", above.len());
        return Err(Rejection::rejected("too-deep", message).into());
    }
    Ok(above)
}

/// The name from now on, if it changes.
pub(super) fn rename<'a>(item: &Item, name: &'a ItemName) -> Result<Option<&'a ItemName>> {
    lives(item)?;
    Ok((item.name != *name).then_some(name))
}

/// Whether a thing goes elsewhere.
pub(super) fn goes_elsewhere(item: &Item, parent_id: Option<Uuid>, ctx: &Context) -> Result<bool> {
    lives(item)?;
    if item.parent_id == parent_id {
        return Ok(false);
    }
    can_hold(parent_id, ctx)?;
    Ok(true)
}

/// Whether a folder goes elsewhere: never below itself.
pub(super) fn folder_goes_elsewhere(item: &Item, parent_id: Option<Uuid>, ctx: &Context) -> Result<bool> {
    let below_itself = || Rejection::rejected("folder-below-itself", "a folder cannot go below itself");
    lives(item)?;
    if item.parent_id == parent_id {
        return Ok(false);
    }
    if parent_id == Some(item.id) || can_hold(parent_id, ctx)?.contains(&item.stream()) {
        return Err(below_itself().into());
    }
    Ok(true)
}

/// A deletion that begins here and now.
pub(super) fn new_deletion(item: &Item, ctx: &Context) -> Result<Uuid> {
    lives(item)?;
    Ok(ctx.command_id())
}

/// The deletion that a restore undoes. What is in a deleted folder comes back with the folder only.
pub(super) fn deletion_to_undo(item: &Item, ctx: &Context) -> Result<Uuid> {
    let Some(deletion) = item.deletion else {
        return Err(
            Rejection::rejected("not-deleted", format!("the {} is not deleted", item.kind.name())).into()
        );
    };
    if let Some(parent_id) = item.parent_id {
        // A caller who may restore the item need not be able to see the folder; the rule holds all the same.
        if Standing::of(parent_id, ctx)?.is_none_or(|parent| parent.deletion.is_some()) {
            return Err(parent_deleted());
        }
    }
    Ok(deletion.id)
}

/// Whether the item goes with the deletion of the folder that it is in. By the time the command arrives that one may be
/// back, or the item elsewhere or already gone: then nothing happens.
pub(super) fn goes_with(item: &Item, deletion_id: Uuid, ctx: &Context) -> Result<bool> {
    let Some(parent_id) = item.parent_id.filter(|_| !item.is_deleted()) else {
        return Ok(false);
    };
    Ok(Standing::of(parent_id, ctx)?.is_some_and(|parent| parent.is_deleted_by(deletion_id)))
}

/// What the return of the folder that an item is in means for the item.
pub(super) enum Return {
    /// Nothing: it did not go with that deletion, or the folder is still gone.
    Stays,
    /// It comes back.
    Comes,
    /// It comes back, and goes at once with a later deletion that already took the folder it is in.
    ComesAndGoes(Deletion),
}

/// Whether the item comes back from a deletion, with the folder that it is in.
pub(super) fn comes_with(item: &Item, deletion_id: Uuid, ctx: &Context) -> Result<Return> {
    if item.deletion.is_none_or(|own| own.id != deletion_id) {
        return Ok(Return::Stays);
    }
    let Some(parent_id) = item.parent_id else {
        return Ok(Return::Comes);
    };
    let Some(parent) = Standing::of(parent_id, ctx)? else {
        return Ok(Return::Stays);
    };
    Ok(match parent.deletion {
        None => Return::Comes,
        Some(later) if later.id == deletion_id => Return::Stays,
        Some(later) => {
            let with_folder = Some(later.with_folder.unwrap_or(parent_id));
            Return::ComesAndGoes(Deletion { id: later.id, with_folder })
        }
    })
}

/// Whether what is in a folder is still to follow it: it is deleted by this deletion, or it is not any more.
pub(super) fn cascade_goes_on(item: &Item, cascade: Cascade, deletion_id: Uuid) -> bool {
    let is_deleted_by = item.deletion.is_some_and(|own| own.id == deletion_id);
    is_deleted_by == (cascade == Cascade::Deletion)
}

/// Whether a grant changes anything. Nobody grants what they lack.
pub(super) fn grants(item: &Item, subject: &Subject, permission: Permission, ctx: &Context) -> Result<bool> {
    lives(item)?;
    if !ctx.permissions().contains(permission) {
        let message = format!("nobody grants what they lack: `{}`", permission.name());
        return Err(Rejection::forbidden(message).into());
    }
    let entry = AccessControlEntry { subject: subject.clone(), permission };
    if item.acl.contains(&entry) {
        return Ok(false);
    }
    if item.acl.len() >= GRANTS_LIMIT {
        let message = format!("an item has at most {GRANTS_LIMIT} grants; grant to a group");
        return Err(Rejection::rejected("too-many-grants", message).into());
    }
    Ok(true)
}

/// Whether a revocation changes anything.
pub(super) fn revokes(item: &Item, subject: &Subject, permission: Permission) -> Result<bool> {
    lives(item)?;
    Ok(item.acl.iter().any(|entry| entry.subject == *subject && entry.permission == permission))
}

/// Whether the ownership changes.
pub(super) fn transfers(item: &Item, owner_id: Uuid) -> Result<bool> {
    lives(item)?;
    Ok(item.owner_id != owner_id)
}
