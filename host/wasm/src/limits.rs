//! Every limit on guests and on what is kept of them, in one place.

/// What guests may use, and how much the host keeps for them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The size of a component's file.
    pub component_bytes: usize,
    /// How deep modules and components may be nested in a component.
    pub component_nesting: usize,
    /// How many functions a component may have in all of its modules.
    pub component_functions: u32,
    /// The code of one function; compilation takes more than linear time in it.
    pub function_bytes: usize,

    /// Live instances of all components.
    pub instances: u32,
    /// The linear memory of one instance.
    pub memory_bytes: usize,
    /// The elements of one table.
    pub table_elements: usize,
    /// The stack of a guest.
    pub stack_bytes: usize,
    /// What a guest may hand over in one call.
    pub output_bytes: usize,

    /// How often the deadlines are looked at; all of them are in time that the guest's thread really ran.
    pub tick_ms: u64,
    /// How long a guest may take to handle a command or to apply what it decided.
    pub decision_ms: u64,
    /// How long a guest may take to fold a page of history, or to describe itself.
    pub load_ms: u64,
    /// How long a guest may take for a projection's batch, a query or a policy.
    pub call_ms: u64,

    /// The events of one decision.
    pub decision_events: usize,
    /// The data of the events of one decision, and its result.
    pub decision_bytes: usize,
    /// How often a decision may ask for more aggregates.
    pub need_rounds: u32,
    /// How many answers a decision may have, links of ancestors' chains included.
    pub need_answers: usize,
    /// How often a decision is repeated after the log refused it.
    pub attempts: u32,
    /// One decision in so many is repeated in a fresh instance and compared; 0 compares none.
    pub sample_every: u64,

    /// Work that waits at one worker.
    pub mailbox: usize,
    /// Aggregates that live in one instance.
    pub aggregates_per_instance: usize,
    /// Instances of one worker.
    pub instances_per_worker: usize,
    /// From this much linear memory on an instance is retired.
    pub watermark_bytes: usize,
    /// Aggregates of which workers remember who may do what, and (apart from that) what their state is.
    pub hints: u64,
    /// The states among the hints.
    pub hint_bytes: u64,
    /// The states, as the log last had them, of aggregates that other hosts change too.
    pub base_bytes: u64,
    /// After so long without use such a state is forgotten: by then a snapshot may be newer.
    pub base_idle_s: u64,

    /// Threads that decide what faulted again and again.
    pub quarantine_threads: usize,
    /// After so many faults a stream (and a caller with a command) is decided in quarantine.
    pub quarantine_after: u32,
    /// For how long after its last fault.
    pub quarantine_s: u64,

    /// Idle instances that a component keeps for its stateless calls.
    pub idle_instances: usize,
    /// One line of a guest's log; the rest is cut.
    pub log_line_bytes: usize,
    /// Lines of a plugin's log in a second; the rest is counted and dropped.
    pub log_lines_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            component_bytes: 32 * MIB,
            component_nesting: 8,
            component_functions: 100_000,
            function_bytes: 2 * MIB,
            instances: 128,
            memory_bytes: 256 * MIB,
            table_elements: 20_000,
            stack_bytes: MIB / 2,
            output_bytes: 32 * MIB,
            tick_ms: 10,
            decision_ms: 250,
            load_ms: 1_000,
            call_ms: 5_000,
            decision_events: 1_000,
            decision_bytes: 4 * MIB,
            need_rounds: 64,
            need_answers: 10_000,
            attempts: 20,
            sample_every: 1_024,
            mailbox: 10_000,
            aggregates_per_instance: 1_000,
            instances_per_worker: 8,
            watermark_bytes: 128 * MIB,
            hints: 100_000,
            hint_bytes: 64 << 20,
            base_bytes: 64 << 20,
            base_idle_s: 60,
            quarantine_threads: 2,
            quarantine_after: 2,
            quarantine_s: 300,
            idle_instances: 4,
            log_line_bytes: 4_096,
            log_lines_per_s: 100,
        }
    }
}
