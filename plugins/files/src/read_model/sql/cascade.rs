//! What is in a folder, for the policy that takes it along.

use cairn_sdk::prelude::*;

/// A part of what lives in a folder, by ids, for the policy that deletes it.
pub const LIVING_CHILDREN: Statement = Statement::read(
    "living_children",
    "SELECT v.id, v.kind FROM file_views AS v \
     WHERE v.parent_id = $1 AND v.is_deleted = FALSE AND v.id >= $2 ORDER BY v.id LIMIT $3",
    &[Column::uuid("folder_id"), Column::uuid("from"), Column::integer("most")],
    &[Column::uuid("id"), Column::text("kind")],
);

/// A part of what is in a folder and went along with its deletion, by ids, for the policy that undoes that.
pub const GONE_CHILDREN: Statement = Statement::read(
    "gone_children",
    "SELECT v.id, v.kind FROM file_views AS v \
     WHERE v.parent_id = $1 AND v.is_deleted = TRUE AND v.deletion_id = $2 AND v.deletion_folder IS NOT NULL \
     AND v.id >= $3 ORDER BY v.id LIMIT $4",
    &[Column::uuid("folder_id"), Column::uuid("deletion_id"), Column::uuid("from"), Column::integer("most")],
    &[Column::uuid("id"), Column::text("kind")],
);
