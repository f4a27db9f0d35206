//! The rules that files and folders share. Each answers what is to happen; the handlers make events of it.

use cairn_sdk::prelude::*;
use cairn_sdk::shared::Need;

use super::folder::Folder;
use super::item::{Deletion, Item};
use super::name::ItemName;

/// The most grants that an item can have.
const GRANTS_LIMIT: usize = 1000;

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

/// Things are put only into a folder that exists, lives and may be written to.
pub(super) fn can_hold(parent_id: Option<Uuid>, ctx: &Context) -> Result<()> {
    let Some(parent_id) = parent_id else {
        return Ok(());
    };
    let parent: Loaded<Standing> = ctx.load_as::<Folder, _>(parent_id)?;
    parent.require(Permission::Write)?;
    if parent.state.deletion.is_some() { Err(parent_deleted()) } else { Ok(()) }
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
    if let Some(parent) = parent_id.filter(|_| item.parent_id != parent_id && !item.is_deleted()) {
        if parent == item.id {
            return Err(below_itself().into());
        }
        let parent = StreamRef::of::<Folder>(parent);
        ctx.prefetch(&[Need::Aggregate(parent.clone()), Need::Ancestors(parent)])?;
    }
    if !goes_elsewhere(item, parent_id, ctx)? {
        return Ok(false);
    }
    if let Some(parent) = parent_id
        && ctx.ancestors(&StreamRef::of::<Folder>(parent))?.contains(&item.stream())
    {
        return Err(below_itself().into());
    }
    Ok(true)
}

/// A deletion that begins here and now.
pub(super) fn new_deletion(item: &Item, ctx: &Context) -> Result<Uuid> {
    lives(item)?;
    Ok(Uuid::try_parse(ctx.command_id()).unwrap_or_else(|_| ctx.random().next_uuid()))
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

/// Whether the item goes with a folder's deletion. By the time the command arrives the folder may be back, or the item
/// elsewhere or already gone: then nothing happens.
pub(super) fn goes_with(item: &Item, deletion: Deletion, ctx: &Context) -> Result<bool> {
    let Some(folder_id) = deletion.with_folder.filter(|_| !item.is_deleted()) else {
        return Ok(false);
    };
    let folder = StreamRef::of::<Folder>(folder_id);
    ctx.prefetch(&[Need::Aggregate(folder.clone()), Need::Ancestors(item.stream())])?;
    let still_holds = Standing::of(folder_id, ctx)?.is_some_and(|folder| folder.is_deleted_by(deletion.id));
    Ok(still_holds && ctx.ancestors(&item.stream())?.contains(&folder))
}

/// What a folder's return means for an item that went with it.
pub(super) enum Return {
    /// Nothing: it did not go with that deletion, or the folder is still gone.
    Stays,
    /// It comes back.
    Comes,
    /// It comes back, and goes at once with a later deletion that already took the folder it is in.
    ComesAndGoes(Deletion),
}

/// Whether the item comes back with a folder.
pub(super) fn comes_with(item: &Item, deletion: Deletion, ctx: &Context) -> Result<Return> {
    let went_along = item.deletion.is_some_and(|own| own.id == deletion.id);
    let Some(folder_id) = deletion.with_folder.filter(|_| went_along) else {
        return Ok(Return::Stays);
    };
    let mut needs = vec![Need::Aggregate(StreamRef::of::<Folder>(folder_id))];
    needs.extend(item.parent_id.map(|parent| Need::Aggregate(StreamRef::of::<Folder>(parent))));
    ctx.prefetch(&needs)?;
    if Standing::of(folder_id, ctx)?.is_none_or(|folder| folder.is_deleted_by(deletion.id)) {
        return Ok(Return::Stays);
    }
    let Some(parent_id) = item.parent_id else {
        return Ok(Return::Comes);
    };
    Ok(match Standing::of(parent_id, ctx)?.and_then(|parent| parent.deletion) {
        None => Return::Comes,
        Some(later) if later.id == deletion.id => Return::Stays,
        Some(later) => {
            let with_folder = Some(later.with_folder.unwrap_or(parent_id));
            Return::ComesAndGoes(Deletion { id: later.id, with_folder })
        }
    })
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
