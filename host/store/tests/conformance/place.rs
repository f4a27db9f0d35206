//! A place where stores are opened, and appends in few words.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cairn_model::chain::Hash;
use cairn_model::{Access, Clock, Lineage, NewEvent, Read, StreamKey, StreamRef, Timestamp, Version};
use cairn_servers::Postgres;
use cairn_store::{
    Answer, Append, ClaimChanges, Committed, Idempotency, Options, Outcome, PostgresOptions, Store,
};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// The server of this test process. It ends with the process.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start_with(&["max_connections=400"]));

static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A data folder, perhaps with a database, and a clock that stands until it is moved.
pub struct Place {
    folder: TempDir,
    pub clock: Clock,
    database: Option<String>,
}

impl Place {
    fn new(database: Option<String>) -> Self {
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        Self { folder: tempfile::tempdir().expect("a temporary folder"), clock, database }
    }

    pub fn sqlite() -> Self {
        Self::new(None)
    }

    pub fn postgres() -> Self {
        Self::on(&SERVER)
    }

    /// A database of its own on this server.
    pub fn on(server: &Postgres) -> Self {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        Self::new(Some(server.database(&format!("place_{number}"))))
    }

    /// Another place of the same kind.
    pub fn fresh(&self) -> Self {
        if self.is_postgres() { Self::postgres() } else { Self::sqlite() }
    }

    pub fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// What one of both databases understands.
    pub fn either<T>(&self, sqlite: T, postgres: T) -> T {
        if self.is_postgres() { postgres } else { sqlite }
    }

    pub fn options(&self) -> Options {
        self.options_of_host(0)
    }

    /// Each host has a data folder of its own; where there is a database, they share it.
    pub fn options_of_host(&self, host: usize) -> Options {
        Options {
            clock: self.clock.clone(),
            postgres: self.database.as_ref().map(PostgresOptions::new),
            ..Options::new(self.folder.path().join(format!("data{host}")))
        }
    }

    pub async fn open(&self) -> Store {
        Store::open(self.options()).await.expect("the store opens")
    }

    pub async fn open_host(&self, host: usize) -> Store {
        Store::open(self.options_of_host(host)).await.expect("the store opens")
    }

    pub fn database(&self) -> &str {
        self.database.as_deref().expect("a database")
    }

    /// Does to the log what only somebody else would do.
    pub async fn tamper(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        if let Some(url) = &self.database {
            let mut connection = PgConnection::connect(url).await.expect("connects");
            sqlx::raw_sql("SET cairn.change_events = on").execute(&mut connection).await.expect("insists");
            sql.execute(&mut connection).await.expect("tampers");
            return connection.close().await.expect("closes");
        }
        let path = self.folder.path().join("data0/cairn.db");
        let mut connection =
            SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("connects");
        sql.execute(&mut connection).await.expect("tampers");
        connection.close().await.expect("closes");
    }
}

pub fn stream(number: u128) -> StreamKey {
    StreamKey::new("default", "file", Uuid::from_u128(number))
}

pub fn local(number: u128) -> StreamRef {
    stream(number).local()
}

/// A decided command with one event, unless it is told otherwise.
pub fn append(stream: StreamKey, expected: Version) -> Append {
    Append {
        stream,
        expected,
        events: vec![event(r#"{"name":"a"}"#)],
        metadata: r#"{"actor":"somebody"}"#.to_owned(),
        reads: Vec::new(),
        claims: ClaimChanges::default(),
        access: None,
        idempotency: None,
        record_unchanged: false,
        answer: Answer {
            created: expected == 0,
            result: RawValue::from_string("{\"ok\":true}".to_owned()).expect("JSON"),
        },
        lineage: Lineage::default(),
        insists: false,
    }
}

pub fn event(data: &str) -> NewEvent {
    NewEvent { event_type: "FileCreated".into(), schema_version: 1, data: data.to_owned() }
}

/// What tests say about an append besides its stream and version.
pub trait Saying: Sized {
    fn events(self, count: usize) -> Self;
    fn reading(self, read: Read) -> Self;
    fn taking(self, claim: &str) -> Self;
    fn releasing(self, claim: &str) -> Self;
    fn with_access(self, access: Access) -> Self;
    fn with_key(self, key: &str, payload: &str) -> Self;
    fn in_lineage(self, lineage: &Lineage) -> Self;
    fn insisting(self) -> Self;
}

impl Saying for Append {
    fn events(mut self, count: usize) -> Self {
        self.events = (0..count).map(|number| event(&format!("{{\"n\":{number}}}"))).collect();
        self
    }

    fn reading(mut self, read: Read) -> Self {
        self.reads.push(read);
        self
    }

    fn taking(mut self, claim: &str) -> Self {
        self.claims.take.push(claim.to_owned());
        self
    }

    fn releasing(mut self, claim: &str) -> Self {
        self.claims.release.push(claim.to_owned());
        self
    }

    fn with_access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    fn with_key(mut self, key: &str, payload: &str) -> Self {
        self.idempotency = Some(Idempotency {
            principal: Uuid::from_u128(77),
            key: key.to_owned(),
            payload_hash: Hash::of(payload.as_bytes()),
            command_id: Uuid::from_u128(78),
        });
        self
    }

    fn insisting(mut self) -> Self {
        self.insists = true;
        self
    }

    fn in_lineage(mut self, lineage: &Lineage) -> Self {
        self.lineage = lineage.clone();
        self
    }
}

/// Appends all of them at once, so that they are one batch or few, in this order.
pub async fn together(store: &Store, appends: Vec<Append>) -> Vec<Outcome> {
    let mut receivers = Vec::new();
    for append in appends {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        store.append(append, move |outcome| {
            let _ = sender.send(outcome);
        });
        receivers.push(receiver);
    }
    let mut outcomes = Vec::new();
    for receiver in receivers {
        let outcome =
            tokio::time::timeout(Duration::from_secs(20), receiver).await.expect("an outcome in time");
        outcomes.push(outcome.expect("an outcome"));
    }
    outcomes
}

pub fn committed(outcome: &Outcome) -> &Committed {
    match outcome {
        Outcome::Committed(committed) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

/// Appends to a stream as often as said, and waits for each.
pub async fn fill(store: &Store, stream: &StreamKey, versions: std::ops::Range<Version>) {
    for expected in versions {
        committed(&store.append_and_wait(append(stream.clone(), expected)).await);
    }
}
