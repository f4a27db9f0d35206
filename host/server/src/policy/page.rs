//! A policy's reactions to the events of one page of the log.
//!
//! The projection is waited for once, until it contains the last of the events, and all of them read the same moment of it.
//! What an event reads may so be later than the event, never earlier. States that are not stored yet are remembered here:
//! the next event of the stream finds them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::row::Rows;
use cairn_model::{Call, Metadata, Name, Permissions, Position, RecordedEvent, StreamKey, ids};
use cairn_store::{Reaction, ReactionCommand, Session};
use cairn_wasm::{GuestContext, PolicyCommand, PolicyOutcome};

use super::Running;

/// How often a guest may ask for more rows about one event.
const ROUNDS: usize = 16;
/// How long one wait for the projection lasts before it is said in the log that it is behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the reactions to a page have in common.
pub(super) struct Page<'a> {
    policy: &'a Running,
    /// The position of the last event.
    last: Position,
    /// The read model for the tenant that was read last.
    session: Option<(Name, Session)>,
    /// The states that earlier events of the page left.
    states: HashMap<StreamKey, Option<String>>,
}

impl<'a> Page<'a> {
    /// For events up to this position.
    pub fn new(policy: &'a Running, last: Position) -> Self {
        Self { policy, last, session: None, states: HashMap::new() }
    }

    /// Asks the guest what to do about an event, given everything that it asks for.
    ///
    /// # Errors
    /// When the guest fails or asks too often, or the rows cannot be read; nothing is remembered then.
    pub async fn react(&mut self, event: &RecordedEvent) -> Result<Reaction, anyhow::Error> {
        let metadata = event.read_metadata()?;
        let state: Option<Arc<str>> = self.state(&event.stream).await?.map(Into::into);
        let context = Arc::new(self.context(event, &metadata));
        let event = Arc::new(event.clone());
        let mut answers: Vec<Rows> = Vec::new();
        for _ in 0..ROUNDS {
            let (component, name) = (self.policy.component.clone(), self.policy.spec.name.clone());
            let (context, about, state) = (context.clone(), event.clone(), state.clone());
            let blocking = move || {
                let state = state.as_deref().map(str::as_bytes);
                let outcome = component.react(&context, &name, &about, state, &answers);
                (outcome, answers)
            };
            let (outcome, back) = tokio::task::spawn_blocking(blocking).await?;
            answers = back;
            match outcome? {
                PolicyOutcome::Done(done) => {
                    let (stream, state) = (event.stream.clone(), done.state.as_deref().map(text));
                    self.states.insert(stream.clone(), state.clone());
                    let commands =
                        done.commands.into_iter().map(|command| outbox(command, &metadata)).collect();
                    return Ok(Reaction { event: event.position, stream, state, commands });
                }
                PolicyOutcome::Read(calls) => answers.extend(self.read(&metadata.tenant, &calls).await?),
            }
        }
        anyhow::bail!(
            "{} at position {} asked for rows more than {ROUNDS} times",
            self.policy.spec.name,
            event.position
        )
    }

    async fn state(&self, stream: &StreamKey) -> Result<Option<String>, cairn_store::Error> {
        match self.states.get(stream) {
            Some(state) => Ok(state.clone()),
            None => self.policy.store.policy_state(&self.policy.key, stream).await,
        }
    }

    /// What the guest sees of its surroundings: the same whenever it is asked about this event.
    fn context(&self, event: &RecordedEvent, metadata: &Metadata) -> GuestContext {
        let position = event.position.to_string();
        let command_id = ids::derived_id(&["reaction", &self.policy.key, &position]);
        GuestContext {
            now: event.recorded_at,
            seed: ids::seed(command_id),
            principal: Arc::new(self.policy.principal(&metadata.tenant)),
            on_behalf_of: Some(metadata.on_behalf_of.unwrap_or(metadata.actor)),
            permissions: Permissions::ALL,
            command_id,
            correlation_id: Some(metadata.correlation_id.clone()),
            causation_id: Some(position),
        }
    }

    async fn read(&mut self, tenant: &Name, calls: &[Call]) -> Result<Vec<Rows>, anyhow::Error> {
        let (_, session) = match self.session.take() {
            Some(open) if open.0 == *tenant => self.session.insert(open),
            // Another tenant's is closed first: a page holds one connection, however many tenants are on it.
            other => {
                drop(other);
                let session = self.open(tenant).await?;
                self.session.insert((tenant.clone(), session))
            }
        };
        let mut rows = Vec::with_capacity(calls.len());
        for call in calls {
            rows.push(session.read(call).await?);
        }
        Ok(rows)
    }

    /// The projection's rows once they contain the page's events.
    async fn open(&self, tenant: &Name) -> Result<Session, anyhow::Error> {
        let Some(projection) = &self.policy.spec.projection else {
            anyhow::bail!("{} reads rows, but its manifest names no projection", self.policy.spec.name);
        };
        let principal = self.policy.principal(tenant);
        let view = self.policy.projections.view_from(projection, &principal, self.last, PATIENCE).await;
        let view = view.map_err(|problem| anyhow::anyhow!("{}", problem.detail()))?;
        // The policy's statements are those of its own component.
        if view.plugin.component.digest() != self.policy.component.digest() {
            anyhow::bail!("the read model `{projection}` is being built anew");
        }
        Ok(view.session)
    }
}

fn outbox(command: PolicyCommand, metadata: &Metadata) -> ReactionCommand {
    ReactionCommand {
        target: command.target,
        command: command.command,
        payload: text(&command.payload),
        stage: command.stage,
        at: command.at,
        on_behalf_of: Some(metadata.on_behalf_of.unwrap_or(metadata.actor)),
        correlation_id: metadata.correlation_id.clone(),
        depth: metadata.causation_depth + 1,
    }
}

/// What the guest gave as JSON was checked to be UTF-8 when it came out of the guest.
fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
