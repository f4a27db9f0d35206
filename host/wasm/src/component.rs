//! A component: checked, compiled, linked, and asked once what it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cairn_model::Name;
use cairn_model::chain::Hash;
use cairn_model::manifest::Manifest;
use wasmtime::component::Linker;

use crate::bindings::PluginPre;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::guest::{self, Guest, GuestLog, GuestState};
use crate::manifest::{self, ManifestError};
use crate::pool::Pool;
use crate::{cache, inspect};

/// A loaded component.
pub struct Component {
    engine: Engine,
    digest: Hash,
    manifest: Manifest,
    /// The present schema version of every event type.
    event_versions: HashMap<Name, u32>,
    pre: PluginPre<GuestState>,
    log: Arc<GuestLog>,
    pool: Pool,
}

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is too large.
    #[error("the component has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The file is something else.
    #[error("this is not WebAssembly: the file does not begin with `\\0asm`")]
    NotWasm,
    /// The file is a module, not a component.
    #[error(
        "this is a core module, not a component: wrap it first, with `wasm-tools component new` or `cargo xtask build`"
    )]
    CoreModule,
    /// The file is damaged.
    #[error("the component is malformed: {0}")]
    Malformed(String),
    /// It would take too much to compile it.
    #[error("the component has {found} {what}, the limit is {limit}")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// It imports something.
    #[error(
        "the component imports `{name}`; a component may import nothing but `cairn:plugin/log`. Time, ids and randomness \
         come with the context; build it for `wasm32-unknown-unknown`, which brings no WASI"
    )]
    Import {
        /// What it imports.
        name: String,
    },
    /// It was built for another version of the contract.
    #[error(
        "the component has `{found}`, this host speaks `{wanted}`: build it with the SDK of this host's version"
    )]
    Contract {
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// It lacks a part of the contract.
    #[error("the component does not export `{name}`, which every plugin must (the SDK's `plugin!` does)")]
    MissingExport {
        /// What is missing.
        name: String,
    },
    /// The engine refuses it.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// Its exports or imports have other types than the contract.
    #[error("the component does not fit the contract: {0}")]
    Link(String),
    /// It failed when it was asked what it is.
    #[error("the component cannot describe itself: {0}")]
    Describe(#[source] Fault),
    /// What it says of itself is not usable.
    #[error("the component's manifest is not usable: {0}")]
    Manifest(#[from] ManifestError),
}

impl Component {
    /// Checks and compiles a component and asks it for its manifest. With a cache folder compiled code is kept there and
    /// taken from there. This takes seconds for a large component: not for a thread that others wait for.
    ///
    /// # Errors
    /// Whatever makes it unusable, with what to do about it.
    pub fn load(engine: &Engine, bytes: &[u8], cache_folder: Option<&Path>) -> Result<Self, LoadError> {
        inspect::inspect(bytes, &engine.limits)?;
        let digest = Hash::of(bytes);
        let compiled = cache::compile(engine, bytes, digest, cache_folder)?;
        let mut linker = Linker::new(&engine.wasm);
        let failed = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        guest::link(&mut linker).map_err(failed)?;
        let pre = linker.instantiate_pre(&compiled).and_then(PluginPre::new).map_err(failed)?;
        let mut component = Self {
            engine: engine.clone(),
            digest,
            manifest: manifest::nothing(),
            event_versions: HashMap::new(),
            pre,
            log: Arc::new(GuestLog::new(digest.to_string())),
            pool: Pool::default(),
        };
        let described = Guest::new(&component, engine.permits.stateless())
            .and_then(|mut guest| guest.describe())
            .map_err(LoadError::Describe)?;
        component.manifest = manifest::convert(described)?;
        component.event_versions = component
            .manifest
            .aggregates
            .iter()
            .flat_map(|aggregate| &aggregate.events)
            .map(|event| (event.name.clone(), event.schema_version))
            .collect();
        component.log = Arc::new(GuestLog::new(component.manifest.name.to_string()));
        Ok(component)
    }

    /// What the component declares.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the component's bytes.
    pub const fn digest(&self) -> Hash {
        self.digest
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) const fn pre(&self) -> &PluginPre<GuestState> {
        &self.pre
    }

    pub(crate) const fn log(&self) -> &Arc<GuestLog> {
        &self.log
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The event type's own name and present schema version, if the component knows it.
    pub(crate) fn event_type(&self, name: &str) -> Option<(&Name, u32)> {
        self.event_versions.get_key_value(name).map(|(name, version)| (name, *version))
    }

    /// The aggregate type's own name, if the component has it.
    pub(crate) fn aggregate_name(&self, name: &str) -> Option<&Name> {
        self.manifest.aggregate(name).map(|aggregate| &aggregate.name)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.manifest.name)
            .field("version", &self.manifest.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
