//! Bad input of every kind: each gets its stable code, and nothing of it reaches the log.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use cairn_tests::{TestHost, new_id};
use reqwest::Method;
use serde_json::{Value, json};

/// The pointers in a problem's list of errors.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {problem}"));
    errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect()
}

#[tokio::test]
async fn a_payload_that_breaks_its_schema_is_told_where() {
    let host = TestHost::start().await;
    let client = host.client();
    let head = client.head().await;
    let cases = [
        (json!({}), ""),
        (json!({"name": 7}), "/name"),
        (json!({"name": "a", "size": -1}), "/size"),
        (json!({"name": "a", "size": "big"}), "/size"),
        (json!({"name": "a", "parent_id": "no-id"}), "/parent_id"),
        (json!({"name": "a", "colour": "red"}), ""),
        (json!({"name": ""}), "/name"),
        (json!({"name": "a/b"}), "/name"),
        (json!({"name": ".."}), "/name"),
        (json!({"name": "x".repeat(256)}), "/name"),
        (json!({"name": "é".repeat(128)}), "/name"),
        (json!([]), ""),
        (json!("a"), ""),
        (json!(null), ""),
    ];
    for (payload, pointer) in cases {
        let problem =
            client.command("file", new_id(), "create", payload.clone()).await.problem(400, "invalid-input");
        let found = pointers(&problem);
        assert!(found.iter().any(|found| found.starts_with(pointer)), "{payload}: {found:?} lacks {pointer}");
    }
    assert_eq!(client.head().await, head, "nothing was written");
    client.command("file", new_id(), "create", json!({"name": "x".repeat(255)})).await.created();
}

#[tokio::test]
async fn a_body_must_be_json_of_the_right_type_and_size() {
    let host = TestHost::start().await;
    let client = host.client();
    let path = format!("/v1/aggregates/file/{}/create", new_id());
    let post = |kind: &str, body: Vec<u8>| client.post(&path).header("Content-Type", kind).body(body);
    for body in [
        &b"{"[..],
        b"{\"name\": \"a\"} {}",
        b"{\"name\": \"\xff\"}",
        b"{\"name\": \"a\", \"name\": \"b\"}",
        b"NaN",
    ] {
        let answer = client.send(post("application/json", body.to_vec())).await;
        answer.problem(400, "invalid-input");
    }
    for body in [&br#"{"name": "a\u0000b"}"#[..], br#"{"name": "a", "mime_type": "\u0000"}"#] {
        client.send(post("application/json", body.to_vec())).await.problem(400, "invalid-input");
    }
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        client.send(post(kind, b"{\"name\": \"a\"}".to_vec())).await.problem(415, "unsupported-media-type");
    }
    client.send(post("application/json", vec![b' '; (1 << 20) + 1])).await.problem(413, "body-too-large");
    // A much larger one may be cut off while it is sent.
    let sent = client.try_send(post("application/json", vec![b' '; 20 << 20])).await;
    assert!(sent.is_err() || sent.is_ok_and(|answer| answer.status == 413));
    let good = client.send(post("application/json; charset=utf-8", b"{\"name\": \"a\"}".to_vec())).await;
    good.created();
}

