//! What HTTP alone costs on this machine: the host's own HTTP library, a body that is read, an answer as long as one
//! to a command, and nothing between.

use std::io::Write;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// An answer to `create`, as the host gives it.
const ANSWER: &str = r#"{"aggregate":"file","id":"0190e3a1-7c1e-7cc0-8000-000000000001","version":1,"position":1234567,"events":[{"type":"FileCreated","version":1,"position":1234567}],"result":{"id":"0190e3a1-7c1e-7cc0-8000-000000000001"}}"#;

/// Serves on a free port, whose address is the first line of the output, until it is killed.
///
/// # Errors
/// When no port is free.
pub fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        axum::serve(listener, Router::new().fallback(answer)).await.context("the echo server failed")
    })
}

async fn answer(body: Bytes) -> impl IntoResponse {
    let size = body.len().to_string();
    (
        [
            (CONTENT_TYPE.as_str(), "application/json".to_owned()),
            ("etag", "\"1\"".to_owned()),
            ("cairn-position", size),
        ],
        ANSWER,
    )
}
