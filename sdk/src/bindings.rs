//! The contract in `wit/` as Rust types. Generated; nothing but the glue in `plugin` looks at it.

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_plugin",
    default_bindings_module: "cairn_sdk::bindings",
    generate_all,
});
