//! The form of values in Redis: a version, a checksum over where it belongs and what it is, then the value. What does not check
//! out (cut off, mixed up, written by something else) is not there.

use bytes::Bytes;
use cairn_model::chain::Hash;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Validity;

/// Where a value belongs: the digest of log, key and validity.
pub(super) type Digest = [u8; 32];

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + CHECK_BYTES;

/// Parts are framed by their lengths, so that no two different lists have the same digest.
pub(super) fn digest(log_id: Uuid, key: &[u8], validity: Validity<'_>) -> Digest {
    let framed =
        |hash: Sha256, part: &[u8]| hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
    let hash = framed(Sha256::new().chain_update(b"cairn cache").chain_update(log_id.as_bytes()), key);
    let hash = match validity {
        Validity::At(number) => hash.chain_update([1]).chain_update(number.to_be_bytes()),
        Validity::Tagged { tag, number } => {
            framed(hash.chain_update([2]), tag.as_bytes()).chain_update(number.to_be_bytes())
        }
    };
    hash.finalize().into()
}

pub(super) fn hexadecimal(digest: &Digest) -> String {
    Hash(*digest).to_string()
}

/// How long a value of this length is in Redis.
pub(super) fn sealed_len(value_len: usize) -> usize {
    value_len.saturating_add(HEAD_BYTES)
}

pub(super) fn seal(digest: &Digest, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(sealed_len(value.len()));
    sealed.push(VERSION);
    sealed.extend_from_slice(&check(digest, value));
    sealed.extend_from_slice(value);
    sealed
}

pub(super) fn open(digest: &Digest, sealed: Vec<u8>) -> Option<Bytes> {
    let (head, value) = sealed.split_at_checked(HEAD_BYTES)?;
    let intact = head[0] == VERSION && head[1..] == check(digest, value);
    intact.then(|| Bytes::from(sealed).split_off(HEAD_BYTES))
}

fn check(digest: &Digest, value: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = Sha256::new().chain_update([VERSION]).chain_update(digest).chain_update(value).finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn different_things_have_different_places() {
        let log = Uuid::from_u128(1);
        let tagged = |tag, number| Validity::Tagged { tag, number };
        let all = [
            digest(log, b"k", Validity::At(1)),
            digest(log, b"k", Validity::At(2)),
            digest(log, b"l", Validity::At(1)),
            digest(Uuid::from_u128(2), b"k", Validity::At(1)),
            digest(log, b"k", tagged("", 1)),
            digest(log, b"k", tagged("t", 1)),
            digest(log, b"k", tagged("t", 2)),
            digest(log, b"kt", tagged("", 1)),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    proptest! {
        #[test]
        fn only_what_was_sealed_for_this_place_is_opened(value: Vec<u8>, at in 0..3u64, flip: usize, cut: usize) {
            let log = Uuid::from_u128(1);
            let place = digest(log, b"k", Validity::At(at));
            let sealed = seal(&place, &value);
            prop_assert_eq!(open(&place, sealed.clone()), Some(Bytes::from(value)));
            prop_assert_eq!(open(&digest(log, b"k", Validity::At(at + 1)), sealed.clone()), None);
            prop_assert_eq!(open(&place, sealed[..cut % sealed.len()].to_vec()), None);
            let mut flipped = sealed.clone();
            flipped[flip % sealed.len()] ^= 1;
            prop_assert_eq!(open(&place, flipped), None);
        }

        #[test]
        fn garbage_is_not_opened(garbage: Vec<u8>) {
            prop_assert_eq!(open(&digest(Uuid::nil(), b"k", Validity::At(1)), garbage), None);
        }
    }
}
