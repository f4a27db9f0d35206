//! What stands at the end of a stream, compared with the log: the last entry's link in the hash chain tells not only whose log
//! it is of, but also whether the log before it is the same.

use std::fmt::Display;

use cairn_model::{Position, RecordedEvent};

use super::script::Look;
use super::{Failure, Page, Relay};
use crate::cloud_event;

/// The furthest position that a log can have, as databases count.
const POSITION_MAX: Position = i64::MAX.unsigned_abs();

/// How a stream stands.
pub(super) enum Found {
    /// Events of this log up to here; 0 if there are none.
    End(Position),
    /// What no relay has written.
    Broken(String),
    /// Events of another log, or of another history of this one.
    Foreign(String),
}

/// Reads from the log what is needed to judge.
pub(super) async fn judge<F, R, E>(relay: &Relay<F>, look: &Look) -> Result<Found, Failure>
where
    F: Fn(Position, u32) -> R,
    R: Future<Output = Result<Page, E>>,
    E: Display,
{
    let Some(end) = &look.end else { return Ok(broken("it is no stream")) };
    let Some(end) = read_id(end) else { return Ok(broken("its ids are no positions")) };
    if let Some((id, event)) = &look.entry {
        let stamp = std::str::from_utf8(event).ok().and_then(cloud_event::read_stamp);
        let Some(stamp) = stamp else { return Ok(broken("its last entry is no event")) };
        if stamp.source != cloud_event::source(relay.log_id) {
            return Ok(Found::Foreign(format!("their events come from {:.80}", stamp.source)));
        }
        let position = read_id(id).filter(|position| stamp.position == position.to_string());
        let Some(position) = position else { return Ok(broken("its last entry's id is not its position")) };
        let same = event_at(relay, position).await?.is_some_and(|event| event.hash.to_string() == stamp.hash);
        if !same {
            return Ok(Found::Foreign(format!("the log has another event at position {position}, or none")));
        }
        if position == end {
            return Ok(Found::End(end));
        }
    }
    // The last entries were deleted, by trimming or by a consumer.
    if end > 0 && event_at(relay, end).await?.is_none() {
        return Ok(broken("it ends where the log has no event"));
    }
    Ok(Found::End(end))
}

fn broken(reason: &str) -> Found {
    Found::Broken(reason.to_owned())
}

/// `<position>-0`
fn read_id(id: &str) -> Option<Position> {
    id.strip_suffix("-0")?.parse().ok()
}

async fn event_at<F, R, E>(relay: &Relay<F>, position: Position) -> Result<Option<RecordedEvent>, Failure>
where
    F: Fn(Position, u32) -> R,
    R: Future<Output = Result<Page, E>>,
    E: Display,
{
    if position == 0 || position > POSITION_MAX {
        return Ok(None);
    }
    let page = (relay.read)(position - 1, 1).await.map_err(|error| Failure::Log(error.to_string()))?;
    Ok(page.events.into_iter().find(|event| event.position == position))
}
