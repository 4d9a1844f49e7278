//! The specification in code: what the promises of [`Store`] come to, without a database.

mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Bucket, BudgetAsk, BudgetGrant, ByPeriod, ConfigKind, ConfigRow, Corrected, Error, ErrorKind, KeyFilter,
    KeyHash, KeyId, KeyRecord, Listing, Page, PaidBy, PeriodQuery, PicoUsd, Rate, RateAsk, RateDrawn,
    Recorded, Result, Store, StoredTurn, Timestamp, Totals, UsageQuery, UsageRow,
    budget::{self, signed},
    config,
    cursor::{self, KeyPlace, RowPlace},
    rate::{self, RateState},
    usage::Rebuild,
};

/// A store in this process, gone with it. For tests, `--simulate`, and to see what is meant.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<KeyId, KeyRecord>,
    /// Whose hash it is, and until when if it is an older one.
    hashes: BTreeMap<KeyHash, (KeyId, Option<Timestamp>)>,
    order: BTreeSet<KeyPlace>,
    rows: BTreeMap<RowPlace, UsageRow>,
    seen: BTreeSet<(String, u32)>,
    totals: BTreeMap<(KeyId, String), Totals>,
    meta: BTreeMap<String, String>,
    /// By key and replica: what it has, and until when.
    leases: BTreeMap<(KeyId, String), (i128, Timestamp)>,
    config: BTreeMap<(ConfigKind, String), ConfigRow>,
    /// By key and name: until when.
    claims: BTreeMap<(KeyId, String), Timestamp>,
    rates: BTreeMap<(KeyId, Rate), RateState>,
    turns: turns::Turns,
}

impl State {
    fn spent(&self, key_id: &KeyId, bucket: &Bucket) -> PicoUsd {
        self.totals.get(&(key_id.clone(), bucket.to_string())).map_or(PicoUsd::ZERO, |sum| sum.cost_pico_usd)
    }

