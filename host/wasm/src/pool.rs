//! Idle instances for stateless calls. They are warm: an instance costs more to make than a query.

use std::sync::{Mutex, PoisonError};

use crate::component::Component;
use crate::fault::Fault;
use crate::guest::Guest;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Guest>>,
}

impl Component {
    /// Calls an instance that nobody else uses. It is kept for the next call unless this one fails, or made it grow
    /// over the watermark. Waits while all instances that stateless calls may have are in use.
    pub(crate) fn with_guest<T>(
        &self,
        call: impl FnOnce(&mut Guest) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let permits = &self.engine().permits;
        let permit = permits.stateless();
        let idle = self.pool().lock().pop();
        let mut guest = match idle {
            Some(mut guest) => {
                guest.hold(permit);
                guest
            }
            None => Guest::new(self, permit)?,
        };
        let result = call(&mut guest)?;
        let limits = self.engine().limits();
        if guest.memory_bytes() < limits.watermark_bytes
            && let Some(permit) = permits.idle()
        {
            guest.hold(permit);
            let mut idle = self.pool().lock();
            if idle.len() < limits.idle_instances {
                idle.push(guest);
            }
        }
        Ok(result)
    }
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Guest>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
