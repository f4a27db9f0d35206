//! `file`, `folder`, `ancestors`: one item, and what is above it.

use cairn_sdk::prelude::*;

use super::super::item::{ItemView, Page};
use super::super::sql::{ANCESTORS, ANY_ITEM, ITEM_BY_ID};
use crate::domain::ItemKind;
use crate::read_model::Files;

/// One file, a deleted one too.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "file", response = ItemView)]
#[serde(deny_unknown_fields)]
pub struct GetFile {
    /// Which one.
    pub id: Uuid,
}

/// One folder, a deleted one too.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "folder", response = ItemView)]
#[serde(deny_unknown_fields)]
pub struct GetFolder {
    /// Which one.
    pub id: Uuid,
}

/// The folders above a file or a folder, from the root down.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "ancestors", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct Ancestors {
    /// Above which one.
    pub id: Uuid,
}

pub(super) fn no_such(what: &str, id: Uuid) -> Error {
    Rejection::not_found(format!("there is no {what} {id}")).into()
}

fn one(kind: ItemKind, id: Uuid, db: &Db) -> Result<ItemView> {
    let rows = db.select(&ITEM_BY_ID, [id.into(), kind.name().into()])?;
    rows.read(ItemView::read)?.pop().ok_or_else(|| no_such(kind.name(), id))
}

impl QueryHandler<GetFile> for Files {
    fn handle(query: &GetFile, _: &Context, db: &Db) -> Result<ItemView> {
        one(ItemKind::File, query.id, db)
    }
}

impl QueryHandler<GetFolder> for Files {
    fn handle(query: &GetFolder, _: &Context, db: &Db) -> Result<ItemView> {
        one(ItemKind::Folder, query.id, db)
    }
}

impl QueryHandler<Ancestors> for Files {
    fn handle(query: &Ancestors, _: &Context, db: &Db) -> Result<Page<ItemView>> {
        let id = query.id;
        let [item, above] = db.select_each([ANY_ITEM.call([id.into()]), ANCESTORS.call([id.into()])])?;
        if item.is_empty() {
            return Err(no_such("item", id));
        }
        Ok(Page::whole(above.read(ItemView::read_at_depth)?))
    }
}
