//! Names that a manifest may give to tables, columns and statements. They go into SQL text, so they are few and plain.

use cairn_model::chain::Hash;

/// The longest name of a projection that is part of a schema's name as it is.
const SCHEMA_NAME_LIMIT: usize = 48;

/// The longest name.
const LENGTH_LIMIT: usize = 60;

/// Names that belong to the host or to the databases.
const RESERVED: [&str; 6] =
    ["projection_positions", "dead_letters", "readable", "input", "json_each", "excluded"];

/// The host's own tables in the log. A common table with such a name could hide that the log's table is meant.
const HOST_TABLES: [&str; 16] = [
    "access",
    "access_keys",
    "claims",
    "components",
    "event_store",
    "idempotency",
    "leases",
    "log_meta",
    "policy_outbox",
    "policy_positions",
    "policy_states",
    "probe",
    "projection_positions",
    "read_models",
    "snapshots",
    "turns",
];

/// Whether one of the host's own tables has this name.
pub(super) fn is_host_table(name: &str) -> bool {
    HOST_TABLES.contains(&name) || name == "_sqlx_migrations"
}

/// The schema of a projection's instance in PostgreSQL, 63 bytes at most. Those beside the first one have a number behind a
/// dot, which no projection has in its name.
pub(super) fn schema(projection: &str, instance: u64) -> String {
    let first = if projection.len() <= SCHEMA_NAME_LIMIT {
        format!("read_{projection}")
    } else {
        let digest = Hash::of(projection.as_bytes()).to_string();
        format!("read_{}~{}", &projection[..SCHEMA_NAME_LIMIT - 9], &digest[..8])
    };
    if instance == 0 { first } else { format!("{first}.{instance}") }
}

/// Which instance of the projection has this schema, if it is one's.
pub(super) fn instance(projection: &str, found: &str) -> Option<u64> {
    let rest = found.strip_prefix(&schema(projection, 0))?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('.')?.parse().ok().filter(|number| *number > 0) }
}

/// What is wrong with the name of a common table, if something is.
pub(super) fn complaint_of_common_table(name: &str) -> Option<String> {
    let host = is_host_table(name);
    if host { Some(format!("`{name}` is reserved")) } else { complaint(name) }
}

/// What is wrong with a name, if something is.
pub(super) fn complaint(name: &str) -> Option<String> {
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
    let goes_on =
        letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_');
    if !begins || !goes_on {
        return Some(format!("`{name}` is not a name: lowercase letters, digits and `_`, no digit in front"));
    }
    if name.len() > LENGTH_LIMIT {
        return Some(format!("`{name}` is longer than {LENGTH_LIMIT} letters"));
    }
    let reserved = RESERVED.contains(&name) || name.starts_with("sqlite_") || name.starts_with("pg_");
    reserved.then(|| format!("`{name}` is reserved"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_different_and_short() {
        assert_eq!(
            (schema("files", 0).as_str(), schema("files", 3).as_str()),
            ("read_files", "read_files.3")
        );
        let (one, two) = (schema(&"a".repeat(59), 0), schema(&"a".repeat(60), 999_999_999));
        assert!(one != two && two.len() <= 63, "{one} {two}");
    }

    #[test]
    fn instances_are_found_by_their_schemas() {
        let long = "a".repeat(60);
        for name in ["files", &long] {
            for number in [0, 1, 27] {
                assert_eq!(instance(name, &schema(name, number)), Some(number));
            }
        }
        for stranger in ["read_filess", "read_files.", "read_files.0", "read_files.x", "read_file"] {
            assert_eq!(instance("files", stranger), None, "{stranger}");
        }
    }

    #[test]
    fn names_that_could_break_out_of_sql_are_refused() {
        for name in
            ["", "1a", "a b", "a\"b", "Ab", "ä", "a;b", "sqlite_master", "pg_class", "readable", "input"]
        {
            assert!(complaint(name).is_some(), "{name}");
        }
        assert!(complaint(&"a".repeat(61)).is_some());
        for name in ["file_views", "_x", "a1"] {
            assert_eq!(complaint(name), None);
        }
    }
}
