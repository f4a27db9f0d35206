//! The facts of a batch in one round trip: heads that are not in memory, claims, kept answers.

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
use super::multi::{MultiRow, Script};
use crate::append::Append;
use crate::error::Error;
use crate::heads::{Head, HeadCache};
use crate::plan::{ClaimKey, Facts, Kept, KeptKey};

/// SQLite's number of the file's state. Asked for along with the facts it costs no round trip.
const STATE: &str = "SELECT 0, data_version FROM pragma_data_version;";

/// The subquery finds the stream's last event in the index alone; `CROSS` and `LEFT` fix the order of the joins. A stream that
/// does not exist gives no row: most commands make new ones.
static HEADS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, aggregate, id, n) AS (VALUES ",
        4,
        ") SELECT 1, w.n, e.version, e.position, a.version
           FROM wanted AS w
           CROSS JOIN event_store AS e ON e.position = (
               SELECT position FROM event_store AS s
               WHERE s.tenant = w.tenant AND s.aggregate = w.aggregate AND s.id = w.id
               ORDER BY s.version DESC LIMIT 1)
           LEFT JOIN access AS a ON a.id = w.id AND a.aggregate = w.aggregate AND a.tenant = w.tenant",
    )
});

static CLAIMS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, claim, n) AS (VALUES ",
        3,
        ") SELECT 2, w.n, c.aggregate, c.id
           FROM wanted AS w CROSS JOIN claims AS c ON c.tenant = w.tenant AND c.claim = w.claim",
    )
});

static KEPT: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new(
        "WITH wanted (tenant, principal, key, n) AS (VALUES ",
        4,
        ") SELECT 3, w.n, i.payload_hash, i.command_id, i.id, i.version, i.position, i.created, i.body
           FROM wanted AS w CROSS JOIN idempotency AS i
           ON i.tenant = w.tenant AND i.principal = w.principal AND i.key = w.key",
    )
});

/// What the appends ask about and is not in memory, each thing once.
struct Wanted<'a> {
    heads: Vec<&'a StreamKey>,
    claims: Vec<ClaimKey>,
    kept: Vec<KeptKey>,
}

/// Everything that the appends ask about; `None` if the file's state is not `data_version` any more.
pub(super) async fn facts(
    connection: &mut SqliteConnection,
    cache: &mut HeadCache,
    data_version: i64,
    appends: &[Append],
) -> Result<Option<Facts>, Error> {
    let mut facts = Facts::default();
    let wanted = Wanted {
        heads: unknown_heads(cache, appends, &mut facts.heads),
        claims: claims(appends).collect(),
        kept: kept(appends).collect(),
    };
    let mut state = None;
    for row in script(&wanted).fetch_all(connection).await? {
        match row.try_get::<i64, _>(0)? {
            0 => state = Some(row.try_get::<i64, _>(1)?),
            1 => {
                let stream = asked(&wanted.heads, &row)?;
                facts.heads.insert((*stream).clone(), head(&row)?);
            }
            2 => {
                let holder = StreamRef::new(row.try_get::<&str, _>(2)?, id(row.try_get(3)?)?);
                facts.claims.insert(asked(&wanted.claims, &row)?.clone(), holder);
            }
            _ => {
                facts.kept.insert(asked(&wanted.kept, &row)?.clone(), kept_answer(&row)?);
            }
        }
    }
    if state != Some(data_version) {
        return Ok(None);
    }
    for stream in wanted.heads {
        cache.insert(stream.clone(), facts.heads.get(stream).copied().unwrap_or_default());
    }
    Ok(Some(facts))
}

fn script(wanted: &Wanted<'_>) -> Script {
    let mut script = Script::default();
    script.push(STATE);
    script.rows(&HEADS, &wanted.heads, |row, index, stream| {
        row.bind(stream.tenant.clone())
            .bind(stream.aggregate.clone())
            .bind(stream.id.to_string())
            .bind(number(index));
    });
    script.rows(&CLAIMS, &wanted.claims, |row, index, claim| {
        row.bind(claim.tenant.clone()).bind(&claim.claim).bind(number(index));
    });
    script.rows(&KEPT, &wanted.kept, |row, index, kept| {
        row.bind(kept.tenant.clone()).bind(kept.principal.to_string()).bind(&kept.key).bind(number(index));
    });
    script
}

/// The heads that the cache knows go into `known`, those that it does not know are answered.
fn unknown_heads<'a>(
    cache: &mut HeadCache,
    appends: &'a [Append],
    known: &mut HashMap<StreamKey, Head>,
) -> Vec<&'a StreamKey> {
    let mut unknown = Vec::new();
    for stream in appends.iter().flat_map(streams) {
        if !known.contains_key(stream) {
            let head = cache.get(stream);
            if head.is_none() {
                unknown.push(stream);
            }
            known.insert(stream.clone(), head.unwrap_or_default());
        }
    }
    unknown
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

fn claims(appends: &[Append]) -> impl Iterator<Item = ClaimKey> {
    appends.iter().flat_map(|append| {
        append
            .claims
            .take
            .iter()
            .chain(&append.claims.release)
            .map(|claim| ClaimKey { tenant: append.stream.tenant.clone(), claim: claim.clone() })
    })
}

fn kept(appends: &[Append]) -> impl Iterator<Item = KeptKey> {
    appends.iter().filter_map(|append| append.idempotency.as_ref().map(|key| KeptKey::of(append, key)))
}

fn head(row: &SqliteRow) -> Result<Head, Error> {
    Ok(Head {
        version: unsigned(row.try_get(2)?),
        position: unsigned(row.try_get(3)?),
        access_version: row.try_get::<Option<i64>, _>(4)?.map_or(0, unsigned),
        ..Head::default()
    })
}

fn kept_answer(row: &SqliteRow) -> Result<Kept, Error> {
    let hash: &[u8] = row.try_get(2)?;
    Ok(Kept {
        payload_hash: Hash(hash.try_into().map_err(|_| damaged("a payload's hash"))?),
        command_id: id(row.try_get(3)?)?,
        id: id(row.try_get(4)?)?,
        version: unsigned(row.try_get(5)?),
        position: unsigned(row.try_get(6)?),
        created: row.try_get(7)?,
        body: Bytes::from(row.try_get::<Vec<u8>, _>(8)?),
    })
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// What a row is the answer to.
fn asked<'a, T>(wanted: &'a [T], row: &SqliteRow) -> Result<&'a T, Error> {
    let number = usize::try_from(row.try_get::<i64, _>(1)?).ok();
    number.and_then(|number| wanted.get(number)).ok_or_else(|| damaged("a row's number"))
}

fn id(text: &str) -> Result<Uuid, Error> {
    parse_id(text).ok_or_else(|| damaged("an id"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} among the facts of a batch"))
}
