//! Who was granted what.

use cairn_sdk::prelude::*;

use super::ITEM;

/// A page of the living items of others on which the caller or everyone has grants.
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

/// How many groups [`SHARED_WITH_GROUPS`] takes.
pub const GROUPS_AT_ONCE: usize = 16;

/// A page of the living items of others on which one of these groups has grants.
pub const SHARED_WITH_GROUPS: Statement = Statement::read(
    "shared_with_groups",
    concat!(
        "SELECT ",
        item_columns!(),
        readable_items!(),
        "WHERE v.id IN (SELECT p.id FROM file_permissions AS p WHERE p.subject_kind = 'group' AND p.subject IN \
         ($5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)) \
         AND v.owner_id <> $1 AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($2, $3) \
         ORDER BY v.name_key, v.id LIMIT $4"
    ),
    &[
        Column::uuid("caller"),
        Column::text("after_key"),
        Column::uuid("after_id"),
        Column::integer("most"),
        Column::text("group_1"),
        Column::text("group_2"),
        Column::text("group_3"),
        Column::text("group_4"),
        Column::text("group_5"),
        Column::text("group_6"),
        Column::text("group_7"),
        Column::text("group_8"),
        Column::text("group_9"),
        Column::text("group_10"),
        Column::text("group_11"),
        Column::text("group_12"),
        Column::text("group_13"),
        Column::text("group_14"),
        Column::text("group_15"),
        Column::text("group_16"),
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
