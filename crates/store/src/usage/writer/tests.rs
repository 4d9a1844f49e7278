use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, KeyFilter, KeyHash, KeyId, KeyRecord,
    Listing, Memory, Page, PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Recorded, StoredTurn, Timestamp,
    Totals, UsageQuery,
    contract::sample::{hash, key_id, noon, record, row},
};

mod journal;

/// A memory store that can be away, hang, or refuse a row.
#[derive(Debug)]
struct Flaky {
    inner: Memory,
    away: AtomicBool,
    refused: Option<&'static str>,
    calls: AtomicUsize,
    hanging: AtomicBool,
    gate: Semaphore,
}

impl Flaky {
    fn new() -> Arc<Self> {
        Self::refusing(None)
    }

    fn refusing(refused: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(),
            away: AtomicBool::new(false),
            refused,
            calls: AtomicUsize::new(0),
            hanging: AtomicBool::new(false),
            gate: Semaphore::new(0),
        })
    }

    fn go_away(&self) {
        self.away.store(true, Relaxed);
    }

    fn come_back(&self) {
        self.away.store(false, Relaxed);
    }

    async fn requests(&self) -> u64 {
        self.inner.usage_totals(&key_id(1), &Bucket::Total).await.unwrap().requests
    }
}

#[async_trait]
impl Store for Flaky {
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
        self.inner.put_new_key(hash, record).await
    }
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
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
        self.calls.fetch_add(1, Relaxed);
        if self.hanging.load(Relaxed) {
            self.gate.acquire().await.unwrap().forget();
        }
        if self.away.load(Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        if rows.iter().any(|row| Some(row.request_id.as_str()) == self.refused) {
            return Err(Error::new(ErrorKind::Invalid, "a row the store does not take"));
        }
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
        self.inner.lease_budget(ask).await
    }
    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
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
        self.inner.claim(key_id, name, now, until).await
    }
    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn> {
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

/// Long intervals: nothing happens but what a test asks for.
fn options(dir: &Path) -> WriterOptions {
    WriterOptions {
        queue_rows: 100,
        flush_interval: Duration::from_hours(1),
        spool_dir: dir.join("spool"),
        lanes: 0,
        call_timeout: Duration::from_hours(1),
        keep: None,
        leases: None,
    }
}

fn start(store: &Arc<Flaky>, options: &WriterOptions) -> (Recorder, WriterHandle) {
    Writer::start(Arc::clone(store) as Arc<dyn Store>, options.clone()).unwrap()
}

fn record_many(recorder: &Recorder, ids: std::ops::Range<usize>) {
    ids.for_each(|n| recorder.record(row(&format!("req_{n:05}"))));
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for something that another thread is about to do.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    while !done().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn rows_are_written_in_batches_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let wide = WriterOptions { queue_rows: 10_000, ..options(dir.path()) };
    let (recorder, handle) = start(&store, &wide);
    record_many(&recorder, 0..1_200);
    record_many(&recorder, 0..10);
    handle.flush().await;
    assert_eq!(store.requests().await, 1_200);
    let stats = handle.stop().await;
    assert_eq!(
        (stats.written, stats.repeated, stats.queued, stats.lost, stats.spooled),
        (1_200, 10, 0, 0, 0)
    );
    assert!(store.calls.load(Relaxed) <= 12, "{:?}", store.calls);
    assert_eq!(files(&wide.spool_dir), [""; 0], "no directory is made without need");
}

#[tokio::test]
async fn a_row_is_written_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let quick = WriterOptions { flush_interval: Duration::from_millis(5), ..options(dir.path()) };
    let (recorder, handle) = start(&store, &quick);
    recorder.record(row("a"));
    until(async || store.requests().await == 1).await;
    recorder.record(row("b"));
    until(async || store.requests().await == 2).await;
    handle.stop().await;
}

#[tokio::test]
async fn rows_that_were_kept_long_enough_go_and_totals_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let now = Timestamp::now();
    let old = (0..2_500).map(|n| UsageRow { ts: Timestamp::EPOCH, ..row(&format!("old {n}")) });
    let fresh = UsageRow { ts: now, ..row("fresh") };
    store.record_usage(&old.chain([fresh.clone()]).collect::<Vec<_>>()).await.unwrap();
    let query = UsageQuery { key_id: key_id(1), since: Timestamp::EPOCH, until: now.plus_millis(1) };
    let forgetful = WriterOptions { keep: Some(Duration::from_hours(24)), ..options(dir.path()) };
    let (_recorder, handle) = start(&store, &forgetful);
    let left = async || store.usage_rows(&query, &Page::first(5_000)).await.unwrap().items;
    until(async || left().await.len() == 1).await;
    assert_eq!(left().await, [fresh]);
    assert_eq!(store.requests().await, 2_501);
    handle.stop().await;
}

