//! For a fleet: DynamoDB, whose tables `outcrop-keys setup` makes.
//!
//! What a call promises is kept by conditions and transactions of the database, so any number of gateways may share the
//! tables. Reads are consistent, but for one: which keys a user has is read from an index, which follows within about a
//! second. What has expired counts as absent, although DynamoDB may remove it days later; hence the use of the clock.
//!
//! The SDK needs Tokio and keeps connections that belong to one runtime, while our callers live on several and may have
//! none. So calls run on a thread of their own, like those of [`Sqlite`](crate::Sqlite).
//!
//! - `tables`: the tables as data. `setup`: making and comparing them. `client`: where, by whom, for how long.
//! - `keys`, `rotation`, `usage`, `totals`, `budget`, `rate`, `config`, `turns`: the statements.
//! - `transact`, `item`, `failure`: what they are made of.

mod budget;
mod client;
mod config;
mod failure;
mod item;
mod keys;
mod rate;
mod rotation;
mod setup;
pub mod tables;
mod totals;
mod transact;
mod turns;
mod usage;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, Error, ErrorKind, KeyFilter, KeyHash,
    KeyId, KeyRecord, Listing, Page, PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Recorded, Result,
    Store, StoredTurn, Timestamp, Totals, UsageQuery, UsageRow,
};
use client::Clients;
use item::{Item, number, text};
use tables::{TABLES, Table, TableNames, TableState};

/// How many last uses are noted, or leases extended, at a time.
const TOUCHES: usize = 16;
/// The meta entry that counts the changes of the tables' layout.
const VERSION: &str = "schema_version";
/// The layout that this build knows.
const LAYOUT: u32 = 1;

/// Which DynamoDB, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// `AWS_REGION`; none asks the SDK's chain, then `us-east-1`.
    pub region: Option<String>,
    /// `DYNAMODB_ENDPOINT_URL`. A stand-in is called over `http://`; it gets the credentials of the environment or
    /// made-up ones, never those of a role or a profile.
    pub endpoint_url: Option<String>,
    /// How the tables are called.
    pub tables: TableNames,
    /// `USAGE_TTL_DAYS`: how long a row is kept; `None` = for ever.
    pub keep_usage: Option<Duration>,
}

/// A store in DynamoDB.
pub struct DynamoDb {
    db: Arc<Db>,
    runtime: Option<Runtime>,
}

/// What the statements work with.
struct Db {
    clients: Clients,
    names: TableNames,
    keep_usage: Option<Duration>,
}

impl DynamoDb {
    /// Finds region and credentials, and asks every table for something. `Broken` when one is missing or has other keys.
    pub async fn open(settings: &DynamoDbSettings) -> Result<Self> {
        let store = Self::connect(settings).await?;
        store.call(|db| async move { db.check().await }).await?;
        Ok(store)
    }

    /// Makes what is missing of tables, indexes and TTLs, or only compares. What differs and cannot be changed in place
    /// is left alone; the states say so.
    pub async fn setup(settings: &DynamoDbSettings, only_compare: bool) -> Result<Vec<TableState>> {
        let store = Self::connect(settings).await?;
        store.call(move |db| async move { setup::run(&db, only_compare).await }).await
    }

