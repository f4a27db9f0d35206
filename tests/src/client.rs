//! The API as a client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use uuid::Uuid;

/// A client with a key. It remembers the highest position that it was told, and queries wait for that one: a test
/// reads its own writes.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
    seen: Arc<AtomicU64>,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Client {
    /// A client of the host at this URL.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    pub fn new(url: &str, key: &str) -> Self {
        let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
        let http = builder.build().expect("an HTTP client");
        Self { http, url: url.to_owned(), key: key.to_owned(), seen: Arc::default() }
    }

    /// A request with the key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// A POST request with the key.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When no whole response came back.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let position = headers.get("cairn-position").and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(position) = position {
            self.seen.fetch_max(position, Ordering::Relaxed);
        }
        Ok(Answer { status, headers, text })
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When no whole response came back.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    /// GET.
    ///
    /// # Errors
    /// When no whole response came back.
    pub async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.try_send(self.request(Method::GET, path)).await
    }

    /// GET.
    ///
    /// # Panics
    /// When no whole response came back.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("an answer")
    }

    /// Sends a command.
    ///
    /// # Panics
    /// When no whole response came back.
    pub async fn command(&self, aggregate: &str, id: Uuid, command: &str, payload: Value) -> Answer {
        self.send(self.post(&format!("/v1/aggregates/{aggregate}/{id}/{command}")).json(&payload)).await
    }

    /// Sends a command under an idempotency key.
    ///
    /// # Errors
    /// When no whole response came back: the command may have been carried out or not.
    pub async fn try_keyed(
        &self,
        key: &str,
        aggregate: &str,
        id: Uuid,
        command: &str,
        payload: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.post(&format!("/v1/aggregates/{aggregate}/{id}/{command}"));
        self.try_send(request.header("Idempotency-Key", key).json(payload)).await
    }

    /// The folded state of an aggregate, now.
    ///
    /// # Panics
    /// When there is none.
    pub async fn state(&self, aggregate: &str, id: Uuid) -> Value {
        self.get(&format!("/v1/aggregates/{aggregate}/{id}")).await.ok()["state"].clone()
    }

    /// Runs a query once the read model has everything that this client was told of.
    ///
    /// # Panics
    /// When no whole response came back.
    pub async fn query(&self, query: &str, params: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::GET, &format!("/v1/queries/{query}")).query(params);
        let seen = self.seen.load(Ordering::Relaxed);
        self.send(request.header("Cairn-Min-Position", seen).header("Prefer", "wait=60")).await
    }

    /// All items of a list, over all of its pages. `path` begins with `/v1/`.
    ///
    /// # Panics
    /// When a page cannot be read.
    pub async fn all(&self, path: &str, params: &[(&str, &str)], cursor: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut request = self.request(Method::GET, path).query(params);
            if let Some(next) = &next {
                request = request.query(&[(cursor, next)]);
            }
            let seen = self.seen.load(Ordering::Relaxed);
            let page =
                self.send(request.header("Cairn-Min-Position", seen).header("Prefer", "wait=60")).await.ok();
            items.extend(page["items"].as_array().expect("a list of items").iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = Some(cursor.to_owned()),
                None => return items,
            }
        }
    }

    /// The whole log.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn events(&self) -> Vec<Value> {
        self.all("/v1/events", &[("limit", "1000")], "after").await
    }

    /// The last position of the log.
    ///
    /// # Panics
    /// When the host does not say it.
    pub async fn head(&self) -> u64 {
        self.get("/readyz").await.ok()["position"].as_u64().expect("a position")
    }

    /// From now on queries wait for this position.
    pub fn has_seen(&self, position: u64) {
        self.seen.fetch_max(position, Ordering::Relaxed);
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text))
    }

    /// The body of a 200.
    ///
    /// # Panics
    /// When it is another status.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The body of a 201.
    ///
    /// # Panics
    /// When it is another status.
    #[track_caller]
    pub fn created(self) -> Value {
        assert_eq!(self.status, 201, "{}", self.text);
        self.json()
    }

    /// The body of a problem with this status and this code, which must have everything that a problem has.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["code"], code, "{}", self.text);
        assert_eq!(body["status"], status, "{}", self.text);
        for field in ["type", "title", "detail"] {
            let text = body[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "`{field}` is missing: {}", self.text);
        }
        let trace = body["trace_id"].as_str().unwrap_or_default();
        assert!(
            trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()),
            "no trace id: {}",
            self.text
        );
        if status == 503 {
            assert!(self.header("retry-after").is_some(), "a 503 says when to come back");
        }
        body
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