#[tokio::test]
async fn the_last_use_of_a_key_is_noted_with_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let (recorder, handle) = start(&store, &options(dir.path()));
    recorder.record(UsageRow { ts: noon().plus_millis(70), ..row("b") });
    recorder.record(row("a"));
    recorder.record(UsageRow { key_id: KeyId::master(), ..row("c") });
    handle.flush().await;
    let used = store.key_by_id(&key_id(1)).await.unwrap().unwrap().last_used_at;
    assert_eq!(used, Some(noon().plus_millis(70)));
    // Within a minute of what is noted nothing is written; from then on it is.
    for (later, noted) in [(60_069, 70), (60_070, 60_070)] {
        recorder.record(UsageRow { ts: noon().plus_millis(later), ..row(&later.to_string()) });
        handle.flush().await;
        let used = store.key_by_id(&key_id(1)).await.unwrap().unwrap().last_used_at;
        assert_eq!(used, Some(noon().plus_millis(noted)));
    }
    handle.stop().await;
}

#[tokio::test]
async fn rows_wait_on_disk_while_the_store_is_away_and_come_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    let (recorder, handle) = start(&store, &options);
    record_many(&recorder, 0..10);
    handle.flush().await;
    store.go_away();
    record_many(&recorder, 10..40);
    handle.flush().await;
    assert_eq!(store.requests().await, 10);
    assert_eq!((handle.stats().queued, handle.stats().spooled), (0, 30));
    assert_eq!(files(&options.spool_dir).len(), 1);
    record_many(&recorder, 40..50);
    store.come_back();
    handle.flush().await;
    assert_eq!(store.requests().await, 50);
    assert_eq!(files(&options.spool_dir), [""; 0]);
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.repeated, stats.replayed, stats.lost), (50, 0, 30, 0));
    assert!(stats.failed_calls > 0);
}

#[tokio::test]
async fn a_full_queue_goes_to_disk_while_the_store_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    let (recorder, handle) = start(&store, &options);
    store.hanging.store(true, Relaxed);
    // The call hangs with some rows; the others pass the limit of the queue and leave memory.
    for n in 0..1_000 {
        record_many(&recorder, n..n + 1);
        until(async || handle.stats().queued < 300).await;
    }
    assert!(handle.stats().spooled >= 700, "{:?}", handle.stats());
    assert_eq!(store.requests().await, 0);
    store.hanging.store(false, Relaxed);
    store.gate.add_permits(1_000);
    handle.flush().await;
    assert_eq!(store.requests().await, 1_000);
    let stats = handle.stop().await;
    assert_eq!((stats.lost, stats.queued), (0, 0));
    assert_eq!(store.requests().await, 1_000);
}

#[tokio::test]
async fn a_call_that_never_ends_is_given_up_and_its_rows_are_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let impatient = WriterOptions { call_timeout: Duration::from_millis(20), ..options(dir.path()) };
    let (recorder, handle) = start(&store, &impatient);
    store.hanging.store(true, Relaxed);
    record_many(&recorder, 0..5);
    handle.flush().await;
    assert_eq!(handle.stats().spooled, 5);
    store.hanging.store(false, Relaxed);
    handle.flush().await;
    assert_eq!(store.requests().await, 5);
    handle.stop().await;
}

#[tokio::test]
async fn a_stop_leaves_on_disk_what_the_store_does_not_take_and_a_start_brings_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    let (recorder, handle) = start(&store, &options);
    store.go_away();
    record_many(&recorder, 0..25);
    let stats = handle.stop().await;
    assert_eq!((stats.spooled, stats.queued, stats.lost), (25, 0, 0));
    let [file] = &files(&options.spool_dir)[..] else { panic!() };
    let file = options.spool_dir.join(file);
    let kept = fs::read(&file).unwrap();
    store.come_back();
    let (_recorder, handle) = start(&store, &options);
    // Without being asked for.
    until(async || store.requests().await == 25).await;
    handle.stop().await;
    assert_eq!(files(&options.spool_dir), [""; 0]);
    // A crash between writing and removing leaves the file: it counts for nothing.
    fs::write(&file, kept).unwrap();
    let (_recorder, handle) = start(&store, &options);
    handle.flush().await;
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.repeated), (0, 25));
    assert_eq!(store.requests().await, 25);
}

