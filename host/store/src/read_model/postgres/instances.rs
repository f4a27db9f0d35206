//! Which instance of a read model queries read, and which schemas there are.

use sqlx::{AssertSqlSafe, Row};

use super::texts::in_schema;
use super::{Host, host, schema};
use crate::error::Error;
use crate::instances::{Instances, Switch};
use crate::lease::Fence;
use crate::log::{signed, unsigned};
use crate::read_model::compile::Compiled;
use crate::read_model::dialect::quoted;
use crate::read_model::letters::{self, Standing};
use crate::read_model::names;

impl Host {
    /// Reads which instances there are.
    pub(crate) async fn instances(&self, projection: &str) -> Result<Option<Instances>, Error> {
        let row = sqlx::query(
            "SELECT active, previous, form, digest FROM public.read_models WHERE projection = $1",
        )
        .bind(projection)
        .fetch_optional(&self.keeper)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Instances {
            active: unsigned(row.try_get(0)?),
            previous: row.try_get::<Option<i64>, _>(1)?.map(unsigned),
            form: row.try_get(2)?,
            digest: row.try_get(3)?,
        }))
    }

    /// Notes the component whose declarations the active instance has; the first one makes the note.
    pub(crate) async fn note_component(
        &self,
        projection: &str,
        form: &str,
        digest: &str,
        first: u64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO public.read_models AS r (projection, active, form, digest) VALUES ($1, $4, $2, $3)
             ON CONFLICT (projection) DO UPDATE SET digest = excluded.digest
             WHERE r.form = excluded.form AND r.digest <> excluded.digest",
        )
        .bind(projection)
        .bind(form)
        .bind(digest)
        .bind(signed(first))
        .execute(&self.keeper)
        .await?;
        Ok(())
    }

    /// Lets queries read another instance. The views in `public` are moved after it.
    pub(crate) async fn switch(&self, switch: &Switch<'_>, fence: &Fence) -> Result<bool, Error> {
        let (old, new) =
            (Compiled::new(switch.projection, switch.from)?, Compiled::new(switch.projection, switch.to)?);
        let mut transaction = self.keeper.begin().await?;
        host::lock(&mut transaction).await?;
        let held = sqlx::query("SELECT 1 FROM public.leases WHERE name = $1 AND epoch = $2 FOR SHARE")
            .bind(&*fence.lease)
            .bind(signed(fence.epoch))
            .fetch_optional(&mut *transaction)
            .await?;
        if held.is_none() {
            return Err(Error::Superseded { lease: fence.lease.clone(), epoch: fence.epoch });
        }
        let moved = sqlx::query(
            "UPDATE public.read_models SET active = $3, previous = active, form = $4, digest = $5
             WHERE projection = $1 AND active = $2",
        )
        .bind(&*switch.projection.name)
        .bind(signed(switch.from))
        .bind(signed(switch.to))
        .bind(switch.form)
        .bind(switch.digest)
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        // Somebody may be looking, or have built something on them; that must not keep queries from moving.
        if let Err(error) = self.move_views(&old, &new).await {
            tracing::warn!(%error, schema = %new.schema, "the views in `public` still show the former read model");
        }
        Ok(true)
    }

    async fn move_views(&self, old: &Compiled, new: &Compiled) -> Result<(), Error> {
        let mut transaction = self.keeper.begin().await?;
        host::lock(&mut transaction).await?;
        sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut *transaction).await?;
        schema::hide(&mut transaction, &old.schema).await?;
        schema::show(&mut transaction, new).await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets the instance that was active before, unless it is this one.
    pub(crate) async fn forget_previous(&self, projection: &str, unless: u64) -> Result<(), Error> {
        sqlx::query("UPDATE public.read_models SET previous = NULL WHERE projection = $1 AND previous <> $2")
            .bind(projection)
            .bind(signed(unless))
            .execute(&self.keeper)
            .await?;
        Ok(())
    }

    /// The instances of which there is a schema.
    pub(crate) async fn found_instances(&self, projection: &str) -> Result<Vec<u64>, Error> {
        let schemas: Vec<String> =
            sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)")
                .bind(names::schema(projection, 0))
                .fetch_all(&self.keeper)
                .await?;
        Ok(schemas.iter().filter_map(|found| names::instance(projection, found)).collect())
    }

    /// Drops an instance.
    pub(crate) async fn remove_instance(&self, projection: &str, instance: u64) -> Result<(), Error> {
        schema::remove_unused(self, projection, instance).await
    }

    /// How an instance stands, if there is one.
    pub(crate) async fn standing_of(
        &self,
        projection: &str,
        instance: u64,
    ) -> Result<Option<Standing>, Error> {
        let schema = quoted(&names::schema(projection, instance));
        let table = |name: &str| format!("{schema}.{}", quoted(name));
        let (positions, letters) = (table("projection_positions"), table("dead_letters"));
        let is_there: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL")
                .bind(&positions)
                .bind(&letters)
                .fetch_one(&self.keeper)
                .await?;
        if !is_there {
            return Ok(None);
        }
        let sql = AssertSqlSafe(in_schema(letters::STANDING, &positions, &letters));
        let row = sqlx::query(sql).fetch_optional(&self.keeper).await?;
        Ok(row.as_ref().map(letters::standing).transpose()?)
    }
}
