//! The facts of streams, access and claims: reading chains of access, and bringing facts back from the log.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use cairn_model::access::AccessRow;
use cairn_model::{Access, StreamKey, StreamRef, ids};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::connect::within;
use super::types::key;
use super::{Log, lock, make_derived, rows};
use crate::error::Error;
use crate::facts::{CHAIN_LIMIT, Facts};
use crate::log::unsigned;

/// Writes the rows that say that access and claims are whole.
pub(super) async fn put_sentinels(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "INSERT INTO claims (claim, tenant, aggregate, id) VALUES ('', '', '', '00000000-0000-0000-0000-000000000000')
         ON CONFLICT DO NOTHING;
         INSERT INTO access (id, aggregate, tenant, version, inherits, entries)
         VALUES ('00000000-0000-0000-0000-000000000000', '', '', 0, false, '[]') ON CONFLICT DO NOTHING",
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Log {
    pub(crate) async fn access_chain(&self, stream: &StreamKey) -> Result<Vec<AccessRow>, Error> {
        // The left join makes a row of nulls for a parent that has no access, and nothing follows from it.
        let query = sqlx::query(
            "WITH RECURSIVE chain (depth, aggregate, id) AS (
                 SELECT 0, $1::text COLLATE \"C\", $2::uuid
                 UNION ALL
                 SELECT c.depth + 1, a.parent_aggregate, a.parent_id
                 FROM chain AS c
                 JOIN access AS a ON a.id = c.id AND a.aggregate = c.aggregate AND a.tenant = $3
                 WHERE a.parent_id IS NOT NULL AND c.depth < $4)
             SELECT c.aggregate, c.id, a.version, a.owner, a.parent_aggregate, a.parent_id, a.inherits, a.entries
             FROM chain AS c
             LEFT JOIN access AS a ON a.id = c.id AND a.aggregate = c.aggregate AND a.tenant = $3
             ORDER BY c.depth",
        )
        .bind(&*stream.aggregate)
        .bind(stream.id)
        .bind(&*stream.tenant)
        .bind(CHAIN_LIMIT - 1);
        let found = self.connect.bounded(query.fetch_all(&self.readers)).await?;
        let mut seen = HashSet::new();
        let mut chain = Vec::with_capacity(found.len());
        for row in &found {
            let link = link(row)?;
            if !seen.insert(link.stream.clone()) {
                break;
            }
            chain.push(link);
        }
        Ok(chain)
    }

    /// Empties access and claims. Whoever filled them before cannot go on.
    pub(crate) async fn begin_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let number = ids::new_id(writer.now());
        within(self.connect.limit, async {
            make_derived(&mut *self.writers.acquire().await?).await?;
            let mut transaction = self.writers.begin().await?;
            lock(&mut transaction).await?;
            sqlx::raw_sql("TRUNCATE access, claims").execute(&mut *transaction).await?;
            sqlx::query("UPDATE log_meta SET rebuild = $1").bind(number).execute(&mut *transaction).await?;
            Ok::<_, Error>(transaction.commit().await?)
        })
        .await?;
        writer.facts_intact = false;
        self.published.facts_are(false);
        *self.rebuild.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
        Ok(())
    }

    pub(crate) async fn put_facts(&self, facts: &[Facts]) -> Result<Vec<(StreamKey, String)>, Error> {
        // One row for each stream: PostgreSQL does not write one twice in a statement.
        let access: HashMap<_, _> = facts
            .iter()
            .filter_map(|fact| {
                fact.access.as_ref().map(|(version, access)| (&fact.stream, (*version, access)))
            })
            .collect();
        let access: Vec<_> =
            access.into_iter().map(|(stream, (version, access))| (stream, version, access)).collect();
        within(self.connect.limit, async {
            let mut transaction = self.writers.begin().await?;
            self.check_rebuild(&mut transaction).await?;
            rows::access(&mut transaction, &access).await?;
            let refused = put_claims(&mut transaction, facts).await?;
            transaction.commit().await?;
            Ok::<_, Error>(refused)
        })
        .await
    }

    pub(crate) async fn finish_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        within(self.connect.limit, async {
            let mut transaction = self.writers.begin().await?;
            lock(&mut transaction).await?;
            self.check_rebuild(&mut transaction).await?;
            put_sentinels(&mut transaction).await?;
            Ok::<_, Error>(transaction.commit().await?)
        })
        .await?;
        writer.facts_intact = true;
        self.published.facts_are(true);
        Ok(())
    }

    /// Whether nobody else has begun to fill access and claims since this process has; until the transaction ends nobody can.
    async fn check_rebuild(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let own = *self.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Option<Uuid> =
            sqlx::query_scalar("SELECT rebuild FROM log_meta FOR SHARE").fetch_one(connection).await?;
        if own.is_some() && own == found {
            return Ok(());
        }
        Err(Error::NotWritten("another host has begun to bring access and claims back".to_owned()))
    }
}

/// Writes claims, and answers those that are another stream's.
async fn put_claims(
    connection: &mut PgConnection,
    facts: &[Facts],
) -> Result<Vec<(StreamKey, String)>, Error> {
    let all = facts.iter().flat_map(|fact| fact.claims.iter().map(move |claim| (&fact.stream, claim)));
    let mut holders: HashMap<(&str, &str), &StreamKey> = HashMap::new();
    let mut refused = Vec::new();
    for (stream, claim) in all {
        let holder = *holders.entry((&*stream.tenant, claim)).or_insert(stream);
        if holder != stream {
            refused.push((stream.clone(), claim.clone()));
        }
    }
    let wanted: Vec<_> = holders.into_iter().collect();
    let written: Vec<i64> = sqlx::query_scalar(
        "WITH wanted AS (
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) WITH ORDINALITY
                 AS w (claim, tenant, aggregate, id, n)
         ), written AS (
             INSERT INTO claims AS c (claim, tenant, aggregate, id)
             SELECT w.claim, w.tenant, w.aggregate, w.id FROM wanted AS w
             ON CONFLICT (claim, tenant) DO UPDATE SET aggregate = excluded.aggregate
             WHERE c.aggregate = excluded.aggregate AND c.id = excluded.id
             RETURNING c.claim, c.tenant
         )
         SELECT w.n FROM wanted AS w WHERE NOT EXISTS (
             SELECT 1 FROM written AS x WHERE x.claim = w.claim AND x.tenant = w.tenant)",
    )
    .bind(wanted.iter().map(|((_, claim), _)| key(claim)).collect::<Vec<_>>())
    .bind(wanted.iter().map(|((tenant, _), _)| *tenant).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, stream)| &*stream.aggregate).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, stream)| stream.id).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    for number in written {
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(((_, claim), stream)) = wanted.get(index) {
            refused.push(((*stream).clone(), (*claim).to_owned()));
        }
    }
    Ok(refused)
}

fn link(row: &PgRow) -> Result<AccessRow, Error> {
    let stream = StreamRef::new(row.try_get::<&str, _>(0)?, row.try_get(1)?);
    let Some(version) = row.try_get::<Option<i64>, _>(2)? else {
        return Ok(AccessRow { stream, version: 0, access: None });
    };
    let parent = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<Uuid>, _>(5)?) {
        (Some(aggregate), Some(id)) => Some(StreamRef::new(aggregate, id)),
        _ => None,
    };
    let entries = serde_json::from_str(row.try_get(7)?)
        .map_err(|error| Error::Damaged(format!("the access entries of {stream}: {error}")))?;
    let access = Access { owner: row.try_get(3)?, parent, inherits: row.try_get(6)?, entries };
    Ok(AccessRow { stream, version: unsigned(version), access: Some(access) })
}
