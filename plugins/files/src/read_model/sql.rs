//! All SQL of the plugin, written in what SQLite and PostgreSQL share.
//!
//! Statements that change rows which exist already read their parameters from the relation `input` and may be run once
//! for many events. An item may then be in `input` several times, and the row with the highest version counts.

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

/// Puts new items into the tree. Parents may be new in the same run: `up` climbs as long as it stays among the new
/// items, and what is above them has its rows already.
pub const TREE_INSERT: Statement = Statement::batched(
    "tree_insert",
    "INSERT INTO folder_tree (ancestor, descendant, depth) \
     WITH RECURSIVE up(descendant, ancestor, depth) AS ( \
       SELECT child, parent, 1 FROM input WHERE parent IS NOT NULL \
       UNION ALL \
       SELECT up.descendant, i.parent, up.depth + 1 FROM up JOIN input AS i ON i.child = up.ancestor \
       WHERE i.parent IS NOT NULL \
     ) \
     SELECT child, child, 0 FROM input \
     UNION ALL \
     SELECT up.ancestor, up.descendant, up.depth FROM up JOIN input AS i ON i.child = up.ancestor \
     UNION ALL \
     SELECT t.ancestor, up.descendant, up.depth + t.depth FROM up JOIN folder_tree AS t ON t.descendant = up.ancestor",
    &[Column::uuid("child"), Column::uuid("parent").nullable()],
);

/// Takes an item, with all below it, from under everything above it.
pub const TREE_UNLINK: Statement = Statement::write(
    "tree_unlink",
    "DELETE FROM folder_tree \
     WHERE descendant IN (SELECT below.descendant FROM folder_tree AS below WHERE below.ancestor = $1) \
     AND ancestor NOT IN (SELECT kept.descendant FROM folder_tree AS kept WHERE kept.ancestor = $1)",
    &[Column::uuid("id")],
);

/// Puts an item, with all below it, under a folder and everything above that.
pub const TREE_LINK: Statement = Statement::write(
    "tree_link",
    "INSERT INTO folder_tree (ancestor, descendant, depth) \
     SELECT above.ancestor, below.descendant, above.depth + below.depth + 1 \
     FROM folder_tree AS above CROSS JOIN folder_tree AS below \
     WHERE above.descendant = $2 AND below.ancestor = $1",
    &[Column::uuid("id"), Column::uuid("parent")],
);

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

/// A page of the living items of others on which a subject has grants.
pub const SHARED: Statement = Statement::read(
    "shared",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.id IN (SELECT p.id FROM file_permissions AS p WHERE p.subject_kind = $1 AND p.subject = $2) \
         AND v.owner_id <> $3 AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($4, $5) \
         ORDER BY v.name_key, v.id LIMIT $6"
    ),
    &[
        Column::text("subject_kind"),
        Column::text("subject"),
        Column::uuid("caller"),
        Column::text("after_key"),
        Column::uuid("after_id"),
        Column::integer("most"),
    ],
    ITEM,
);

/// The grants on an item that the caller may read.
pub const GRANTS: Statement = Statement::read(
    "grants",
    "SELECT p.subject_kind, p.subject, p.permission, p.granted_at, p.granted_by FROM file_permissions AS p \
     JOIN readable AS r ON r.aggregate = p.kind AND r.id = p.id \
     WHERE p.id = $1 ORDER BY p.granted_at, p.subject_kind, p.subject, p.permission",
    &[Column::uuid("id")],
    &[
        Column::text("subject_kind"),
        Column::text("subject"),
        Column::text("permission"),
        Column::timestamp("granted_at"),
        Column::uuid("granted_by"),
    ],
);

/// Owner and inheritance of an item that the caller may read.
pub const SECURITY: Statement = Statement::read(
    "security",
    concat!("SELECT v.kind, v.owner_id, v.inherits", readable_items!(), "WHERE v.id = $1"),
    &[Column::uuid("id")],
    &[Column::text("kind"), Column::uuid("owner_id"), Column::boolean("inherits")],
);

/// What lives below a folder, for the policy that deletes it.
pub const LIVING_BELOW: Statement = Statement::read(
    "living_below",
    "SELECT v.id, v.kind, t.depth FROM folder_tree AS t JOIN file_views AS v ON v.id = t.descendant \
     WHERE t.ancestor = $1 AND t.depth >= 1 AND v.is_deleted = FALSE ORDER BY t.descendant LIMIT $2 OFFSET $3",
    &[Column::uuid("folder_id"), Column::integer("most"), Column::integer("skip")],
    &[Column::uuid("id"), Column::text("kind"), Column::integer("depth")],
);

/// What went with a deletion, for the policy that undoes it.
pub const GONE_WITH: Statement = Statement::read(
    "gone_with",
    "SELECT v.id, v.kind, max(t.depth) AS depth, v.deletion_folder \
     FROM file_views AS v JOIN folder_tree AS t ON t.descendant = v.id \
     WHERE v.deletion_id = $1 AND v.deletion_folder IS NOT NULL \
     GROUP BY v.id, v.kind, v.deletion_folder ORDER BY v.id LIMIT $2 OFFSET $3",
    &[Column::uuid("deletion_id"), Column::integer("most"), Column::integer("skip")],
    &[Column::uuid("id"), Column::text("kind"), Column::integer("depth"), Column::uuid("deletion_folder")],
);

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
    ANCESTORS,
    ANY_ITEM,
    SEARCH,
    TRASH,
    SHARED,
    GRANTS,
    SECURITY,
    LIVING_BELOW,
    GONE_WITH,
];
