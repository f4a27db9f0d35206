//! Items as queries answer them, and pages of them.

use cairn_sdk::prelude::*;
use cairn_sdk::shared::{Row, decode_cursor, encode_cursor};

use crate::domain::ItemKind;

/// The most items on a page.
const PAGE_LIMIT: u32 = 1000;

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ItemView {
    /// Its id.
    pub id: Uuid,
    /// Whether it is a file or a folder.
    pub kind: ItemKind,
    /// Its name.
    pub name: String,
    /// The folder that it is in; null at the root.
    pub parent_id: Option<Uuid>,
    /// Its owner.
    pub owner_id: Uuid,
    /// Its version: what `If-Match` takes.
    pub version: u64,
    /// The size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The type of a file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The digest of a file's content, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Uuid,
    /// Who last changed it.
    pub updated_by: Uuid,
    /// In a tree: how far below the folder that was asked for, 1 for what is in it. Among ancestors: how far above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// In a tree: the names from the folder that was asked for, joined with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What lists are sorted by.
    #[serde(skip)]
    pub name_key: String,
}

impl ItemView {
    /// Reads the columns of an item.
    ///
    /// # Errors
    /// When a column is of another type.
    pub fn read(row: &mut Row) -> Result<Self, Fault> {
        let id = row.take()?;
        let kind = read_kind(row)?;
        let (name, name_key) = (row.take()?, row.take()?);
        Ok(Self {
            id,
            kind,
            name,
            name_key,
            parent_id: row.take()?,
            owner_id: row.take()?,
            size: row.take()?,
            mime_type: row.take()?,
            digest: row.take()?,
            version: row.take()?,
            is_deleted: row.take()?,
            deleted_at: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            created_by: row.take()?,
            updated_by: row.take()?,
            depth: None,
            path: None,
        })
    }

    /// Reads the columns of an item and its depth.
    ///
    /// # Errors
    /// When a column is of another type.
    pub fn read_at_depth(row: &mut Row) -> Result<Self, Fault> {
        let item = Self::read(row)?;
        Ok(Self { depth: Some(row.take()?), ..item })
    }
}

/// Reads a kind.
///
/// # Errors
/// When the column holds something else.
pub fn read_kind(row: &mut Row) -> Result<ItemKind, Fault> {
    let kind: String = row.take()?;
    match kind.as_str() {
        "file" => Ok(ItemKind::File),
        "folder" => Ok(ItemKind::Folder),
        other => Err(Fault(format!("`{other}` is no kind of item"))),
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The cursor of the next page; null on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// All there is, on one page.
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

impl Page<ItemView> {
    /// Cuts a page from items of which one more than `limit` was asked for; `keys` gives what the next page starts after.
    ///
    /// # Errors
    /// When the keys have no JSON form.
    pub fn cut<K: Serialize>(
        mut items: Vec<ItemView>,
        limit: u32,
        keys: impl Fn(&ItemView) -> K,
    ) -> Result<Self, Fault> {
        let limit = limit as usize;
        let next = match items.get(limit.saturating_sub(1)) {
            Some(last) if items.len() > limit => Some(encode_cursor(&keys(last))?),
            _ => None,
        };
        items.truncate(limit);
        Ok(Self { items, next })
    }

    /// Cuts a page of a list that is sorted by name.
    ///
    /// # Errors
    /// When the keys have no JSON form.
    pub fn cut_by_name(items: Vec<ItemView>, limit: u32) -> Result<Self, Fault> {
        Self::cut(items, limit, |last| (last.name_key.clone(), last.id))
    }
}

/// How many items a page has if the caller does not say.
pub const fn default_limit() -> u32 {
    100
}

/// One more row than the page has, so that the last page is known as such.
///
/// # Errors
/// Rejected as invalid outside of 1 to 1000.
pub fn rows_for(limit: u32) -> Result<Value> {
    if (1..=PAGE_LIMIT).contains(&limit) {
        return Ok(Value::from(limit + 1));
    }
    Err(Rejection::invalid_field("/limit", format!("a page has 1 to {PAGE_LIMIT} items")).into())
}

/// Where a page of a list sorted by name starts.
///
/// # Errors
/// Rejected as invalid for a cursor of another list.
pub fn after_name(cursor: Option<&str>) -> Result<(String, Uuid)> {
    Ok(cursor.map(decode_cursor).transpose()?.unwrap_or_default())
}
