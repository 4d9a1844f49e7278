//! Answers that are kept, so that a caller can go on from them without sending everything again.

use std::fmt;

use crate::{Error, ErrorKind, KeyId, Result, Timestamp};

/// A kept answer and what led to it. Written once, never changed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredTurn {
    /// What it is found by: at most [`StoredTurn::MOST_ID_BYTES`], and hard to guess.
    pub id: String,
    /// Whose it is. To everybody else it is not there.
    pub key_id: KeyId,
    /// When it was put.
    pub created_at: Timestamp,
    /// From this instant on it is not there any more.
    pub expires_at: Timestamp,
    /// What was said, in a form that is not the store's affair: at most [`StoredTurn::MOST_BYTES`].
    pub payload: String,
}

impl StoredTurn {
    /// Most bytes of an id.
    pub const MOST_ID_BYTES: usize = 256;
    /// Most bytes of a payload: what one transaction of DynamoDB can hold, whether or not it can be compressed.
    pub const MOST_BYTES: usize = 3_000_000;

    /// Whether there can be an answer with this id.
    pub(crate) fn is_possible(id: &str) -> bool {
        (1..=Self::MOST_ID_BYTES).contains(&id.len())
    }

    /// Whether it is this key's and has not expired.
    pub(crate) fn is_there(&self, key_id: &KeyId, now: Timestamp) -> bool {
        self.key_id == *key_id && self.expires_at > now
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !Self::is_possible(&self.id) {
            return Err(Error::invalid(format!("an id has 1 to {} bytes", Self::MOST_ID_BYTES)));
        }
        if self.payload.len() > Self::MOST_BYTES {
            return Err(Error::invalid(format!("an answer has at most {} bytes", Self::MOST_BYTES)));
        }
        Ok(())
    }
}

/// Without what was said.
impl fmt::Debug for StoredTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key_id, created_at, expires_at, payload } = self;
        f.debug_struct("StoredTurn")
            .field("id", id)
            .field("key_id", key_id)
            .field("created_at", created_at)
            .field("expires_at", expires_at)
            .field("payload_bytes", &payload.len())
            .finish()
    }
}

/// What a backend says where there is no such answer, or none of this key's.
pub(crate) fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "no answer with this id")
}

/// What a backend says where the id is taken.
pub(crate) fn stands() -> Error {
    Error::new(ErrorKind::Conflict, "an answer with this id exists")
}
