//! All SQL of the plugin, written in what SQLite and PostgreSQL share.

use cairn_sdk::prelude::*;

/// The columns of an item as queries read them, in the order of [`ITEM`].
macro_rules! item_columns {
    () => {
        "v.id, v.kind, v.name, v.name_key, v.parent_id, v.owner_id, v.size, v.mime_type, v.digest, v.version, \
         v.is_deleted, v.deleted_at, v.created_at, v.updated_at, v.created_by, v.updated_by"
    };
}

/// Items that the caller may read.
macro_rules! readable_items {
    () => {
        " FROM file_views AS v JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id "
    };
}

macro_rules! item_fields {
    ($($more:expr),*) => {
        &[
            Column::uuid("id"),
            Column::text("kind"),
            Column::text("name"),
            Column::text("name_key"),
            Column::uuid("parent_id").nullable(),
            Column::uuid("owner_id"),
            Column::integer("size").nullable(),
            Column::text("mime_type").nullable(),
            Column::text("digest").nullable(),
            Column::integer("version"),
            Column::boolean("is_deleted"),
            Column::timestamp("deleted_at").nullable(),
            Column::timestamp("created_at"),
            Column::timestamp("updated_at"),
            Column::uuid("created_by"),
            Column::uuid("updated_by"),
            $($more,)*
        ]
    };
}

const ITEM: &[Column] = item_fields!();

const ITEM_AT_DEPTH: &[Column] = item_fields!(Column::integer("depth"));

mod cascade;
mod changes;
mod lists;
mod sharing;

pub use cascade::*;
pub use changes::*;
pub use lists::*;
pub use sharing::*;

/// All of them, for the manifest.
pub const STATEMENTS: &[Statement] = &[
    TOUCH,
    RENAME,
    MOVE,
    CONTENT,
    DELETION,
    OWNER,
    INHERITANCE,
    TREE_INSERT,
    TREE_UNLINK,
    TREE_LINK,
    ITEM_BY_ID,
    CHILDREN,
    ROOT_CHILDREN,
    TREE,
    WHOLE_TREE,
    WHOLE_TREE_TO_DEPTH,
    ANCESTORS,
    ANY_ITEM,
    SEARCH,
    TRASH,
    SHARED,
    SHARED_WITH_GROUPS,
    GRANTS,
    SECURITY,
    LIVING_CHILDREN,
    GONE_CHILDREN,
];
