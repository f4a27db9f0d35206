//! Keeping what policies remember.

use std::collections::HashMap;
use std::sync::LazyLock;

use cairn_model::stream::parse_id;
use cairn_model::{Name, Position, StreamKey, StreamRef, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::log::{signed, unsigned};
use super::multi::{MultiRow, Script};
use super::{Log, leases};
use crate::error::Error;
use crate::lease::Fence;
use crate::policies::{OutboxEntry, OutboxKey, Reaction, ReactionCommand};

static COMMANDS: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert(
        "INSERT INTO policy_outbox (policy, position, idx, stage, tenant, aggregate, id, command, payload, at,
         on_behalf_of, correlation_id, depth)",
        13,
        0,
        "",
    )
});

static DONE: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new("DELETE FROM policy_outbox WHERE (policy, position, idx) IN (VALUES ", 3, ")")
});

static STATE: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::insert("INSERT OR REPLACE INTO policy_states (policy, tenant, aggregate, id, state)", 5, 0, "")
});

static NO_STATE: LazyLock<MultiRow> = LazyLock::new(|| {
    MultiRow::new("DELETE FROM policy_states WHERE (policy, tenant, aggregate, id) IN (VALUES ", 4, ")")
});

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
        // It does not stay before what was passed by.
        sqlx::query(
            "INSERT OR REPLACE INTO policy_positions (policy, position)
             VALUES (?1, max(?2, coalesce((SELECT position FROM policy_positions WHERE policy = ''), 0)))",
        )
        .bind(policy.clone())
        .bind(signed(to))
        .execute(&mut *transaction)
        .await?;
        let mut script = Script::default();
        states(&mut script, policy, &reactions);
        commands(&mut script, policy, &reactions);
        script.execute(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn complete(&self, entries: &[OutboxKey], fence: Option<&Fence>) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        leases::check(&mut transaction, fence).await?;
        let mut script = Script::default();
        script.rows(&DONE, entries, |row, _, entry| {
            row.bind(entry.policy.clone()).bind(signed(entry.position)).bind(i64::from(entry.index));
        });
        script.execute(&mut transaction).await?;
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

/// Says that policies have reacted to everything up to this position: to those that have a position, and, in the row of a policy
/// without a name, to those that get one later.
pub(super) async fn pass_by(connection: &mut SqliteConnection, position: Position) -> Result<(), Error> {
    sqlx::query("INSERT OR IGNORE INTO policy_positions (policy, position) VALUES ('', 0)")
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE policy_positions SET position = ?")
        .bind(signed(position))
        .execute(connection)
        .await?;
    Ok(())
}

/// Of several reactions about one stream the last one's state stays.
fn states(script: &mut Script, policy: &Name, reactions: &[Reaction]) {
    let last: HashMap<&StreamKey, &Option<String>> =
        reactions.iter().map(|reaction| (&reaction.stream, &reaction.state)).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, state)| state.is_some());
    script.rows(&STATE, kept, |row, _, (stream, state)| {
        row.bind(policy.clone())
            .bind(stream.tenant.clone())
            .bind(stream.aggregate.clone())
            .bind(stream.id.to_string())
            .bind(state.as_deref());
    });
    script.rows(&NO_STATE, gone, |row, _, (stream, _)| {
        row.bind(policy.clone())
            .bind(stream.tenant.clone())
            .bind(stream.aggregate.clone())
            .bind(stream.id.to_string());
    });
}

fn commands(script: &mut Script, policy: &Name, reactions: &[Reaction]) {
    let all: Vec<_> = reactions
        .iter()
        .flat_map(|reaction| (0i64..).zip(&reaction.commands).map(move |(index, it)| (reaction, index, it)))
        .collect();
    script.rows(&COMMANDS, all, |row, _, (reaction, index, command)| {
        row.bind(policy.clone())
            .bind(signed(reaction.event))
            .bind(index)
            .bind(i64::from(command.stage))
            .bind(reaction.stream.tenant.clone())
            .bind(command.target.aggregate.clone())
            .bind(command.target.id.to_string())
            .bind(command.command.clone())
            .bind(&command.payload)
            .bind(command.at.map(|at| at.to_string()))
            .bind(command.on_behalf_of.map(|id| id.to_string()))
            .bind(&command.correlation_id)
            .bind(i64::from(command.depth));
    });
}
