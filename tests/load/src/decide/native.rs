//! Decisions of the domain's own code, compiled for this machine. It does what the component does for a command: a context
//! of its own, the payload read, the events applied and written, the access and the claims that follow compared with
//! those before.

use anyhow::bail;
use cairn_files::domain::File;
use cairn_sdk::domain::{Access, AggregateRoot, Permissions};
use cairn_sdk::plugin::ErasedAggregate;
use cairn_sdk::shared::{Context, ContextParts};
use cairn_sdk::testing;
use uuid::Uuid;

use super::watch::Watch;
use super::{FILES, payload};

/// A file in memory, and what it was last seen to grant and to claim.
struct Resident {
    file: Box<dyn ErasedAggregate>,
    access: Access,
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
        command_id: testing::COMMAND_ID,
        correlation_id: None,
        causation_id: None,
    };
    let mut files = Vec::new();
    for number in 0..FILES {
        let id = Uuid::from_u128(u128::from(number));
        let file = Box::new(File::new(id));
        let mut file = Resident { file, access: Access::default(), claims: Vec::new() };
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
    /// Decides a command, which applies its event.
    fn step(&mut self, command: &str, number: u64, parts: ContextParts) -> anyhow::Result<()> {
        let outcome = match self.file.decide(command, &payload(number), &Context::new(parts, Vec::new())) {
            Ok(outcome) => outcome,
            Err(error) => bail!("the file refused `{command}`: {error:?}"),
        };
        if outcome.events.len() != 1 {
            bail!("`{command}` made {} events", outcome.events.len());
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
