//! Kept answers, by their ids.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    KeyId, Result, StoredTurn, Timestamp,
    turn::{missing, stands},
};

/// All that is kept, in bytes: this memory is the process's, and each answer holds what led to it once more.
const MOST_BYTES: usize = 256 << 20;

pub(super) struct Turns {
    by_id: BTreeMap<String, StoredTurn>,
    /// The order in which they are forgotten.
    by_end: BTreeSet<(Timestamp, String)>,
    bytes: usize,
    most_bytes: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self::of_at_most(MOST_BYTES)
    }
}

impl Turns {
    fn of_at_most(most_bytes: usize) -> Self {
        Self { by_id: BTreeMap::new(), by_end: BTreeSet::new(), bytes: 0, most_bytes }
    }

    /// Those that would end first make room.
    pub(super) fn put(&mut self, turn: &StoredTurn) -> Result<()> {
        turn.check()?;
        if self.by_id.contains_key(&turn.id) {
            return Err(stands());
        }
        while self.bytes + size(turn) > self.most_bytes && self.forget_first(|_| true) {}
        self.bytes += size(turn);
        self.by_end.insert((turn.expires_at, turn.id.clone()));
        self.by_id.insert(turn.id.clone(), turn.clone());
        Ok(())
    }

    pub(super) fn get(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Option<StoredTurn> {
        self.by_id.get(id).filter(|turn| turn.is_there(key_id, now)).cloned()
    }

    pub(super) fn remove(&mut self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        let turn = self.by_id.get(id).filter(|turn| turn.is_there(key_id, now)).ok_or_else(missing)?;
        self.by_end.remove(&(turn.expires_at, id.to_owned()));
        self.bytes -= size(turn);
        self.by_id.remove(id);
        Ok(())
    }

    pub(super) fn prune(&mut self, now: Timestamp, max_rows: usize) -> usize {
        (0..max_rows).take_while(|_| self.forget_first(|ends| ends <= now)).count()
    }

    /// Forgets the one that ends first, if it should be; whether it was.
    fn forget_first(&mut self, should: impl FnOnce(Timestamp) -> bool) -> bool {
        let Some((_, id)) = self.by_end.first().filter(|(ends, _)| should(*ends)) else { return false };
        if let Some(turn) = self.by_id.remove(id) {
            self.bytes -= size(&turn);
        }
        self.by_end.pop_first();
        true
    }
}

/// About what a turn takes.
fn size(turn: &StoredTurn) -> usize {
    size_of::<StoredTurn>() + 2 * turn.id.len() + turn.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::sample::{key_id, noon, turn};

    #[test]
    fn those_that_end_first_are_forgotten_for_new_ones_and_whatever_goes_makes_room() {
        let ends = |n: i64| noon().plus_millis(n * 1_000);
        let long =
            |n: i64| StoredTurn { payload: "x".repeat(500), expires_at: ends(n), ..turn(&n.to_string()) };
        let mut turns = Turns::of_at_most(4 * size(&long(1)));
        let there = |turns: &Turns| {
            let there = |n: &i64| turns.get(&n.to_string(), &key_id(1), noon()).is_some();
            (1..=9).filter(there).collect::<Vec<_>>()
        };
        // Not the order in which they came.
        for n in [3, 1, 4, 2] {
            turns.put(&long(n)).unwrap();
        }
        assert_eq!(there(&turns), [1, 2, 3, 4]);
        turns.put(&long(4)).unwrap_err();
        assert_eq!(there(&turns), [1, 2, 3, 4], "what is not put takes no room");
        turns.put(&long(5)).unwrap();
        assert_eq!(there(&turns), [2, 3, 4, 5]);
        turns.remove("4", &key_id(1), noon()).unwrap();
        turns.put(&long(6)).unwrap();
        assert_eq!(there(&turns), [2, 3, 5, 6]);
        assert_eq!(turns.prune(ends(3), 9), 2);
        for n in [7, 8, 9] {
            turns.put(&long(n)).unwrap();
        }
        assert_eq!(there(&turns), [6, 7, 8, 9]);
        assert_eq!(turns.bytes, 4 * size(&long(1)));
    }
}
