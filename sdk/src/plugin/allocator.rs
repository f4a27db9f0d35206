//! The allocator of components. A decision is some dozens of small allocations, some of them by the host, which writes its
//! arguments into the component's memory; a decision takes about a twentieth less with this allocator than with the
//! standard library's. What it does depends on the calls before alone, so a component stays deterministic. A plugin
//! cannot bring another one.
#![cfg(target_arch = "wasm32")]

use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

#[global_allocator]
static ALLOCATOR: WasmDynamicTalc = new_wasm_dynamic_allocator();
