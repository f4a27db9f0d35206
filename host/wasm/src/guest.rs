//! One instance of a component: a store, its limits, and calls with deadlines.
//!
//! After a fault an instance is not used again; the callers see to that, since they know what lives in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, ResourceAny};
use wasmtime::{ResourceLimiter, Store};

use crate::bindings::cairn::plugin::{log, types};
use crate::bindings::exports::cairn::plugin::{aggregates, policies, projections, queries};
use crate::bindings::{Plugin, exports::cairn::plugin::manifest};
use crate::component::Component;
use crate::deadline::{Deadline, STEP_TICKS};
use crate::engine::Permit;
use crate::fault::{Fault, FaultKind, MemoryExceeded};
use crate::limits::Limits;

/// How long calls of each kind may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    decision: Duration,
    load: Duration,
    call: Duration,
}

/// An instance.
pub(crate) struct Guest {
    store: Store<GuestState>,
    plugin: Plugin,
    times: Times,
    /// Released after the store: fields are dropped in their order.
    permit: Permit,
}

/// What the host keeps beside an instance.
pub(crate) struct GuestState {
    log: Arc<GuestLog>,
    memory_bytes: usize,
    limits: Limits,
    last_words: Option<String>,
    deadline: Deadline,
}

fn begin(store: &mut Store<GuestState>, time: Duration) {
    store.data_mut().deadline.begin(time);
    store.set_epoch_deadline(STEP_TICKS);
}

