//! Keeping what policies remember.

use cairn_model::{Name, Position, StreamKey, StreamRef, Timestamp};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};

use super::connect::within;
use super::types::Moment;
use super::{Log, leases};
use crate::error::Error;
use crate::lease::Fence;
use crate::log::{signed, unsigned};
use crate::policies::{OutboxEntry, OutboxKey, Reaction, ReactionCommand};

impl Log {
    pub(crate) async fn policy_position(&self, policy: &str) -> Result<Position, Error> {
        let query =
            sqlx::query_scalar("SELECT position FROM policy_positions WHERE policy = $1").bind(policy);
        let found: Option<i64> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        Ok(found.map_or(0, unsigned))
    }

    pub(crate) async fn policy_state(
        &self,
        policy: &str,
        stream: &StreamKey,
    ) -> Result<Option<String>, Error> {
        let query = sqlx::query_scalar(
            "SELECT state FROM policy_states WHERE policy = $1 AND id = $2 AND aggregate = $3 AND tenant = $4",
        )
        .bind(policy)
        .bind(stream.id)
        .bind(&*stream.aggregate)
        .bind(&*stream.tenant);
        self.connect.bounded(query.fetch_optional(&self.readers)).await
    }

    pub(crate) async fn outbox(
        &self,
        policy: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, Error> {
        let query = sqlx::query(
            "SELECT policy, position, idx, stage, tenant, aggregate, id, command, payload, at, on_behalf_of,
                    correlation_id, depth, attempts
             FROM policy_outbox AS o
             WHERE policy = $1 AND (at IS NULL OR at <= $2)
             AND NOT EXISTS (SELECT 1 FROM policy_outbox AS earlier
                 WHERE earlier.policy = o.policy AND earlier.position = o.position AND earlier.stage < o.stage)
             ORDER BY position, idx LIMIT $3",
        )
        .bind(policy)
        .bind(Moment(now))
        .bind(i64::from(limit));
        let rows = self.connect.bounded(query.fetch_all(&self.readers)).await?;
        rows.iter().map(entry).collect()
    }

    pub(crate) async fn outbox_due_at(
        &self,
        policy: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let query = sqlx::query_scalar("SELECT min(at) FROM policy_outbox WHERE policy = $1 AND at > $2")
            .bind(policy)
            .bind(Moment(now));
        let found: Option<Moment> = self.connect.bounded(query.fetch_one(&self.readers)).await?;
        Ok(found.map(|moment| moment.0))
    }

    pub(crate) async fn record_reactions(
        &self,
        policy: &Name,
        from: Position,
        to: Position,
        reactions: Vec<Reaction>,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        within(self.connect.limit, async {
            let mut transaction = self.writers.begin().await?;
            leases::check(&mut transaction, fence).await?;
            move_on(&mut transaction, policy, from, to).await?;
            for reaction in &reactions {
                state(&mut transaction, policy, reaction).await?;
                put(&mut transaction, policy, reaction).await?;
            }
            Ok::<_, Error>(transaction.commit().await?)
        })
        .await
    }

    pub(crate) async fn complete(&self, entries: &[OutboxKey], fence: Option<&Fence>) -> Result<(), Error> {
        let query = sqlx::query(
            "DELETE FROM policy_outbox AS o USING unnest($1::text[], $2::int8[], $3::int8[]) AS w (policy, position, idx)
             WHERE o.policy = w.policy AND o.position = w.position AND o.idx = w.idx",
        )
        .bind(entries.iter().map(|entry| &*entry.policy).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| signed(entry.position)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| i64::from(entry.index)).collect::<Vec<_>>());
        self.fenced(query, fence).await
    }

    pub(crate) async fn postpone(
        &self,
        entry: &OutboxKey,
        at: Timestamp,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        let query = sqlx::query(
            "UPDATE policy_outbox SET attempts = attempts + 1, at = $1
             WHERE policy = $2 AND position = $3 AND idx = $4",
        )
        .bind(Moment(at))
        .bind(&*entry.policy)
        .bind(signed(entry.position))
        .bind(i64::from(entry.index));
        self.fenced(query, fence).await
    }

    /// Runs a statement, if the lease is still held.
    async fn fenced(
        &self,
        query: Query<'_, Postgres, PgArguments>,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        within(self.connect.limit, async {
            let mut transaction = self.writers.begin().await?;
            leases::check(&mut transaction, fence).await?;
            query.execute(&mut *transaction).await?;
            Ok::<_, Error>(transaction.commit().await?)
        })
        .await
    }
}

