//! The tables of the read model.

use cairn_sdk::prelude::*;

/// Files and folders, deleted ones too.
pub const FILE_VIEWS: Table = Table {
    name: "file_views",
    columns: &[
        Column::uuid("id"),
        Column::text("kind"),
        Column::text("name"),
        // The name in the form in which lists are sorted and searched.
        Column::text("name_key"),
        Column::uuid("parent_id").nullable(),
        Column::uuid("owner_id"),
        Column::integer("size").nullable(),
        Column::text("mime_type").nullable(),
        Column::text("digest").nullable(),
        // Whether a folder takes the grants of the folder above; a file always does.
        Column::boolean("inherits"),
        Column::integer("version"),
        Column::boolean("is_deleted"),
        Column::timestamp("deleted_at").nullable(),
        // What went together has one deletion; what was deleted by itself has no deletion_folder.
        Column::uuid("deletion_id").nullable(),
        Column::uuid("deletion_folder").nullable(),
        Column::timestamp("created_at"),
        Column::timestamp("updated_at"),
        Column::uuid("created_by"),
        Column::uuid("updated_by"),
    ],
    key: &["id"],
    indexes: &[
        Index::on(&["parent_id", "is_deleted", "name_key", "id"]),
        Index::on(&["name_key", "id"]),
        Index::on(&["deletion_id"]),
    ],
};

/// The closure of "is in": every item with every folder above it, and with itself at depth 0.
pub const FOLDER_TREE: Table = Table {
    name: "folder_tree",
    columns: &[Column::uuid("ancestor"), Column::uuid("descendant"), Column::integer("depth")],
    key: &["ancestor", "descendant"],
    indexes: &[Index::on(&["descendant", "depth"])],
};

/// The grants, one row for each.
pub const FILE_PERMISSIONS: Table = Table {
    name: "file_permissions",
    columns: &[
        Column::uuid("id"),
        Column::text("kind"),
        Column::text("subject_kind"),
        Column::text("subject"),
        Column::text("permission"),
        Column::timestamp("granted_at"),
        Column::uuid("granted_by"),
    ],
    key: &["id", "subject_kind", "subject", "permission"],
    indexes: &[Index::on(&["subject_kind", "subject", "id"])],
};
