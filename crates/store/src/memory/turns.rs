//! Kept answers, by their ids.

use std::collections::BTreeMap;

use crate::{
    KeyId, Result, StoredTurn, Timestamp,
    turn::{missing, stands},
};

#[derive(Default)]
pub(super) struct Turns(BTreeMap<String, StoredTurn>);

impl Turns {
    pub(super) fn put(&mut self, turn: &StoredTurn) -> Result<()> {
        turn.check()?;
        if self.0.contains_key(&turn.id) {
            return Err(stands());
        }
        self.0.insert(turn.id.clone(), turn.clone());
        Ok(())
    }

    pub(super) fn get(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Option<StoredTurn> {
        self.0.get(id).filter(|turn| turn.is_there(key_id, now)).cloned()
    }

    pub(super) fn remove(&mut self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        if self.get(id, key_id, now).is_none() {
            return Err(missing());
        }
        self.0.remove(id);
        Ok(())
    }

    pub(super) fn prune(&mut self, now: Timestamp, max_rows: usize) -> usize {
        let mut expired: Vec<_> = self.0.values().filter(|turn| turn.expires_at <= now).collect();
        expired.sort_by(|a, b| (a.expires_at, &a.id).cmp(&(b.expires_at, &b.id)));
        let ids: Vec<_> = expired.into_iter().take(max_rows).map(|turn| turn.id.clone()).collect();
        for id in &ids {
            self.0.remove(id);
        }
        ids.len()
    }
}