    async fn connect(settings: &DynamoDbSettings) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-dynamodb")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot start a database thread").caused_by(error)
            })?;
        let wanted = settings.clone();
        let clients =
            runtime.spawn(async move { Clients::connect(&wanted).await }).await.map_err(|_| gone())?;
        let db = Db { clients, names: settings.tables.clone(), keep_usage: settings.keep_usage };
        Ok(Self { db: Arc::new(db), runtime: Some(runtime) })
    }

    /// Has `work` done on the thread; it is brought to its end also when the caller leaves.
    async fn call<T, F>(&self, work: impl FnOnce(Arc<Db>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        runtime.spawn(work(Arc::clone(&self.db))).await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Does not wait: a runtime may not be waited for within another, and what was acknowledged has been written.
impl Drop for DynamoDb {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDb").field("tables", &self.db.names).finish_non_exhaustive()
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the database thread has stopped")
}

impl Db {
    /// An item as it is now, unless it has expired.
    async fn get(&self, table: &Table, key: Item) -> Result<Option<Item>> {
        let name = self.names.of(table);
        let sent = self
            .clients
            .reads
            .get_item()
            .table_name(&name)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await;
        let answer = sent.map_err(|error| failure::of(&format!("reading {name}"), &error))?;
        Ok(answer.item.filter(|item| item::is_alive(item, Timestamp::now())))
    }

    /// Whether every table is there and has our keys, and none was made by a newer build. With the rights of every day:
    /// those do not include describing a table.
    async fn check(&self) -> Result<()> {
        for table in &TABLES {
            let key = [Some(table.partition), table.sort].into_iter().flatten();
            let nothing = |name| if table.holds_number(name) { number(0) } else { text("nothing") };
            let key = key.map(|name| (name.to_owned(), nothing(name))).collect();
            self.get(table, key).await.map_err(|error| match error.kind() {
                ErrorKind::Invalid => {
                    let name = self.names.of(table);
                    Error::new(ErrorKind::Broken, format!("the table {name} has other keys than Outcrop's"))
                        .caused_by(error)
                }
                _ => error,
            })?;
        }
        let made = keys::meta(self, VERSION).await?.map_or(Ok(LAYOUT), |text| text.parse());
        if made.is_ok_and(|made| made <= LAYOUT) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Broken, "the tables were made by a newer build; use that one"))
    }
}

