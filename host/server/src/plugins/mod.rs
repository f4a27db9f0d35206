//! The components that are loaded, and which of them decide: the present *generation*.
//!
//! A generation is immutable. Every request takes the present one once and works with it to its end, so a command never
//! sees half of a change of plugins.

mod activate;
mod schema;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use cairn_model::manifest::{self, Manifest};
use cairn_model::{Name, manifest::Projection};
use cairn_wasm::Component;

pub use activate::{Activation, activate, load_kept};
pub use schema::{Schema, parameters};

/// A loaded component with its compiled schemas.
#[derive(Debug)]
pub struct Plugin {
    /// The component.
    pub component: Arc<Component>,
    aggregates: HashMap<Name, Aggregate>,
    queries: HashMap<Name, Query>,
}

#[derive(Debug, Default)]
struct Aggregate {
    commands: HashMap<Name, Command>,
    events: HashMap<Name, EventType>,
}

/// An event type that can be appended.
#[derive(Debug)]
pub struct EventType {
    /// The version of its schema.
    pub schema_version: u32,
    /// The schema of its data.
    pub data: Schema,
}

/// A command that can be called.
#[derive(Debug)]
pub struct Command {
    /// What the manifest says of it.
    pub spec: manifest::Command,
    /// The schema of its payload.
    pub payload: Schema,
}

/// A query that can be asked.
#[derive(Debug)]
pub struct Query {
    /// What the manifest says of it.
    pub spec: manifest::Query,
    /// The schema of its parameters.
    pub params: Schema,
}

/// Why a component cannot be used, although it could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of its schemas is no usable JSON Schema.
    #[error("the schema of {of} is not usable: {message}")]
    Schema {
        /// What the schema is of: `command create of file`.
        of: String,
        /// What is wrong.
        message: String,
    },
    /// The component itself is not usable.
    #[error("{path}: {source}")]
    Load {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: cairn_wasm::LoadError,
    },
    /// One of its projections is not usable.
    #[error("projection {name}: {source}")]
    Projection {
        /// The projection.
        name: Name,
        /// What is wrong, and where.
        source: cairn_store::Error,
    },
    /// Two plugins declare the same thing.
    #[error(
        "{what} `{name}` is declared by plugin `{first}` and by plugin `{second}`: names are shared by all plugins"
    )]
    Clash {
        /// `aggregate`, `query` or `projection`.
        what: &'static str,
        /// The name.
        name: Name,
        /// Who was first.
        first: Name,
        /// Who came after.
        second: Name,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The component is active according to the log, but its bytes are not there: the log was imported.
    #[error(
        "plugin `{name}` is active with digest {digest}, but its component is not here: start with --plugin FILE once"
    )]
    Missing {
        /// The plugin.
        name: String,
        /// Its digest.
        digest: String,
    },
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// The activation could not be recorded.
    #[error("the activation could not be recorded: {0}")]
    Record(String),
}

impl Plugin {
    /// Checks what the engine cannot: schemas, and the projections' tables and statements.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub async fn new(component: Arc<Component>) -> Result<Self, Error> {
        let manifest = component.manifest();
        let mut aggregates = HashMap::new();
        for aggregate in &manifest.aggregates {
            let mut compiled = Aggregate::default();
            for spec in &aggregate.commands {
                let payload = compile(&spec.schema, || format!("command {}", spec.full_name))?;
                compiled.commands.insert(spec.name.clone(), Command { spec: spec.clone(), payload });
            }
            for spec in &aggregate.events {
                let data = compile(&spec.schema, || format!("event {}", spec.name))?;
                compiled
                    .events
                    .insert(spec.name.clone(), EventType { schema_version: spec.schema_version, data });
            }
            aggregates.insert(aggregate.name.clone(), compiled);
        }
        let mut queries = HashMap::new();
        for spec in &manifest.queries {
            let params = compile(&spec.params_schema, || format!("query {}", spec.name))?;
            queries.insert(spec.name.clone(), Query { spec: spec.clone(), params });
        }
        for projection in &manifest.projections {
            cairn_store::check_projection(projection)
                .await
                .map_err(|source| Error::Projection { name: projection.name.clone(), source })?;
        }
        Ok(Self { aggregates, queries, component: component.clone() })
    }

    /// What the component declares.
    pub fn manifest(&self) -> &Manifest {
        self.component.manifest()
    }

    /// The query with this name.
    pub fn query(&self, name: &str) -> Option<&Query> {
        self.queries.get(name)
    }

    /// The event type with this name of this aggregate type, and the name.
    pub fn event(&self, aggregate: &str, name: &str) -> Option<(&Name, &EventType)> {
        self.aggregates.get(aggregate)?.events.get_key_value(name)
    }
}

