//! Keeping turns, inside the transaction of a batch and so under the log's lock.

use cairn_model::StreamKey;
use sqlx::postgres::PgConnection;

use crate::turns::Turn;

/// Turns that ended long ago are of no use. They are looked for with one of so many changes.
const SWEEP_EVERY: u64 = 256;

const NOTE: &str = "
    INSERT INTO turns (id, aggregate, tenant, queue, served, ends_at)
    SELECT w.id, w.aggregate, w.tenant, string_to_array(w.queue, ' ')::uuid[], w.served,
           clock_timestamp() + w.left_us * interval '1 microsecond'
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::int8[])
        AS w (id, aggregate, tenant, queue, served, left_us)
    ON CONFLICT (id, aggregate, tenant) DO UPDATE SET queue = excluded.queue, served = excluded.served,
        ends_at = excluded.ends_at";

const SWEEP: &str = "DELETE FROM turns WHERE ends_at < clock_timestamp() - interval '10 seconds'";

/// Notes these turns; `number` counts the calls.
pub(super) async fn note(
    connection: &mut PgConnection,
    turns: &[(&StreamKey, &Turn)],
    number: u64,
) -> Result<(), sqlx::Error> {
    let queue = |turn: &Turn| turn.queue.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let left_us = |turn: &Turn| i64::try_from(turn.left.as_micros()).unwrap_or_default();
    sqlx::query(NOTE)
        .bind(turns.iter().map(|(stream, _)| stream.id).collect::<Vec<_>>())
        .bind(turns.iter().map(|(stream, _)| &*stream.aggregate).collect::<Vec<_>>())
        .bind(turns.iter().map(|(stream, _)| &*stream.tenant).collect::<Vec<_>>())
        .bind(turns.iter().map(|(_, turn)| queue(turn)).collect::<Vec<_>>())
        .bind(turns.iter().map(|(_, turn)| turn.served).collect::<Vec<_>>())
        .bind(turns.iter().map(|(_, turn)| left_us(turn)).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    if number.is_multiple_of(SWEEP_EVERY) {
        sqlx::query(SWEEP).execute(connection).await?;
    }
    Ok(())
}
