//! The store, with every call counted and timed. One place for all of them, so that none is forgotten.

use std::{future::Future, sync::Arc, time::Instant};

use async_trait::async_trait;
use metrics::{counter, histogram};
use store::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, ErrorKind, KeyFilter, KeyHash, KeyId,
    KeyRecord, Listing, Page, PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Recorded, Result, Store,
    StoredTurn, Timestamp, Totals, UsageQuery, UsageRow,
};

/// A store whose calls are measured.
#[derive(Debug)]
pub(crate) struct Measured {
    inner: Arc<dyn Store>,
}

impl Measured {
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self { inner })
    }
}

/// A call that is under way; counted when this is dropped, however it ends.
struct Watch {
    operation: &'static str,
    since: Instant,
    outcome: &'static str,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Self { operation, since, outcome } = *self;
        counter!("outcrop_store_operations_total", "operation" => operation, "outcome" => outcome)
            .increment(1);
        histogram!("outcrop_store_duration_seconds", "operation" => operation)
            .record(since.elapsed().as_secs_f64());
    }
}

async fn watched<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    // Whoever waited no longer has dropped it.
    let mut watch = Watch { operation, since: Instant::now(), outcome: "abandoned" };
    let done = call.await;
    watch.outcome = match &done {
        Ok(_) => "ok",
        Err(error) => match error.kind() {
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Broken => "broken",
        },
    };
    done
}

#[async_trait]
impl Store for Measured {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        watched("put_new_key", self.inner.put_new_key(hash, record)).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        watched("key_by_hash", self.inner.key_by_hash(hash)).await
    }

    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        watched("key_by_id", self.inner.key_by_id(key_id)).await
    }

    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>> {
        watched("key_hash", self.inner.key_hash(key_id)).await
    }

    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
        watched("list_keys", self.inner.list_keys(filter, page)).await
    }

    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord> {
        watched("update_key", self.inner.update_key(record)).await
    }

    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
        watched("rotate_key", self.inner.rotate_key(record, new)).await
    }

    async fn delete_key(&self, key_id: &KeyId) -> Result<()> {
        watched("delete_key", self.inner.delete_key(key_id)).await
    }

    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        watched("touch_last_used", self.inner.touch_last_used(uses)).await
    }

    async fn meta_get(&self, name: &str) -> Result<Option<String>> {
        watched("meta_get", self.inner.meta_get(name)).await
    }

    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String> {
        watched("meta_put_if_absent", self.inner.meta_put_if_absent(name, value)).await
    }

    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
        watched("record_paid_usage", self.inner.record_paid_usage(rows, paid)).await
    }

    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals> {
        watched("usage_totals", self.inner.usage_totals(key_id, bucket)).await
    }

    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
        watched("usage_rows", self.inner.usage_rows(query, page)).await
    }

    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>> {
        watched("usage_keys", self.inner.usage_keys(page)).await
    }

    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
        watched("usage_periods", self.inner.usage_periods(query)).await
    }

    async fn rebuild_usage(
        &self,
        key_id: &KeyId,
        since: Timestamp,
        only_compare: bool,
    ) -> Result<Vec<Corrected>> {
        watched("rebuild_usage", self.inner.rebuild_usage(key_id, since, only_compare)).await
    }

    async fn prune_usage(&self, older_than: Timestamp, max_rows: usize) -> Result<usize> {
        watched("prune_usage", self.inner.prune_usage(older_than, max_rows)).await
    }

    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant> {
        watched("lease_budget", self.inner.lease_budget(ask)).await
    }

    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
        watched("release_budget", self.inner.release_budget(key_id, replica, amount)).await
    }

    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Vec<KeyId>> {
        watched("extend_leases", self.inner.extend_leases(replica, keys, now, expires_at)).await
    }

    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
        watched("config_rows", self.inner.config_rows(kind)).await
    }

    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
        watched("put_config_row", self.inner.put_config_row(kind, row)).await
    }

    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
        watched("remove_config_row", self.inner.remove_config_row(kind, id, version)).await
    }

    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        watched("claim", self.inner.claim(key_id, name, now, until)).await
    }

    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
        watched("draw_rate", self.inner.draw_rate(ask)).await
    }

    async fn put_turn(&self, turn: &StoredTurn) -> Result<()> {
        watched("put_turn", self.inner.put_turn(turn)).await
    }

    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
        watched("turn", self.inner.turn(id, key_id, now)).await
    }

    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        watched("remove_turn", self.inner.remove_turn(id, key_id, now)).await
    }

    async fn prune_turns(&self, now: Timestamp, max_rows: usize) -> Result<usize> {
        watched("prune_turns", self.inner.prune_turns(now, max_rows)).await
    }

    async fn probe(&self) -> Result<()> {
        watched("probe", self.inner.probe()).await
    }
}
