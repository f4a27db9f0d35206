//! The facts of a batch, all of them in one question, asked under the log's lock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{StreamKey, StreamRef, Timestamp};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::types::{Moment, key};
use crate::append::Append;
use crate::error::Error;
use crate::heads::{Head, HeadCache};
use crate::log::{Names, signed, unsigned};
use crate::plan::{ClaimKey, Facts, Kept, KeptKey, Tail};
use crate::turns::{TURN, Turn, rests_on};

/// How many foreign events are worth looking at; after more of them everything that is remembered is dropped.
const CHANGES_LIMIT: i64 = 1000;

/// For so long after an event the stream's next one costs a look at whose turn it is.
const HOT_FOR_US: i64 = 2_000_000;

const FACTS: &str = "SELECT * FROM cairn_facts_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// What was found, and what it says about what was remembered.
#[derive(Debug)]
pub(super) struct Found {
    pub facts: Facts,
    pub tail: Tail,
    /// Whether access and claims are what was written to them.
    pub intact: bool,
    /// Under which number access and claims were last filled.
    pub rebuild: Option<Uuid>,
    /// The hash at the position that was asked for.
    pub seen_hash: Option<Hash>,
    /// The heads of streams to which others have appended since; `None` if there are too many.
    pub changes: Option<Vec<(StreamKey, Head)>>,
    /// Whose turn it is at the streams where that may matter.
    pub turns: HashMap<StreamKey, Turn>,
}

/// The streams that a batch rests on.
fn streams(appends: &[Append]) -> impl Iterator<Item = &StreamKey> {
    appends.iter().flat_map(rests_on)
}

/// Whether so much happens to the stream that another host may be waiting for its turn.
fn is_hot(head: &Head, now: Timestamp) -> bool {
    head.version > 0 && now.micros() - head.recorded_at.micros() < HOT_FOR_US
}

/// What is asked for, in the order of the answers' numbers.
#[derive(Default)]
struct Wanted<'a> {
    heads: Vec<&'a StreamKey>,
    claims: Vec<(&'a Append, &'a str)>,
    kept: Vec<KeptKey>,
    turns: Vec<&'a StreamKey>,
}

impl<'a> Wanted<'a> {
    /// Everything that the appends ask about; heads that are remembered are put into `heads` at once.
    fn new(
        appends: &'a [Append],
        cache: &mut HeadCache,
        heads: &mut HashMap<StreamKey, Head>,
        now: Timestamp,
    ) -> Self {
        let mut wanted = Self::default();
        for stream in streams(appends) {
            if !heads.contains_key(stream) {
                let known = cache.get(stream);
                if known.is_none() {
                    wanted.heads.push(stream);
                }
                heads.insert(stream.clone(), known.unwrap_or_default());
            }
        }
        for append in appends {
            let claims = append.claims.take.iter().chain(&append.claims.release);
            wanted.claims.extend(claims.map(|claim| (append, claim.as_str())));
            wanted.kept.extend(append.idempotency.as_ref().map(|own| KeptKey::of(append, own)));
        }
        let mut seen = HashSet::new();
        for append in appends {
            if append.insists {
                wanted.turns.extend(rests_on(append).filter(|stream| seen.insert(*stream)));
            } else if !append.events.is_empty()
                && heads.get(&append.stream).is_some_and(|head| is_hot(head, now))
                && seen.insert(&append.stream)
            {
                wanted.turns.push(&append.stream);
            }
        }
        wanted
    }

