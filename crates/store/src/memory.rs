//! The specification in code: what the promises of [`Store`] come to, without a database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Bucket, Error, ErrorKind, KeyFilter, KeyHash, KeyId, KeyRecord, Listing, Page, Recorded, Result, Store,
    Timestamp, Totals, UsageQuery, UsageRow,
    cursor::{self, KeyPlace, RowPlace},
};

/// A store in this process, gone with it. For tests, `--simulate`, and to see what is meant.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<KeyId, KeyRecord>,
    hashes: BTreeMap<KeyHash, KeyId>,
    order: BTreeSet<KeyPlace>,
    rows: BTreeMap<RowPlace, UsageRow>,
    seen: BTreeSet<(String, u32)>,
    totals: BTreeMap<(KeyId, String), Totals>,
    meta: BTreeMap<String, String>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code between lock and unlock leaves the state half changed, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Memory {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        record.check()?;
        let mut state = self.state();
        if state.keys.contains_key(&record.key_id) || state.hashes.contains_key(hash) {
            return Err(Error::new(ErrorKind::Conflict, "a key with this id or hash exists"));
        }
        state.hashes.insert(*hash, record.key_id.clone());
        state.order.insert((record.created_at, record.key_id.clone()));
        state.keys.insert(record.key_id.clone(), record.clone());
        Ok(())
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let state = self.state();
        Ok(state.hashes.get(hash).and_then(|id| state.keys.get(id)).cloned())
    }

    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        Ok(self.state().keys.get(key_id).cloned())
    }

    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
        let after = page.cursor.as_deref().map(cursor::key_place).transpose()?;
        let limit = page.limit.max(1);
        let state = self.state();
        let items = state
            .order
            .iter()
            .filter(|place| after.as_ref().is_none_or(|after| *place > after))
            .filter_map(|(_, id)| state.keys.get(id))
            .filter(|record| filter.admits(record))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        Ok(Listing::cut(items, limit, cursor::of_key))
    }

    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord> {
        record.check()?;
        let mut state = self.state();
        let Some(stored) = state.keys.get_mut(&record.key_id) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no key {}", record.key_id)));
        };
        if stored.version != record.version {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("key {} was changed meanwhile", record.key_id),
            ));
        }
        *stored = stored.updated_with(record);
        Ok(stored.clone())
    }

    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let mut state = self.state();
        for (key_id, at) in uses {
            if let Some(record) = state.keys.get_mut(key_id) {
                record.last_used_at = record.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn meta_get(&self, name: &str) -> Result<Option<String>> {
        Ok(self.state().meta.get(name).cloned())
    }

    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String> {
        let mut state = self.state();
        Ok(state.meta.entry(name.to_owned()).or_insert_with(|| value.to_owned()).clone())
    }

    async fn record_usage(&self, rows: &[UsageRow]) -> Result<Recorded> {
        let mut state = self.state();
        let mut recorded = Recorded::default();
        for row in rows {
            if !state.seen.insert((row.request_id.clone(), row.round)) {
                recorded.repeated += 1;
                continue;
            }
            for bucket in Bucket::of(row) {
                state.totals.entry((row.key_id.clone(), bucket.to_string())).or_default().add(row);
            }
            state.rows.insert((row.ts, row.request_id.clone(), row.round), row.clamped());
            recorded.written += 1;
        }
        Ok(recorded)
    }

    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals> {
        let place = (key_id.clone(), bucket.to_string());
        Ok(self.state().totals.get(&place).copied().unwrap_or_default())
    }

    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
        let after = page.cursor.as_deref().map(cursor::row_place).transpose()?;
        let limit = page.limit.max(1);
        let items = self
            .state()
            .rows
            .iter()
            .filter(|(place, _)| after.as_ref().is_none_or(|after| *place > after))
            .map(|(_, row)| row)
            .filter(|row| row.key_id == query.key_id && query.since <= row.ts && row.ts < query.until)
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        Ok(Listing::cut(items, limit, cursor::of_row))
    }

    async fn prune_usage(&self, older_than: Timestamp, max_rows: usize) -> Result<usize> {
        let mut state = self.state();
        let old: Vec<RowPlace> =
            state.rows.keys().take_while(|(ts, ..)| *ts < older_than).take(max_rows).cloned().collect();
        for place in &old {
            state.rows.remove(place);
            let (_, request_id, round) = place;
            state.seen.remove(&(request_id.clone(), *round));
        }
        Ok(old.len())
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}
