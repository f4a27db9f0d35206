//! The engine: one for the process, set so that a guest's result depends on its arguments alone.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
    WasmFeatures,
};

use crate::limits::Limits;

/// How many core instances and tables a component may consist of; the ones that tools make have three or four.
const CORE_PARTS: u32 = 16;
/// Of a freed memory, what is cleaned by hand instead of being given back.
const KEEP_RESIDENT_BYTES: usize = 512 << 10;

/// Compiles components and runs their instances. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) limits: Limits,
    pub(crate) permits: Permits,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine, or the limits, are not usable.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
    /// The thread that watches deadlines could not be started.
    #[error("the thread that watches the guests' deadlines cannot be started: {0}")]
    Ticker(#[source] std::io::Error),
}

impl Engine {
    /// An engine with these limits, and the thread that watches deadlines; it ends with the last clone.
    ///
    /// # Errors
    /// When the machine cannot run compiled code or cannot reserve the address space that the limits ask for.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let wasm = wasmtime::Engine::new(&config(&limits))
            .map_err(|error| EngineError::Engine(format!("{error:#}")))?;
        let weak = wasm.weak();
        let tick = Duration::from_millis(limits.tick_ms.max(1));
        let ticker = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(tick);
            }
        };
        thread::Builder::new().name("cairn-epochs".to_owned()).spawn(ticker).map_err(EngineError::Ticker)?;
        Ok(Self { wasm, limits, permits: Permits::new(limits.instances) })
    }

    /// The limits it was made with.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(limits.stack_bytes)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .shared_memory(false)
        .gc_support(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(limits)));
    for proposal in unwanted() {
        config.wasm_features(proposal, false);
    }
    config
}

/// What no plugin needs. Less surface, and nothing that could make two runs differ.
fn unwanted() -> impl Iterator<Item = WasmFeatures> {
    [
        WasmFeatures::THREADS,
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        WasmFeatures::RELAXED_SIMD,
        WasmFeatures::MEMORY64,
        WasmFeatures::MULTI_MEMORY,
        WasmFeatures::GC,
        WasmFeatures::FUNCTION_REFERENCES,
        WasmFeatures::EXCEPTIONS,
        WasmFeatures::STACK_SWITCHING,
        WasmFeatures::CUSTOM_PAGE_SIZES,
        WasmFeatures::WIDE_ARITHMETIC,
    ]
    .into_iter()
}

fn pooling(limits: &Limits) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(limits.instances)
        .total_core_instances(limits.instances.saturating_mul(CORE_PARTS))
        .total_memories(limits.instances)
        .total_tables(limits.instances.saturating_mul(CORE_PARTS))
        .max_core_instances_per_component(CORE_PARTS)
        .max_memories_per_component(1)
        .max_tables_per_component(CORE_PARTS)
        .table_elements(limits.table_elements)
        .max_memory_size(limits.memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES / 16)
        .pagemap_scan(Enabled::Auto);
    pooling
}

/// Who may have how many of the engine's instances: an eighth is for stateless calls, which can wait, an eighth lies
/// idle for them, the rest is for the workers, which must not wait.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    stateless: Arc<Semaphore>,
    idle: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Permits {
    fn new(instances: u32) -> Self {
        let stateless = (instances / 8).max(1);
        let workers = instances.saturating_sub(2 * stateless).max(1);
        let semaphore = |free| Arc::new(Semaphore::new(free));
        Self { stateless: semaphore(stateless), idle: semaphore(stateless), workers: semaphore(workers) }
    }

    /// Waits until a stateless call may have an instance.
    pub fn stateless(&self) -> Permit {
        self.stateless.acquire();
        Permit(self.stateless.clone())
    }

    /// An instance that lies idle, if there is room for it.
    pub fn idle(&self) -> Option<Permit> {
        Permit::try_from(&self.idle)
    }

    /// An instance for a worker, if there is one.
    pub fn worker(&self) -> Option<Permit> {
        Permit::try_from(&self.workers)
    }
}

/// The right to one instance.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Semaphore>);

impl Permit {
    fn try_from(semaphore: &Arc<Semaphore>) -> Option<Self> {
        semaphore.try_acquire().then(|| Self(semaphore.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[derive(Debug)]
struct Semaphore {
    free: Mutex<u32>,
    freed: Condvar,
}

impl Semaphore {
    fn new(free: u32) -> Self {
        Self { free: Mutex::new(free), freed: Condvar::new() }
    }

    fn acquire(&self) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
    }

    fn try_acquire(&self) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let available = *free > 0;
        *free -= u32::from(available);
        available
    }

    fn release(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}
