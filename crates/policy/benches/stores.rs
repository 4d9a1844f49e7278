//! Admission before a real store, as full as one gets: ten thousand keys and a million rows of usage in SQLite, and a DynamoDB
//! API where there is one (`OUTCROP_DYNAMODB_URL`, or `ministack` on the PATH), behind a proxy that counts the calls.
//!
//! No criterion here: what counts is the middle of single requests, their CPU time, and that the store hears of none.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark stops where it fails, and says what it found"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Scope};
use outcrop_policy::{
    Ask, Budgets, Config, End, Now, Place, Policy, RateConfig, Terms, Tokens, UnpricedModels,
};
use store::contract::{fault::FaultProxy, sample, stand_in};
use store::{
    DynamoDb, KeyHasher, KeyId, KeyRecord, NewKey, PresentedKey, RowStatus, Sqlite, Store, Timestamp,
    UsageRow,
};
use tokio::runtime::Runtime;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEYS: usize = 10_000;
const ROWS: usize = 1_000_000;
const BATCH: usize = 10_000;
/// Each call of the stand-in takes milliseconds.
const DYNAMODB_KEYS: usize = 300;
const ROUNDS: usize = 200_000;
/// Wrong keys a minute, by default.
const FAILURES: u32 = 120;

/// Keys with every kind of limit, so wide that none is met.
async fn keys(store: &dyn Store, hasher: &KeyHasher, count: usize) -> Vec<([PresentedKey; 1], KeyId)> {
    let mut rng = rand::rng();
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let key = NewKey::generate(&mut rng);
        let record = KeyRecord {
            rate_limit: Some(u32::MAX),
            tpm_limit: Some(1_000_000_000_000),
            concurrency_limit: Some(1000),
            budget_daily: Some(1_000_000_000_000),
            budget_monthly: Some(1_000_000_000_000),
            ..KeyRecord::new(KeyId::generate(&mut rng), &key, "alice", "laptop", Timestamp::now())
        };
        store.put_new_key(&hasher.hash_new(&key), &record).await.expect("a key");
        keys.push(([PresentedKey::new(key.reveal())], record.key_id));
    }
    keys
}

/// A million rows, in transactions of ten thousand, each of a hundred keys.
async fn rows(store: &dyn Store, keys: &[([PresentedKey; 1], KeyId)]) {
    for batch in 0..ROWS / BATCH {
        let row = |n: usize| UsageRow {
            key_id: keys[(batch * 100 + n % 100) % keys.len()].1.clone(),
            ts: Timestamp::now(),
            ..sample::row(&format!("req_{:08}", batch * BATCH + n))
        };
        let rows: Vec<_> = (0..BATCH).map(row).collect();
        store.record_usage(&rows).await.expect("rows");
    }
}

fn policy(store: &Arc<dyn Store>, hasher: KeyHasher) -> Policy {
    let config = Config {
        require_key: true,
        key_ttl: Duration::from_hours(1),
        store_grace: Duration::from_hours(1),
        key_cache: 100_000,
        failure_limit: FAILURES,
        scope: Scope::Global,
        place: Place { target: "default".into(), region: "us-east-1".into() },
        others: Vec::new(),
        allow_unknown_models: true,
        tier: catalog::ServiceTier::Default,
        unpriced: UnpricedModels::default(),
        rates: RateConfig::default(),
    };
    let terms = Terms { ttl: Duration::from_hours(24), ..Terms::new("bench") };
    let budgets = Arc::new(Budgets::new(Arc::clone(store), terms));
    let book: outcrop_policy::Book = Arc::new(|row| drop(black_box(row)));
    Policy::new(config, Catalog::builtin(), Arc::clone(store), hasher, None, book).with_budgets(budgets)
}