#[tokio::test]
async fn a_torn_line_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    let line = |id: &str| serde_json::to_string(&row(id)).unwrap();
    let torn = &line("torn")[..40];
    fs::create_dir(&options.spool_dir).unwrap();
    let text = format!("{}\n%$#\n{}\n{torn}", line("a"), line("b"));
    fs::write(options.spool_dir.join("usage-00000000000000000001-1.jsonl"), text).unwrap();
    fs::write(options.spool_dir.join("notes.txt"), "not ours").unwrap();
    let (_recorder, handle) = start(&store, &options);
    handle.flush().await;
    assert_eq!(store.requests().await, 2);
    assert_eq!(handle.stop().await.rejected, 2);
    assert_eq!(files(&options.spool_dir), ["notes.txt", "rejected.jsonl"]);
    assert_eq!(
        fs::read_to_string(options.spool_dir.join("rejected.jsonl")).unwrap(),
        format!("%$#\n{torn}\n")
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_holds_up_no_younger_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    let place = |age: usize| options.spool_dir.join(format!("usage-{age:020}-1-0.jsonl"));
    // A directory, which nobody can read lines from, whatever rights they have.
    fs::create_dir_all(place(2)).unwrap();
    for age in [1, 3, 4] {
        let text = serde_json::to_string(&row(&age.to_string())).unwrap();
        fs::write(place(age), format!("{text}\n")).unwrap();
    }
    let (_recorder, handle) = start(&store, &options);
    handle.flush().await;
    assert_eq!(store.requests().await, 3);
    let stats = handle.stop().await;
    assert_eq!((stats.adopted, stats.unreadable_files, stats.lost), (3, 1, 0));
    assert_eq!(files(&options.spool_dir), [place(2).file_name().unwrap().to_str().unwrap()]);
}

#[tokio::test]
async fn one_refused_row_drops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::refusing(Some("req_00041"));
    let options = options(dir.path());
    let (recorder, handle) = start(&store, &options);
    record_many(&recorder, 0..90);
    handle.flush().await;
    assert_eq!(store.requests().await, 89);
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.rejected, stats.queued, stats.lost), (89, 1, 0, 0));
    let rejected = fs::read_to_string(options.spool_dir.join("rejected.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<UsageRow>(&rejected).unwrap(), row("req_00041"));
}

#[tokio::test]
async fn what_neither_store_nor_disk_takes_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, options) = (Flaky::new(), options(dir.path()));
    // A file where the directory should be.
    fs::write(&options.spool_dir, "in the way").unwrap();
    store.go_away();
    let (recorder, handle) = start(&store, &options);
    record_many(&recorder, 0..1_000);
    handle.flush().await;
    let stats = handle.stats();
    assert_eq!(stats.queued as u64 + stats.lost, 1_000);
    assert_eq!(stats.queued, 400, "four queues are kept in memory");
    store.come_back();
    handle.flush().await;
    assert_eq!(store.requests().await, 400);
    assert_eq!(handle.stop().await.lost, 600);
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let theirs = Flaky::new();
    theirs.go_away();
    let (recorder, their_handle) = start(&theirs, &options);
    record_many(&recorder, 0..5);
    their_handle.flush().await;
    let ours = Flaky::new();
    let (_recorder, handle) = start(&ours, &options);
    handle.flush().await;
    handle.stop().await;
    assert_eq!(ours.requests().await, 0);
    theirs.come_back();
    their_handle.flush().await;
    assert_eq!(theirs.requests().await, 5);
    their_handle.stop().await;
}

#[test]
fn a_guard_may_record_when_it_is_dropped_and_outside_of_any_runtime() {
    struct Guard(Recorder);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.record(row("from drop"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (recorder, handle) = start(&store, &options(dir.path()));
    thread::spawn(move || drop(Guard(recorder))).join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(handle.stop());
    assert_eq!(runtime.block_on(store.requests()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_amid_many_recorders_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let lively = WriterOptions { flush_interval: Duration::from_millis(1), ..options(dir.path()) };
    let (recorder, handle) = start(&store, &lively);
    let recorders: Vec<_> = (0..8)
        .map(|n| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                for step in 0..500 {
                    recorder.record(row(&format!("{n}-{step}")));
                    // In step with the writer, so that the test is about outages and not about its last limit.
                    while recorder.stats().queued > 200 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        store.go_away();
        tokio::time::sleep(Duration::from_millis(2)).await;
        store.come_back();
        handle.flush().await;
    }
    for recorder in recorders {
        recorder.await.unwrap();
    }
    store.come_back();
    let stats = handle.stop().await;
    assert_eq!(store.requests().await, 4_000);
    assert_eq!((stats.lost, stats.queued, stats.rejected), (0, 0, 0));
    assert_eq!(files(&lively.spool_dir), [""; 0]);
}
