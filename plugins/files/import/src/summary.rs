//! What the import did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts, from several threads at once.
#[derive(Debug, Default)]
pub struct Tally {
    folders: AtomicU64,
    files: AtomicU64,
    links: AtomicU64,
    special: AtomicU64,
    non_utf8: AtomicU64,
    unreadable: AtomicU64,
    bad_names: AtomicU64,
    failed: AtomicU64,
}

/// The form that `--json` writes.
#[derive(Serialize)]
struct Summary {
    /// Folders that are in Cairn now, the top one included.
    folders: u64,
    /// Files that are in Cairn now.
    files: u64,
    /// Symbolic links, skipped.
    skipped_links: u64,
    /// Sockets, pipes and devices, skipped.
    skipped_special: u64,
    /// Entries whose path is no UTF-8, skipped.
    non_utf8: u64,
    /// Entries that could not be looked at.
    unreadable: u64,
    /// Entries whose name Cairn does not take.
    bad_names: u64,
    /// Entries that the host did not take.
    failed: u64,
}

impl Tally {
    /// A folder is there.
    pub fn folder(&self) {
        self.folders.fetch_add(1, Ordering::Relaxed);
    }

    /// A file is there.
    pub fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    /// A symbolic link was skipped.
    pub fn link(&self) {
        self.links.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket, pipe or device was skipped.
    pub fn special(&self) {
        self.special.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry whose path is no UTF-8 was skipped.
    pub fn non_utf8(&self) {
        self.non_utf8.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry could not be looked at.
    pub fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// A name breaks the rules.
    pub fn bad_name(&self) {
        self.bad_names.fetch_add(1, Ordering::Relaxed);
    }

    /// The host did not take an entry.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether everything that could be named and is a file or a folder was taken in.
    pub fn is_clean(&self) -> bool {
        [&self.unreadable, &self.bad_names, &self.failed]
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// The last line of the output.
    ///
    /// # Errors
    /// Never; a struct of numbers can always be written as JSON.
    pub fn text(&self, json: bool) -> serde_json::Result<String> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let summary = Summary {
            folders: count(&self.folders),
            files: count(&self.files),
            skipped_links: count(&self.links),
            skipped_special: count(&self.special),
            non_utf8: count(&self.non_utf8),
            unreadable: count(&self.unreadable),
            bad_names: count(&self.bad_names),
            failed: count(&self.failed),
        };
        if json {
            return serde_json::to_string(&summary);
        }
        let Summary {
            folders,
            files,
            skipped_links,
            skipped_special,
            non_utf8,
            unreadable,
            bad_names,
            failed,
        } = summary;
        Ok(format!(
            "folders {folders} files {files} skipped links {skipped_links} non-utf8 {non_utf8} failed {failed} \
             (special files {skipped_special}, unreadable {unreadable}, names not allowed {bad_names})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_taken_in_is_not_clean() {
        let tally = Tally::default();
        tally.folder();
        tally.link();
        tally.non_utf8();
        assert!(tally.is_clean(), "skipped on purpose");
        tally.unreadable();
        assert!(!tally.is_clean());
    }

    #[test]
    fn the_summary_is_one_line() {
        let tally = Tally::default();
        tally.folder();
        tally.file();
        tally.file();
        let text = tally.text(false).expect("text");
        assert!(text.starts_with("folders 1 files 2 skipped links 0 non-utf8 0 failed 0"), "{text}");
        assert!(tally.text(true).expect("JSON").contains("\"files\":2"));
    }
}
