//! What is refused before it runs, and what is kept of what was compiled.

use std::fs;

use cairn_wasm::{Component, Engine, Limits, LoadError};

use crate::support;

fn refused(bytes: &[u8]) -> LoadError {
    refused_by(Limits::default(), bytes)
}

fn refused_by(limits: Limits, bytes: &[u8]) -> LoadError {
    let engine = Engine::new(limits).expect("an engine");
    Component::load(&engine, bytes, None).expect_err("it should be refused")
}

#[test]
fn a_component_says_what_it_is() {
    let component = support::component();
    let manifest = component.manifest();
    assert_eq!((&*manifest.name, manifest.version.as_str()), ("faulty", "0.1.0"));
    assert_eq!(component.digest(), cairn_model::chain::Hash::of(&cairn_guests::faulty()));
}

#[test]
fn wasi_is_refused_by_name_and_says_what_to_do() {
    let component = r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
    let error = refused(&wat::parse_str(component).expect("a component"));
    assert!(matches!(&error, LoadError::Import { name } if name == "wasi:clocks/wall-clock@0.2.0"));
    let message = error.to_string();
    assert!(
        message.contains("nothing but `cairn:plugin/log`") && message.contains("wasm32-unknown-unknown"),
        "{message}"
    );
}

#[test]
fn another_version_of_the_contract_is_named() {
    let component = r#"(component (import "cairn:plugin/log@0.9.0" (instance)))"#;
    let error = refused(&wat::parse_str(component).expect("a component"));
    assert!(
        matches!(&error, LoadError::Contract { found, .. } if found == "cairn:plugin/log@0.9.0"),
        "{error}"
    );
}

#[test]
fn what_is_no_plugin_is_refused() {
    assert!(matches!(refused(b"hello"), LoadError::NotWasm));
    assert!(matches!(refused(&cairn_guests::core_module("cairn-faulty")), LoadError::CoreModule));
    let empty = wat::parse_str("(component)").expect("a component");
    assert!(
        matches!(refused(&empty), LoadError::MissingExport { name } if name == "cairn:plugin/manifest@0.1.0")
    );
    let whole = cairn_guests::faulty();
    assert!(matches!(refused(&whole[..whole.len() / 2]), LoadError::Malformed(_)));
}

#[test]
fn size_and_shape_have_limits() {
    let guest = cairn_guests::faulty();
    let small = Limits { component_bytes: 1_000, ..Limits::default() };
    assert!(matches!(refused_by(small, &guest), LoadError::TooLarge { limit: 1_000, .. }));
    let simple = Limits { component_functions: 10, ..Limits::default() };
    assert!(matches!(refused_by(simple, &guest), LoadError::TooComplex { what: "functions", .. }));
    let nested = wat::parse_str("(component (component (component (component))))").expect("a component");
    let flat = Limits { component_nesting: 2, ..Limits::default() };
    assert!(matches!(refused_by(flat, &nested), LoadError::TooComplex { limit: 2, .. }));
}

#[test]
fn compiled_code_is_kept_and_damaged_code_is_compiled_again() {
    let engine = Engine::new(Limits::default()).expect("an engine");
    let folder = tempfile::tempdir().expect("a folder");
    let guest = cairn_guests::faulty();
    let load = || Component::load(&engine, &guest, Some(folder.path())).expect("the guest loads");
    load();
    let mut files = fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").path());
    let file = files.next().expect("compiled code");
    assert!(files.next().is_none(), "nothing is left beside it");
    let good = fs::read(&file).expect("compiled code");
    for damage in [good.len() / 2, 0, good.len() - 1] {
        let mut bad = good.clone();
        bad[damage] ^= 1;
        fs::write(&file, &bad).expect("written");
        load();
        assert!(fs::read(&file).expect("compiled code") != bad, "it was compiled again");
    }
    fs::write(&file, b"short").expect("written");
    load();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    }
}
