//! Keeps the instance up to date that queries read.

use std::sync::Arc;
use std::time::Duration;

use cairn_bus::{Bus, Wakes};
use cairn_model::Position;
use tokio_util::sync::CancellationToken;

use super::Running;
use super::keeper::{Error, Keeper, Went};

/// From how many new events on nothing is waited for.
const MANY: u64 = 2_000;
/// How long events gather while nobody waits for them: a step for each single event would cost several times as much, at
/// the expense of the commands.
const GATHER: Duration = Duration::from_millis(10);
/// The first pause after a failure; it doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Running {
    /// Runs under this epoch until the lease is lost.
    pub(super) async fn run(&self, epoch: u64, bus: Bus, stop: CancellationToken) {
        let mut wakes = bus.subscribe();
        let mut pause = PAUSE_MIN;
        let mut keeper: Option<Keeper> = None;
        // Up to where the log holds nothing that could help while the projection rests.
        let mut seen: Position = 0;
        while !stop.is_cancelled() {
            let went = self.go_on(&mut keeper, &mut wakes, epoch, seen, &stop).await;
            match went {
                Ok((Went::On | Went::Idle, _)) => {
                    pause = PAUSE_MIN;
                    seen = 0;
                    self.note(None);
                }
                Ok((Went::Paused | Went::Stopped, newest)) => {
                    pause = PAUSE_MIN;
                    seen = newest;
                    self.note(None);
                }
                Err(Error::LeaseLost) => {
                    tracing::warn!(projection = %self.name, "another host runs the projection");
                    return;
                }
                Err(error) => {
                    let at = *self.position.borrow();
                    tracing::error!(projection = %self.name, position = at, %error, "a projection cannot go on");
                    self.note(Some(error.to_string()));
                    // The tables say where to go on, whatever was remembered: somebody may have taken them away.
                    keeper = None;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits for events and makes a step. Answers how far the log was.
    async fn go_on(
        &self,
        keeper: &mut Option<Keeper>,
        wakes: &mut Wakes,
        epoch: u64,
        seen: Position,
        stop: &CancellationToken,
    ) -> Result<(Went, Position), Error> {
        if keeper.is_none() {
            self.refresh().await?;
        }
        let mut serving = self.serving.load_full();
        if serving.is_none() {
            // Until another instance is built there is nothing to keep up to date.
            let mut position = self.position.subscribe();
            position.mark_unchanged();
            tokio::select! {
                _ = position.changed() => serving = self.serving.load_full(),
                () = stop.cancelled() => {}
            }
        }
        let Some(serving) = serving else { return Ok((Went::Idle, 0)) };
        let keeper = match keeper.take() {
            Some(same) if Arc::ptr_eq(&same.instance, &serving) => keeper.insert(same),
            _ => keeper.insert(Keeper::new(self, serving, epoch).await?),
        };
        self.moved(keeper.at);
        let awake = tokio::select! {
            awake = wakes.beyond(keeper.at.max(seen)) => awake,
            () = stop.cancelled() => None,
        };
        let Some(newest) = awake else { return Ok((Went::Idle, 0)) };
        if newest - keeper.at < MANY {
            self.gather(keeper.at).await;
        }
        let _turn = self.turn.lock().await;
        let is_serving = self.serving.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, &keeper.instance));
        if !is_serving {
            return Ok((Went::On, newest));
        }
        let was_out_of_order = keeper.is_out_of_order;
        let went = keeper.step(self).await;
        self.moved(keeper.at);
        if keeper.is_out_of_order && !was_out_of_order {
            self.rebuild_due.notify_one();
        }
        Ok((went?, newest))
    }

    /// Lets events gather behind a position, until somebody waits for one of them.
    async fn gather(&self, at: Position) {
        let mut awaited = self.awaited.subscribe();
        // Whichever comes first; the sender lives as long as `self`.
        let _ = tokio::time::timeout(GATHER, awaited.wait_for(|awaited| *awaited > at)).await;
    }
}
