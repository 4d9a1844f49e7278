//! Admission over a real store: who gets in, for how long, and what is booked.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

mod booking;
mod budgets;
mod keys;
mod limits;
mod prices;
mod tiers;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use catalog::{Catalog, Scope, ServiceTier};
use outcrop_policy::{
    Admission, Ask, Caller, Config, Denial, End, Ended, Gate, Now, Place, Policy, RateConfig, Rows, Tables,
    Tokens, UnpricedModels,
};
use store::{
    KeyHasher, KeyId, KeyRecord, MappingRow, Memory, NewKey, PicoUsd, PresentedKey, PriceFigures, PriceRow,
    PriceSource, PriceStatus, RowStatus, Store, Timestamp, UsageRow,
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Fixture {
    policy: Policy,
    store: Arc<Memory>,
    hasher: KeyHasher,
    rows: Arc<Mutex<Vec<UsageRow>>>,
    start: Instant,
}

fn config() -> Config {
    Config {
        require_key: true,
        key_ttl: Duration::from_secs(5),
        store_grace: Duration::from_mins(5),
        key_cache: 100,
        failure_limit: 3,
        scope: Scope::Global,
        place: Place { target: "default".into(), region: "us-east-1".into() },
        others: Vec::new(),
        allow_unknown_models: false,
        tier: ServiceTier::Default,
        unpriced: UnpricedModels::default(),
        rates: RateConfig::default(),
    }
}

fn fixture(config: Config) -> Fixture {
    let store = Arc::new(Memory::new());
    let hasher = KeyHasher::new(&[7; 32]).unwrap();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&rows);
    let policy = Policy::new(
        config,
        Catalog::builtin(),
        Arc::clone(&store) as Arc<dyn Store>,
        hasher.clone(),
        Some(&PresentedKey::new("the-master-key-of-this-test")),
        Arc::new(move |row| book.lock().unwrap().push(row)),
    );
    Fixture { policy, store, hasher, rows, start: Instant::now() }
}

impl Fixture {
    fn at(&self, seconds: u64) -> Now {
        let wall = Timestamp::from_unix_millis(1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000);
        Now { wall, mono: self.start + Duration::from_secs(seconds) }
    }

    async fn key(&self, change: impl FnOnce(&mut KeyRecord)) -> (PresentedKey, KeyRecord) {
        let mut rng = rand::rng();
        let key = NewKey::generate(&mut rng);
        let now = self.at(0).wall;
        let mut record = KeyRecord::new(KeyId::generate(&mut rng), &key, "alice", "laptop", now);
        change(&mut record);
        self.store.put_new_key(&self.hasher.hash_new(&key), &record).await.unwrap();
        (PresentedKey::new(key.reveal()), record)
    }

    fn rows(&self) -> Vec<UsageRow> {
        self.rows.lock().unwrap().clone()
    }
}

fn ask(model: &str) -> Ask {
    Ask {
        request_id: "req_1".to_owned(),
        surface: "messages",
        model: model.to_owned(),
        input_estimate: 40,
        ..Ask::default()
    }
}

/// Without a budget nobody is asked, so that an admission is there at once.
fn at_once<T>(admitted: impl Future<Output = T>) -> T {
    match std::pin::pin!(admitted).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(admitted) => admitted,
        Poll::Pending => panic!("something was waited for"),
    }
}

fn done() -> End {
    End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None }
}

/// Admits and says which gate refused.
fn admitted(f: &Fixture, caller: &Arc<Caller>, ask: Ask, now: Now) -> Result<Admission, Gate> {
    at_once(f.policy.admit(caller, ask, now)).map_err(|denial| match denial {
        Denial::RateLimited { gate, .. } => gate,
        other => panic!("{other:?}"),
    })
}
