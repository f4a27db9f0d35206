//! A host: the parts, started in the order in which they need each other, and stopped in the other order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_bus::{Bus, Cache};
use cairn_model::{Clock, ids};
use cairn_store::Store;
use cairn_wasm::Engine;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Keys;
use crate::command::{self, Commands};
use crate::config::Config;
use crate::facts;
use crate::housekeeping;
use crate::http::{self, accept};
use crate::leases::Leases;
use crate::plugins::{self, Registry};
use crate::policy::{self, Surroundings};
use crate::projection::{self, Projections};
use crate::query::Queries;
use crate::relay::{self, Publisher};

/// The file in the data folder that names the address while the host listens.
const LISTEN_FILE: &str = "listen";

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] cairn_wasm::EngineError),
    /// A plugin.
    #[error(transparent)]
    Plugin(#[from] plugins::Error),
    /// The administrator's key.
    #[error(transparent)]
    Keys(#[from] crate::auth::Error),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] cairn_bus::Error),
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data folder.
    #[error("{path}: {source}")]
    Data {
        /// Which file or folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs a host until `stop`; then open requests are finished, and everything is closed in order.
///
/// # Errors
/// When it cannot start. Once it listens, it does not fail.
pub async fn run(config: Config, clock: Clock, stop: CancellationToken) -> Result<(), Error> {
    let data = config.data.clone();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Data { path, source }
    };
    std::fs::create_dir_all(&data).map_err(failed(&data))?;
    let options = cairn_store::Options {
        clock: clock.clone(),
        postgres: config.database.postgres(),
        read_connections: config.database.read_connections,
        ..cairn_store::Options::new(&data)
    };
    let store = Store::open(options).await?;
    let keys = Keys::open(store.clone(), &data).await?;
    let engine = Engine::new(cairn_wasm::Limits::default())?;
    let generation = plugins::activate(&engine, &store, &clock, &data, &config.plugin).await?;
    if generation.plugins().is_empty() {
        tracing::warn!("no plugin is active: start with --plugin FILE");
    }
    let registry = Arc::new(Registry::new(generation));
    let generation = registry.current();

    let tasks = TaskTracker::new();
    let quiet = CancellationToken::new();
    let leases = Leases::new(store.clone(), ids::new_id(clock.now()));
    let (bus, cache, relay) = if config.redis.url.is_empty() {
        (Bus::in_process(), Cache::in_process(&config.redis.cache, store.log_id()), None)
    } else {
        let bus = Bus::redis(&config.redis, store.log_id())?;
        let cache = Cache::redis(&config.redis, store.log_id())?;
        let publisher = Publisher::new(config.redis.clone(), store.clone(), bus.clone(), clock.clone());
        let status = publisher.status();
        tasks.spawn(publisher.run(leases.clone(), quiet.clone()));
        (bus, cache, Some(status))
    };
    tasks.spawn(relay::announce(store.clone(), bus.clone(), quiet.clone()));
    tasks.spawn(relay::look(store.clone(), bus.clone(), quiet.clone()));
    let keep = Duration::from_secs(3_600 * u64::from(config.limits.idempotency_hours));
    tasks.spawn(housekeeping::run(store.clone(), clock.clone(), keep, quiet.clone()));
    let keeper = (store.clone(), registry.clone(), leases.clone(), quiet.clone());
    tasks.spawn(async move {
        let (store, registry, leases, stop) = keeper;
        let keep = |_, lost| facts::keep(store.clone(), registry.clone(), lost);
        leases.hold("facts", &stop, std::future::pending, keep).await;
    });
    let reading = projection::Surroundings {
        store: store.clone(),
        engine: engine.clone(),
        data: data.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
    };
    let projections = Projections::start(reading, &generation, &leases, &tasks, &quiet).await?;
    let limits = &config.limits;
    let command_limits = command::Limits {
        in_flight: limits.in_flight,
        causation_depth: limits.causation_depth,
        workers: limits.workers,
    };
    let commands = Commands::start(
        &engine,
        store.clone(),
        registry.clone(),
        clock.clone(),
        cache.clone(),
        command_limits,
    );
    let surroundings = Surroundings {
        store: store.clone(),
        projections: projections.clone(),
        commands: commands.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
    };
    policy::start(&generation, &surroundings, &leases, &tasks, &quiet);

    let services = http::Services {
        commands: commands.clone(),
        queries: Queries::new(registry.clone(), projections.clone(), clock, cache),
        projections,
        registry,
        store: store.clone(),
        relay,
        keys,
        data: data.clone(),
        limits: http::Limits {
            body_bytes: limits.body_bytes,
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
            page_items: limits.page_items,
            wait: Duration::from_millis(limits.query_wait_ms),
        },
        stopping: stop.clone(),
    };
    let listen = |source| Error::Listen { address: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let listen_file = data.join(LISTEN_FILE);
    std::fs::write(&listen_file, format!("{address}\n")).map_err(failed(&listen_file))?;
    tracing::info!(%address, data = %data.display(), "listening on http://{address}");
    let accept_limits = accept::Limits {
        connections: limits.connections,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        header_bytes: limits.header_bytes,
        shutdown_timeout: Duration::from_millis(limits.shutdown_ms),
    };
    accept::serve(listener, http::router(services), accept_limits, stop).await;

    tracing::info!("stopping");
    let _ = std::fs::remove_file(&listen_file);
    quiet.cancel();
    tasks.close();
    tasks.wait().await;
    commands.stop().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}
