//! From files to a generation: load, check, record in the log, keep a copy.
//!
//! Which components are active is a fold over the host's own streams, one for each plugin
//! (`cairn.plugin/<UUIDv5 of the name>` in the tenant `cairn`). The component's bytes are kept beside the log, so every
//! host that is started without `--plugin` goes on with what was active.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_model::chain::Hash;
use cairn_model::{Clock, Principal, StreamKey, Version, ids};
use cairn_store::Store;
use cairn_wasm::{Component, Engine};
use serde::{Deserialize, Serialize};

use super::{Error, Generation, Plugin};
use crate::host_log::{self, Author};

/// The aggregate type of the host's streams about plugins.
const PLUGIN_AGGREGATE: &str = "cairn.plugin";
/// The event that an activation is.
const ACTIVATED: &str = "PluginActivated";
/// How many events of the host's streams are read at once.
const PAGE: u32 = 1_000;
/// How often an activation is begun anew because other hosts were faster.
const ATTEMPTS: usize = 16;

/// The data of `PluginActivated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Which activation it is.
    pub generation: u64,
}

/// What the host needs in order to load components.
#[derive(Clone, Copy, Debug)]
pub struct Loader<'a> {
    engine: &'a Engine,
    store: &'a Store,
    clock: &'a Clock,
    data: &'a Path,
}

impl<'a> Loader<'a> {
    const fn new(engine: &'a Engine, store: &'a Store, clock: &'a Clock, data: &'a Path) -> Self {
        Self { engine, store, clock, data }
    }

    async fn load(&self, path: &Path, bytes: Vec<u8>) -> Result<Arc<Plugin>, Error> {
        let (engine, cache) = (self.engine.clone(), self.data.join("cache"));
        let component = tokio::task::spawn_blocking(move || Component::load(&engine, &bytes, Some(&cache)))
            .await
            .map_err(|error| Error::Record(error.to_string()))?
            .map_err(|source| Error::Load { path: path.to_owned(), source })?;
        Plugin::new(Arc::new(component)).await.map(Arc::new)
    }

    async fn load_kept(&self, name: &str, digest: &str) -> Result<Arc<Plugin>, Error> {
        let hash = Hash::parse(digest).ok_or_else(|| Error::Record(format!("`{digest}` is no digest")))?;
        match self.store.component(hash).await? {
            Some(bytes) => self.load(Path::new(name), bytes).await,
            None => Err(Error::Missing { name: name.to_owned(), digest: digest.to_owned() }),
        }
    }

    /// The last activation of every plugin, in the order of those.
    async fn activations(&self) -> Result<Vec<Activation>, Error> {
        let mut active: Vec<Activation> = Vec::new();
        let mut after = 0;
        loop {
            let events = self.store.read_host_log(PLUGIN_AGGREGATE, after, PAGE).await?;
            let Some(last) = events.last() else { return Ok(active) };
            after = last.position;
            for event in events.iter().filter(|event| *event.event_type == *ACTIVATED) {
                let activation: Activation =
                    serde_json::from_str(&event.data).map_err(|error| Error::Record(error.to_string()))?;
                active.retain(|other| other.name != activation.name);
                active.push(activation);
            }
        }
    }

    /// Records an activation of a plugin whose stream has this version. Answers false if it has another one by now: another host
    /// was faster.
    async fn record(&self, activation: &Activation, expected: Version) -> Result<bool, Error> {
        let actor = Principal::administrator(host_log::TENANT).id;
        let author = Author { actor, trace_id: None, generation: activation.generation };
        let data = serde_json::to_string(activation).map_err(|error| Error::Record(error.to_string()))?;
        let stream = stream(&activation.name);
        match host_log::append(self.store, self.clock, &author, stream, expected, ACTIVATED, data).await {
            Ok(_) => Ok(true),
            Err(host_log::Error::Stale) => Ok(false),
            Err(error) => Err(Error::Record(error.to_string())),
        }
    }
}

/// The stream in which a plugin's activations are.
fn stream(plugin: &str) -> StreamKey {
    StreamKey::new(host_log::TENANT, PLUGIN_AGGREGATE, ids::derived_id(&["plugin", plugin]))
}

/// A component that was active once, by its digest; `name` is for messages.
///
/// # Errors
/// When its bytes are not kept, or cannot be used.
pub async fn load_kept(
    engine: &Engine,
    store: &Store,
    clock: &Clock,
    data: &Path,
    name: &str,
    digest: &str,
) -> Result<Arc<Plugin>, Error> {
    Loader::new(engine, store, clock, data).load_kept(name, digest).await
}

/// The generation that the log says is active, after the components in these files were activated. A file whose
/// component is active changes nothing; one with the name of an active plugin takes its place.
///
/// # Errors
/// When a file cannot be read, a component is missing, or one cannot be used; then nothing of this call is activated.
pub async fn activate(
    engine: &Engine,
    store: &Store,
    clock: &Clock,
    data: &Path,
    files: &[PathBuf],
) -> Result<Generation, Error> {
    let loader = Loader::new(engine, store, clock, data);
    let mut fresh = Vec::new();
    for path in files {
        let bytes =
            tokio::fs::read(path).await.map_err(|source| Error::File { path: path.clone(), source })?;
        fresh.push((loader.load(path, bytes.clone()).await?, bytes));
    }
    for _ in 0..ATTEMPTS {
        if let Some(generation) = activate_loaded(&loader, &fresh).await? {
            return Ok(generation);
        }
        tracing::info!("another host has activated something meanwhile; the log is read again");
    }
    Err(Error::Record("other hosts activate plugins all the time".to_owned()))
}

/// Activates what is loaded and not active yet. `None` if another host was faster: what is active has to be looked at again.
async fn activate_loaded(
    loader: &Loader<'_>,
    fresh: &[(Arc<Plugin>, Vec<u8>)],
) -> Result<Option<Generation>, Error> {
    let store = loader.store;
    // Before what is active is read: what comes in between is then noticed.
    let mut versions = Vec::new();
    for (plugin, _) in fresh {
        versions.push(store.head_of(&stream(&plugin.manifest().name)).await?.0);
    }
    let active = loader.activations().await?;
    let mut number = active.iter().map(|activation| activation.generation).max().unwrap_or(0);
    let mut plugins: Vec<Arc<Plugin>> = Vec::new();
    for activation in &active {
        if !fresh.iter().any(|(plugin, _)| *plugin.manifest().name == *activation.name) {
            plugins.push(loader.load_kept(&activation.name, &activation.digest).await?);
        }
    }
    plugins.extend(fresh.iter().map(|(plugin, _)| plugin.clone()));
    Generation::new(number, plugins.clone())?;
    for ((plugin, bytes), version) in fresh.iter().zip(versions) {
        store.save_component(bytes).await?;
        let digest = plugin.component.digest().to_string();
        if active.iter().any(|old| *old.name == *plugin.manifest().name && old.digest == digest) {
            continue;
        }
        number += 1;
        let manifest = plugin.manifest();
        let activation = Activation {
            name: manifest.name.to_string(),
            version: manifest.version.clone(),
            digest,
            generation: number,
        };
        if !loader.record(&activation, version).await? {
            return Ok(None);
        }
        tracing::info!(plugin = %manifest.name, version = %manifest.version, generation = number, "activated");
    }
    Generation::new(number, plugins).map(Some)
}
