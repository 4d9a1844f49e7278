//! How a key gets another secret while the old one goes on for a time.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, KeyRecord, NewKey, Result, Timestamp};

/// How many older keys may go on beside the newest.
const OLDER: usize = 8;
/// How long an idempotency key is remembered at least, in milliseconds.
const REMEMBERED_MILLIS: i64 = 24 * 3_600_000;
/// How many rotations a record remembers at most: with many a day, the oldest of those that are over leave first.
const ROTATIONS: usize = 32;

/// An older key of a record: what it looked like, and until when it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its first characters, for display.
    pub prefix: String,
    /// Its last four characters, for display.
    pub last4: String,
    /// From this instant on it is unknown.
    pub valid_until: Timestamp,
    /// When its successor was made.
    pub rotated_at: Timestamp,
    /// Under which idempotency key, if any.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

impl KeyRecord {
    /// What the record becomes when `key` takes the place of the present one, which goes on for `overlap_millis`. For
    /// [`Store::rotate_key`](crate::Store::rotate_key).
    ///
    /// `Conflict` when a rotation under this idempotency key was made within the last day: its key was shown then, and
    /// there is no second one. `Conflict` too when eight older keys are still going on.
    pub fn rotated(
        &self,
        key: &NewKey,
        overlap_millis: i64,
        idempotency_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Self> {
        let conflict = |why: &str| Error::new(ErrorKind::Conflict, format!("{} {why}", self.key_id));
        if idempotency_key.is_some_and(|wanted| {
            self.previous.iter().any(|old| old.idempotency_key.as_deref() == Some(wanted))
        }) {
            return Err(conflict(
                "was rotated under this idempotency key; its key was shown then, this once",
            ));
        }
        let mut previous: Vec<_> =
            self.previous.iter().filter(|old| old.is_remembered(now)).cloned().collect();
        if overlap_millis > 0 && previous.iter().filter(|old| old.valid_until > now).count() >= OLDER {
            return Err(conflict("has eight older keys that go on; wait for the end of one, or revoke it"));
        }
        while previous.len() >= ROTATIONS {
            let over = previous.iter().position(|old| old.valid_until <= now).unwrap_or(0);
            previous.remove(over);
        }
        previous.push(Previous {
            prefix: self.prefix.clone(),
            last4: self.last4.clone(),
            valid_until: now.plus_millis(overlap_millis.max(0)),
            rotated_at: now,
            idempotency_key: idempotency_key.map(str::to_owned),
        });
        let rotated = Self {
            prefix: key.prefix().to_owned(),
            last4: key.last4().to_owned(),
            previous,
            updated_at: now,
            ..self.clone()
        };
        rotated.check()?;
        Ok(rotated)
    }

    /// What a rotation makes of `self`: the newest key's looks and the older keys of `new`, one version on.
    pub(crate) fn rotated_with(&self, new: &Self) -> Self {
        Self {
            prefix: new.prefix.clone(),
            last4: new.last4.clone(),
            previous: new.previous.clone(),
            updated_at: new.updated_at,
            version: self.version + 1,
            valid_until: None,
            ..self.clone()
        }
    }

    /// Until when a rotation that makes this record leaves the old key in use; `None` = it ends with it. `Invalid` for a
    /// record that [`KeyRecord::rotated`] did not make.
    pub(crate) fn old_valid_until(&self) -> Result<Option<Timestamp>> {
        let newest = self.previous.last().filter(|old| old.rotated_at == self.updated_at);
        let old = newest.ok_or_else(|| Error::invalid("previous: not a rotated record"))?;
        Ok(Some(old.valid_until).filter(|until| *until > self.updated_at))
    }
}

impl Previous {
    fn is_remembered(&self, now: Timestamp) -> bool {
        let known = self.idempotency_key.is_some() && self.rotated_at.plus_millis(REMEMBERED_MILLIS) > now;
        self.valid_until > now || known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::sample::{noon, record};

    fn key() -> NewKey {
        NewKey::generate(&mut rand::rng())
    }

    #[test]
    fn an_idempotency_key_counts_for_a_day_whatever_was_rotated_in_between() {
        let first = record(1).rotated(&key(), 0, Some("deploy-1"), noon()).unwrap();
        let second = first.rotated(&key(), 0, None, noon()).unwrap();
        let again = |at| second.rotated(&key(), 0, Some("deploy-1"), at).map_err(|error| error.kind());
        assert_eq!(again(noon().plus_millis(REMEMBERED_MILLIS - 1)).unwrap_err(), ErrorKind::Conflict);
        // It is forgotten with the next rotation after that, and not by a clock alone.
        let later = second.rotated(&key(), 0, None, noon().plus_millis(REMEMBERED_MILLIS)).unwrap();
        assert!(later.rotated(&key(), 0, Some("deploy-1"), noon().plus_millis(REMEMBERED_MILLIS)).is_ok());
    }

    #[test]
    fn few_older_keys_go_on_and_what_is_over_is_forgotten() {
        let mut record = record(1);
        for n in 0..8 {
            record = record.rotated(&key(), 1_000 + n, None, noon()).unwrap();
        }
        assert_eq!(record.rotated(&key(), 1, None, noon()).unwrap_err().kind(), ErrorKind::Conflict);
        let at_once = record.rotated(&key(), 0, None, noon()).unwrap();
        assert_eq!(at_once.old_valid_until().unwrap(), None);
        let later = record.rotated(&key(), 1, None, noon().plus_millis(1_003)).unwrap();
        assert_eq!(later.previous.len(), 4 + 1);
        let until = noon().plus_millis(1_004);
        assert_eq!(later.old_valid_until().unwrap(), Some(until));
    }

    #[test]
    fn a_record_does_not_grow_with_its_rotations() {
        let mut record = record(1);
        for n in 0..100 {
            record = record.rotated(&key(), 0, Some(&n.to_string()), noon()).unwrap();
        }
        assert_eq!(record.previous.len(), ROTATIONS);
        assert!(record.rotated(&key(), 0, Some("99"), noon()).is_err());
    }
}
