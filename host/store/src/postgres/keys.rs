//! Keys of the API, hashed.

use cairn_model::chain::Hash;
use cairn_model::{Principal, Timestamp, ids};
use sqlx::Row;
use uuid::Uuid;

use super::Log;
use super::types::Moment;
use crate::error::Error;
use crate::keys::StoredKey;

fn principal(text: &str) -> Result<Principal, Error> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(format!("a key's principal: {error}")))
}

impl Log {
    pub(crate) async fn find_key(&self, hash: Hash) -> Result<Option<Principal>, Error> {
        let query =
            sqlx::query_scalar("SELECT principal FROM access_keys WHERE hash = $1 AND revoked_at IS NULL")
                .bind(hash.0.as_slice());
        let found: Option<String> = self.connect.bounded(query.fetch_optional(&self.readers)).await?;
        found.as_deref().map(principal).transpose()
    }

    pub(crate) async fn keys(&self) -> Result<Vec<StoredKey>, Error> {
        let query = sqlx::query(
            "SELECT id, principal, created_at, revoked_at FROM access_keys ORDER BY created_at, id",
        );
        let rows = self.connect.bounded(query.fetch_all(&self.readers)).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredKey {
                    id: row.try_get(0)?,
                    principal: principal(row.try_get(1)?)?,
                    created_at: row.try_get::<Moment, _>(2)?.0,
                    revoked_at: row.try_get::<Option<Moment>, _>(3)?.map(|moment| moment.0),
                })
            })
            .collect()
    }

    pub(crate) async fn save_key(
        &self,
        hash: Hash,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Uuid, Error> {
        let query = sqlx::query_scalar(
            "INSERT INTO access_keys (id, hash, principal, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hash) DO UPDATE SET principal = excluded.principal RETURNING id",
        )
        .bind(ids::new_id(now))
        .bind(hash.0.as_slice())
        // Strings and ids: nothing in it can fail to serialize.
        .bind(serde_json::to_string(principal).unwrap_or_default())
        .bind(Moment(now));
        self.connect.bounded(query.fetch_one(&self.writers)).await
    }

    pub(crate) async fn revoke_key(&self, id: Uuid, now: Timestamp) -> Result<bool, Error> {
        let query =
            sqlx::query("UPDATE access_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(Moment(now))
                .bind(id);
        Ok(self.connect.bounded(query.execute(&self.writers)).await?.rows_affected() > 0)
    }
}
