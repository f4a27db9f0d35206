//! What events change.
//!
//! Statements that change rows which exist already read their parameters from the relation `input` and may be run once
//! for many events. An item may then be in `input` several times, and the row with the highest version counts.
//!
//! The tree takes whatever happened, also what no command lets happen: events from elsewhere may name a parent that comes
//! later or never, make a thing twice, or put a folder below itself. None of that fails, and none makes more rows than
//! there are pairs of items, or than 1 000 for an item.

use cairn_sdk::prelude::*;

/// Changes columns of items: `$set` names them, `$columns` are those of `input` besides the common ones.
macro_rules! update_items {
    ($name:literal, set: $set:literal, columns: $columns:literal, params: [$($param:expr),*]) => {
        Statement::batched(
            $name,
            concat!(
                "UPDATE file_views SET ", $set,
                "version = i.version, updated_at = i.changed_at, updated_by = i.changed_by FROM (SELECT id, version, \
                 changed_at, changed_by", $columns,
                ", row_number() OVER (PARTITION BY id ORDER BY version DESC) AS age FROM input) AS i \
                 WHERE i.age = 1 AND file_views.id = i.id"
            ),
            &[
                Column::uuid("id"),
                Column::integer("version"),
                Column::timestamp("changed_at"),
                Column::uuid("changed_by"),
                $($param),*
            ],
        )
    };
}

/// Notes that something about the item changed that stands in other tables.
pub const TOUCH: Statement = update_items!("touch", set: "", columns: "", params: []);

/// Another name.
pub const RENAME: Statement = update_items!(
    "rename",
    set: "name = i.name, name_key = i.name_key, ",
    columns: ", name, name_key",
    params: [Column::text("name"), Column::text("name_key")]
);

/// Another folder.
pub const MOVE: Statement = update_items!(
    "move_item",
    set: "parent_id = i.parent_id, ",
    columns: ", parent_id",
    params: [Column::uuid("parent_id").nullable()]
);

/// Other content.
pub const CONTENT: Statement = update_items!(
    "content",
    set: "size = i.size, mime_type = i.mime_type, digest = i.digest, ",
    columns: ", size, mime_type, digest",
    params: [Column::integer("size"), Column::text("mime_type"), Column::text("digest").nullable()]
);

/// Deleted or back.
pub const DELETION: Statement = update_items!(
    "deletion",
    set: "is_deleted = i.is_deleted, deleted_at = i.deleted_at, deletion_id = i.deletion_id, \
          deletion_folder = i.deletion_folder, ",
    columns: ", is_deleted, deleted_at, deletion_id, deletion_folder",
    params: [
        Column::boolean("is_deleted"),
        Column::timestamp("deleted_at").nullable(),
        Column::uuid("deletion_id").nullable(),
        Column::uuid("deletion_folder").nullable()
    ]
);

/// Another owner.
pub const OWNER: Statement = update_items!(
    "owner",
    set: "owner_id = i.owner_id, ",
    columns: ", owner_id",
    params: [Column::uuid("owner_id")]
);

/// Cut off or not.
pub const INHERITANCE: Statement = update_items!(
    "inheritance",
    set: "inherits = i.inherits, ",
    columns: ", inherits",
    params: [Column::boolean("inherits")]
);

/// Puts new items into the tree, each under its parent if that came before it. Parents may be new in the same run: `up`
/// climbs as long as it stays among the new items, to earlier and earlier ones, and what is above them has its rows
/// already. So it comes to an end, and to the same rows, whatever the items are and however they are cut into runs.
pub const TREE_INSERT: Statement = Statement::batched(
    "tree_insert",
    "INSERT INTO folder_tree (ancestor, descendant, depth) \
     WITH RECURSIVE up(descendant, ancestor, depth, log_position) AS ( \
       SELECT child, parent, 1, log_position FROM input WHERE parent IS NOT NULL \
       UNION \
       SELECT up.descendant, i.parent, up.depth + 1, i.log_position FROM up JOIN input AS i ON i.child = up.ancestor \
       WHERE i.parent IS NOT NULL AND i.log_position < up.log_position AND up.depth < 1000 \
     ) \
     SELECT child, child, 0 FROM input \
     UNION ALL \
     SELECT up.ancestor, up.descendant, up.depth FROM up JOIN input AS i ON i.child = up.ancestor \
     WHERE i.log_position < up.log_position \
     UNION ALL \
     SELECT t.ancestor, up.descendant, up.depth + t.depth FROM up JOIN folder_tree AS t ON t.descendant = up.ancestor \
     WHERE up.depth + t.depth <= 1000 \
     ON CONFLICT (ancestor, descendant) DO NOTHING",
    &[Column::uuid("child"), Column::uuid("parent").nullable(), Column::integer("log_position")],
);

/// Takes an item, with all below it, from under everything above it.
pub const TREE_UNLINK: Statement = Statement::write(
    "tree_unlink",
    "DELETE FROM folder_tree \
     WHERE descendant IN (SELECT below.descendant FROM folder_tree AS below WHERE below.ancestor = $1) \
     AND ancestor NOT IN (SELECT kept.descendant FROM folder_tree AS kept WHERE kept.ancestor = $1)",
    &[Column::uuid("id")],
);

/// Puts an item, with all below it, under a folder and everything above that. One that would come below itself, as events
/// from elsewhere may say, stays at the root of the tree until it moves again.
pub const TREE_LINK: Statement = Statement::write(
    "tree_link",
    "INSERT INTO folder_tree (ancestor, descendant, depth) \
     SELECT above.ancestor, below.descendant, above.depth + below.depth + 1 \
     FROM folder_tree AS above CROSS JOIN folder_tree AS below \
     WHERE above.descendant = $2 AND below.ancestor = $1 AND above.depth + below.depth < 1000 \
     AND NOT EXISTS (SELECT 1 FROM folder_tree AS own WHERE own.ancestor = $1 AND own.descendant = $2) \
     ON CONFLICT (ancestor, descendant) DO NOTHING",
    &[Column::uuid("id"), Column::uuid("parent")],
);
