//! When keys were last used, and which of it is worth telling the store.

use std::collections::BTreeMap;

use super::UsageRow;
use crate::{KeyId, Timestamp};

/// How much later than the noted use another one is noted too, in milliseconds. Last use is promised within a minute,
/// and to note every one would cost a database as much as the rows.
const NOTE_EVERY: i64 = 60_000;
/// Of how many keys the noted use is remembered.
const KEYS: usize = 10_000;

/// What the store was told.
#[derive(Debug, Default)]
pub(super) struct LastUses(BTreeMap<KeyId, Timestamp>);

impl LastUses {
    /// The last use of each key in these rows, where it is time to note it.
    pub(super) fn due(&self, rows: &[UsageRow]) -> Vec<(KeyId, Timestamp)> {
        let mut uses: BTreeMap<&KeyId, Timestamp> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.key_id.has_record()) {
            let at = uses.entry(&row.key_id).or_insert(row.ts);
            *at = row.ts.max(*at);
        }
        uses.retain(|key_id, at| self.0.get(*key_id).is_none_or(|told| told.plus_millis(NOTE_EVERY) <= *at));
        uses.into_iter().map(|(key_id, at)| (key_id.clone(), at)).collect()
    }

    /// The store knows these now.
    pub(super) fn told(&mut self, uses: Vec<(KeyId, Timestamp)>) {
        if self.0.len() >= KEYS {
            self.0.clear();
        }
        self.0.extend(uses);
    }
}