/// Says that policies have reacted to everything up to this position: to those that have a position, and, in the row of a policy
/// without a name, to those that get one later.
pub(super) async fn pass_by(connection: &mut PgConnection, position: Position) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO policy_positions (policy, position) VALUES ('', 0) ON CONFLICT (policy) DO NOTHING",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE policy_positions SET position = $1")
        .bind(signed(position))
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves a policy's position, if it is the expected one; until the transaction ends nobody else can. It does not stay before
/// what was passed by.
async fn move_on(
    connection: &mut PgConnection,
    policy: &Name,
    from: Position,
    to: Position,
) -> Result<(), Error> {
    let made = sqlx::query(
        "INSERT INTO policy_positions (policy, position) VALUES ($1, 0) ON CONFLICT (policy) DO NOTHING",
    )
    .bind(&**policy)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() > 0 {
        // An import that is under way does not see the row, and is waited for.
        sqlx::query("SELECT 1 FROM log_meta FOR SHARE").execute(&mut *connection).await?;
    }
    let actual: i64 =
        sqlx::query_scalar("SELECT position FROM policy_positions WHERE policy = $1 FOR UPDATE")
            .bind(&**policy)
            .fetch_one(&mut *connection)
            .await?;
    let actual = unsigned(actual);
    if actual != from {
        return Err(Error::Fenced { expected: from, actual });
    }
    sqlx::query(
        "UPDATE policy_positions SET position = greatest($2, (SELECT position FROM policy_positions WHERE policy = ''))
         WHERE policy = $1",
    )
    .bind(&**policy)
    .bind(signed(to))
    .execute(connection)
    .await?;
    Ok(())
}

async fn state(connection: &mut PgConnection, policy: &Name, reaction: &Reaction) -> Result<(), Error> {
    let query = match &reaction.state {
        Some(state) => sqlx::query(
            "INSERT INTO policy_states (policy, id, aggregate, tenant, state) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (policy, id, aggregate, tenant) DO UPDATE SET state = excluded.state",
        )
        .bind(&**policy)
        .bind(reaction.stream.id)
        .bind(&*reaction.stream.aggregate)
        .bind(&*reaction.stream.tenant)
        .bind(state),
        None => sqlx::query(
            "DELETE FROM policy_states WHERE policy = $1 AND id = $2 AND aggregate = $3 AND tenant = $4",
        )
        .bind(&**policy)
        .bind(reaction.stream.id)
        .bind(&*reaction.stream.aggregate)
        .bind(&*reaction.stream.tenant),
    };
    query.execute(connection).await?;
    Ok(())
}

async fn put(connection: &mut PgConnection, policy: &Name, reaction: &Reaction) -> Result<(), Error> {
    let commands = &reaction.commands;
    if commands.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO policy_outbox (policy, position, tenant, idx, stage, aggregate, id, command, payload, at,
                                    on_behalf_of, correlation_id, depth)
         SELECT $1, $2, $3, w.n - 1, w.stage, w.aggregate, w.id, w.command, w.payload, w.at, w.on_behalf_of,
                w.correlation_id, w.depth
         FROM unnest($4::int8[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::timestamptz[], $10::uuid[],
                     $11::text[], $12::int8[]) WITH ORDINALITY
             AS w (stage, aggregate, id, command, payload, at, on_behalf_of, correlation_id, depth, n)",
    )
    .bind(&**policy)
    .bind(signed(reaction.event))
    .bind(&*reaction.stream.tenant)
    .bind(commands.iter().map(|command| i64::from(command.stage)).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| &*command.target.aggregate).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| command.target.id).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| &*command.command).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| &*command.payload).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| command.at.map(Moment)).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| command.on_behalf_of).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| &*command.correlation_id).collect::<Vec<_>>())
    .bind(commands.iter().map(|command| i64::from(command.depth)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

fn small(row: &PgRow, index: usize) -> Result<u32, Error> {
    u32::try_from(row.try_get::<i64, _>(index)?)
        .map_err(|_| Error::Damaged("a number in the policies' outbox".to_owned()))
}

fn entry(row: &PgRow) -> Result<OutboxEntry, Error> {
    Ok(OutboxEntry {
        key: OutboxKey {
            policy: row.try_get::<&str, _>(0)?.into(),
            position: unsigned(row.try_get(1)?),
            index: small(row, 2)?,
        },
        tenant: row.try_get::<&str, _>(4)?.into(),
        command: ReactionCommand {
            stage: small(row, 3)?,
            target: StreamRef::new(row.try_get::<&str, _>(5)?, row.try_get(6)?),
            command: row.try_get::<&str, _>(7)?.into(),
            payload: row.try_get(8)?,
            at: row.try_get::<Option<Moment>, _>(9)?.map(|moment| moment.0),
            on_behalf_of: row.try_get(10)?,
            correlation_id: row.try_get(11)?,
            depth: small(row, 12)?,
        },
        attempts: small(row, 13)?,
    })
}
