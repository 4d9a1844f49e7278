//! Reading a total beside a million rows: a look-up by key, however many rows it sums up.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use criterion::{Criterion, criterion_group, criterion_main};
use outcrop_store::{Bucket, KeyId, PicoUsd, RowStatus, ServiceTier, Sqlite, Store, Timestamp, UsageRow};

const BATCH: u32 = 10_000;

fn row(key_id: &KeyId, n: u32) -> UsageRow {
    UsageRow {
        key_id: key_id.clone(),
        user_id: "amalia".to_owned(),
        ts: Timestamp::from_unix_millis(1_795_262_400_000 + i64::from(n)),
        request_id: format!("req_{n:08}"),
        round: 0,
        surface: "messages".to_owned(),
        requested_model: "claude-opus-5".to_owned(),
        resolved_model: "global.anthropic.claude-opus-5".to_owned(),
        base_model: "anthropic.claude-opus-5".to_owned(),
        lane: "native".to_owned(),
        target: "default".to_owned(),
        region: "eu-central-1".to_owned(),
        stream: true,
        input_tokens: 3,
        output_tokens: 550,
        cache_read_tokens: 7,
        cache_write_5m_tokens: 12,
        cache_write_1h_tokens: 0,
        reasoning_tokens: None,
        tier_requested: ServiceTier::Default,
        tier_served: ServiceTier::Default,
        cache_ttl: None,
        cost_pico_usd: Some(PicoUsd(54_399_000_000)),
        estimated: false,
        status: RowStatus::Ok,
        http_status: 200,
        error_type: None,
        stop_reason: None,
        attempts: 1,
        latency_ms: 4_321,
        ttft_ms: None,
        upstream_request_id: None,
        session: None,
    }
}

fn totals(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(dir.path().join("outcrop.db")).expect("a database");
    let key_id = KeyId::generate(&mut rand::rng());
    let mut written = 0;
    for (name, rows) in [("1,000", 1_000), ("1,000,000", 1_000_000)] {
        while written < rows {
            let until = rows.min(written + BATCH);
            let batch: Vec<_> = (written..until).map(|n| row(&key_id, n)).collect();
            runtime.block_on(store.record_usage(&batch)).expect("rows");
            written = until;
        }
        criterion.bench_function(&format!("a total beside {name} rows"), |bencher| {
            bencher.iter(|| runtime.block_on(store.usage_totals(&key_id, &Bucket::Total)).expect("a total"));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = totals
}
criterion_main!(benches);
