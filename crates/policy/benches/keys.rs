//! What a key costs before it is admitted: among ten thousand others, and when nobody has ever made it.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Scope};
use criterion::{Criterion, criterion_group, criterion_main};
use outcrop_policy::{Config, Now, Place, Policy, RateConfig, UnpricedModels};
use store::{KeyHasher, KeyId, KeyRecord, Memory, NewKey, PresentedKey, Store, Timestamp};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEYS: usize = 10_000;

fn config() -> Config {
    Config {
        require_key: true,
        key_ttl: Duration::from_hours(1),
        store_grace: Duration::from_hours(1),
        key_cache: 100_000,
        failure_limit: 0,
        scope: Scope::Global,
        place: Place { target: "default".into(), region: "us-east-1".into() },
        others: Vec::new(),
        allow_unknown_models: true,
        rates: RateConfig::default(),
        tier: catalog::ServiceTier::Default,
        unpriced: UnpricedModels::default(),
    }
}

fn authenticate(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (store, hasher) = (Arc::new(Memory::new()), KeyHasher::new(&[7; 32]).expect("a hasher"));
    let mut rng = rand::rng();
    let mut keys = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        let key = NewKey::generate(&mut rng);
        let now = Timestamp::now();
        let record = KeyRecord {
            allowed_ips: Some(vec!["127.0.0.0/8".parse().expect("a block")]),
            ..KeyRecord::new(KeyId::generate(&mut rng), &key, "alice", "laptop", now)
        };
        runtime.block_on(store.put_new_key(&hasher.hash_new(&key), &record)).expect("a key");
        keys.push([PresentedKey::new(key.reveal())]);
    }
    let policy = Policy::new(config(), Catalog::builtin(), store, hasher, None, Arc::new(drop));
    let mut ask = |name: &str, keys: &[[PresentedKey; 1]], known: bool| {
        let mut next = keys.iter().cycle();
        let mut once = || {
            let key = next.next().expect("a cycle");
            let found = runtime.block_on(policy.authenticate(key, HERE, Now::read()));
            assert_eq!(found.is_ok(), known);
        };
        // The first round is the store's.
        (0..keys.len()).for_each(|_| once());
        criterion.bench_function(name, |bencher| bencher.iter(&mut once));
    };
    ask("authenticate, one of 10,000 keys", &keys, true);
    let invented: Vec<_> =
        (0..1_000).map(|_| [PresentedKey::new(NewKey::generate(&mut rng).reveal())]).collect();
    ask("authenticate, an unknown key again", &invented, false);
    let damaged = [[PresentedKey::new("sk-oc-0000000000000000000000000000000000000000000000000")]];
    ask("authenticate, a key with a wrong checksum", &damaged, false);
}

criterion_group!(benches, authenticate);
criterion_main!(benches);
