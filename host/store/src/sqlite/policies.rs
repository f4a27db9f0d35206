//! Keeping what policies remember.

use cairn_model::stream::parse_id;
use cairn_model::{Name, Position, StreamKey, StreamRef, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::log::{signed, unsigned};
use super::{Log, leases};
use crate::error::Error;
use crate::lease::Fence;
use crate::policies::{OutboxEntry, OutboxKey, Reaction, ReactionCommand};

impl Log {
    pub(crate) async fn policy_position(&self, policy: &str) -> Result<Position, Error> {
        let found: Option<i64> = sqlx::query_scalar("SELECT position FROM policy_positions WHERE policy = ?")
            .bind(policy)
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.map_or(0, unsigned))
    }

    pub(crate) async fn policy_state(
        &self,
        policy: &str,
        stream: &StreamKey,
    ) -> Result<Option<String>, Error> {
        let found = sqlx::query_scalar(
            "SELECT state FROM policy_states WHERE policy = ? AND tenant = ? AND aggregate = ? AND id = ?",
        )
        .bind(policy)
        .bind(stream.tenant.clone())
        .bind(stream.aggregate.clone())
        .bind(stream.id.to_string())
        .fetch_optional(&self.readers)
        .await?;
        Ok(found)
    }

    pub(crate) async fn outbox(
        &self,
        policy: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, Error> {
        let rows = sqlx::query(
            "SELECT policy, position, idx, stage, tenant, aggregate, id, command, payload, at, on_behalf_of,
                    correlation_id, depth, attempts
             FROM policy_outbox AS o
             WHERE policy = ?1 AND (at IS NULL OR at <= ?2)
             AND NOT EXISTS (SELECT 1 FROM policy_outbox AS earlier
                 WHERE earlier.policy = o.policy AND earlier.position = o.position AND earlier.stage < o.stage)
             ORDER BY position, idx LIMIT ?3",
        )
        .bind(policy)
        .bind(now.to_string())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(entry).collect()
    }

    pub(crate) async fn outbox_due_at(
        &self,
        policy: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let found: Option<String> =
            sqlx::query_scalar("SELECT min(at) FROM policy_outbox WHERE policy = ? AND at > ?")
                .bind(policy)
                .bind(now.to_string())
                .fetch_one(&self.readers)
                .await?;
        found.as_deref().map(time).transpose()
    }
}

fn time(text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse(text).ok_or_else(|| damaged("a time"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} in the policies' outbox"))
}

fn small(row: &SqliteRow, index: usize) -> Result<u32, Error> {
    u32::try_from(row.try_get::<i64, _>(index)?).map_err(|_| damaged("a number"))
}

fn entry(row: &SqliteRow) -> Result<OutboxEntry, Error> {
    let id = parse_id(row.try_get(6)?).ok_or_else(|| damaged("an id"))?;
    let on_behalf_of = row.try_get::<Option<&str>, _>(10)?;
    Ok(OutboxEntry {
        key: OutboxKey {
            policy: row.try_get::<&str, _>(0)?.into(),
            position: unsigned(row.try_get(1)?),
            index: small(row, 2)?,
        },
        tenant: row.try_get::<&str, _>(4)?.into(),
        command: ReactionCommand {
            stage: small(row, 3)?,
            target: StreamRef::new(row.try_get::<&str, _>(5)?, id),
            command: row.try_get::<&str, _>(7)?.into(),
            payload: row.try_get(8)?,
            at: row.try_get::<Option<&str>, _>(9)?.map(time).transpose()?,
            on_behalf_of: on_behalf_of
                .map(|text| parse_id(text).ok_or_else(|| damaged("a principal")))
                .transpose()?,
            correlation_id: row.try_get(11)?,
            depth: small(row, 12)?,
        },
        attempts: small(row, 13)?,
    })
}

impl Log {
    pub(crate) async fn record_reactions(
        &self,
        policy: &Name,
        from: Position,
        to: Position,
        reactions: Vec<Reaction>,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        leases::check(&mut transaction, fence).await?;
        let actual: Option<i64> =
            sqlx::query_scalar("SELECT position FROM policy_positions WHERE policy = ?")
                .bind(policy.clone())
                .fetch_optional(&mut *transaction)
                .await?;
        let actual = actual.map_or(0, unsigned);
        if actual != from {
            return Err(Error::Fenced { expected: from, actual });
        }
        sqlx::query("INSERT OR REPLACE INTO policy_positions (policy, position) VALUES (?, ?)")
            .bind(policy.clone())
            .bind(signed(to))
            .execute(&mut *transaction)
            .await?;
        for reaction in reactions {
            state(&mut transaction, policy, &reaction).await?;
            for (index, command) in (0i64..).zip(&reaction.commands) {
                put(&mut transaction, policy, &reaction, index, command).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn complete(&self, entries: &[OutboxKey], fence: Option<&Fence>) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        leases::check(&mut transaction, fence).await?;
        for entry in entries {
            sqlx::query("DELETE FROM policy_outbox WHERE policy = ? AND position = ? AND idx = ?")
                .bind(entry.policy.clone())
                .bind(signed(entry.position))
                .bind(i64::from(entry.index))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn postpone(
        &self,
        entry: &OutboxKey,
        at: Timestamp,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        leases::check(&mut transaction, fence).await?;
        sqlx::query(
            "UPDATE policy_outbox SET attempts = attempts + 1, at = ? WHERE policy = ? AND position = ? AND idx = ?",
        )
        .bind(at.to_string())
        .bind(entry.policy.clone())
        .bind(signed(entry.position))
        .bind(i64::from(entry.index))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

async fn state(connection: &mut SqliteConnection, policy: &Name, reaction: &Reaction) -> Result<(), Error> {
    let query = match &reaction.state {
        Some(_) => sqlx::query(
            "INSERT INTO policy_states (policy, tenant, aggregate, id, state) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (policy, tenant, aggregate, id) DO UPDATE SET state = excluded.state",
        ),
        None => sqlx::query(
            "DELETE FROM policy_states WHERE policy = ?1 AND tenant = ?2 AND aggregate = ?3 AND id = ?4",
        ),
    };
    query
        .bind(policy.clone())
        .bind(reaction.stream.tenant.clone())
        .bind(reaction.stream.aggregate.clone())
        .bind(reaction.stream.id.to_string())
        .bind(reaction.state.clone())
        .execute(connection)
        .await?;
    Ok(())
}

async fn put(
    connection: &mut SqliteConnection,
    policy: &Name,
    reaction: &Reaction,
    index: i64,
    command: &ReactionCommand,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO policy_outbox (policy, position, idx, stage, tenant, aggregate, id, command, payload, at,
         on_behalf_of, correlation_id, depth) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(policy.clone())
    .bind(signed(reaction.event))
    .bind(index)
    .bind(i64::from(command.stage))
    .bind(reaction.stream.tenant.clone())
    .bind(command.target.aggregate.clone())
    .bind(command.target.id.to_string())
    .bind(command.command.clone())
    .bind(command.payload.clone())
    .bind(command.at.map(|at| at.to_string()))
    .bind(command.on_behalf_of.map(|id| id.to_string()))
    .bind(command.correlation_id.clone())
    .bind(i64::from(command.depth))
    .execute(connection)
    .await?;
    Ok(())
}
