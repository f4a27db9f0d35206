//! The facts of a batch, each kind in few statements: heads that are not in memory, claims, kept answers.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::stream::parse_id;
use cairn_model::{Read, StreamKey, StreamRef};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::log::unsigned;
use super::multi::MultiRow;
use crate::append::Append;
use crate::error::Error;
use crate::heads::{Head, HeadCache};
use crate::plan::{ClaimKey, Facts, Kept, KeptKey};

/// The subquery finds the stream's last event in the index alone; `CROSS` and `LEFT` fix the order of the joins. A stream that
/// does not exist gives no row: most commands make new ones. The last row, -1, has the number of the file's state: asked
/// for along with the heads it costs no round trip.
static HEADS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, aggregate, id, n) AS (VALUES ",
        4,
        ") SELECT w.n, e.version, e.position, a.version
           FROM wanted AS w
           CROSS JOIN event_store AS e ON e.position = (
               SELECT position FROM event_store AS s
               WHERE s.tenant = w.tenant AND s.aggregate = w.aggregate AND s.id = w.id
               ORDER BY s.version DESC LIMIT 1)
           LEFT JOIN access AS a ON a.id = w.id AND a.aggregate = w.aggregate AND a.tenant = w.tenant
           UNION ALL SELECT -1, data_version, 0, 0 FROM pragma_data_version",
    )
});

static CLAIMS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, claim, n) AS (VALUES ",
        3,
        ") SELECT w.n, c.aggregate, c.id
           FROM wanted AS w CROSS JOIN claims AS c ON c.tenant = w.tenant AND c.claim = w.claim",
    )
});

static KEPT: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, principal, key, n) AS (VALUES ",
        4,
        ") SELECT w.n, i.payload_hash, i.command_id, i.id, i.version, i.position, i.created, i.body
           FROM wanted AS w CROSS JOIN idempotency AS i
           ON i.tenant = w.tenant AND i.principal = w.principal AND i.key = w.key",
    )
});

/// Everything that the appends ask about; `None` if the file's state is not `data_version` any more.
pub(super) async fn facts(
    connection: &mut SqliteConnection,
    cache: &mut HeadCache,
    data_version: i64,
    appends: &[Append],
) -> Result<Option<Facts>, Error> {
    let mut facts = Facts::default();
    let mut unknown: Vec<&StreamKey> = Vec::new();
    for stream in appends.iter().flat_map(streams) {
        if !facts.heads.contains_key(stream) {
            let known = cache.get(stream);
            if known.is_none() {
                unknown.push(stream);
            }
            facts.heads.insert(stream.clone(), known.unwrap_or_default());
        }
    }
    if heads(connection, &unknown, &mut facts.heads).await? != data_version {
        return Ok(None);
    }
    for stream in unknown {
        cache.insert(stream.clone(), facts.heads.get(stream).copied().unwrap_or_default());
    }
    claims(connection, appends, &mut facts.claims).await?;
    kept(connection, appends, &mut facts.kept).await?;
    Ok(Some(facts))
}

/// SQLite's number of the file's state; it changes with every commit of another connection.
pub(super) async fn data_version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await?)
}

fn streams(append: &Append) -> impl Iterator<Item = &StreamKey> {
    let reads = append.reads.iter().map(|read| match read {
        Read::Stream(stream, _) | Read::Access(stream, _) => stream,
    });
    std::iter::once(&append.stream).chain(reads)
}

/// Answers the number of the file's state.
async fn heads(
    connection: &mut SqliteConnection,
    wanted: &[&StreamKey],
    found: &mut HashMap<StreamKey, Head>,
) -> Result<i64, Error> {
    if wanted.is_empty() {
        return data_version(connection).await;
    }
    let mut state = 0;
    for (range, mut query) in HEADS.chunks(wanted.len()) {
        for index in range {
            let stream = wanted[index];
            query = query
                .bind(stream.tenant.clone())
                .bind(stream.aggregate.clone())
                .bind(stream.id.to_string())
                .bind(number(index));
        }
        for row in query.fetch_all(&mut *connection).await? {
            if row.try_get::<i64, _>(0)? == -1 {
                state = row.try_get(1)?;
                continue;
            }
            let head = Head {
                version: unsigned(row.try_get(1)?),
                position: unsigned(row.try_get(2)?),
                access_version: row.try_get::<Option<i64>, _>(3)?.map_or(0, unsigned),
            };
            found.insert(wanted[index_of(&row)?].clone(), head);
        }
    }
    Ok(state)
}

async fn claims(
    connection: &mut SqliteConnection,
    appends: &[Append],
    found: &mut HashMap<ClaimKey, StreamRef>,
) -> Result<(), Error> {
    let wanted: Vec<(&Append, &String)> = appends
        .iter()
        .flat_map(|append| {
            append.claims.take.iter().chain(&append.claims.release).map(move |claim| (append, claim))
        })
        .collect();
    for (range, mut query) in CLAIMS.chunks(wanted.len()) {
        for index in range {
            let (append, claim) = wanted[index];
            query = query.bind(append.stream.tenant.clone()).bind(claim.clone()).bind(number(index));
        }
        for row in query.fetch_all(&mut *connection).await? {
            let (append, claim) = wanted[index_of(&row)?];
            let key = ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.clone() };
            let holder = StreamRef::new(row.try_get::<&str, _>(1)?, id(row.try_get(2)?)?);
            found.insert(key, holder);
        }
    }
    Ok(())
}

async fn kept(
    connection: &mut SqliteConnection,
    appends: &[Append],
    found: &mut HashMap<KeptKey, Kept>,
) -> Result<(), Error> {
    let wanted: Vec<KeptKey> = appends
        .iter()
        .filter_map(|append| append.idempotency.as_ref().map(|key| KeptKey::of(append, key)))
        .collect();
    for (range, mut query) in KEPT.chunks(wanted.len()) {
        for index in range {
            let key = &wanted[index];
            query = query
                .bind(key.tenant.clone())
                .bind(key.principal.to_string())
                .bind(key.key.clone())
                .bind(number(index));
        }
        for row in query.fetch_all(&mut *connection).await? {
            let hash: &[u8] = row.try_get(1)?;
            let kept = Kept {
                payload_hash: Hash(hash.try_into().map_err(|_| damaged("a payload's hash"))?),
                command_id: id(row.try_get(2)?)?,
                id: id(row.try_get(3)?)?,
                version: unsigned(row.try_get(4)?),
                position: unsigned(row.try_get(5)?),
                created: row.try_get(6)?,
                body: Bytes::from(row.try_get::<Vec<u8>, _>(7)?),
            };
            found.insert(wanted[index_of(&row)?].clone(), kept);
        }
    }
    Ok(())
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn index_of(row: &SqliteRow) -> Result<usize, Error> {
    usize::try_from(row.try_get::<i64, _>(0)?).map_err(|_| damaged("a row's number"))
}

fn id(text: &str) -> Result<Uuid, Error> {
    parse_id(text).ok_or_else(|| damaged("an id"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} among the facts of a batch"))
}
