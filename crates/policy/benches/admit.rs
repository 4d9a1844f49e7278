//! What a request pays for policy once its key is in the cache: authenticated, admitted within its limits, settled, booked.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use catalog::{Catalog, Scope};
use criterion::{Criterion, criterion_group, criterion_main};
use outcrop_policy::{
    Ask, Budgets, Caller, Config, End, Now, Place, Policy, RateConfig, Sharing, Terms, Tokens, UnpricedModels,
};
use store::{KeyHasher, KeyId, KeyRecord, Memory, NewKey, PresentedKey, RowStatus, Store, Timestamp};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A policy and a key with every kind of limit, so wide that none is met.
fn policy(
    runtime: &tokio::runtime::Runtime,
    enabled: bool,
    budget: Option<u64>,
    shared: Option<Sharing>,
) -> (Policy, PresentedKey) {
    let store = Arc::new(Memory::new());
    let hasher = KeyHasher::new(&[7; 32]).expect("a hasher");
    let key = NewKey::generate(&mut rand::rng());
    let record = KeyRecord {
        rate_limit: Some(u32::MAX),
        tpm_limit: Some(1_000_000_000_000),
        concurrency_limit: Some(1000),
        budget_daily: budget,
        budget_monthly: budget,
        ..KeyRecord::new(KeyId::generate(&mut rand::rng()), &key, "alice", "laptop", Timestamp::now())
    };
    runtime.block_on(store.put_new_key(&hasher.hash_new(&key), &record)).expect("a key");
    let config = Config {
        require_key: true,
        key_ttl: Duration::from_hours(1),
        store_grace: Duration::from_hours(1),
        key_cache: 100,
        failure_limit: 3,
        scope: Scope::Global,
        place: Place { target: "default".into(), region: "us-east-1".into() },
        others: Vec::new(),
        allow_unknown_models: true,
        tier: catalog::ServiceTier::Default,
        unpriced: UnpricedModels::default(),
        rates: RateConfig { enabled, shared, ..RateConfig::default() },
    };
    let book: outcrop_policy::Book = Arc::new(|row| drop(black_box(row)));
    let terms = Terms { ttl: Duration::from_hours(24), ..Terms::new("bench") };
    let budgets = Arc::new(Budgets::new(Arc::clone(&store) as Arc<dyn Store>, terms));
    let policy = Policy::new(config, Catalog::builtin(), store, hasher, None, book).with_budgets(budgets);
    (policy, PresentedKey::new(key.reveal()))
}

fn ask() -> Ask {
    Ask {
        request_id: "req_01HX3K9V5QWERTYUIOPASDFGH".to_owned(),
        surface: "messages",
        model: "claude-sonnet-4-6".to_owned(),
        stream: true,
        input_estimate: 1200,
        max_tokens: Some(8192),
        ..Ask::default()
    }
}

fn run(policy: &Policy, caller: &Arc<Caller>) -> Tokens {
    let now = Now::read();
    let mut admission = at_once(policy.admit(caller, ask(), now)).expect("within its limits");
    admission.called();
    black_box(admission.rates());
    admission.used(Tokens { input: 1100, output: 300, cache_read: 9000, ..Tokens::default() });
    let end = End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None };
    admission.settle(end, Instant::now())
}

/// On a warm path nobody is waited for; where the lease is used up, the benchmark stops.
fn at_once<T>(admitted: impl Future<Output = T>) -> T {
    match std::pin::pin!(admitted).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(admitted) => admitted,
        Poll::Pending => unreachable!("the store was asked"),
    }
}

fn admit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // A million dollars a day: a tenth of it, leased before, lasts for the whole benchmark.
    // And of limits all that there is, which melts within a minute.
    let all = Some(Sharing { share_percent: 100, idle: Duration::from_hours(24) });
    let cases = [
        ("limited", true, None, None),
        ("unlimited", false, None, None),
        ("with shared limits", true, None, all),
        ("with budgets", true, Some(1_000_000_000_000), None),
        ("with budgets and shared limits", true, Some(1_000_000_000_000), all),
    ];
    for (name, enabled, budget, shared) in cases {
        let (policy, key) = policy(&runtime, enabled, budget, shared);
        let keys = [key];
        let authenticate =
            || runtime.block_on(policy.authenticate(&keys, HERE, Now::read())).expect("a valid key");
        let caller = authenticate();
        runtime.block_on(policy.admit(&caller, ask(), Now::read())).expect("within its limits");
        criterion.bench_function(&format!("admit and settle, {name}"), |bencher| {
            bencher.iter(|| run(&policy, &caller));
        });
        criterion.bench_function(&format!("authenticate, admit and settle, {name}"), |bencher| {
            bencher.iter(|| run(&policy, &authenticate()));
        });
    }
}

criterion_group!(benches, admit);
criterion_main!(benches);
