//! Cursors of lists: the sort keys of the last item, made opaque, so that nobody builds on what is inside.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::errors::{Fault, Rejection};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The longest cursor that is read, in bytes.
const LIMIT_BYTES: usize = 4096;

/// Makes a cursor of sort keys: their JSON in base64url without padding.
///
/// # Errors
/// When the keys have no JSON form.
pub fn encode_cursor<T: Serialize>(keys: &T) -> Result<String, Fault> {
    let bytes = serde_json::to_vec(keys)?;
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    Ok(text)
}

/// Reads a cursor back.
///
/// # Errors
/// An invalid-input rejection for what [`encode_cursor`] did not make.
pub fn decode_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, Rejection> {
    let decoded = (cursor.len() <= LIMIT_BYTES).then(|| decode(cursor)).flatten();
    decoded
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Rejection::invalid_field("/cursor", "this is no cursor of this list"))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in chunk {
            let value = ALPHABET.iter().position(|letter| letter == digit)?;
            bits = (bits << 6) | u32::try_from(value).ok()?;
        }
        bits <<= 6 * (4 - chunk.len());
        let whole = bits.to_be_bytes();
        bytes.extend_from_slice(&whole[1..chunk.len().max(1)]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_everything_else_is_invalid() {
        for keys in [("", 0), ("é", 1), ("ab", 22), ("abc", 333), ("abcd", 4444)] {
            let cursor = encode_cursor(&keys).expect("JSON");
            let (name, number): (String, i32) = decode_cursor(&cursor).expect("a cursor");
            assert_eq!((name.as_str(), number), keys);
        }
        for bad in ["", "?", "abc", "WzFd=", "é"] {
            assert!(decode_cursor::<(String, i32)>(bad).is_err(), "{bad}");
        }
    }
}
