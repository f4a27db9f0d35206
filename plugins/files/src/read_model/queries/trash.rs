//! `trash`: what was deleted.

use cairn_sdk::prelude::*;
use cairn_sdk::shared::decode_cursor;

use super::super::item::{ItemView, Page, default_limit, rows_for};
use super::super::sql::TRASH;
use crate::read_model::Files;

/// What was deleted by itself, the latest first. What went with a folder comes back with it and is not listed.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "trash", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct Trash {
    /// The most items to answer.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl QueryHandler<Trash> for Files {
    fn handle(query: &Trash, _: &Context, db: &Db) -> Result<Page<ItemView>> {
        let most = rows_for(query.limit)?;
        let (before, before_id): (Timestamp, Uuid) =
            query.cursor.as_deref().map(decode_cursor).transpose()?.unwrap_or((Timestamp::MAX, Uuid::max()));
        let rows = db.select(&TRASH, [before.into(), before_id.into(), most])?;
        let keys = |last: &ItemView| (last.deleted_at, last.id);
        Ok(Page::cut(rows.read(ItemView::read)?, query.limit, keys)?)
    }
}
