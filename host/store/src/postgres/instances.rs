//! Instances of read models; the read models' side of the database knows them.

use super::Log;
use crate::error::Error;
use crate::instances::{Instances, Switch};
use crate::lease::Fence;
use crate::read_model::Standing;

impl Log {
    pub(crate) async fn instances(&self, projection: &str) -> Result<Option<Instances>, Error> {
        self.read_models.instances(projection).await
    }

    pub(crate) async fn note_component(
        &self,
        projection: &str,
        form: &str,
        digest: &str,
        first: u64,
    ) -> Result<(), Error> {
        self.read_models.note_component(projection, form, digest, first).await
    }

    pub(crate) async fn switch(&self, switch: &Switch<'_>, fence: &Fence) -> Result<bool, Error> {
        self.read_models.switch(switch, fence).await
    }

    pub(crate) async fn forget_previous(&self, projection: &str, unless: u64) -> Result<(), Error> {
        self.read_models.forget_previous(projection, unless).await
    }

    pub(crate) async fn found_instances(&self, projection: &str) -> Result<Vec<u64>, Error> {
        self.read_models.found_instances(projection).await
    }

    pub(crate) async fn remove_instance(&self, projection: &str, instance: u64) -> Result<(), Error> {
        self.read_models.remove_instance(projection, instance).await
    }

    pub(crate) async fn standing_of(
        &self,
        projection: &str,
        instance: u64,
    ) -> Result<Option<Standing>, Error> {
        self.read_models.standing_of(projection, instance).await
    }
}
