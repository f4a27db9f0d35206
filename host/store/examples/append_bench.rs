//! How many appends a second: through the store, with all of its checks, and raw, the same rows into the same tables with
//! nothing around them, which is the limit.
//!
//! `cargo run --release -p cairn-store --example append_bench [-- FOLDER|URL [BATCH…]]`, with a `postgres://` URL of a database
//! that is there for nothing else: its log is emptied.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_model::chain::Hash;
use cairn_model::{Access, Clock, Lineage, NewEvent, StreamKey, StreamRef, ids};
use cairn_store::{Answer, Append, ClaimChanges, Options, Outcome, PostgresOptions, Store};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::mpsc;
use uuid::Uuid;

const BATCHES: [usize; 4] = [1, 32, 128, 1000];

const TIME: Duration = Duration::from_secs(3);

const DATA: &str = r#"{"name":"report-2024-final.pdf","parent_id":"0190e3a1-7c1e-7cc0-8000-000000000001","size":123456,"mime_type":"application/pdf"}"#;

const METADATA: &str = r#"{"actor":"0190e3a1-7c1e-7cc0-8000-000000000002","tenant":"default","command_id":"0190e3a1-7c1e-7cc0-8000-000000000003","correlation_id":"0190e3a1-7c1e-7cc0-8000-000000000003","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","generation":1,"log_id":"0190e3a1-7c1e-7cc0-8000-000000000004","occurred_at":"2024-01-01T00:00:00.000000Z"}"#;

fn new_append(id: Uuid) -> Append {
    let owner = Uuid::from_u128(5);
    Append {
        stream: StreamKey::new("default", "file", id),
        expected: 0,
        events: vec![NewEvent { event_type: "FileCreated".into(), schema_version: 1, data: DATA.to_owned() }],
        metadata: METADATA.to_owned(),
        reads: Vec::new(),
        claims: ClaimChanges { take: vec![format!("folder/root/name/{id}")], release: Vec::new() },
        access: Some(Access {
            owner: Some(owner),
            parent: Some(StreamRef::new("folder", owner)),
            inherits: true,
            entries: Vec::new(),
        }),
        idempotency: None,
        record_unchanged: false,
        answer: Answer { created: true, ..Answer::empty() },
        lineage: Lineage::default(),
        insists: false,
    }
}

/// Where the log is that is measured.
#[derive(Clone)]
struct Place {
    folder: PathBuf,
    url: Option<String>,
}

impl Place {
    fn options(&self) -> Options {
        Options { postgres: self.url.as_ref().map(PostgresOptions::new), ..Options::new(&self.folder) }
    }

    /// An empty log.
    async fn empty(&self) {
        // An error means that there is nothing to remove.
        let _ = std::fs::remove_dir_all(&self.folder);
        if let Some(url) = &self.url {
            let mut connection = PgConnection::connect(url).await.expect("connects");
            let tables = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; CHECKPOINT";
            sqlx::raw_sql(tables).execute(&mut connection).await.expect("empties");
        }
    }

    async fn raw(&self, batch: usize) -> f64 {
        drop(Store::open(self.options()).await.expect("the store opens"));
        match &self.url {
            Some(url) => raw_postgres(url, batch).await,
            None => raw(&self.folder, batch).await,
        }
    }
}

/// One batch in the queue while the one before it is committed, as under load.
async fn through_the_store(place: &Place, batch: usize) -> f64 {
    let options = Options { batch_limit: batch, ..place.options() };
    let store = Store::open(options).await.expect("the store opens");
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let submit = |store: &Store| {
        let sender = sender.clone();
        store.append(new_append(ids::new_id(Clock::System.now())), move |outcome| {
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            let _ = sender.send(());
        });
    };
    for _ in 0..batch * 2 {
        submit(&store);
    }
    let start = Instant::now();
    let mut done = 0u32;
    while start.elapsed() < TIME {
        receiver.recv().await.expect("an outcome");
        done += 1;
        submit(&store);
    }
    let rate = f64::from(done) / start.elapsed().as_secs_f64();
    store.close().await;
    rate
}

fn multi(head: &str, columns: usize, rows: usize) -> Arc<str> {
    let group = format!("({})", vec!["?"; columns].join(", "));
    format!("{head} VALUES {}", vec![group.as_str(); rows].join(", ")).into()
}

