//! How times and texts of ours become PostgreSQL's.

use std::borrow::Cow;

use cairn_model::Timestamp;
use cairn_model::chain::Hash;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// PostgreSQL's number of the type `timestamptz`; it is the same on every server.
const TIMESTAMPTZ: Oid = Oid(1184);

/// And of its arrays.
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The longest text that is kept as it is where an index has to hold it.
const KEY_LIMIT_BYTES: usize = 1024;

/// A time as `timestamptz`, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.micros().checked_sub(EPOCH_MICROS).ok_or("a time too early for PostgreSQL")?;
        buffer.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Moment {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a time as text".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let micros = micros.checked_add(EPOCH_MICROS).ok_or("a time that is infinite")?;
        Ok(Self(Timestamp::from_micros(micros)))
    }
}

/// A key (a claim, an idempotency key) as it is kept: PostgreSQL's texts hold no NUL, its indexes nothing long. In place of such
/// a key stands its digest.
pub(super) fn key(text: &str) -> Cow<'_, str> {
    if text.len() <= KEY_LIMIT_BYTES && !text.contains('\0') {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("\u{1}sha256:{}", Hash::of(text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_kept_are_told_apart_all_the_same() {
        assert_eq!(key("folder/1/name/a"), "folder/1/name/a");
        assert_ne!(key("a\0"), key("b\0"));
        assert_ne!(key("a\0"), key("a"));
        let long = "x".repeat(5000);
        assert!(key(&long).len() < 100);
        assert_ne!(key(&long), key(&long[1..]));
    }
}