    async fn ask(&self, connection: &mut PgConnection, seen: i64) -> Result<Vec<PgRow>, sqlx::Error> {
        let heads = &self.heads;
        let kept = &self.kept;
        sqlx::query(FACTS)
            .bind(seen)
            .bind(CHANGES_LIMIT)
            .bind(heads.iter().map(|stream| stream.id).collect::<Vec<_>>())
            .bind(heads.iter().map(|stream| &*stream.aggregate).collect::<Vec<_>>())
            .bind(heads.iter().map(|stream| &*stream.tenant).collect::<Vec<_>>())
            .bind(self.claims.iter().map(|(_, claim)| key(claim)).collect::<Vec<_>>())
            .bind(self.claims.iter().map(|(append, _)| &*append.stream.tenant).collect::<Vec<_>>())
            .bind(kept.iter().map(|own| key(&own.key)).collect::<Vec<_>>())
            .bind(kept.iter().map(|own| own.principal).collect::<Vec<_>>())
            .bind(kept.iter().map(|own| &*own.tenant).collect::<Vec<_>>())
            .bind(self.turns.iter().map(|stream| stream.id).collect::<Vec<_>>())
            .bind(self.turns.iter().map(|stream| &*stream.aggregate).collect::<Vec<_>>())
            .bind(self.turns.iter().map(|stream| &*stream.tenant).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}

/// Takes the log's lock and finds everything that the appends ask about. `seen` is the last position that was known.
pub(super) async fn find(
    connection: &mut PgConnection,
    cache: &mut HeadCache,
    seen: u64,
    appends: &[Append],
    now: Timestamp,
) -> Result<Found, Error> {
    let mut found = Found {
        facts: Facts::default(),
        tail: Tail::EMPTY,
        intact: false,
        rebuild: None,
        seen_hash: None,
        changes: Some(Vec::new()),
        turns: HashMap::new(),
    };
    let wanted = Wanted::new(appends, cache, &mut found.facts.heads, now);
    let mut names = Names::default();
    for row in wanted.ask(connection, signed(seen)).await? {
        match row.try_get::<i32, _>(0)? {
            0 => found.take_tail(&row)?,
            1 => {
                let stream = wanted.heads[number(&row, wanted.heads.len())?];
                found.facts.heads.insert(stream.clone(), head(&row)?);
            }
            2 => {
                let (append, claim) = wanted.claims[number(&row, wanted.claims.len())?];
                let own = ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.to_owned() };
                let holder = StreamRef::new(names.get(row.try_get(6)?), row.try_get(8)?);
                found.facts.claims.insert(own, holder);
            }
            3 => {
                let own = &wanted.kept[number(&row, wanted.kept.len())?];
                found.facts.kept.insert(own.clone(), kept(&row)?);
            }
            4 => found.take_change(&row, &mut names)?,
            _ => {
                let stream = wanted.turns[number(&row, wanted.turns.len())?];
                found.turns.insert(stream.clone(), turn(&row)?);
            }
        }
    }
    for stream in wanted.heads {
        cache.insert(stream.clone(), found.facts.heads.get(stream).copied().unwrap_or_default());
    }
    if found.changes.as_ref().is_some_and(|changes| changes.len() as u64 > unsigned(CHANGES_LIMIT)) {
        found.changes = None;
    }
    Ok(found)
}

impl Found {
    fn take_tail(&mut self, row: &PgRow) -> Result<(), Error> {
        self.intact = row.try_get(5)?;
        self.rebuild = row.try_get(8)?;
        self.seen_hash = row.try_get::<Option<&[u8]>, _>(11)?.map(hash).transpose()?;
        if let Some(position) = row.try_get::<Option<i64>, _>(3)? {
            self.tail = Tail {
                position: unsigned(position),
                hash: hash(row.try_get(10)?)?,
                recorded_at: row.try_get::<Moment, _>(12)?.0,
            };
        }
        Ok(())
    }

    fn take_change(&mut self, row: &PgRow, names: &mut Names) -> Result<(), Error> {
        let stream = StreamKey {
            tenant: names.get(row.try_get(7)?),
            aggregate: names.get(row.try_get(6)?),
            id: row.try_get(8)?,
        };
        if let Some(changes) = &mut self.changes {
            changes.push((stream, head(row)?));
        }
        Ok(())
    }
}

fn head(row: &PgRow) -> Result<Head, Error> {
    Ok(Head {
        version: unsigned(row.try_get(2)?),
        position: unsigned(row.try_get(3)?),
        access_version: row.try_get::<Option<i64>, _>(4)?.map_or(0, unsigned),
        recorded_at: row.try_get::<Moment, _>(12)?.0,
    })
}

fn turn(row: &PgRow) -> Result<Turn, Error> {
    Ok(Turn {
        queue: row.try_get(13)?,
        served: row.try_get(5)?,
        // The server's clock may have been put back.
        left: Duration::from_micros(u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default()).min(TURN),
    })
}

fn kept(row: &PgRow) -> Result<Kept, Error> {
    Ok(Kept {
        payload_hash: hash(row.try_get(10)?)?,
        command_id: row.try_get(9)?,
        id: row.try_get(8)?,
        version: unsigned(row.try_get(2)?),
        position: unsigned(row.try_get(3)?),
        created: row.try_get(5)?,
        body: Bytes::from(row.try_get::<Vec<u8>, _>(11)?),
    })
}

fn hash(bytes: &[u8]) -> Result<Hash, Error> {
    bytes.try_into().map(Hash).map_err(|_| damaged("a hash"))
}

/// The row's number, from 0, among `count` that were asked for.
fn number(row: &PgRow, count: usize) -> Result<usize, Error> {
    let number = usize::try_from(row.try_get::<i64, _>(1)? - 1).unwrap_or(usize::MAX);
    if number < count { Ok(number) } else { Err(damaged("a row's number")) }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} among the facts of a batch"))
}
