//! Request ids: `req_` and 26 characters that sort by time.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Crockford's base 32: no letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The id of one request, the same in headers, error bodies, logs and usage rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 30]);

impl RequestId {
    /// 48 bits of milliseconds, then 80 random bits: the ULID layout.
    pub(crate) fn new(now: SystemTime) -> Self {
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let random = u128::from(random()) << 64 | u128::from(random());
        let mut value = (millis << 80) | (random & ((1 << 80) - 1));
        let mut text = *b"req_00000000000000000000000000";
        for place in text[4..].iter_mut().rev() {
            *place = ALPHABET[(value & 31) as usize];
            value >>= 5;
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn header(&self) -> http::HeaderValue {
        http::HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| http::HeaderValue::from_static(""))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 64 random bits (xorshift64*, seeded by the system once a thread). Ids need to be unique, not secret.
pub(crate) fn random() -> u64 {
    thread_local!(static STATE: Cell<u64> = Cell::new(rand::random::<u64>() | 1));
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// `msg_` and 24 base-62 characters: the id of an answer that the upstream did not name.
pub(crate) fn message_id() -> String {
    answer_id("msg_")
}

/// A prefix and 24 base-62 characters. Nobody can tell the next from those before: what callers without a key share is kept
/// under such ids.
pub(crate) fn answer_id(prefix: &str) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = String::with_capacity(prefix.len() + 24);
    id.push_str(prefix);
    for _ in 0..3 {
        let mut value = rand::random::<u64>();
        for _ in 0..8 {
            id.push(char::from(BASE62[(value % 62) as usize]));
            value /= 62;
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_have_their_form_and_sort_by_time() {
        let early = RequestId::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let late = RequestId::new(UNIX_EPOCH + Duration::from_millis(1_700_000_000_001));
        assert_eq!(early.as_str().len(), 30);
        assert!(early.as_str().starts_with("req_") && early.as_str() < late.as_str());
        assert_eq!(message_id().len(), 28);
    }

    #[test]
    fn ids_of_one_instant_differ() {
        let ids: HashSet<_> = (0..10_000).map(|_| RequestId::new(UNIX_EPOCH).to_string()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
