//! Dead letters: events that a projection could not take, and the later ones of their streams, which wait behind them.
//!
//! They are a table of the read model itself, so they commit with its rows and its position. The texts here are good for both
//! databases; times are microseconds, ids are text.

use cairn_model::{Change, Name, Position, StreamKey, Timestamp, Version};
use sqlx::{ColumnIndex, Decode, Row, Type};
use uuid::Uuid;

use crate::error::Error;
use crate::log::{signed, unsigned};

/// An event that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamKey,
    /// Its place in the stream.
    pub version: Version,
    /// The event type.
    pub event_type: Name,
    /// What went wrong; of one that waits, what it waits for.
    pub cause: String,
    /// Where in the guest it went wrong, and its last words.
    pub detail: Option<String>,
    /// How often it was tried; 0 of one that waits.
    pub attempts: u32,
    /// When it failed first; of one that waits, when it was set aside.
    pub first_failed_at: Timestamp,
    /// When it failed last.
    pub last_failed_at: Timestamp,
    /// The component that failed, SHA-256 in hexadecimal.
    pub digest: String,
    /// Equal for failures of one kind; one that waits has that of the failure before it.
    pub fingerprint: String,
    /// The position of the event that it waits for; `None` for one that failed itself.
    pub waits_for: Option<Position>,
    /// The data that this projection takes instead of the event's, JSON.
    pub edited: Option<String>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterGroup {
    /// What they have in common.
    pub fingerprint: String,
    /// How many events failed like this.
    pub failed: u64,
    /// How many wait behind them.
    pub waiting: u64,
    /// The cause of the first one.
    pub cause: String,
    /// The first position.
    pub first: Position,
    /// The last position.
    pub last: Position,
}

/// Which dead letters are wanted. The default is the first hundred of all.
#[derive(Clone, Debug)]
pub struct LetterFilter {
    /// Only those behind this position.
    pub after: Position,
    /// At most so many.
    pub limit: u32,
    /// Only those of failures of this kind.
    pub fingerprint: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<Name>,
    /// Only those of this aggregate type.
    pub aggregate: Option<Name>,
    /// Only those of aggregates with this id.
    pub id: Option<Uuid>,
}

impl Default for LetterFilter {
    fn default() -> Self {
        Self { after: 0, limit: 100, fingerprint: None, tenant: None, aggregate: None, id: None }
    }
}

impl LetterFilter {
    /// All of a stream.
    pub fn stream(stream: &StreamKey) -> Self {
        Self {
            tenant: Some(stream.tenant.clone()),
            aggregate: Some(stream.aggregate.clone()),
            id: Some(stream.id),
            limit: u32::MAX,
            ..Self::default()
        }
    }

    /// What [`LIST`] takes as `$2` to `$5`: an empty text stands for all.
    pub(super) fn texts(&self) -> [String; 4] {
        let text = |name: &Option<Name>| name.as_deref().unwrap_or_default().to_owned();
        [
            self.fingerprint.clone().unwrap_or_default(),
            text(&self.tenant),
            text(&self.aggregate),
            self.id.map(|id| id.to_string()).unwrap_or_default(),
        ]
    }
}

/// What the events of a step make of a read model.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Changes of rows.
    pub changes: Vec<Change>,
    /// Events that are set aside, or failed again.
    pub parked: Vec<DeadLetter>,
    /// Positions of events that are set aside no longer.
    pub settled: Vec<Position>,
    /// Whether some of the changes come later than events of other streams that stand behind them in the log.
    pub out_of_order: bool,
}

impl From<Vec<Change>> for Batch {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }
}

/// How a read model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last position that its rows contain.
    pub position: Position,
    /// How many dead letters it has.
    pub dead_letters: u64,
    /// What keeps it from going on.
    pub failure: Option<String>,
    /// Whether events were brought home behind events of other streams.
    pub out_of_order: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// What its tables are made of.
    pub form: String,
}

/// Changes of dead letters, as [`PARK`] and [`SETTLE`] take them.
#[derive(Debug, Default)]
pub(super) struct LetterChanges {
    pub parked: Option<String>,
    pub settled: Option<String>,
    pub out_of_order: bool,
}

impl LetterChanges {
    pub fn new(parked: &[DeadLetter], settled: &[Position], out_of_order: bool) -> Self {
        // Strings and numbers: they cannot fail to serialize.
        let json = |is_empty: bool, value: serde_json::Value| (!is_empty).then(|| value.to_string());
        Self {
            parked: json(parked.is_empty(), parked.iter().map(values).collect()),
            settled: json(settled.is_empty(), settled.iter().copied().collect()),
            out_of_order,
        }
    }
}

/// Sets events aside. `$1` is a JSON array of arrays; `TABLE` and `EACH` are the database's.
pub(super) const PARK: &str = "INSERT INTO TABLE (position, tenant, aggregate, id, version, type, cause, detail,
        attempts, first_failed_at, last_failed_at, digest, fingerprint, waits_for, edited)
    SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, value ->> 3, CAST(value ->> 4 AS BIGINT),
        value ->> 5, value ->> 6, value ->> 7, CAST(value ->> 8 AS BIGINT), CAST(value ->> 9 AS BIGINT),
        CAST(value ->> 10 AS BIGINT), value ->> 11, value ->> 12, CAST(value ->> 13 AS BIGINT), value ->> 14
    FROM EACH WHERE true
    ON CONFLICT (position) DO UPDATE SET cause = excluded.cause, detail = excluded.detail,
        attempts = excluded.attempts, first_failed_at = excluded.first_failed_at,
        last_failed_at = excluded.last_failed_at, digest = excluded.digest, fingerprint = excluded.fingerprint,
        waits_for = excluded.waits_for, edited = excluded.edited";

