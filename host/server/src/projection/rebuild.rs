//! Builds another instance of a read model beside the one that queries read, and moves queries there once it has caught up.
//!
//! Nothing about a build is remembered outside of the log and the tables: that it is wanted stands in the projection's stream
//! in the log, how far it is in the instance itself, and that it is done in the row that names the active instance. So a host
//! that dies in the middle, or loses the lease, leaves it to the next one.

use std::sync::Arc;
use std::time::Duration;

use cairn_bus::Bus;
use cairn_model::Principal;
use cairn_store::{Fence, Switch};
use tokio_util::sync::CancellationToken;

use super::Running;
use super::control::{self, Control, Decision, Rebuild};
use super::keeper::{Error, Instance, Keeper, Went};
use crate::host_log::{self, Author};

/// From how few events before the log's end on queries may be moved: the rest is done while they wait.
const NEAR: u64 = 1_000;
/// How often decisions are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first pause after a failure; it doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Running {
    /// Builds whatever is wanted until the lease is lost.
    pub(super) async fn rebuild(&self, fence: &Fence, bus: Bus, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        while !stop.is_cancelled() {
            match self.build_what_is_wanted(fence, &bus, &stop).await {
                Ok(()) => pause = PAUSE_MIN,
                Err(Error::LeaseLost) => {
                    stop.cancel();
                    return;
                }
                Err(error) => {
                    tracing::error!(projection = %self.name, %error, "a rebuild cannot go on");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Builds what is wanted now, or waits until something may be.
    async fn build_what_is_wanted(
        &self,
        fence: &Fence,
        bus: &Bus,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut decided = self.decided.subscribe();
        let control = self.control().await?;
        match self.wanted(&control).await? {
            Some(rebuild) => self.build(&rebuild, fence, bus, stop).await,
            None => {
                if control.rebuild.is_none() {
                    // What was cancelled.
                    self.store.sweep_instances(&self.name, None).await?;
                }
                loop {
                    tokio::select! {
                        _ = decided.changed() => return Ok(()),
                        () = self.rebuild_due.notified() => return Ok(()),
                        () = stop.cancelled() => return Ok(()),
                        // The other task reads decisions with each step; but it may be the one that cannot go on.
                        () = tokio::time::sleep(LOOK_EVERY) => self.control().await?,
                    };
                }
            }
        }
    }

    /// The rebuild that is wanted and not done. If one is due that nobody has asked for, the host asks for it.
    async fn wanted(&self, control: &Control) -> Result<Option<Rebuild>, Error> {
        let Some(known) = self.store.instances(&self.name).await? else { return Ok(None) };
        if let Some(rebuild) = control.pending(known.active, &self.form) {
            return Ok(Some(rebuild.clone()));
        }
        let reason = if known.form != self.form {
            // Somebody does not want it.
            if control.cancelled_form.as_ref() == Some(&self.form) {
                return Ok(None);
            }
            "the plugin declares other tables or another version of them"
        } else {
            let standing = self.store.instance_standing(&self.name, known.active).await?;
            if !control.is_decided_anew || !standing.is_some_and(|standing| standing.out_of_order) {
                return Ok(None);
            }
            "events came home whose rows depend on other streams"
        };
        // The one that was read before may be of this form: then it has only to catch up.
        let mut build = control.next_build(known.active);
        if known.form != self.form
            && let Some(previous) = known.previous
            && let Some(standing) = self.store.instance_standing(&self.name, previous).await?
            && standing.form == self.form
        {
            build = previous;
        }
        let rebuild = Rebuild {
            projection: self.name.clone(),
            build,
            form: self.form.clone(),
            reason: reason.to_owned(),
        };
        let author = Author {
            actor: Principal::administrator(host_log::TENANT).id,
            trace_id: None,
            generation: self.generation,
        };
        let decision = Decision::Rebuild(rebuild);
        match control::decide(&self.store, &self.clock, &author, &self.name, control.version, decision).await
        {
            // It is read in the next round, as is what somebody else has written.
            Ok(_) | Err(host_log::Error::Stale) => self.rebuild_due.notify_one(),
            Err(error) => return Err(Error::Other(error.into())),
        }
        Ok(None)
    }

    /// Builds an instance until queries read it, or until nobody wants it any more.
    async fn build(
        &self,
        rebuild: &Rebuild,
        fence: &Fence,
        bus: &Bus,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let number = rebuild.build;
        self.store.sweep_instances(&self.name, Some(number)).await?;
        let model = self.store.open_instance(&self.spec, number).await?;
        let (plugin, spec, form) = (self.plugin.clone(), self.spec.clone(), self.form.clone());
        let instance = Arc::new(Instance { plugin, spec, form, model });
        let mut keeper = Keeper::new(self, instance.clone(), fence.epoch).await?;
        tracing::info!(projection = %self.name, build = number, position = keeper.at, "a read model is built");
        let mut wakes = bus.subscribe();
        while !stop.is_cancelled() {
            let went = keeper.step(self).await?;
            let control = self.control().await?;
            if control.rebuild.as_ref() != Some(rebuild) {
                tracing::info!(projection = %self.name, build = number, "a rebuild was cancelled");
                drop(keeper);
                instance.model.close().await?;
                return Ok(());
            }
            match went {
                Went::On | Went::Idle if self.store.head() <= keeper.at + NEAR => {
                    if self.switch(&mut keeper, rebuild, fence).await? {
                        return Ok(());
                    }
                }
                Went::On | Went::Idle => {}
                Went::Paused | Went::Stopped => {
                    // Only a decision helps, and that makes the log longer.
                    let head = self.store.head();
                    if control.version == self.control().await?.version {
                        tokio::select! {
                            _ = wakes.beyond(head) => {}
                            () = stop.cancelled() => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves queries to the new instance, if that contains everything that they see now.
    async fn switch(&self, keeper: &mut Keeper, rebuild: &Rebuild, fence: &Fence) -> Result<bool, Error> {
        let _turn = self.turn.lock().await;
        self.refresh().await?;
        let Some(known) = self.store.instances(&self.name).await? else { return Ok(false) };
        if let Some(serving) = self.serving.load_full() {
            let target = serving.model.position().await?;
            while keeper.at < target {
                if keeper.step(self).await? != Went::On {
                    return Ok(false);
                }
            }
        }
        if self.control().await?.rebuild.as_ref() != Some(rebuild) {
            return Ok(false);
        }
        let digest = self.plugin.component.digest().to_string();
        let switch = Switch {
            projection: &self.spec,
            from: known.active,
            to: rebuild.build,
            form: &self.form,
            digest: &digest,
        };
        // Nobody opens the new instance a second time before it is in its place.
        let _opening = self.opening.lock().await;
        match self.store.switch_read_model(&switch, fence).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(cairn_store::Error::Superseded { .. }) => return Err(Error::LeaseLost),
            Err(error) => return Err(error.into()),
        }
        self.serving.store(Some(keeper.instance.clone()));
        self.moved(keeper.at);
        tracing::info!(projection = %self.name, build = rebuild.build, position = keeper.at, "queries read the new read model");
        Ok(true)
    }
}
