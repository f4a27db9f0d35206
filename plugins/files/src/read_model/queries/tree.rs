//! `folder_tree`: all that is below a folder, with paths.

use std::collections::BTreeMap;

use cairn_sdk::prelude::*;

use super::super::item::{ItemView, Page};
use super::super::sql::{ITEM_BY_ID, TREE, WHOLE_TREE, WHOLE_TREE_TO_DEPTH};
use super::item::no_such;
use crate::domain::ItemKind;
use crate::read_model::Files;

/// The most items of a tree: what fits into the 32 MiB that a host takes for one answer.
const TREE_LIMIT: usize = 50_000;

/// Stands in a path for a folder that the caller may not read.
const UNREADABLE: &str = "…";

/// All that is below a folder, or all there is, sorted by path.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "folder_tree", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct FolderTree {
    /// Below which folder. If it is missing, everything that the caller may read, from the highest readable folders on.
    #[serde(default)]
    pub folder_id: Option<Uuid>,
    /// How deep to go; 1 is what is in the folder itself. Without it, all the way down.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub depth: Option<u32>,
}

impl QueryHandler<FolderTree> for Files {
    fn handle(query: &FolderTree, _: &Context, db: &Db) -> Result<Page<ItemView>> {
        let depth = query.depth.unwrap_or(i32::MAX.unsigned_abs());
        if depth == 0 {
            return Err(Rejection::invalid_field("/depth", "a depth is at least 1").into());
        }
        let most = TREE_LIMIT + 1;
        let items = match query.folder_id {
            None => {
                let all = match query.depth {
                    None => db.select_paged(&WHOLE_TREE, [], most)?,
                    Some(depth) => db.select_paged(&WHOLE_TREE_TO_DEPTH, [depth.into()], most)?,
                };
                with_places(small_enough(all)?.read(ItemView::read)?, None)
            }
            Some(id) => {
                if db.select(&ITEM_BY_ID, [id.into(), ItemKind::Folder.name().into()])?.is_empty() {
                    return Err(no_such("folder", id));
                }
                let below = db.select_paged(&TREE, [id.into(), depth.into()], most)?;
                with_places(small_enough(below)?.read(ItemView::read_at_depth)?, Some(id))
            }
        };
        let shown = items.into_iter().filter(|item| item.depth.is_some_and(|own| own <= depth));
        Ok(Page::whole(shown.collect()))
    }
}

fn small_enough(rows: Rows) -> Result<Rows> {
    if rows.len() <= TREE_LIMIT {
        return Ok(rows);
    }
    let message = format!("the tree has more than {TREE_LIMIT} items; ask for a folder or a depth");
    Err(Rejection::rejected("tree-too-large", message).into())
}

/// Gives the items their paths, and depths where they have none, and sorts them by path.
fn with_places(mut items: Vec<ItemView>, below: Option<Uuid>) -> Vec<ItemView> {
    let by_id: BTreeMap<Uuid, usize> =
        items.iter().enumerate().map(|(place, item)| (item.id, place)).collect();
    let mut paths: Vec<Option<(String, u32)>> = vec![None; items.len()];
    for start in 0..items.len() {
        // Up to the first item whose path is known (or that has nothing above it), then down again.
        let mut climbed = Vec::new();
        let mut at = Some(start);
        while let Some(place) = at.filter(|place| paths[*place].is_none() && climbed.len() <= items.len()) {
            climbed.push(place);
            at = items[place].parent_id.and_then(|parent| by_id.get(&parent)).copied();
        }
        for place in climbed.into_iter().rev() {
            let item = &items[place];
            let above =
                item.parent_id.and_then(|parent| by_id.get(&parent)).and_then(|place| paths[*place].as_ref());
            paths[place] = Some(match above {
                Some((path, depth)) => (format!("{path}/{}", item.name), depth + 1),
                // Its folder may not be read: the path says so, unless everything was asked for.
                None if below.is_some() && item.parent_id != below => {
                    (format!("{UNREADABLE}/{}", item.name), 2)
                }
                None => (item.name.clone(), 1),
            });
        }
    }
    for (item, place) in items.iter_mut().zip(paths) {
        let (path, depth) = place.unwrap_or_default();
        item.depth = item.depth.or(Some(depth));
        item.path = Some(path);
    }
    items.sort_by(|one, other| one.path.cmp(&other.path).then(one.id.cmp(&other.id)));
    items
}
