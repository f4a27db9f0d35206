//! Failing disks and failing commits, made where only the crate can reach.

use std::path::Path;

use cairn_model::{Clock, Lineage, NewEvent, StreamKey};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::multi::Script;
use super::{Log, rows};
use crate::append::{Answer, Append, ClaimChanges, Outcome};
use crate::folder::Folder;
use crate::options::Options;
use crate::plan::plan;
use crate::written::Failure;

struct Place {
    folder: TempDir,
    log: Log,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let taken = Folder::take(folder.path()).await.expect("takes the folder");
        let log = Log::open(taken, &Options::new(folder.path())).await.expect("opens");
        Self { folder, log }
    }

    async fn write(&self, appends: &[Append]) -> Vec<&'static str> {
        let written = self.log.write(appends, &[]).await;
        written
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Committed(_) => "committed",
                Outcome::Unavailable(_) => "unavailable",
                Outcome::Unknown(_) => "unknown",
                other => panic!("{other:?}"),
            })
            .collect()
    }

    async fn is_whole(&self, events: u64) {
        let head = self.log.published.head();
        let found = self.log.verify(1, head).await.expect("verifies");
        assert_eq!((head, found.valid, found.checked), (events, true, events));
    }
}

async fn tamper(folder: &Path, sql: &str) {
    let url = format!("sqlite://{}", folder.join("cairn.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("tampers");
    connection.close().await.expect("closes");
}

fn append(number: u128, event_type: &str) -> Append {
    let data = format!("{{\"padding\":\"{}\"}}", "x".repeat(500));
    Append {
        stream: StreamKey::new("default", "file", Uuid::from_u128(number)),
        expected: 0,
        events: vec![NewEvent { event_type: event_type.into(), schema_version: 1, data }],
        metadata: "{}".to_owned(),
        reads: Vec::new(),
        claims: ClaimChanges::default(),
        access: None,
        idempotency: None,
        record_unchanged: false,
        answer: Answer { created: true, result: RawValue::NULL.to_owned() },
        lineage: Lineage::default(),
        insists: false,
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_not_in_the_log_and_the_next_one_is() {
    let place = Place::new().await;
    assert_eq!(place.write(&[append(1, "Made")]).await, ["committed"]);
    {
        let mut writer = place.log.turn().await;
        let connection = writer.connection.as_mut().expect("a connection");
        connection.lock_handle().await.expect("locks").set_commit_hook(|| false);
    }
    let refused = append(2, "Made");
    assert_eq!(place.write(std::slice::from_ref(&refused)).await, ["unavailable"]);
    assert!(refused.lineage.is_broken(), "others may have been decided on it");
    place.is_whole(1).await;
    assert_eq!(place.write(&[append(2, "Made"), append(3, "Made")]).await, ["committed"; 2]);
    place.is_whole(3).await;
}

#[tokio::test]
async fn a_commit_that_happened_although_it_failed_is_found() {
    let place = Place::new().await;
    let mut writer = place.log.turn().await;
    let appends = [append(1, "Made")];
    let facts = writer.facts(&appends).await.expect("facts");
    let plan = plan(&appends, facts, writer.tail, Clock::System.now());
    let lost = || sqlx::Error::Protocol("the answer was lost".to_owned());
    let failure = writer.settle(&plan, lost()).await;
    assert!(matches!(failure, Err(Failure::NotWritten(_))), "it did not happen");
    let mut script = Script::default();
    rows::write(&mut script, &plan.writes, plan.recorded_at);
    let mut transaction = writer.begin().await.expect("begins");
    script.execute(&mut transaction).await.expect("writes");
    transaction.commit().await.expect("commits");
    assert!(writer.settle(&plan, lost()).await.is_ok(), "it happened");
    assert_eq!(writer.tail, plan.tail);
}

#[tokio::test]
async fn a_full_disk_is_survived_without_a_restart() {
    let place = Place::new().await;
    {
        let mut writer = place.log.turn().await;
        let connection = writer.connection.as_mut().expect("a connection");
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(connection).await.expect("sets");
    }
    let many: Vec<Append> = (0..200).map(|number| append(number, "Made")).collect();
    assert_eq!(place.write(&many).await, ["unavailable"; 200]);
    place.is_whole(0).await;
    let again: Vec<Append> = (0..200).map(|number| append(number, "Made")).collect();
    assert_eq!(place.write(&again).await, ["committed"; 200], "the next connection has room again");
    place.is_whole(200).await;
}

#[tokio::test]
async fn what_the_database_does_not_take_is_refused_alone() {
    let place = Place::new().await;
    let trigger = "CREATE TRIGGER no_poison BEFORE INSERT ON event_store WHEN NEW.type = 'Poison'
                   BEGIN SELECT RAISE(ABORT, 'poison'); END";
    tamper(place.folder.path(), trigger).await;
    let batch = [append(1, "Made"), append(2, "Poison"), append(3, "Made")];
    assert_eq!(place.write(&batch).await, ["committed", "unavailable", "committed"]);
    place.is_whole(2).await;
}

#[tokio::test]
async fn tables_dropped_while_running_are_noticed() {
    let place = Place::new().await;
    assert_eq!(place.write(&[append(1, "Made")]).await, ["committed"]);
    tamper(place.folder.path(), "DROP TABLE access; DROP TABLE claims; DROP TABLE snapshots").await;
    // The statement fails first, then the connection is made anew and the loss is seen.
    place.write(&[append(2, "Made")]).await;
    assert_eq!(place.write(&[append(2, "Made")]).await, ["unavailable"]);
    assert!(!*place.log.published.facts_intact().borrow());
    place.log.begin_rebuild_facts().await.expect("begins");
    place.log.finish_rebuild_facts().await.expect("finishes");
    assert_eq!(place.write(&[append(2, "Made")]).await, ["committed"]);
    place.is_whole(2).await;
}
