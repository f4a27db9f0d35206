//! The bytes of components.

use cairn_model::Timestamp;
use cairn_model::chain::Hash;

use super::Log;
use crate::error::Error;

impl Log {
    pub(crate) async fn component(&self, digest: Hash) -> Result<Option<Vec<u8>>, Error> {
        let found = sqlx::query_scalar("SELECT bytes FROM components WHERE digest = ?")
            .bind(digest.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        Ok(found)
    }

    pub(crate) async fn save_component(
        &self,
        digest: Hash,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        sqlx::query(
            "INSERT INTO components (digest, bytes, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(digest.0.as_slice())
        .bind(bytes)
        .bind(now.to_string())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
