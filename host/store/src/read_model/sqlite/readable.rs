//! The host's relation `readable(aggregate, id)`: what a caller may read, from the access rows of the log itself, so
//! that a list obeys a revoke at once.
//!
//! It is a view that SQLite folds into the statement that joins it: a row of `access` is looked up for each row of the
//! list, by its key, and only then the way up is walked. Nothing is computed for what is not in the list.

use cairn_model::Principal;

use crate::sqlite::multi::Bound;

/// The relation as a common table, whose parameters stand behind the statement's own `own` ones.
pub(super) fn relation(own: usize) -> String {
    let (principal, tenant, groups, unbounded) = (own + 1, own + 2, own + 3, own + 4);
    format!(
        "readable (aggregate, id) AS NOT MATERIALIZED (
    SELECT a.aggregate, a.id FROM log.access AS a
    WHERE a.tenant = ${tenant} AND (${unbounded} OR EXISTS (
        WITH RECURSIVE up (owner, entries, inherits, parent_aggregate, parent_id, depth) AS (
            SELECT a.owner, a.entries, a.inherits, a.parent_aggregate, a.parent_id, 0
            UNION ALL
            SELECT p.owner, p.entries, p.inherits, p.parent_aggregate, p.parent_id, up.depth + 1
            FROM up CROSS JOIN log.access AS p
            WHERE up.inherits AND up.depth < 1000
            AND p.id = up.parent_id AND p.aggregate = up.parent_aggregate AND p.tenant = ${tenant})
        SELECT 1 FROM up
        WHERE up.owner = ${principal}
        OR (up.entries <> '[]' AND EXISTS (
            SELECT 1 FROM json_each(up.entries) AS e
            WHERE json_array_length(e.value, '$.permissions') > 0
            AND (e.value ->> '$.subject' = 'everyone'
                OR e.value ->> '$.subject.user' = ${principal}
                OR e.value ->> '$.subject.group' IN (SELECT value FROM json_each(${groups})))))
        LIMIT 1)))"
    )
}

/// Binds the caller to those parameters.
pub(super) fn bind<'q>(query: Bound<'q>, principal: &Principal) -> Bound<'q> {
    query
        .bind(principal.id.to_string())
        .bind(principal.tenant.clone())
        // Strings: they cannot fail to serialize.
        .bind(serde_json::to_string(&principal.groups).unwrap_or_default())
        .bind(principal.is_unbounded())
}