impl Guest {
    /// A fresh instance.
    pub fn new(component: &Component, permit: Permit) -> Result<Self, Fault> {
        let engine = component.engine();
        let limits = engine.limits;
        let log = component.log().clone();
        let state =
            GuestState { log, memory_bytes: 0, limits, last_words: None, deadline: Deadline::default() };
        let mut store = Store::new(&engine.wasm, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits.output_bytes);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().deadline.look()));
        let times = Times {
            decision: Duration::from_millis(limits.decision_ms),
            load: Duration::from_millis(limits.load_ms),
            call: Duration::from_millis(limits.call_ms),
        };
        begin(&mut store, times.load);
        let plugin = component.pre().instantiate(&mut store);
        let plugin =
            plugin.map_err(|error| Fault::from_engine(&error, store.data_mut().last_words.take()))?;
        Ok(Self { store, plugin, times, permit })
    }

    /// Exchanges the right by which it exists.
    pub fn hold(&mut self, permit: Permit) {
        self.permit = permit;
    }

    /// The size of its linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    fn call<T>(
        &mut self,
        time: Duration,
        call: impl FnOnce(&Plugin, &mut Store<GuestState>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        begin(&mut self.store, time);
        call(&self.plugin, &mut self.store)
            .map_err(|error| Fault::from_engine(&error, self.store.data_mut().last_words.take()))
    }

    pub fn describe(&mut self) -> Result<manifest::Manifest, Fault> {
        self.call(self.times.load, |plugin, store| plugin.cairn_plugin_manifest().call_describe(store))
    }

    pub fn restore(
        &mut self,
        aggregate: &str,
        id: types::Uuid,
        snapshot: Option<aggregates::Snapshot<'_>>,
    ) -> Result<ResourceAny, Fault> {
        let time = if snapshot.is_some() { self.times.load } else { self.times.decision };
        let result = self.call(time, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_restore(store, aggregate, id, snapshot)
        })?;
        result.map_err(|fault| own_words(&fault))
    }

    /// Applies what was decided elsewhere.
    pub fn apply(
        &mut self,
        aggregate: ResourceAny,
        events: &[types::Event<'_>],
    ) -> Result<aggregates::Changes, Fault> {
        self.apply_within(self.times.decision, aggregate, events)
    }

    /// Folds a page of history.
    pub fn fold(
        &mut self,
        aggregate: ResourceAny,
        events: &[types::Event<'_>],
    ) -> Result<aggregates::Changes, Fault> {
        self.apply_within(self.times.load, aggregate, events)
    }

    fn apply_within(
        &mut self,
        time: Duration,
        aggregate: ResourceAny,
        events: &[types::Event<'_>],
    ) -> Result<aggregates::Changes, Fault> {
        let result = self.call(time, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_apply(store, aggregate, events)
        })?;
        result.map_err(|fault| own_words(&fault))
    }

    /// Decides, and applies what was decided.
    pub fn decide(
        &mut self,
        aggregate: ResourceAny,
        context: types::Context<'_>,
        command: &str,
        payload: &[u8],
        answers: &[aggregates::Answer<'_>],
    ) -> Result<aggregates::Outcome, Fault> {
        let result = self.call(self.times.decision, |plugin, store| {
            let exports = plugin.cairn_plugin_aggregates().aggregate();
            exports.call_decide(store, aggregate, context, command, payload, answers)
        })?;
        result.map_err(|fault| own_words(&fault))
    }

    pub fn snapshot(&mut self, aggregate: ResourceAny) -> Result<Vec<u8>, Fault> {
        self.call(self.times.load, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_snapshot(store, aggregate)
        })
    }

    pub fn state(&mut self, aggregate: ResourceAny) -> Result<Option<Vec<u8>>, Fault> {
        self.call(self.times.load, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_state(store, aggregate)
        })
    }

    pub fn access(&mut self, aggregate: ResourceAny) -> Result<aggregates::Access, Fault> {
        self.call(self.times.decision, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_access(store, aggregate)
        })
    }

    pub fn claims(&mut self, aggregate: ResourceAny) -> Result<Vec<String>, Fault> {
        self.call(self.times.decision, |plugin, store| {
            plugin.cairn_plugin_aggregates().aggregate().call_claims(store, aggregate)
        })
    }

    /// Frees an aggregate inside of the guest.
    pub fn drop_aggregate(&mut self, aggregate: ResourceAny) -> Result<(), Fault> {
        self.call(self.times.decision, |_, store| aggregate.resource_drop(store))
    }

    pub fn upcast(&mut self, events: &[types::Event<'_>]) -> Result<Vec<Vec<types::NewEvent>>, Fault> {
        let result = self.call(self.times.call, |plugin, store| {
            plugin.cairn_plugin_upcasting().call_upcast(store, events)
        })?;
        result.map_err(|fault| own_words(&fault))
    }

    pub fn project(
        &mut self,
        projection: &str,
        events: &[types::Event<'_>],
    ) -> Result<Vec<Result<Vec<projections::Change>, types::Fault>>, Fault> {
        self.call(self.times.call, |plugin, store| {
            plugin.cairn_plugin_projections().call_project(store, projection, events)
        })
    }

    pub fn query(
        &mut self,
        context: types::Context<'_>,
        query: &str,
        params: &[u8],
        answers: &[types::Rows<'_>],
    ) -> Result<queries::QueryOutcome, Fault> {
        let result = self.call(self.times.call, |plugin, store| {
            plugin.cairn_plugin_queries().call_query(store, context, query, params, answers)
        })?;
        result.map_err(|fault| own_words(&fault))
    }

    pub fn react(
        &mut self,
        context: types::Context<'_>,
        policy: &str,
        event: types::Event<'_>,
        state: Option<&[u8]>,
        answers: &[types::Rows<'_>],
    ) -> Result<policies::PolicyOutcome, Fault> {
        let result = self.call(self.times.call, |plugin, store| {
            plugin.cairn_plugin_policies().call_react(store, context, policy, event, state, answers)
        })?;
        result.map_err(|fault| own_words(&fault))
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

fn own_words(fault: &types::Fault) -> Fault {
    Fault::new(FaultKind::Guest, fault.message.clone())
}

impl ResourceLimiter for GuestState {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        within("bytes of memory", desired, self.limits.memory_bytes)?;
        self.memory_bytes = self.memory_bytes.max(desired);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        within("elements in a table", desired, self.limits.table_elements)?;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

fn within(what: &'static str, wanted: usize, limit: usize) -> Result<(), MemoryExceeded> {
    if wanted > limit { Err(MemoryExceeded { what, wanted, limit }) } else { Ok(()) }
}

/// Adds what a component may import.
pub(crate) fn link(linker: &mut wasmtime::component::Linker<GuestState>) -> wasmtime::Result<()> {
    Plugin::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl types::Host for GuestState {}

impl log::Host for GuestState {
    fn log(&mut self, level: log::Level, message: String) {
        let line = cut(&message, self.limits.log_line_bytes);
        if matches!(level, log::Level::Error) {
            self.last_words = Some(line.to_owned());
        }
        self.log.write(level, line, self.limits.log_lines_per_s);
    }
}

/// The beginning of a text, at most so many bytes and whole characters.
fn cut(text: &str, limit_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(limit_bytes)]
}

/// A plugin's lines in the host's log, of all of its instances together.
#[derive(Debug)]
pub(crate) struct GuestLog {
    plugin: String,
    started: Instant,
    second: AtomicU64,
    lines: AtomicU32,
    dropped: AtomicU32,
}

impl GuestLog {
    pub fn new(plugin: String) -> Self {
        Self {
            plugin,
            started: Instant::now(),
            second: AtomicU64::new(0),
            lines: AtomicU32::new(0),
            dropped: AtomicU32::new(0),
        }
    }

    fn write(&self, level: log::Level, line: &str, lines_per_s: u32) {
        let plugin = self.plugin.as_str();
        let second = self.started.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(target: "plugin", plugin, dropped, "a plugin logged too much");
            }
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) >= lines_per_s {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match level {
            log::Level::Trace => tracing::trace!(target: "plugin", plugin, "{line}"),
            log::Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
            log::Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
            log::Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
            log::Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
        }
    }
}