#[tokio::test]
async fn deeply_nested_json_is_refused_and_harms_nobody() {
    let host = TestHost::start().await;
    let client = host.client();
    let path = format!("/v1/aggregates/file/{}/create", new_id());
    let deep = format!("{{\"name\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let request = client.post(&path).header("Content-Type", "application/json").body(deep);
    client.send(request).await.problem(400, "invalid-input");
    client.command("file", new_id(), "create", json!({"name": "still served"})).await.created();
}

#[tokio::test]
async fn ids_are_lowercase_uuids_with_hyphens() {
    let host = TestHost::start().await;
    let client = host.client();
    let id = new_id().to_string();
    let upper = "0190E3A1-7C1E-7CC0-8000-00000000000A".to_owned();
    for bad in [upper, id.replace('-', ""), format!("{id}0"), "1".to_owned(), format!("%7B{id}%7D")] {
        let create = client.post(&format!("/v1/aggregates/file/{bad}/create")).json(&json!({"name": "a"}));
        client.send(create).await.problem(400, "invalid-input");
        client.get(&format!("/v1/aggregates/file/{bad}")).await.problem(400, "invalid-input");
        client.get(&format!("/v1/aggregates/file/{bad}/events")).await.problem(400, "invalid-input");
        client.get(&format!("/v1/events?id={bad}")).await.problem(400, "invalid-input");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    client.command("dragon", id, "create", json!({})).await.problem(404, "not-found");
    client.command("file", id, "fly", json!({})).await.problem(404, "not-found");
    client.command("file", new_id(), "rename", json!({"name": "b"})).await.problem(404, "not-found");
    let absent = json!({"name": "c", "parent_id": new_id()});
    client.command("file", new_id(), "create", absent).await.problem(404, "not-found");
    client.get(&format!("/v1/aggregates/file/{}", new_id())).await.problem(404, "not-found");
    client.get(&format!("/v1/aggregates/folder/{id}")).await.problem(404, "not-found");
    client.query("dragons", &[]).await.problem(404, "not-found");
    client.get("/v1/nothing").await.problem(404, "not-found");
    client.get("/nothing").await.problem(404, "not-found");
}

#[tokio::test]
async fn commands_that_only_policies_send_do_not_exist_over_http() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    let plugin = client.get("/v1/plugins/files").await.ok();
    let aggregates = plugin["manifest"]["aggregates"].as_array().expect("aggregates");
    let commands = aggregates
        .iter()
        .flat_map(|a| a["commands"].as_array().expect("commands").iter().map(move |c| (a, c)));
    let internal: Vec<_> = commands.filter(|(_, command)| command["internal"] == true).collect();
    assert!(!internal.is_empty(), "the cascade has commands of its own");
    for (aggregate, command) in internal {
        let (aggregate, command) =
            (aggregate["name"].as_str().expect("a name"), command["name"].as_str().expect("a name"));
        client.command(aggregate, id, command, json!({})).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn creating_what_exists_is_a_conflict() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    client.command("file", id, "create", json!({"name": "b"})).await.problem(409, "conflict");
    // Ids of files and folders are one space: both are items of the same tree.
    client.command("folder", id, "create", json!({"name": "c"})).await.problem(409, "conflict");
}

#[tokio::test]
async fn rules_of_the_domain_are_422_with_the_domains_own_code() {
    let host = TestHost::start().await;
    let (client, folder, file) = (host.client(), new_id(), new_id());
    client.command("folder", folder, "create", json!({"name": "f"})).await.created();
    client.command("file", file, "create", json!({"name": "a", "parent_id": folder})).await.created();
    client.command("file", file, "delete", json!({})).await.ok();
    let refused = client.command("file", file, "rename", json!({"name": "b"})).await.problem(422, "rejected");
    assert!(refused["domain_code"].is_string(), "{refused}");
    let refused =
        client.command("folder", folder, "move", json!({"parent_id": folder})).await.problem(422, "rejected");
    assert!(refused["domain_code"].is_string(), "{refused}");
    client.command("folder", folder, "delete", json!({})).await.ok();
    let refused = client.command("file", file, "restore", json!({})).await.problem(422, "rejected");
    assert_eq!(refused["domain_code"], "parent-deleted", "{refused}");
}

#[tokio::test]
async fn headers_and_parameters_with_a_form_of_their_own_are_checked() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    let rename = || client.post(&format!("/v1/aggregates/file/{id}/rename")).json(&json!({"name": "b"}));
    for tag in ["1", "W/\"1\"", "\"x\"", "\"1\", \"2\""] {
        let problem = client.send(rename().header("If-Match", tag)).await.problem(400, "invalid-input");
        assert_eq!(pointers(&problem), ["If-Match"]);
    }
    for key in [String::new(), "k".repeat(256)] {
        client.send(rename().header("Idempotency-Key", key)).await.problem(400, "invalid-input");
    }
    for path in [
        format!("/v1/aggregates/file/{id}?version=0"),
        format!("/v1/aggregates/file/{id}?version=x"),
        format!("/v1/aggregates/file/{id}?at=yesterday"),
        format!("/v1/aggregates/file/{id}?colour=red"),
        "/v1/aggregates/file/%ff".to_owned(),
        "/v1/queries/%ff".to_owned(),
        "/v1/projections/%ff".to_owned(),
        "/v1/projections/%ff/dead-letters".to_owned(),
        "/v1/events?limit=0".to_owned(),
        "/v1/events?limit=1000000".to_owned(),
        "/v1/events?after=-1".to_owned(),
        "/v1/events?after=1&after=2".to_owned(),
        "/v1/queries/folder_children?limit=x".to_owned(),
        "/v1/queries/folder_children?folder_id=x".to_owned(),
        "/v1/queries/folder_children?colour=red".to_owned(),
        "/v1/queries/search".to_owned(),
    ] {
        let problem = client.get(&path).await.problem(400, "invalid-input");
        assert!(!pointers(&problem).is_empty(), "{path}");
    }
    let minimum = client.request(Method::GET, "/v1/queries/trash").header("Cairn-Min-Position", "x");
    client.send(minimum).await.problem(400, "invalid-input");
    assert_eq!(client.state("file", id).await["name"], "a");
}

#[tokio::test]
async fn without_a_valid_key_nobody_comes_in() {
    let host = TestHost::start().await;
    let stranger = host.client_of("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    let paths = ["/v1/events", "/v1/queries/trash", "/v1/plugins", "/v1/projections", "/v1/audit/verify"];
    for path in paths {
        stranger.get(path).await.problem(401, "unauthenticated");
    }
    let refused = stranger.command("file", new_id(), "create", json!({"name": "a"})).await;
    assert!(refused.header("www-authenticate").is_some());
    refused.problem(401, "unauthenticated");
    let bare = reqwest::Client::new();
    for value in ["", "Bearer", "Bearer ", "Basic YTpi"] {
        let sent = bare.get(format!("{}/v1/events", host.url())).header("Authorization", value).send().await;
        assert_eq!(sent.expect("an answer").status(), 401, "{value:?}");
    }
}

#[tokio::test]
async fn a_path_with_another_method_says_which_it_has() {
    let host = TestHost::start().await;
    let client = host.client();
    let answer = client.send(client.request(Method::DELETE, "/v1/events")).await;
    assert!(answer.header("allow").is_some_and(|methods| methods.contains("GET")), "{:?}", answer.headers);
    answer.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn every_code_has_its_page() {
    let host = TestHost::start().await;
    let client = host.client();
    let problem = client.get("/v1/nothing").await.problem(404, "not-found");
    let page = client.get(problem["type"].as_str().expect("a type")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("not-found"), "{}", page.text);
}

/// What the host answers to these bytes, until it closes the connection or `limit` is over.
fn raw(host: &TestHost, bytes: &[u8], limit: Duration) -> (String, bool) {
    let mut stream = host.connect();
    stream.write_all(bytes).expect("sent");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let (started, mut answer, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    while started.elapsed() < limit {
        match stream.read(&mut buffer) {
            Ok(0) => return (String::from_utf8_lossy(&answer).into_owned(), true),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return (String::from_utf8_lossy(&answer).into_owned(), true),
        }
    }
    (String::from_utf8_lossy(&answer).into_owned(), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nonsense_or_nothing_is_let_go() {
    let builder = TestHost::builder().argument("--set").argument("limits.header_timeout_ms=1000");
    let host = builder.start().await;
    let (answer, closed) = raw(&host, b"this is no HTTP\r\n\r\n", Duration::from_secs(20));
    assert!(closed && answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(2 * 1024 * 1024));
    let mut stream = host.connect();
    // The host may close before all of it is sent.
    let _ = stream.write_all(huge.as_bytes());
    let slow = tokio::task::spawn_blocking({
        let address = host.address().to_owned();
        move || {
            let mut stream = std::net::TcpStream::connect(address).expect("the host listens");
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").expect("sent");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
            let started = Instant::now();
            let read = stream.read(&mut [0; 1024]);
            (read.map_err(|error| error.kind()), started.elapsed())
        }
    });
    host.client().command("file", new_id(), "create", json!({"name": "meanwhile"})).await.created();
    let (read, waited) = slow.await.expect("the slow client");
    assert!(read.is_ok(), "the host let the slow client wait for {waited:?}: {read:?}");
}