    fn pay(&mut self, row: &UsageRow, paid: Option<&PaidBy>) {
        let Some(paid) = paid.filter(|paid| paid.keys.contains(&row.key_id)) else { return };
        if let Some((amount, _)) = self.leases.get_mut(&(row.key_id.clone(), paid.replica.clone())) {
            *amount = amount.saturating_sub(signed(row.cost_pico_usd.unwrap_or_default()));
        }
    }
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
        state.hashes.insert(*hash, (record.key_id.clone(), None));
        state.order.insert((record.created_at, record.key_id.clone()));
        state.keys.insert(record.key_id.clone(), record.clone());
        Ok(())
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let state = self.state();
        let found = state.hashes.get(hash).and_then(|(id, until)| Some((state.keys.get(id)?, *until)));
        Ok(found.map(|(record, valid_until)| KeyRecord { valid_until, ..record.clone() }))
    }

    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        Ok(self.state().keys.get(key_id).cloned())
    }

    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>> {
        let state = self.state();
        let newest = state.hashes.iter().find(|(_, (owner, until))| owner == key_id && until.is_none());
        Ok(newest.map(|(hash, _)| *hash))
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

    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
        record.check()?;
        let until = record.old_valid_until()?;
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(stored) = state.keys.get_mut(&record.key_id) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no key {}", record.key_id)));
        };
        if stored.version != record.version || state.hashes.contains_key(new) {
            let message = format!("key {} was changed meanwhile, or the hash exists", record.key_id);
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        *stored = stored.rotated_with(record);
        let now = record.updated_at;
        state.hashes.retain(|_, (key_id, valid_until)| {
            if *key_id == record.key_id && valid_until.is_none() {
                *valid_until = Some(until.unwrap_or(now));
            }
            *key_id != record.key_id || valid_until.is_some_and(|at| at > now)
        });
        state.hashes.insert(*new, (record.key_id.clone(), None));
        Ok(stored.clone())
    }

    async fn delete_key(&self, key_id: &KeyId) -> Result<()> {
        let mut state = self.state();
        let Some(record) = state.keys.remove(key_id) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no key {key_id}")));
        };
        state.order.remove(&(record.created_at, record.key_id));
        state.hashes.retain(|_, (owner, _)| owner != key_id);
        state.rates.retain(|(owner, _), _| owner != key_id);
        Ok(())
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

    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
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
            state.pay(row, paid);
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

    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>> {
        let after = page.cursor.as_deref().map(cursor::id_place).transpose()?;
        let limit = page.limit.max(1);
        let items = self
            .state()
            .totals
            .keys()
            .filter(|(key_id, bucket)| {
                *bucket == Bucket::Total.to_string() && after.as_ref().is_none_or(|after| key_id > after)
            })
            .map(|(key_id, _)| key_id.clone())
            .take(limit.saturating_add(1))
            .collect();
        Ok(Listing::cut(items, limit, cursor::of_id))
    }

    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
        let (first, last) = query.names();
        let state = self.state();
        let range = (query.key_id.clone(), first)..(query.key_id.clone(), last);
        state.totals.range(range).map(|((_, name), totals)| Ok((name.parse()?, *totals))).collect()
    }

    async fn rebuild_usage(
        &self,
        key_id: &KeyId,
        since: Timestamp,
        only_compare: bool,
    ) -> Result<Vec<Corrected>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut rebuild = Rebuild::from_day(since);
        state.rows.values().filter(|row| row.key_id == *key_id).for_each(|row| rebuild.add(row));
        let stored = state.totals.iter().filter(|((id, _), _)| id == key_id);
        let corrected = rebuild.compare(stored.map(|((_, name), totals)| (name.clone(), *totals)));
        for Corrected { bucket, right, .. } in corrected.iter().filter(|_| !only_compare) {
            let place = (key_id.clone(), bucket.clone());
            match right {
                Some(right) => state.totals.insert(place, *right),
                None => state.totals.remove(&place),
            };
        }
        Ok(corrected)
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

    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant> {
        let mut state = self.state();
        let BudgetAsk { key_id, replica, now, at, .. } = ask;
        state.leases.retain(|_, (_, ends)| *ends > now.plus_millis(-budget::KEPT_MILLIS));
        let own = (key_id.clone(), replica.clone());
        let alive = state.leases.iter().filter(|(place, (_, ends))| place.0 == *key_id && *ends > *now);
        let others = alive.clone().filter(|(place, _)| **place != own);
        let others = others.fold(0_i128, |sum, (_, (amount, _))| sum.saturating_add((*amount).max(0)));
        let mut spent = ByPeriod::default();
        for (period, _) in ask.limits.set() {
            *spent.get_mut(period) = state.spent(key_id, &period.bucket(*at));
        }
        let has = alive.clone().find(|(place, _)| **place == own).map_or(0, |(_, (amount, _))| *amount);
        let grant = budget::grant(ask, spent, others, has);
        if grant.granted > PicoUsd::ZERO {
            state.leases.insert(own, (has.saturating_add(signed(grant.granted)), ask.expires_at));
        }
        Ok(grant)
    }

    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
        let mut state = self.state();
        let own = (key_id.clone(), replica.to_owned());
        match (amount, state.leases.get_mut(&own)) {
            (Some(amount), Some((has, _))) => *has = has.saturating_sub(signed(amount)),
            (None, Some(_)) => drop(state.leases.remove(&own)),
            (_, None) => {}
        }
        Ok(())
    }

    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Vec<KeyId>> {
        let mut state = self.state();
        let mut extended = Vec::new();
        for key_id in keys {
            match state.leases.get_mut(&(key_id.clone(), replica.to_owned())) {
                Some((_, ends)) if *ends > now => *ends = expires_at,
                Some(_) | None => continue,
            }
            extended.push(key_id.clone());
        }
        Ok(extended)
    }

    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
        let state = self.state();
        Ok(state.config.iter().filter(|((of, _), _)| *of == kind).map(|(_, row)| row.clone()).collect())
    }

    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
        let mut state = self.state();
        let place = (kind, row.id.clone());
        match state.config.get(&place) {
            None if row.version > 0 => return Err(config::missing(kind, &row.id)),
            Some(stored) if stored.version != row.version => return Err(config::stands(kind, row)),
            None | Some(_) => {}
        }
        let version = row.version.saturating_add(1);
        state.config.insert(place, ConfigRow { version, ..row.clone() });
        Ok(version)
    }

    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
        let mut state = self.state();
        let place = (kind, id.to_owned());
        let stored = state.config.get(&place).ok_or_else(|| config::missing(kind, id))?;
        if let Some(version) = version.filter(|version| *version != stored.version) {
            return Err(config::stands(kind, &ConfigRow { version, ..stored.clone() }));
        }
        state.config.remove(&place);
        Ok(())
    }

    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let mut state = self.state();
        state.claims.retain(|_, ends| *ends > now);
        let place = (key_id.clone(), name.to_owned());
        let is_first = !state.claims.contains_key(&place);
        if is_first {
            state.claims.insert(place, until);
        }
        Ok(is_first)
    }

    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
        let mut state = self.state();
        let place = (ask.key_id.clone(), ask.rate);
        let (bucket, drawn) = rate::draw(state.rates.get(&place).copied(), ask);
        state.rates.insert(place, bucket);
        Ok(drawn)
    }

    async fn put_turn(&self, turn: &StoredTurn) -> Result<()> {
        self.state().turns.put(turn)
    }

    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
        Ok(self.state().turns.get(id, key_id, now))
    }

    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        self.state().turns.remove(id, key_id, now)
    }

    async fn prune_turns(&self, now: Timestamp, max_rows: usize) -> Result<usize> {
        Ok(self.state().turns.prune(now, max_rows))
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}
