//! Decisions of the domain's own code, compiled for this machine. It does what the component does for a command: a context
//! of its own, the payload read, the events written and read again, the access and the claims that follow compared with
//! those before.

use anyhow::bail;
use cairn_files::domain::File;
use cairn_sdk::domain::{Access, AggregateRoot, Permissions};
use cairn_sdk::events::RecordedEvent;
use cairn_sdk::plugin::ErasedAggregate;
use cairn_sdk::shared::{Context, ContextParts, StreamRef};
use cairn_sdk::testing;
use uuid::Uuid;

use super::watch::Watch;
use super::{FILES, payload};

/// A file in memory, and what it was last seen to grant and to claim.
struct Resident {
    id: Uuid,
    file: Box<dyn ErasedAggregate>,
    access: Option<Access>,
    claims: Vec<String>,
}

/// Renames decided and applied per second of processor time.
///
/// # Errors
/// When the domain does not do what it should.
pub fn measure(decisions: u64) -> anyhow::Result<f64> {
    let parts = ContextParts {
        now: testing::NOW,
        seed: (1, 2),
        tenant: "default".to_owned(),
        principal: testing::principal(testing::user(1)),
        on_behalf_of: None,
        permissions: Permissions::ALL,
        command_id: testing::COMMAND_ID.to_string(),
        correlation_id: "bench".to_owned(),
        causation_id: None,
    };
    let mut files = Vec::new();
    for number in 0..FILES {
        let id = Uuid::from_u128(u128::from(number));
        let mut file = Resident { id, file: Box::new(File::new(id)), access: None, claims: Vec::new() };
        file.step("create", number, parts.clone())?;
        files.push(file);
    }
    let watch = Watch::start();
    for number in 0..decisions {
        let at = usize::try_from(number % FILES)?;
        files[at].step("rename", number + FILES, parts.clone())?;
    }
    Ok(watch.per_second(decisions))
}

impl Resident {
    /// Decides a command and applies its event.
    fn step(&mut self, command: &str, number: u64, parts: ContextParts) -> anyhow::Result<()> {
        let outcome = match self.file.handle(command, &payload(number), &Context::new(parts, Vec::new())) {
            Ok(outcome) => outcome,
            Err(error) => bail!("the file refused `{command}`: {error:?}"),
        };
        if outcome.events.len() != 1 {
            bail!("`{command}` made {} events", outcome.events.len());
        }
        for event in outcome.events {
            let recorded = RecordedEvent {
                position: 0,
                stream: StreamRef::of::<File>(self.id),
                version: self.file.version() + 1,
                event_type: event.event_type.to_string(),
                schema_version: event.schema_version,
                data: event.data,
                occurred_at: testing::NOW,
                actor: testing::user(1),
            };
            if let Err(fault) = self.file.apply(&[recorded]) {
                bail!("the file cannot apply its own event: {fault:?}");
            }
        }
        let (access, claims) = (self.file.access(), self.file.claims());
        if access != self.access {
            self.access = access;
        }
        if claims == self.claims {
            bail!("`{command}` claims no other name");
        }
        self.claims = claims;
        Ok(())
    }
}
