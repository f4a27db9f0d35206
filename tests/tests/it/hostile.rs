//! Components that misbehave: refused where that can be known, otherwise stopped without harm to the others.

use std::fs;

use cairn_tests::{TestHost, files_plugin, guest, new_id};
use serde_json::json;

#[tokio::test]
async fn what_is_no_component_does_not_start_a_host() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let cases = [
        write("empty.wasm", b""),
        write("text.wasm", b"this is no component"),
        // An empty core module.
        write("module.wasm", b"\0asm\x01\0\0\0"),
        // An empty component: it exports nothing.
        write("component.wasm", b"\0asm\x0d\0\x01\0"),
        write("cut.wasm", &fs::read(files_plugin()).expect("the files plugin")[..10_000]),
        folder.path().join("absent.wasm"),
    ];
    for path in cases {
        let (_, log) = TestHost::builder().plugin(&path).start_and_fail().await;
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(log.contains(&*name), "the message names the file {name}: {log}");
        assert!(!log.contains("panicked at"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_loops_traps_or_eats_memory_harms_only_its_own_command() {
    let builder = TestHost::builder().plugin(files_plugin()).plugin(guest("faulty"));
    let host = builder.start().await;
    let client = host.client();
    let probe = new_id();
    client.command("probe", probe, "create", json!({})).await.created();
    let head = client.head().await;
    let mut attacks = tokio::task::JoinSet::new();
    for command in ["loop", "trap", "grow"] {
        for _ in 0..3 {
            let client = client.clone();
            attacks.spawn(async move {
                let problem =
                    client.command("probe", probe, command, json!({})).await.problem(500, "plugin-fault");
                assert!(!problem["detail"].as_str().expect("a detail").is_empty());
            });
        }
    }
    for index in 0..20 {
        client.command("file", new_id(), "create", json!({"name": format!("f{index}")})).await.created();
    }
    attacks.join_all().await;
    assert_eq!(client.head().await, head + 20, "a fault writes nothing");
    client.command("probe", probe, "add", json!({})).await.ok();
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);
}
