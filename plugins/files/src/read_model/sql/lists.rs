//! Items, one by one, in lists and in trees.

use cairn_sdk::prelude::*;

use super::{ITEM, ITEM_AT_DEPTH};

/// One item of a kind.
pub const ITEM_BY_ID: Statement = Statement::read(
    "item_by_id",
    concat!("SELECT ", item_columns!(), readable_items!(), "WHERE v.id = $1 AND v.kind = $2"),
    &[Column::uuid("id"), Column::text("kind")],
    ITEM,
);

/// A page of what is in a folder.
pub const CHILDREN: Statement = Statement::read(
    "children",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.parent_id = $1 AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($2, $3) \
         ORDER BY v.name_key, v.id LIMIT $4"
    ),
    &[
        Column::uuid("folder_id"),
        Column::text("after_key"),
        Column::uuid("after_id"),
        Column::integer("most"),
    ],
    ITEM,
);

/// A page of what is at the root.
pub const ROOT_CHILDREN: Statement = Statement::read(
    "root_children",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.parent_id IS NULL AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($1, $2) \
         ORDER BY v.name_key, v.id LIMIT $3"
    ),
    &[Column::text("after_key"), Column::uuid("after_id"), Column::integer("most")],
    ITEM,
);

/// What is below a folder.
pub const TREE: Statement = Statement::read(
    "tree",
    concat!(
        "SELECT ",
        item_columns!(),
        ", t.depth FROM folder_tree AS t JOIN file_views AS v ON v.id = t.descendant \
         JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id \
         WHERE t.ancestor = $1 AND t.depth >= 1 AND t.depth <= $2 AND v.is_deleted = FALSE \
         ORDER BY t.descendant LIMIT $3 OFFSET $4"
    ),
    &[Column::uuid("folder_id"), Column::integer("depth"), Column::integer("most"), Column::integer("skip")],
    ITEM_AT_DEPTH,
);

/// All living items; their depths come of their parents.
pub const WHOLE_TREE: Statement = Statement::read(
    "whole_tree",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.is_deleted = FALSE ORDER BY v.id LIMIT $1 OFFSET $2"
    ),
    &[Column::integer("most"), Column::integer("skip")],
    ITEM,
);

/// All living items down to a depth, counted from the highest folders that the caller may read; their own depths come of
/// their parents. What is found is what is near enough below such a folder, unreadable folders in between counted too, so
/// none is missing: the way down from its own highest folder is never longer.
pub const WHOLE_TREE_TO_DEPTH: Statement = Statement::read(
    "whole_tree_to_depth",
    concat!(
        "WITH highest AS (SELECT v.id AS id",
        readable_items!(),
        "WHERE v.is_deleted = FALSE AND NOT EXISTS (SELECT 1 FROM file_views AS p JOIN readable AS pr \
         ON pr.aggregate = p.kind AND pr.id = p.id WHERE p.id = v.parent_id AND p.is_deleted = FALSE)) \
         SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.is_deleted = FALSE AND v.id IN (SELECT t.descendant FROM highest AS h \
         JOIN folder_tree AS t ON t.ancestor = h.id WHERE t.depth < $1) ORDER BY v.id LIMIT $2 OFFSET $3"
    ),
    &[Column::integer("depth"), Column::integer("most"), Column::integer("skip")],
    ITEM,
);

/// The folders above an item, from the root down.
pub const ANCESTORS: Statement = Statement::read(
    "ancestors",
    concat!(
        "SELECT ",
        item_columns!(),
        ", t.depth FROM folder_tree AS t JOIN file_views AS v ON v.id = t.ancestor \
         JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id \
         WHERE t.descendant = $1 AND t.depth >= 1 ORDER BY t.depth DESC"
    ),
    &[Column::uuid("id")],
    ITEM_AT_DEPTH,
);

/// An item of whichever kind.
pub const ANY_ITEM: Statement = Statement::read(
    "any_item",
    concat!("SELECT ", item_columns!(), readable_items!(), "WHERE v.id = $1"),
    &[Column::uuid("id")],
    ITEM,
);

/// A page of the living items whose names contain a text.
pub const SEARCH: Statement = Statement::read(
    "search",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.name_key LIKE $1 ESCAPE '!' AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($2, $3) \
         ORDER BY v.name_key, v.id LIMIT $4"
    ),
    &[Column::text("pattern"), Column::text("after_key"), Column::uuid("after_id"), Column::integer("most")],
    ITEM,
);

/// A page of what was deleted by itself, the latest first.
pub const TRASH: Statement = Statement::read(
    "trash",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.deletion_id IS NOT NULL AND v.deletion_folder IS NULL AND (v.deleted_at, v.id) < ($1, $2) \
         ORDER BY v.deleted_at DESC, v.id DESC LIMIT $3"
    ),
    &[Column::timestamp("before"), Column::uuid("before_id"), Column::integer("most")],
    ITEM,
);
