//! Keys: who may come in.
//!
//! A key is 32 random bytes in hexadecimal. The store keeps SHA-256 of it with the principal it stands for, which is
//! enough since nobody can guess 32 random bytes. The administrator's key is made at the first start.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_model::chain::Hash;
use cairn_model::{Principal, ids};
use cairn_store::Store;
use moka::sync::Cache;

use crate::problem::Problem;

/// The file with the administrator's key, in the data folder.
const ADMIN_KEY_FILE: &str = "admin.key";
/// How many keys are remembered between requests.
const CACHED_KEYS: u64 = 10_000;
/// How long a key may be used after it was revoked elsewhere, in seconds.
const CACHED_S: u64 = 10;

/// The tenant of everything that does not name another one.
pub const DEFAULT_TENANT: &str = "default";

/// Why the administrator's key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its record.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
}

/// The keys of a host.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    known: Cache<Hash, Arc<Principal>>,
}

impl Keys {
    /// The keys in this store, the administrator's made if there is none yet. A key file without a record (a new
    /// database under an old folder) is taken up, so that the key in the file is always valid.
    ///
    /// # Errors
    /// When the file or the store cannot be read or written.
    pub async fn open(store: Store, data: &Path) -> Result<Self, Error> {
        let path = data.join(ADMIN_KEY_FILE);
        let failed = |source| Error::File { path: path.clone(), source };
        let key = match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            Ok(_) => write_new_key(&path).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_new_key(&path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let hash = Hash::of(key.as_bytes());
        if store.find_key(hash).await?.is_none() {
            store.save_key(hash, &Principal::administrator(DEFAULT_TENANT)).await?;
        }
        let known = Cache::builder()
            .max_capacity(CACHED_KEYS)
            .time_to_live(std::time::Duration::from_secs(CACHED_S))
            .build();
        Ok(Self { store, known })
    }

    /// The principal that a key stands for.
    ///
    /// # Errors
    /// `store-unavailable`.
    pub async fn find(&self, key: &str) -> Result<Option<Arc<Principal>>, Problem> {
        let hash = Hash::of(key.as_bytes());
        if let Some(principal) = self.known.get(&hash) {
            return Ok(Some(principal));
        }
        let principal = self.store.find_key(hash).await?.map(Arc::new);
        if let Some(principal) = &principal {
            self.known.insert(hash, principal.clone());
        }
        Ok(principal)
    }
}

/// Makes a key and writes it to a file that only its owner may read; aside first, so a crash leaves no half of a key.
fn write_new_key(path: &Path) -> std::io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut bytes = [0; 32];
    ids::fill_random(&mut bytes);
    let key = Hash(bytes).to_string();
    let aside = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(key)
}
