//! Keys of the API, hashed.

use cairn_model::chain::Hash;
use cairn_model::stream::parse_id;
use cairn_model::{Principal, Timestamp, ids};
use sqlx::Row;
use uuid::Uuid;

use super::Log;
use crate::error::Error;
use crate::keys::StoredKey;

fn principal(text: &str) -> Result<Principal, Error> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(format!("a key's principal: {error}")))
}

fn time(text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse(text).ok_or_else(|| Error::Damaged(format!("a key's time `{text}`")))
}

impl Log {
    pub(crate) async fn find_key(&self, hash: Hash) -> Result<Option<Principal>, Error> {
        let found: Option<String> =
            sqlx::query_scalar("SELECT principal FROM access_keys WHERE hash = ? AND revoked_at IS NULL")
                .bind(hash.0.as_slice())
                .fetch_optional(&self.readers)
                .await?;
        found.as_deref().map(principal).transpose()
    }

    pub(crate) async fn keys(&self) -> Result<Vec<StoredKey>, Error> {
        let rows = sqlx::query(
            "SELECT id, principal, created_at, revoked_at FROM access_keys ORDER BY created_at, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let id = parse_id(row.try_get(0)?).ok_or_else(|| Error::Damaged("a key's id".to_owned()))?;
                Ok(StoredKey {
                    id,
                    principal: principal(row.try_get(1)?)?,
                    created_at: time(row.try_get(2)?)?,
                    revoked_at: row.try_get::<Option<&str>, _>(3)?.map(time).transpose()?,
                })
            })
            .collect()
    }
}

impl Log {
    pub(crate) async fn save_key(
        &self,
        hash: Hash,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Uuid, Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        let id: String = sqlx::query_scalar(
            "INSERT INTO access_keys (id, hash, principal, created_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (hash) DO UPDATE SET principal = excluded.principal RETURNING id",
        )
        .bind(ids::new_id(now).to_string())
        .bind(hash.0.as_slice())
        // Strings and ids: nothing in it can fail to serialize.
        .bind(serde_json::to_string(principal).unwrap_or_default())
        .bind(now.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        parse_id(&id).ok_or_else(|| Error::Damaged("a key's id".to_owned()))
    }

    pub(crate) async fn revoke_key(&self, id: Uuid, now: Timestamp) -> Result<bool, Error> {
        let mut writer = self.turn().await;
        let mut transaction = writer.begin().await?;
        let done = sqlx::query("UPDATE access_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
            .bind(now.to_string())
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
