//! A store that takes its time, for tests.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use store::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, KeyFilter, KeyHash, KeyId, KeyRecord,
    Listing, Memory, Page, PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Recorded, Result, Store,
    StoredTurn, Timestamp, Totals, UsageQuery, UsageRow,
};

/// Longer than any test.
pub(crate) const HANGS: Duration = Duration::from_hours(1);

/// A memory store of which some calls are slow, or hang.
#[derive(Debug)]
pub(crate) struct Slow {
    inner: Memory,
    pauses: Mutex<HashMap<&'static str, Duration>>,
}

impl Slow {
    pub(crate) fn new() -> Self {
        Self { inner: Memory::new(), pauses: Mutex::default() }
    }

    /// From now on the call of this name is done after so long.
    pub(crate) fn slow_down(&self, call: &'static str, pause: Duration) {
        self.pauses.lock().unwrap().insert(call, pause);
    }

    async fn wait(&self, call: &str) {
        let pause = self.pauses.lock().unwrap().get(call).copied();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

#[async_trait]
impl Store for Slow {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        self.inner.put_new_key(hash, record).await
    }
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        self.wait("key_by_hash").await;
        self.inner.key_by_hash(hash).await
    }
    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        self.inner.key_by_id(key_id).await
    }
    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>> {
        self.inner.key_hash(key_id).await
    }
    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
        self.inner.list_keys(filter, page).await
    }
    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord> {
        self.inner.update_key(record).await
    }
    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
        self.inner.rotate_key(record, new).await
    }
    async fn delete_key(&self, key_id: &KeyId) -> Result<()> {
        self.inner.delete_key(key_id).await
    }
    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        self.inner.touch_last_used(uses).await
    }
    async fn meta_get(&self, name: &str) -> Result<Option<String>> {
        self.inner.meta_get(name).await
    }
    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String> {
        self.inner.meta_put_if_absent(name, value).await
    }
    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
        self.inner.record_paid_usage(rows, paid).await
    }
    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals> {
        self.inner.usage_totals(key_id, bucket).await
    }
    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
        self.inner.usage_rows(query, page).await
    }
    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>> {
        self.inner.usage_keys(page).await
    }
    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
        self.inner.usage_periods(query).await
    }
    async fn rebuild_usage(&self, key_id: &KeyId, since: Timestamp, look: bool) -> Result<Vec<Corrected>> {
        self.inner.rebuild_usage(key_id, since, look).await
    }
    async fn prune_usage(&self, older_than: Timestamp, max_rows: usize) -> Result<usize> {
        self.inner.prune_usage(older_than, max_rows).await
    }
    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant> {
        self.wait("lease_budget").await;
        self.inner.lease_budget(ask).await
    }
    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
        self.wait("release_budget").await;
        self.inner.release_budget(key_id, replica, amount).await
    }
    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        ends: Timestamp,
    ) -> Result<Vec<KeyId>> {
        self.inner.extend_leases(replica, keys, now, ends).await
    }
    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
        self.inner.config_rows(kind).await
    }
    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
        self.inner.put_config_row(kind, row).await
    }
    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
        self.inner.remove_config_row(kind, id, version).await
    }
    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        self.wait("claim").await;
        self.inner.claim(key_id, name, now, until).await
    }
    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
        self.wait("draw_rate").await;
        self.inner.draw_rate(ask).await
    }
    async fn put_turn(&self, turn: &StoredTurn) -> Result<()> {
        self.inner.put_turn(turn).await
    }
    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
        self.inner.turn(id, key_id, now).await
    }
    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        self.inner.remove_turn(id, key_id, now).await
    }
    async fn prune_turns(&self, now: Timestamp, max_rows: usize) -> Result<usize> {
        self.inner.prune_turns(now, max_rows).await
    }
    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }
}
