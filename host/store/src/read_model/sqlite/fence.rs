//! The fence around a projection's statements: SQLite asks it about everything that a statement would touch, when the
//! statement is prepared. It is the only unsafe code of the crate.
//!
//! Whatever the parser before it overlooked ends here: other tables, other files, PRAGMA, functions that are not on the
//! list.
#![expect(unsafe_code, reason = "SQLite's authorizer is reached through its C interface only")]

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libsqlite3_sys::{
    SQLITE_DELETE, SQLITE_DENY, SQLITE_FUNCTION, SQLITE_INSERT, SQLITE_OK, SQLITE_READ, SQLITE_RECURSIVE,
    SQLITE_SELECT, SQLITE_TRANSACTION, SQLITE_UPDATE, sqlite3_set_authorizer, sqlite3_set_clientdata,
};
use sqlx::sqlite::SqliteConnection;

use crate::read_model::check::FUNCTIONS;

/// The host's own common tables.
const HOST_COMMON_TABLES: [&str; 3] = ["readable", "input", "up"];

/// Functions that the host's own relations and SQLite's operators need, besides those that guests may call.
const HOST_FUNCTIONS: [&str; 5] = ["like", "->", "->>", "json_array_length", "json_each"];

/// What a connection may touch.
#[derive(Debug)]
pub(super) struct Fence {
    /// The projection's tables.
    pub tables: BTreeSet<String>,
    /// The common tables of its statements. SQLite asks about one of which no column is used, as in `count(*)`, by its name
    /// alone.
    pub common_tables: BTreeSet<String>,
    /// Whether they may be changed.
    pub writes: bool,
}

impl Fence {
    fn allows(&self, action: c_int, first: &str, second: &str, database: &str) -> bool {
        let main = database == "main";
        // Dead letters are the host's; it reads them on connections without a fence.
        let host = first == "projection_positions" || (self.writes && first == "dead_letters");
        let own = main && (self.tables.contains(first) || host);
        match action {
            SQLITE_SELECT | SQLITE_RECURSIVE | SQLITE_TRANSACTION => true,
            SQLITE_READ if second.is_empty() && database.is_empty() => {
                self.tables.contains(first)
                    || self.common_tables.contains(first)
                    || HOST_COMMON_TABLES.contains(&first)
            }
            SQLITE_READ => own || first == "json_each" || (database == "log" && is_of_the_log(first, second)),
            SQLITE_FUNCTION => FUNCTIONS.contains(&second) || HOST_FUNCTIONS.contains(&second),
            SQLITE_INSERT | SQLITE_UPDATE | SQLITE_DELETE => self.writes && own,
            _ => false,
        }
    }
}

/// What the host's own questions read of the log: access, and where it ends.
fn is_of_the_log(table: &str, column: &str) -> bool {
    table == "access" || (table == "event_store" && matches!(column, "position" | "hash"))
}

/// Raises the fence on a connection, for as long as the connection lives.
pub(super) async fn raise(connection: &mut SqliteConnection, fence: Arc<Fence>) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    let database = handle.as_raw_handle().as_ptr();
    let pointer = Box::into_raw(Box::new(fence)).cast::<c_void>();
    // SAFETY: the handle is locked, so nobody else uses the connection now. SQLite calls `release` exactly once: when the
    // connection is closed, when another fence takes its place, or at once if it has no memory for the entry.
    let kept = unsafe { sqlite3_set_clientdata(database, c"cairn-fence".as_ptr(), pointer, Some(release)) };
    if kept != SQLITE_OK {
        return Err(sqlx::Error::Protocol("no memory for the fence of a connection".to_owned()));
    }
    // SAFETY: `pointer` lives as long as the connection (see above), and no statement is prepared after its end.
    let set = unsafe { sqlite3_set_authorizer(database, Some(authorize), pointer) };
    if set != SQLITE_OK {
        return Err(sqlx::Error::Protocol("SQLite took no authorizer".to_owned()));
    }
    Ok(())
}

unsafe extern "C" fn release(pointer: *mut c_void) {
    // SAFETY: `pointer` is the box that `raise` made, and this is called once for it.
    drop(unsafe { Box::from_raw(pointer.cast::<Arc<Fence>>()) });
}

unsafe extern "C" fn authorize(
    pointer: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: `pointer` is the box that `raise` made; SQLite does not call this after `release`.
    let fence = unsafe { &*pointer.cast::<Arc<Fence>>() };
    // SAFETY: SQLite gives null or a string that ends with zero and outlives the call.
    let [first, second, database] = unsafe { [text(first), text(second), text(database)] };
    // A panic must not run into SQLite's frames; whatever went wrong is denied.
    let allowed = catch_unwind(AssertUnwindSafe(|| match (first, second, database) {
        (Some(first), Some(second), Some(database)) => fence.allows(action, first, second, database),
        _ => false,
    }));
    if allowed.unwrap_or(false) { SQLITE_OK } else { SQLITE_DENY }
}

/// # Safety
/// `pointer` is null or a string that ends with zero and outlives what is made of it.
unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return Some("");
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_projections_own_tables_and_access_can_be_read() {
        let fence = Fence {
            tables: BTreeSet::from(["file_views".to_owned()]),
            common_tables: BTreeSet::new(),
            writes: false,
        };
        assert!(fence.allows(SQLITE_READ, "file_views", "id", "main"));
        assert!(fence.allows(SQLITE_READ, "access", "id", "log"));
        assert!(!fence.allows(SQLITE_READ, "event_store", "data", "log"));
        assert!(!fence.allows(SQLITE_READ, "access_keys", "hash", "log"));
        assert!(!fence.allows(SQLITE_READ, "dead_letters", "edited", "main"));
        assert!(!fence.allows(SQLITE_READ, "sqlite_master", "sql", "main"));
        assert!(!fence.allows(SQLITE_INSERT, "file_views", "", "main"));
        assert!(!fence.allows(SQLITE_FUNCTION, "", "load_extension", ""));
        assert!(!fence.allows(libsqlite3_sys::SQLITE_ATTACH, "x.db", "", ""));
        assert!(!fence.allows(libsqlite3_sys::SQLITE_PRAGMA, "query_only", "off", ""));
    }
}
