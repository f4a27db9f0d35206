//! How projections stand, whoever runs them: everything is read from the log and the tables.

use std::sync::PoisonError;

use cairn_model::{Name, Position};
use cairn_store::{LogFilter, Standing};
use serde::Serialize;

use super::control::Control;
use super::{Projections, Running};
use crate::problem::Problem;

/// How a projection stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The projection.
    pub name: Name,
    /// The plugin that declares it.
    pub plugin: Name,
    /// The version of its tables.
    pub version: u32,
    /// `paused`, `failing` while something keeps it from going on, `rebuilding` while another read model is built beside the
    /// one that queries read, otherwise `running`.
    pub state: &'static str,
    /// The last position that its rows contain.
    pub position: Position,
    /// How many events of the log it has not seen.
    pub lag_events: u64,
    /// The age of the oldest event that it has not seen.
    pub lag_seconds: f64,
    /// How many events are set aside.
    pub dead_letters: u64,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The instance that queries read.
    pub instance: u64,
    /// What is built beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Building>,
}

/// How a read model stands that is being built.
#[derive(Clone, Debug, Serialize)]
pub struct Building {
    /// The instance.
    pub instance: u64,
    /// Why it is built.
    pub reason: String,
    /// How far it is.
    pub position: Position,
    /// The log's end, where it has to come.
    pub target: Position,
    /// How many events are set aside in it.
    pub dead_letters: u64,
    /// How long it will take, at the speed that it had so far; nothing before it has begun.
    pub seconds_left: Option<f64>,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Projections {
    /// How every projection stands, by name.
    ///
    /// # Errors
    /// Problems of the store.
    pub async fn list(&self) -> Result<Vec<Status>, Problem> {
        let mut list = Vec::with_capacity(self.running.len());
        for projection in self.running.values() {
            list.push(projection.status().await?);
        }
        Ok(list)
    }

    /// How a projection stands.
    ///
    /// # Errors
    /// `not-found`; problems of the store.
    pub async fn status(&self, name: &str) -> Result<Status, Problem> {
        self.find(name)?.status().await
    }
}

impl Running {
    async fn status(&self) -> Result<Status, Problem> {
        let control = self.control().await?;
        let instance = self.store.instances(&self.name).await?.map_or(0, |known| known.active);
        let standing = self.store.instance_standing(&self.name, instance).await?;
        let position = standing.as_ref().map_or(0, |standing| standing.position);
        // Last, so that the log is not shorter than what was read of it.
        let head = self.store.head().max(position);
        let rebuild = self.building(&control, instance, head).await?;
        let own = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let error = standing.as_ref().and_then(|standing| standing.failure.clone()).or(own);
        Ok(Status {
            name: self.name.clone(),
            plugin: self.plugin.manifest().name.clone(),
            version: self.spec.version,
            state: match (control.paused, &error, &rebuild) {
                (true, _, _) => "paused",
                (_, Some(_), _) => "failing",
                (_, _, Some(_)) => "rebuilding",
                _ => "running",
            },
            position,
            lag_events: head - position,
            lag_seconds: self.lag_seconds(position).await?,
            dead_letters: standing.map_or(0, |standing| standing.dead_letters),
            error,
            instance,
            rebuild,
        })
    }

    async fn lag_seconds(&self, position: Position) -> Result<f64, Problem> {
        let next = LogFilter { after: position, limit: 1, ..LogFilter::default() };
        let next = self.store.read_log(next).await?;
        Ok(next.first().map_or(0.0, |event| self.seconds_since(event.recorded_at.micros())))
    }

    fn seconds_since(&self, micros: i64) -> f64 {
        let elapsed = self.clock.now().micros().saturating_sub(micros).max(0);
        std::time::Duration::from_micros(elapsed.unsigned_abs()).as_secs_f64()
    }

    async fn building(
        &self,
        control: &Control,
        active: u64,
        head: Position,
    ) -> Result<Option<Building>, Problem> {
        let Some(rebuild) = control.pending(active, &self.form) else {
            return Ok(None);
        };
        let standing = self.store.instance_standing(&self.name, rebuild.build).await?;
        Ok(Some(Building {
            instance: rebuild.build,
            reason: rebuild.reason.clone(),
            position: standing.as_ref().map_or(0, |standing| standing.position),
            target: head,
            dead_letters: standing.as_ref().map_or(0, |standing| standing.dead_letters),
            seconds_left: standing.as_ref().and_then(|standing| self.seconds_left(standing, head)),
            error: standing.and_then(|standing| standing.failure),
        }))
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn seconds_left(&self, standing: &Standing, head: Position) -> Option<f64> {
        if standing.position == 0 {
            return None;
        }
        let for_one = self.seconds_since(standing.created_at.micros()) / standing.position as f64;
        Some(for_one * head.saturating_sub(standing.position) as f64)
    }
}