fn compile(schema: &serde_json::Value, of: impl FnOnce() -> String) -> Result<Schema, Error> {
    Schema::compile(schema).map_err(|message| Error::Schema { of: of(), message })
}

/// A command in the plugin that declares it.
#[derive(Clone, Copy, Debug)]
pub struct CommandEntry<'a> {
    /// The plugin.
    pub plugin: &'a Arc<Plugin>,
    /// The aggregate type.
    pub aggregate: &'a Name,
    /// The command.
    pub command: &'a Command,
}

/// The plugins that decide and answer at one time.
#[derive(Debug, Default)]
pub struct Generation {
    /// Which activation this is: 1, 2, …; 0 before the first.
    pub number: u64,
    plugins: Vec<Arc<Plugin>>,
    by_aggregate: HashMap<Name, usize>,
    by_query: HashMap<Name, usize>,
}

impl Generation {
    /// These plugins together.
    ///
    /// # Errors
    /// [`Error::Clash`] when two of them declare the same name.
    pub fn new(number: u64, plugins: Vec<Arc<Plugin>>) -> Result<Self, Error> {
        let mut generation = Self { number, ..Self::default() };
        let mut projections = HashMap::new();
        for (index, plugin) in plugins.iter().enumerate() {
            let manifest = plugin.manifest();
            let claim = |map: &mut HashMap<Name, usize>, what: &'static str, name: &Name| match map
                .insert(name.clone(), index)
            {
                Some(first) => Err(Error::Clash {
                    what,
                    name: name.clone(),
                    first: plugins[first].manifest().name.clone(),
                    second: manifest.name.clone(),
                }),
                None => Ok(()),
            };
            for aggregate in &manifest.aggregates {
                claim(&mut generation.by_aggregate, "aggregate", &aggregate.name)?;
            }
            for query in &manifest.queries {
                claim(&mut generation.by_query, "query", &query.name)?;
            }
            for projection in &manifest.projections {
                claim(&mut projections, "projection", &projection.name)?;
            }
        }
        generation.plugins = plugins;
        Ok(generation)
    }

    /// The plugins, in the order of their activation.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// The plugin that declares this aggregate type, and the type's name.
    pub fn aggregate(&self, name: &str) -> Option<(&Arc<Plugin>, &Name)> {
        let (name, index) = self.by_aggregate.get_key_value(name)?;
        Some((&self.plugins[*index], name))
    }

    /// The command of this aggregate type.
    pub fn command(&self, aggregate: &str, command: &str) -> Option<CommandEntry<'_>> {
        let (plugin, aggregate) = self.aggregate(aggregate)?;
        let command = plugin.aggregates.get(aggregate)?.commands.get(command)?;
        Some(CommandEntry { plugin, aggregate, command })
    }

    /// The query with this name.
    pub fn query(&self, name: &str) -> Option<(&Arc<Plugin>, &Query)> {
        let plugin = &self.plugins[*self.by_query.get(name)?];
        Some((plugin, plugin.queries.get(name)?))
    }

    /// Every projection with its plugin.
    pub fn projections(&self) -> impl Iterator<Item = (&Arc<Plugin>, &Projection)> {
        self.plugins.iter().flat_map(|plugin| plugin.manifest().projections.iter().map(move |p| (plugin, p)))
    }

    /// Every policy with its plugin.
    pub fn policies(&self) -> impl Iterator<Item = (&Arc<Plugin>, &manifest::Policy)> {
        self.plugins.iter().flat_map(|plugin| plugin.manifest().policies.iter().map(move |p| (plugin, p)))
    }
}

/// Where the present generation is found.
#[derive(Debug, Default)]
pub struct Registry {
    current: ArcSwap<Generation>,
}

impl Registry {
    /// A registry that begins with this generation.
    pub fn new(generation: Generation) -> Self {
        Self { current: ArcSwap::from_pointee(generation) }
    }

    /// The present generation.
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }
}
