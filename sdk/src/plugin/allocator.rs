//! The allocator of components. A decision is some dozens of small allocations, half of them by the host, that writes
//! its arguments into the component's memory; the standard library's allocator for Wasm takes longer for them than the
//! domain for its work. This one is a function of the calls before it as well, so a component stays deterministic.
#![cfg(target_arch = "wasm32")]

use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

#[global_allocator]
static ALLOCATOR: WasmDynamicTalc = new_wasm_dynamic_allocator();