async fn request(policy: &Policy, key: &[PresentedKey]) {
    let caller = policy.authenticate(key, HERE, Now::read()).await.expect("a valid key");
    let ask = Ask {
        request_id: "req_01HX3K9V5QWERTYUIOPASDFGH".to_owned(),
        surface: "messages",
        model: "claude-sonnet-4-6".to_owned(),
        stream: true,
        input_estimate: 1200,
        max_tokens: Some(8192),
        ..Ask::default()
    };
    let mut admission = policy.admit(&caller, ask, Now::read()).await.expect("within its limits");
    admission.called();
    black_box(admission.rates());
    admission.used(Tokens { input: 1100, output: 300, cache_read: 9000, ..Tokens::default() });
    let end = End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None };
    black_box(admission.settle(end, Instant::now()));
}

/// CPU time of this thread so far, as the kernel has it.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Does something often; says what the one in the middle took, and all of them in CPU time.
fn often(runtime: &Runtime, name: &str, count: usize, mut once: impl AsyncFnMut(usize)) {
    let (mut took, began) = (Vec::with_capacity(count), cpu());
    runtime.block_on(async {
        for n in 0..count {
            let start = Instant::now();
            once(n).await;
            took.push(start.elapsed());
        }
    });
    let each = cpu().saturating_sub(began) / u32::try_from(count).unwrap_or(u32::MAX);
    took.sort_unstable();
    let (middle, late) = (took[count / 2], took[count * 99 / 100]);
    println!("{name}: p50 {middle:?}, p99 {late:?}, CPU {each:?} each");
}

fn measure(
    runtime: &Runtime,
    name: &str,
    store: &Arc<dyn Store>,
    hasher: KeyHasher,
    keys: &[([PresentedKey; 1], KeyId)],
    calls: impl Fn() -> Option<usize>,
) {
    let policy = policy(store, hasher);
    let all = keys.len();
    often(runtime, &format!("{name}: the first request of each of {all} keys"), all, async |n| {
        request(&policy, &keys[n].0).await;
    });
    let before = calls();
    often(
        runtime,
        &format!("{name}: authenticate, admit and settle, {all} keys in turn"),
        ROUNDS,
        async |n| {
            request(&policy, &keys[n % all].0).await;
        },
    );
    assert_eq!(calls(), before, "the store was asked");
    let mut rng = rand::rng();
    let invented: Vec<_> =
        (0..ROUNDS).map(|_| [PresentedKey::new(NewKey::generate(&mut rng).reveal())]).collect();
    often(
        runtime,
        &format!("{name}: an invented key, each another one, from one address"),
        ROUNDS,
        async |n| {
            assert!(policy.authenticate(&invented[n], HERE, Now::read()).await.is_err());
        },
    );
    if let (Some(before), Some(now)) = (before, calls()) {
        let asked = now - before;
        assert!(asked <= FAILURES as usize * 2, "{asked} calls");
        println!("{name}: {asked} calls for {ROUNDS} invented keys");
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hasher = KeyHasher::new(&[7; 32]).expect("a hasher");
    let dir = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(dir.path().join("outcrop.db")).expect("a database"));
    let begin = Instant::now();
    let made = runtime.block_on(async {
        let keys = keys(store.as_ref(), &hasher, KEYS).await;
        rows(store.as_ref(), &keys).await;
        keys
    });
    println!("SQLite: {KEYS} keys and {ROWS} rows in {:?}", begin.elapsed());
    measure(&runtime, "SQLite", &store, hasher.clone(), &made, || None);

    let (proxy, store) = runtime
        .block_on(async {
            let mut settings = stand_in::tables().await?;
            let proxy = FaultProxy::start(settings.endpoint_url.as_deref()?).await;
            settings.endpoint_url = Some(proxy.url());
            let store: Arc<dyn Store> = Arc::new(DynamoDb::open(&settings).await.expect("tables"));
            Some((proxy, store))
        })
        .unzip();
    let (Some(proxy), Some(store)) = (proxy, store) else { return };
    let made = runtime.block_on(keys(store.as_ref(), &hasher, DYNAMODB_KEYS));
    measure(&runtime, "DynamoDB", &store, hasher, &made, || Some(proxy.seen()));
}
