//! The embedded default: one database file, no set-up.
//!
//! One thread of its own writes: it takes every call that waits, runs them in one transaction and answers them after
//! the commit, so that a hundred calls cost one `fsync`. Two threads read, each on a connection of its own; thanks to the
//! write-ahead log they wait for no writer. Other processes may have the same file open.
//!
//! - `keys`, `rotation`, `usage`, `totals`, `budget`, `rate`, `config`, `turns`: the statements.
//! - `schema`: tables and their migrations. `worker`: the threads.

mod budget;
mod config;
mod failure;
mod keys;
mod rate;
mod rotation;
mod schema;
mod totals;
mod turns;
mod usage;
mod worker;

use std::{fmt, path::Path};

use async_trait::async_trait;
use rusqlite::Connection;

use crate::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, KeyFilter, KeyHash, KeyId, KeyRecord,
    Listing, Page, PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Recorded, Result, Store, StoredTurn,
    Timestamp, Totals, UsageQuery, UsageRow,
};
use worker::Workers;

/// How many threads read.
const READERS: usize = 2;

/// A store in a database file.
pub struct Sqlite {
    writer: Workers,
    readers: Workers,
}

impl Sqlite {
    /// Opens the database, and makes it (mode 0600, schema included) when it is not there. Blocks: call it at start.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        schema::make_private(path)?;
        let writing = schema::connect(path)?;
        schema::migrate(&writing)?;
        let reading = (0..READERS).map(|_| schema::connect_to_read(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self { writer: Workers::writer(writing)?, readers: Workers::readers(reading)? })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.call(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.call(work).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        record.check()?;
        let (hash, record) = (*hash, record.clone());
        self.write(move |db| keys::put_new(db, &hash, &record)).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let hash = *hash;
        self.read(move |db| keys::by_hash(db, &hash)).await
    }

    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        let key_id = key_id.clone();
        self.read(move |db| keys::by_id(db, &key_id)).await
    }

    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>> {
        let key_id = key_id.clone();
        self.read(move |db| keys::hash_of(db, &key_id)).await
    }

    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |db| keys::list(db, &filter, &page)).await
    }

    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord> {
        record.check()?;
        let record = record.clone();
        self.write(move |db| keys::update(db, &record)).await
    }

    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
        record.check()?;
        let (record, new) = (record.clone(), *new);
        self.write(move |db| rotation::rotate(db, &record, &new)).await
    }

    async fn delete_key(&self, key_id: &KeyId) -> Result<()> {
        let key_id = key_id.clone();
        self.write(move |db| rotation::delete(db, &key_id)).await
    }

    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let uses = uses.to_vec();
        self.write(move |db| keys::touch(db, &uses)).await
    }

    async fn meta_get(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.read(move |db| schema::meta(db, &name)).await
    }

    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |db| schema::put_meta_if_absent(db, &name, &value)).await
    }

    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
        if rows.is_empty() {
            return Ok(Recorded::default());
        }
        let (rows, paid) = (rows.to_vec(), paid.cloned());
        self.write(move |db| usage::record(db, &rows, paid.as_ref())).await
    }

    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals> {
        let (key_id, bucket) = (key_id.clone(), bucket.to_string());
        self.read(move |db| usage::totals(db, &key_id, &bucket)).await
    }

    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
        let (query, page) = (query.clone(), page.clone());
        self.read(move |db| usage::list(db, &query, &page)).await
    }

    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>> {
        let page = page.clone();
        self.read(move |db| totals::keys(db, &page)).await
    }

    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
        let query = query.clone();
        self.read(move |db| totals::periods(db, &query)).await
    }

    async fn rebuild_usage(
        &self,
        key_id: &KeyId,
        since: Timestamp,
        only_compare: bool,
    ) -> Result<Vec<Corrected>> {
        let key_id = key_id.clone();
        if only_compare {
            // A snapshot, and nobody waits for it.
            return self
                .read(move |db| {
                    let snapshot = db.unchecked_transaction()?;
                    totals::compared(&snapshot, &key_id, since)
                })
                .await;
        }
        self.write(move |db| totals::rebuild(db, &key_id, since)).await
    }

    async fn prune_usage(&self, older_than: Timestamp, max_rows: usize) -> Result<usize> {
        self.write(move |db| usage::prune(db, older_than, max_rows)).await
    }

    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant> {
        let ask = ask.clone();
        self.write(move |db| budget::lease(db, &ask)).await
    }

    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
        let (key_id, replica) = (key_id.clone(), replica.to_owned());
        self.write(move |db| match amount {
            Some(amount) => budget::lower(db, key_id.as_str(), &replica, amount),
            None => budget::end(db, &key_id, &replica),
        })
        .await
    }

    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Vec<KeyId>> {
        let (replica, keys) = (replica.to_owned(), keys.to_vec());
        self.write(move |db| budget::extend(db, &replica, &keys, now, expires_at)).await
    }

    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
        self.read(move |db| config::list(db, kind)).await
    }

    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
        let row = row.clone();
        self.write(move |db| config::put(db, kind, &row)).await
    }

    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
        let id = id.to_owned();
        self.write(move |db| config::remove(db, kind, &id, version)).await
    }

    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let (key_id, name) = (key_id.clone(), name.to_owned());
        self.write(move |db| budget::claim(db, &key_id, &name, now, until)).await
    }

    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
        let ask = ask.clone();
        self.write(move |db| rate::draw(db, &ask)).await
    }

    async fn put_turn(&self, turn: &StoredTurn) -> Result<()> {
        let turn = turn.clone();
        self.write(move |db| turns::put(db, &turn)).await
    }

    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
        let (id, key_id) = (id.to_owned(), key_id.clone());
        self.read(move |db| turns::get(db, &id, &key_id, now)).await
    }

    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        let (id, key_id) = (id.to_owned(), key_id.clone());
        self.write(move |db| turns::remove(db, &id, &key_id, now)).await
    }

    async fn prune_turns(&self, now: Timestamp, max_rows: usize) -> Result<usize> {
        self.write(move |db| turns::prune(db, now, max_rows)).await
    }

    async fn probe(&self) -> Result<()> {
        // The writer's transaction takes the write lock, so this answers for both sides.
        self.write(|db| schema::meta(db, schema::VERSION).map(|_| ())).await
    }
}

#[cfg(test)]
mod tests;
