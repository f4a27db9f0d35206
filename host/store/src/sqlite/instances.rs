//! Which instance of a read model queries read, and which files there are.

use sqlx::Row;

use super::Log;
use super::leases;
use super::log::{signed, unsigned};
use crate::error::Error;
use crate::instances::{Instances, Switch};
use crate::lease::Fence;
use crate::read_model::{self, Standing};

impl Log {
    pub(crate) async fn instances(&self, projection: &str) -> Result<Option<Instances>, Error> {
        let row = sqlx::query("SELECT active, previous, form, digest FROM read_models WHERE projection = ?")
            .bind(projection)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Instances {
            active: unsigned(row.try_get(0)?),
            previous: row.try_get::<Option<i64>, _>(1)?.map(unsigned),
            form: row.try_get(2)?,
            digest: row.try_get(3)?,
        }))
    }

    pub(crate) async fn note_component(
        &self,
        projection: &str,
        form: &str,
        digest: &str,
        first: u64,
    ) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        sqlx::query(
            "INSERT INTO read_models (projection, active, form, digest) VALUES (?1, ?4, ?2, ?3)
             ON CONFLICT (projection) DO UPDATE SET digest = excluded.digest
             WHERE form = excluded.form AND digest <> excluded.digest",
        )
        .bind(projection)
        .bind(form)
        .bind(digest)
        .bind(signed(first))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn switch(&self, switch: &Switch<'_>, fence: &Fence) -> Result<bool, Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        leases::check(&mut transaction, Some(fence)).await?;
        let moved = sqlx::query(
            "UPDATE read_models SET active = ?, previous = active, form = ?, digest = ?
             WHERE projection = ? AND active = ?",
        )
        .bind(signed(switch.to))
        .bind(switch.form)
        .bind(switch.digest)
        .bind(switch.projection.name.to_string())
        .bind(signed(switch.from))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(moved.rows_affected() > 0)
    }

    pub(crate) async fn forget_previous(&self, projection: &str, unless: u64) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        sqlx::query("UPDATE read_models SET previous = NULL WHERE projection = ? AND previous <> ?")
            .bind(projection)
            .bind(signed(unless))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn found_instances(&self, projection: &str) -> Result<Vec<u64>, Error> {
        self.folder.read_model_instances(projection)
    }

    pub(crate) async fn remove_instance(&self, projection: &str, instance: u64) -> Result<(), Error> {
        read_model::remove_file(&self.folder.read_model(projection, instance))
    }

    pub(crate) async fn standing_of(
        &self,
        projection: &str,
        instance: u64,
    ) -> Result<Option<Standing>, Error> {
        let path = self.folder.read_model(projection, instance);
        if !path.exists() {
            return Ok(None);
        }
        // One that is just being made has no row yet.
        Ok(read_model::file_standing(&path).await.ok())
    }
}
