//! `folder_children`: what is in a folder.

use cairn_sdk::prelude::*;

use super::super::item::{ItemView, Page, after_name, default_limit, rows_for};
use super::super::sql::{CHILDREN, ITEM_BY_ID, ROOT_CHILDREN};
use super::item::no_such;
use crate::domain::ItemKind;
use crate::read_model::Files;

/// What is in a folder, or at the root, sorted by name.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "folder_children", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct FolderChildren {
    /// In which folder; the root if missing.
    #[serde(default)]
    pub folder_id: Option<Uuid>,
    /// The most items to answer.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl QueryHandler<FolderChildren> for Files {
    fn handle(query: &FolderChildren, _: &Context, db: &Db) -> Result<Page<ItemView>> {
        let most = rows_for(query.limit)?;
        let (after_key, after_id) = after_name(query.cursor.as_deref())?;
        let rows = match query.folder_id {
            None => db.select(&ROOT_CHILDREN, [after_key.into(), after_id.into(), most])?,
            Some(id) => {
                let folder = ITEM_BY_ID.call([id.into(), ItemKind::Folder.name().into()]);
                let children = CHILDREN.call([id.into(), after_key.into(), after_id.into(), most]);
                let [folder, children] = db.select_each([folder, children])?;
                if folder.is_empty() {
                    return Err(no_such("folder", id));
                }
                children
            }
        };
        Ok(Page::cut_by_name(rows.read(ItemView::read)?, query.limit)?)
    }
}