/// Takes events off. `$1` is a JSON array of positions.
pub(super) const SETTLE: &str =
    "DELETE FROM TABLE WHERE position IN (SELECT CAST(value AS BIGINT) FROM POSITION_LIST)";

/// A page: behind position `$1`, filtered by the texts `$2` to `$5`, at most `$6`.
pub(super) const LIST: &str =
    "SELECT position, tenant, aggregate, id, version, type, cause, detail, attempts,
        first_failed_at, last_failed_at, digest, fingerprint, waits_for, edited
    FROM TABLE WHERE position > $1
    AND (CAST($2 AS TEXT) = '' OR fingerprint = CAST($2 AS TEXT))
    AND (CAST($3 AS TEXT) = '' OR tenant = CAST($3 AS TEXT))
    AND (CAST($4 AS TEXT) = '' OR aggregate = CAST($4 AS TEXT))
    AND (CAST($5 AS TEXT) = '' OR id = CAST($5 AS TEXT))
    ORDER BY position LIMIT $6";

/// All kinds of failures, those with the most events first.
pub(super) const GROUPS: &str = "SELECT g.fingerprint, g.failed, g.waiting, l.cause, g.first, g.last FROM (
        SELECT fingerprint, count(*) - count(waits_for) AS failed, count(waits_for) AS waiting,
            min(position) AS first, max(position) AS last
        FROM TABLE GROUP BY fingerprint) AS g
    JOIN TABLE AS l ON l.position = g.first
    ORDER BY g.failed DESC, g.first";

/// The streams of which events up to the present position are set aside.
pub(super) const STREAMS: &str = "SELECT DISTINCT tenant, aggregate, id FROM TABLE
    WHERE position <= (SELECT p.position FROM POSITIONS AS p) ORDER BY tenant, aggregate, id";

/// How the read model stands.
pub(super) const STANDING: &str = "SELECT p.position, (SELECT count(*) FROM TABLE), p.failure,
        CASE WHEN p.out_of_order THEN 1 ELSE 0 END, p.created_at, p.form FROM POSITIONS AS p";

/// A letter as the values of its columns.
fn values(letter: &DeadLetter) -> serde_json::Value {
    // PostgreSQL has no text with this character.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    serde_json::json!([
        letter.position,
        &*letter.stream.tenant,
        &*letter.stream.aggregate,
        letter.stream.id.to_string(),
        letter.version,
        &*letter.event_type,
        clean(&letter.cause),
        letter.detail.as_deref().map(clean),
        letter.attempts,
        letter.first_failed_at.micros(),
        letter.last_failed_at.micros(),
        letter.digest,
        letter.fingerprint,
        letter.waits_for,
        letter.edited,
    ])
}

/// A row of [`LIST`].
pub(super) fn letter<'r, R>(row: &'r R) -> Result<DeadLetter, Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |index: usize| row.try_get::<String, _>(index);
    let number = |index: usize| row.try_get::<i64, _>(index);
    Ok(DeadLetter {
        position: unsigned(number(0)?),
        stream: stream_at(row, 1)?,
        version: unsigned(number(4)?),
        event_type: text(5)?.into(),
        cause: text(6)?,
        detail: row.try_get(7)?,
        attempts: u32::try_from(number(8)?).unwrap_or(u32::MAX),
        first_failed_at: Timestamp::from_micros(number(9)?),
        last_failed_at: Timestamp::from_micros(number(10)?),
        digest: text(11)?,
        fingerprint: text(12)?,
        waits_for: row.try_get::<Option<i64>, _>(13)?.map(unsigned),
        edited: row.try_get(14)?,
    })
}

/// A row of [`STREAMS`].
pub(super) fn stream<'r, R>(row: &'r R) -> Result<StreamKey, Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    stream_at(row, 0)
}

fn stream_at<'r, R>(row: &'r R, first: usize) -> Result<StreamKey, Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |index: usize| row.try_get::<String, _>(first + index);
    let id = text(2)?;
    let id = Uuid::try_parse(&id).map_err(|_| Error::Damaged(format!("`{id}` is no id")))?;
    Ok(StreamKey { tenant: text(0)?.into(), aggregate: text(1)?.into(), id })
}

/// A row of [`GROUPS`].
pub(super) fn letter_group<'r, R>(row: &'r R) -> Result<LetterGroup, Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let number = |index: usize| row.try_get::<i64, _>(index).map(unsigned);
    Ok(LetterGroup {
        fingerprint: row.try_get(0)?,
        failed: number(1)?,
        waiting: number(2)?,
        cause: row.try_get(3)?,
        first: number(4)?,
        last: number(5)?,
    })
}

/// A row of [`STANDING`].
pub(super) fn standing<'r, R>(row: &'r R) -> Result<Standing, sqlx::Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let number = |index: usize| row.try_get::<i64, _>(index);
    Ok(Standing {
        position: unsigned(number(0)?),
        dead_letters: unsigned(number(1)?),
        failure: row.try_get(2)?,
        out_of_order: row.try_get::<i32, _>(3)? != 0,
        created_at: Timestamp::from_micros(number(4)?),
        form: row.try_get(5)?,
    })
}

/// A limit as a database takes it.
pub(super) fn limit(filter: &LetterFilter) -> i64 {
    signed(u64::from(filter.limit))
}
