//! The bytes of components.

use cairn_model::Timestamp;
use cairn_model::chain::Hash;

use super::Log;
use super::types::Moment;
use crate::error::Error;

impl Log {
    pub(crate) async fn component(&self, digest: Hash) -> Result<Option<Vec<u8>>, Error> {
        let query =
            sqlx::query_scalar("SELECT bytes FROM components WHERE digest = $1").bind(digest.0.as_slice());
        self.connect.bounded(query.fetch_optional(&self.readers)).await
    }

    pub(crate) async fn save_component(
        &self,
        digest: Hash,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), Error> {
        let query = sqlx::query(
            "INSERT INTO components (digest, bytes, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(digest.0.as_slice())
        .bind(bytes)
        .bind(Moment(now));
        self.connect.bounded(query.execute(&self.writers)).await?;
        Ok(())
    }
}
