//! The walk: which folders and files there are, in an order in which they can be created, and under which ids.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use walkdir::{DirEntry, WalkDir};

use crate::mime;
use crate::options::Options;
use crate::progress::Progress;
use crate::send::Sender;
use crate::summary::Tally;

/// The namespace of the ids and keys that this program derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x0f1e_58a4_7c52_5d0a_8b3b_6669_6c65_7300);

/// The longest name that Cairn takes.
const NAME_LIMIT_BYTES: usize = 255;

/// What is imported, and as what.
#[derive(Debug)]
pub struct Root {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// The top folder's name.
    name: String,
    label: String,
    into: Option<Uuid>,
}

impl Root {
    /// Looks the directory up.
    ///
    /// # Errors
    /// When it is not there, is no directory, or has no name that Cairn takes.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let dir =
            options.dir.canonicalize().with_context(|| format!("cannot find {}", options.dir.display()))?;
        if !dir.is_dir() {
            bail!("{} is no directory", dir.display());
        }
        let own = || dir.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let Some(name) = options.name.clone().or_else(own) else {
            bail!("{} has no name for the top folder: give one with --name", dir.display());
        };
        if let Some(reason) = forbidden(&name) {
            bail!("the top folder cannot be named {name:?}: {reason}; give another name with --name");
        }
        let label = options.label.clone().unwrap_or_else(|| dir.to_string_lossy().into_owned());
        Ok(Self { dir, name, label, into: options.into })
    }

    /// The id, or the key, of one entry. Parts are framed by their length, so no two lists give the same name.
    fn derive(&self, purpose: &str, path: &str) -> Uuid {
        let into = self.into.map(|id| id.to_string()).unwrap_or_default();
        let mut name = Vec::new();
        for part in [purpose, &self.label, &into, path] {
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        Uuid::new_v5(&NAMESPACE, &name)
    }
}

/// A folder that entries wait for.
#[derive(Debug)]
pub struct Folder {
    id: Uuid,
    /// `None` until it is known whether the folder is there.
    there: watch::Sender<Option<bool>>,
}

impl Folder {
    fn new(id: Uuid) -> Arc<Self> {
        Arc::new(Self { id, there: watch::Sender::new(None) })
    }

    /// Says whether it is there.
    pub fn settle(&self, there: bool) {
        self.there.send_replace(Some(there));
    }

    /// Waits until that is known.
    pub async fn wait(&self) -> bool {
        let mut receiver = self.there.subscribe();
        let known = receiver.wait_for(Option::is_some).await;
        known.is_ok_and(|value| *value == Some(true))
    }
}

/// The payload of `create`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
}

/// An entry to be created.
#[derive(Debug)]
pub struct Planned {
    /// Its id.
    pub id: Uuid,
    /// Its idempotency key.
    pub key: Uuid,
    /// What to create.
    pub payload: Payload,
    /// The folder that must be there before.
    pub parent: Option<Arc<Folder>>,
    /// Itself as a folder, if it is one.
    pub folder: Option<Arc<Folder>>,
    /// Its path, for people.
    pub shown: String,
}

/// Walks the tree and queues what is to be created, until all is queued or the sender gave up.
pub fn walk(root: &Root, tally: &Tally, progress: &Progress, sender: &Sender, queue: &mpsc::Sender<Planned>) {
    // The open folders from the top down to the current one; `None` where one is left out with all that is in it.
    let mut open: Vec<Option<Arc<Folder>>> = Vec::new();
    for entry in WalkDir::new(&root.dir).follow_links(false) {
        if sender.gave_up().is_some() {
            return;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                tally.unreadable();
                progress.report(&format!("unreadable: {error}"));
                continue;
            }
        };
        open.truncate(entry.depth());
        let parent = open.last().cloned();
        let planned = plan(root, &entry, parent, tally, progress);
        if entry.file_type().is_dir() {
            open.push(planned.as_ref().and_then(|planned| planned.folder.clone()));
        }
        let Some(planned) = planned else {
            progress.advance();
            continue;
        };
        if queue.blocking_send(planned).is_err() {
            return;
        }
    }
}

/// What to create for the entry; `None` where it is left out, which is then counted.
fn plan(
    root: &Root,
    entry: &DirEntry,
    parent: Option<Option<Arc<Folder>>>,
    tally: &Tally,
    progress: &Progress,
) -> Option<Planned> {
    let kind = entry.file_type();
    let shown = entry.path().display();
    if kind.is_symlink() && entry.depth() > 0 {
        tally.link();
        return None;
    }
    if !kind.is_dir() && !kind.is_file() {
        tally.special();
        return None;
    }
    let relative = entry.path().strip_prefix(&root.dir).unwrap_or_else(|_| Path::new(""));
    let Some(relative) = relative.to_str() else {
        tally.non_utf8();
        progress.report(&format!("not UTF-8: {shown}"));
        return None;
    };
    let name =
        if entry.depth() == 0 { root.name.clone() } else { entry.file_name().to_string_lossy().into_owned() };
    if let Some(reason) = forbidden(&name) {
        tally.bad_name();
        progress.report(&format!("not allowed: {shown}: {reason}"));
        return None;
    }
    let parent = match parent {
        Some(Some(folder)) => Some(folder),
        None => None,
        // The folder was left out for its name, which is in this entry's path too.
        Some(None) => {
            tally.bad_name();
            return None;
        }
    };
    let size = if kind.is_file() {
        match entry.metadata() {
            Ok(metadata) => Some(metadata.len()),
            Err(error) => {
                tally.unreadable();
                progress.report(&format!("unreadable: {shown}: {error}"));
                return None;
            }
        }
    } else {
        None
    };
    let (purpose, key_purpose) = if kind.is_dir() { ("folder", "folder key") } else { ("file", "file key") };
    let id = root.derive(purpose, relative);
    let parent_id = parent.as_ref().map(|folder| folder.id).or(root.into);
    let mime_type = if kind.is_file() { mime::guess(entry.path()) } else { None };
    Some(Planned {
        id,
        key: root.derive(key_purpose, relative),
        payload: Payload { name, parent_id, size, mime_type },
        parent,
        folder: kind.is_dir().then(|| Folder::new(id)),
        shown: shown.to_string(),
    })
}

/// Why Cairn does not take the name, if it does not.
fn forbidden(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it has a meaning of its own in paths"),
        _ if name.len() > NAME_LIMIT_BYTES => Some("it is longer than 255 bytes"),
        _ if name.contains(['/', '\0']) => Some("it contains / or NUL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root { dir: "/x".into(), name: "x".to_owned(), label: "/x".to_owned(), into: None }
    }

    #[test]
    fn ids_are_the_same_in_every_run_and_differ_by_every_part() {
        let id = root().derive("file", "a/b");
        assert_eq!(id, root().derive("file", "a/b"));
        let others = [
            root().derive("folder", "a/b"),
            root().derive("file", "a/c"),
            Root { label: "/y".to_owned(), ..root() }.derive("file", "a/b"),
            Root { into: Some(Uuid::nil()), ..root() }.derive("file", "a/b"),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn names_that_cairn_does_not_take_are_known_before() {
        for name in ["", ".", "..", "a/b", "a\0b", &"é".repeat(128)] {
            assert!(forbidden(name).is_some(), "{name:?}");
        }
        for name in ["...", " ", "é", &"x".repeat(255)] {
            assert_eq!(forbidden(name), None, "{name:?}");
        }
    }
}