#[async_trait]
impl Store for DynamoDb {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        record.check()?;
        let (hash, record) = (*hash, record.clone());
        self.call(|db| async move { keys::put_new(&db, &hash, &record).await }).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let hash = *hash;
        self.call(|db| async move { keys::by_hash(&db, &hash).await }).await
    }

    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>> {
        let key_id = key_id.clone();
        self.call(|db| async move { keys::by_id(&db, &key_id).await }).await
    }

    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>> {
        let key_id = key_id.clone();
        self.call(|db| async move { keys::hash_of(&db, &key_id).await }).await
    }

    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.call(|db| async move { keys::list(&db, &filter, &page).await }).await
    }

    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord> {
        record.check()?;
        let record = record.clone();
        self.call(|db| async move { keys::update(&db, &record).await }).await
    }

    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
        record.check()?;
        let (record, new) = (record.clone(), *new);
        self.call(|db| async move { rotation::rotate(&db, &record, &new).await }).await
    }

    async fn delete_key(&self, key_id: &KeyId) -> Result<()> {
        let key_id = key_id.clone();
        self.call(|db| async move { rotation::delete(&db, &key_id).await }).await
    }

    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let uses = uses.to_vec();
        self.call(|db| async move {
            let (mut touches, mut done) = (JoinSet::new(), Ok(()));
            for (key_id, at) in uses {
                if touches.len() >= TOUCHES {
                    done = done.and(joined(touches.join_next().await));
                }
                let db = Arc::clone(&db);
                touches.spawn(async move { keys::touch(&db, &key_id, at).await });
            }
            while let Some(touched) = touches.join_next().await {
                done = done.and(joined(Some(touched)));
            }
            done
        })
        .await
    }

    async fn meta_get(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.call(|db| async move { keys::meta(&db, &name).await }).await
    }

    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.call(|db| async move { keys::put_meta_if_absent(&db, &name, &value).await }).await
    }

    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
        let (rows, paid) = (rows.to_vec(), paid.cloned());
        self.call(|db| async move { usage::record(&db, &rows, paid.as_ref()).await }).await
    }

    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals> {
        let (key_id, bucket) = (key_id.clone(), bucket.to_string());
        self.call(|db| async move { usage::totals(&db, &key_id, &bucket).await }).await
    }

    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
        let (query, page) = (query.clone(), page.clone());
        self.call(|db| async move { usage::list(&db, &query, &page).await }).await
    }

    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>> {
        let page = page.clone();
        self.call(|db| async move { totals::keys(&db, &page).await }).await
    }

    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
        let query = query.clone();
        self.call(|db| async move { totals::periods(&db, &query).await }).await
    }

    async fn rebuild_usage(
        &self,
        key_id: &KeyId,
        since: Timestamp,
        only_compare: bool,
    ) -> Result<Vec<Corrected>> {
        let key_id = key_id.clone();
        self.call(move |db| async move { totals::rebuild(&db, &key_id, since, only_compare).await }).await
    }

    /// Takes none: DynamoDB removes expired rows by itself.
    async fn prune_usage(&self, _older_than: Timestamp, _max_rows: usize) -> Result<usize> {
        Ok(0)
    }

    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant> {
        let ask = ask.clone();
        self.call(|db| async move { budget::lease(&db, &ask).await }).await
    }

    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
        let (key_id, replica) = (key_id.clone(), replica.to_owned());
        self.call(|db| async move { budget::release(&db, &key_id, &replica, amount).await }).await
    }

    /// Those that could not be asked for in time count as ended; the caller will ask for new ones.
    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Vec<KeyId>> {
        let (replica, keys) = (replica.to_owned(), keys.to_vec());
        self.call(|db| async move {
            let mut extended = Vec::new();
            for some in keys.chunks(TOUCHES) {
                let mut calls = JoinSet::new();
                for key_id in some.iter().cloned() {
                    let (db, replica) = (Arc::clone(&db), replica.clone());
                    calls.spawn(async move {
                        let alive = budget::extend(&db, &key_id, &replica, now, expires_at).await;
                        alive.map(|alive| alive.then_some(key_id))
                    });
                }
                while let Some(done) = calls.join_next().await {
                    extended.extend(done.map_err(|_| gone())??);
                }
            }
            Ok(extended)
        })
        .await
    }

    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
        self.call(move |db| async move { config::list(&db, kind).await }).await
    }

    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
        let row = row.clone();
        self.call(move |db| async move { config::put(&db, kind, &row).await }).await
    }

    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
        let id = id.to_owned();
        self.call(move |db| async move { config::remove(&db, kind, &id, version).await }).await
    }

    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let (key_id, name) = (key_id.clone(), name.to_owned());
        self.call(|db| async move { budget::claim(&db, &key_id, &name, now, until).await }).await
    }

    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
        let ask = ask.clone();
        self.call(|db| async move { rate::draw(&db, &ask).await }).await
    }

    async fn put_turn(&self, turn: &StoredTurn) -> Result<()> {
        let turn = turn.clone();
        self.call(|db| async move { turns::put(&db, turn).await }).await
    }

    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
        let (id, key_id) = (id.to_owned(), key_id.clone());
        self.call(move |db| async move { turns::get(&db, &id, &key_id, now).await }).await
    }

    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
        let (id, key_id) = (id.to_owned(), key_id.clone());
        self.call(move |db| async move { turns::remove(&db, &id, &key_id, now).await }).await
    }

    /// Takes none, like [`Self::prune_usage`].
    async fn prune_turns(&self, _now: Timestamp, _max_rows: usize) -> Result<usize> {
        Ok(0)
    }

    async fn probe(&self) -> Result<()> {
        // Removing what is not there is a write too, and leaves nothing behind.
        self.call(|db| async move {
            let table = db.names.of(&tables::META);
            let sent =
                db.clients.writes.delete_item().table_name(table).key("name", text("probe")).send().await;
            sent.map(|_| ()).map_err(|error| failure::of("probing", &error))
        })
        .await
    }
}

fn joined(touched: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    touched.map_or(Ok(()), |touched| touched.unwrap_or_else(|_| Err(gone())))
}

#[cfg(test)]
mod tests;