/// The same rows without any check, hash or answer.
async fn raw(folder: &Path, batch: usize) -> f64 {
    let mut connection: SqliteConnection = SqliteConnectOptions::new()
        .filename(folder.join("cairn.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "8192")
        .pragma("cache_size", "-65536")
        .disable_statement_logging()
        .connect()
        .await
        .expect("connects");
    let events = multi(
        "INSERT INTO event_store (position, tenant, aggregate, id, version, type, schema_version, data, metadata,
         recorded_at, hash)",
        11,
        batch,
    );
    let claims = multi("INSERT INTO claims (tenant, claim, aggregate, id)", 4, batch);
    let access = multi(
        "INSERT INTO access (tenant, aggregate, id, version, owner, parent_aggregate, parent_id, inherits, entries)",
        9,
        batch,
    );
    let start = Instant::now();
    let mut position = 0i64;
    while start.elapsed() < TIME {
        let new: Vec<String> = (0..batch).map(|_| ids::new_id(Clock::System.now()).to_string()).collect();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.expect("begins");
        let mut query = sqlx::query(AssertSqlSafe(events.clone()));
        for id in &new {
            position += 1;
            query = query.bind(position).bind("default").bind("file").bind(id.as_str()).bind(1i64);
            query = query.bind("FileCreated").bind(1i64).bind(DATA).bind(METADATA);
            query = query.bind("2024-01-01T00:00:00.000000Z").bind(Hash::ZERO.0.to_vec());
        }
        query.execute(&mut *transaction).await.expect("inserts");
        let mut query = sqlx::query(AssertSqlSafe(claims.clone()));
        for id in &new {
            query =
                query.bind("default").bind(format!("folder/root/name/{id}")).bind("file").bind(id.as_str());
        }
        query.execute(&mut *transaction).await.expect("inserts");
        let mut query = sqlx::query(AssertSqlSafe(access.clone()));
        for id in &new {
            query = query.bind("default").bind("file").bind(id.as_str()).bind(1i64).bind(id.as_str());
            query = query.bind("folder").bind(id.as_str()).bind(true).bind("[]");
        }
        query.execute(&mut *transaction).await.expect("inserts");
        transaction.commit().await.expect("commits");
    }
    f64::from(u32::try_from(position).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64()
}

/// The same on PostgreSQL: lock, tail, rows, commit.
async fn raw_postgres(url: &str, batch: usize) -> f64 {
    let options = PgConnectOptions::from_str(url).expect("a URL").disable_statement_logging();
    let mut connection = options.connect().await.expect("connects");
    let start = Instant::now();
    let mut position = 0i64;
    while start.elapsed() < TIME {
        let begin = "BEGIN; SELECT pg_advisory_xact_lock(1)";
        sqlx::raw_sql(begin).execute(&mut connection).await.expect("begins");
        let tail = "SELECT position, hash FROM event_store ORDER BY position DESC LIMIT 1";
        sqlx::query(tail).fetch_optional(&mut connection).await.expect("reads");
        let ids: Vec<Uuid> = (0..batch).map(|_| ids::new_id(Clock::System.now())).collect();
        sqlx::query(RAW)
            .bind(position)
            .bind(&ids)
            .bind(vec![DATA; batch])
            .bind(vec![METADATA; batch])
            .bind(vec![Hash::ZERO.0.to_vec(); batch])
            .bind(ids.iter().map(|id| format!("folder/root/name/{id}")).collect::<Vec<_>>())
            .execute(&mut connection)
            .await
            .expect("inserts");
        sqlx::raw_sql("COMMIT").execute(&mut connection).await.expect("commits");
        position += i64::try_from(batch).expect("a batch");
    }
    f64::from(u32::try_from(position).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64()
}

/// One event a transaction, on a connection that does nothing else: what there would be without batches.
async fn single_postgres(url: &str) -> f64 {
    let options = PgConnectOptions::from_str(url).expect("a URL").disable_statement_logging();
    let mut connection = options.connect().await.expect("connects");
    let start = Instant::now();
    let mut position = 0i64;
    while start.elapsed() < TIME {
        position += 1;
        sqlx::query(SINGLE)
            .bind(position)
            .bind(ids::new_id(Clock::System.now()))
            .bind(DATA)
            .bind(METADATA)
            .bind(Hash::ZERO.0.to_vec())
            .execute(&mut connection)
            .await
            .expect("inserts");
    }
    f64::from(u32::try_from(position).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64()
}

const SINGLE: &str = "
    INSERT INTO event_store (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data, metadata, hash)
    VALUES ($1, 1, now(), $2, 1, 'default', 'file', 'FileCreated', $3, $4, $5)";

const RAW: &str = "
    WITH w AS MATERIALIZED (
        SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[]) WITH ORDINALITY
            AS w (id, data, metadata, hash, claim, n)
    ), events AS (
        INSERT INTO event_store (position, version, recorded_at, id, schema_version, tenant, aggregate, type, data, metadata,
                                 hash)
        SELECT $1 + n, 1, now(), id, 1, 'default', 'file', 'FileCreated', data, metadata, hash FROM w
    ), claims AS (
        INSERT INTO claims (claim, tenant, aggregate, id) SELECT claim, 'default', 'file', id FROM w
    )
    INSERT INTO access (id, aggregate, tenant, version, owner, parent_aggregate, parent_id, inherits, entries)
    SELECT id, 'file', 'default', 1, id, 'folder', id, true, '[]' FROM w";

#[tokio::main]
async fn main() {
    let target = std::env::args().nth(1);
    let url = target.clone().filter(|target| target.starts_with("postgres"));
    let parent = target.filter(|_| url.is_none()).map_or_else(std::env::temp_dir, PathBuf::from);
    let place = Place { folder: parent.join("cairn-append-bench"), url };
    let chosen: Vec<usize> = std::env::args().skip(2).filter_map(|batch| batch.parse().ok()).collect();
    println!("{:>6} {:>12} {:>12}", "batch", "store /s", "raw /s");
    for batch in if chosen.is_empty() { BATCHES.to_vec() } else { chosen } {
        place.empty().await;
        let store = through_the_store(&place, batch).await;
        place.empty().await;
        let raw = place.raw(batch).await;
        println!("{batch:>6} {store:>12.0} {raw:>12.0}");
    }
    if let Some(url) = &place.url {
        place.empty().await;
        drop(Store::open(place.options()).await.expect("the store opens"));
        println!("{:>6} {:>12} {:>12.0}", "single", "-", single_postgres(url).await);
    }
    place.empty().await;
}
