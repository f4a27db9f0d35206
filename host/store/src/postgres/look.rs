//! Looking whether other hosts have appended.
//!
//! Every so often the store asks for the log's last position: one step down an index. `NOTIFY` would say it sooner, but its
//! queue has one lock for the whole server, taken while committing, and every append of every host would pay for it.
//! Whoever has a faster way to hear of events (the bus) calls `look` when it does.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cairn_model::Position;
use sqlx::Row;

use super::Log;
use crate::error::{DatabaseError, Error};
use crate::log::unsigned;

/// More often it would be a burden and no news.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

const LOOK: &str = "SELECT (SELECT e.position FROM event_store AS e ORDER BY e.position DESC LIMIT 1),
    EXISTS (SELECT 1 FROM claims AS c WHERE c.claim = '' AND c.tenant = '')
    AND EXISTS (SELECT 1 FROM access AS a WHERE a.id = '00000000-0000-0000-0000-000000000000'
        AND a.aggregate = '' AND a.tenant = '')";

/// Looks until the log is closed or dropped.
pub(super) fn keep_looking(log: &Arc<Log>, every: Duration) {
    let log = Arc::downgrade(log);
    let every = every.max(LEAST_PAUSE);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if let Err(Error::Closed) = look_once(&log).await {
                return;
            }
        }
    });
}

async fn look_once(log: &Weak<Log>) -> Result<(), Error> {
    let log = log.upgrade().ok_or(Error::Closed)?;
    match log.look().await {
        Ok(_) => Ok(()),
        Err(Error::Closed) => Err(Error::Closed),
        Err(error) => {
            // Whoever appends or reads meets the same and says so.
            tracing::debug!(%error, "looking for the log's end");
            Ok(())
        }
    }
}

impl Log {
    pub(crate) async fn look(&self) -> Result<Position, Error> {
        let row = self.connect.bounded(sqlx::query(LOOK).fetch_one(&self.writers)).await?;
        let position = row.try_get::<Option<i64>, _>(0)?.map_or(0, unsigned);
        self.published.reached(position);
        // That they are gone is found by whoever appends, under the lock; that another host has brought them back, here.
        if row.try_get(1)? {
            self.published.facts_are(true);
        }
        Ok(position)
    }
}

/// PostgreSQL's code of an error.
pub(super) fn code(error: &Error) -> Option<String> {
    let Error::Database(DatabaseError(sqlx::Error::Database(error))) = error else { return None };
    error.code().map(|code| code.into_owned())
}
