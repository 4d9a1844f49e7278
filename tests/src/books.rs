//! Keys that tests put into a store, and what was booked on them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bedrock_sim::Answered;
use store::{
    Bucket, BudgetAsk, BudgetGrant, BudgetLimits, KeyHasher, KeyId, KeyRecord, NewKey, Page, PicoUsd, Store,
    Timestamp, Totals, UsageQuery, UsageRow,
};

use crate::HASH_SECRET;

/// For what becomes true by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// Stores a key with a record of the test's own making; gateways need [`crate::Options::with_keys`] to know it.
pub async fn put_key(store: &dyn Store, change: impl FnOnce(&mut KeyRecord)) -> (String, KeyRecord) {
    let hasher = KeyHasher::new(HASH_SECRET.as_bytes()).unwrap();
    let (key, key_id) = {
        let mut rng = rand::rng();
        (NewKey::generate(&mut rng), KeyId::generate(&mut rng))
    };
    let mut record = KeyRecord::new(key_id, &key, "alice", "laptop", Timestamp::now());
    change(&mut record);
    store.put_new_key(&hasher.hash_new(&key), &record).await.unwrap();
    (key.reveal().to_owned(), record)
}

/// The rows of a key.
pub async fn booked_rows(store: &dyn Store, key_id: &KeyId) -> Vec<UsageRow> {
    let until = Timestamp::now().plus_millis(60_000);
    let query = UsageQuery { key_id: key_id.clone(), since: Timestamp::EPOCH, until };
    store.usage_rows(&query, &Page::first(10_000)).await.unwrap().items
}

/// What of a key's budgets is spent and leased.
pub async fn spent_and_leased(store: &dyn Store, key_id: &KeyId) -> BudgetGrant {
    let now = Timestamp::now();
    let ask = BudgetAsk {
        key_id: key_id.clone(),
        replica: "a test that looks".to_owned(),
        need: PicoUsd::ZERO,
        share_percent: 0,
        limits: BudgetLimits { total: Some(PicoUsd(u128::MAX)), ..BudgetLimits::default() },
        at: now,
        now,
        expires_at: now,
    };
    store.lease_budget(&ask).await.unwrap()
}

/// Waits for something that others are about to do, and fails in the end.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// That rows have the tokens of the simulator's answers.
pub fn assert_as_served<'a>(rows: impl IntoIterator<Item = &'a UsageRow>, answers: &[Answered]) {
    let served: BTreeMap<_, _> = answers.iter().map(|one| (one.request_id.as_str(), one.served)).collect();
    for row in rows {
        let served = served[row.upstream_request_id.as_deref().unwrap()];
        let tokens = (served.input_tokens, served.output_tokens);
        assert_eq!((row.input_tokens, row.output_tokens), tokens, "{row:?}");
    }
}

/// That a key's total and its budget are the sum of its rows. Returns what is still leased.
pub async fn assert_summed_up(store: &dyn Store, key_id: &KeyId, rows: &[UsageRow]) -> PicoUsd {
    let sum = rows.iter().fold(Totals::default(), |mut sum, row| {
        sum.add(row);
        sum
    });
    assert_eq!(store.usage_totals(key_id, &Bucket::Total).await.unwrap(), sum);
    let seen = spent_and_leased(store, key_id).await;
    assert_eq!(seen.spent.total, sum.cost_pico_usd);
    seen.leased
}
