//! The facts of streams, access and claims: reading chains of access, and bringing facts back from the log.

use std::collections::HashSet;

use cairn_model::access::AccessRow;
use cairn_model::stream::parse_id;
use cairn_model::{Access, StreamKey, StreamRef};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::log::unsigned;
use super::multi::Script;
use super::{Log, rows};
use crate::error::Error;
use crate::facts::{CHAIN_LIMIT, Facts};

impl Log {
    pub(crate) async fn access_chain(&self, stream: &StreamKey) -> Result<Vec<AccessRow>, Error> {
        // The left join makes a row of nulls for a parent that has no access, and nothing follows from it.
        let found = sqlx::query(
            "WITH RECURSIVE chain (depth, aggregate, id) AS (
                 SELECT 0, ?1, ?2
                 UNION ALL
                 SELECT c.depth + 1, a.parent_aggregate, a.parent_id
                 FROM chain AS c CROSS JOIN access AS a
                 WHERE a.id = c.id AND a.aggregate = c.aggregate AND a.tenant = ?3
                 AND a.parent_id IS NOT NULL AND c.depth < ?4)
             SELECT c.aggregate, c.id, a.version, a.owner, a.parent_aggregate, a.parent_id, a.inherits, a.entries
             FROM chain AS c
             LEFT JOIN access AS a ON a.id = c.id AND a.aggregate = c.aggregate AND a.tenant = ?3
             ORDER BY c.depth",
        )
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .bind(stream.tenant.clone())
        .bind(CHAIN_LIMIT - 1)
        .fetch_all(&self.readers)
        .await?;
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
}

fn link(row: &SqliteRow) -> Result<AccessRow, Error> {
    let stream = StreamRef::new(row.try_get::<&str, _>(0)?, id(row.try_get(1)?)?);
    let Some(version) = row.try_get::<Option<i64>, _>(2)? else {
        return Ok(AccessRow { stream, version: 0, access: None });
    };
    let parent = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<&str>, _>(5)?) {
        (Some(aggregate), Some(text)) => Some(StreamRef::new(aggregate, id(text)?)),
        _ => None,
    };
    let entries = serde_json::from_str(row.try_get(7)?)
        .map_err(|error| Error::Damaged(format!("the access entries of {stream}: {error}")))?;
    let access = Access {
        owner: row.try_get::<Option<&str>, _>(3)?.map(id).transpose()?,
        parent,
        inherits: row.try_get(6)?,
        entries,
    };
    Ok(AccessRow { stream, version: unsigned(version), access: Some(access) })
}

fn id(text: &str) -> Result<Uuid, Error> {
    parse_id(text).ok_or_else(|| Error::Damaged(format!("the id `{text}` in access")))
}

impl Log {
    pub(crate) async fn put_facts(&self, facts: &[Facts]) -> Result<Vec<(StreamKey, String)>, Error> {
        let mut writer = self.turn().await;
        writer.check_filling()?;
        let mut transaction = writer.begin().await?;
        let access: Vec<_> = facts
            .iter()
            .filter_map(|fact| fact.access.as_ref().map(|(version, access)| (&fact.stream, *version, access)))
            .collect();
        let mut script = Script::default();
        rows::access(&mut script, &access);
        script.execute(&mut transaction).await?;
        let mut refused = Vec::new();
        for fact in facts {
            for claim in &fact.claims {
                let written = sqlx::query(
                    "INSERT INTO claims (tenant, claim, aggregate, id) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (tenant, claim) DO UPDATE SET aggregate = ?3 WHERE aggregate = ?3 AND id = ?4",
                )
                .bind(fact.stream.tenant.clone())
                .bind(claim.clone())
                .bind(fact.stream.aggregate.clone())
                .bind(fact.stream.id.to_string())
                .execute(&mut *transaction)
                .await?;
                if written.rows_affected() == 0 {
                    refused.push((fact.stream.clone(), claim.clone()));
                }
            }
        }
        transaction.commit().await?;
        Ok(refused)
    }
}
