//! What policies remember: what they answered to events, and the commands that they still have to send.

use cairn_model::{Name, Position, StreamKey, StreamRef, Timestamp};
use uuid::Uuid;

/// What a policy answered to one event.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// The event's position.
    pub event: Position,
    /// The event's stream.
    pub stream: StreamKey,
    /// The policy's state for this stream from now on, JSON; `None` forgets it.
    pub state: Option<String>,
    /// The commands to send, in order.
    pub commands: Vec<ReactionCommand>,
}

/// A command that a policy sends. It goes to the event's own tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionCommand {
    /// It waits for all commands of the same event with a lower stage.
    pub stage: u32,
    /// To which aggregate.
    pub target: StreamRef,
    /// The command's name in paths.
    pub command: Name,
    /// Its payload, JSON.
    pub payload: String,
    /// Not before this time.
    pub at: Option<Timestamp>,
    /// The principal in whose name it is sent.
    pub on_behalf_of: Option<Uuid>,
    /// That of the event.
    pub correlation_id: String,
    /// How many policies stand between the first request and this command.
    pub depth: u32,
}

/// Which command of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboxKey {
    /// Whose it is.
    pub policy: Name,
    /// The event that it answers.
    pub position: Position,
    /// Its number among the answers to this event: 0, 1, ….
    pub index: u32,
}

/// A command in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Which one.
    pub key: OutboxKey,
    /// The tenant that it goes to.
    pub tenant: Name,
    /// The command.
    pub command: ReactionCommand,
    /// How often it has failed.
    pub attempts: u32,
}
