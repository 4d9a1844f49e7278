//! Reading a total beside a million rows: a look-up by key, however many rows it sums up.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use criterion::{Criterion, criterion_group, criterion_main};
use outcrop_store::{Bucket, KeyId, Sqlite, Store, UsageRow, contract::sample};

const BATCH: u32 = 10_000;

fn row(key_id: &KeyId, n: u32) -> UsageRow {
    UsageRow {
        key_id: key_id.clone(),
        ts: sample::noon().plus_millis(i64::from(n)),
        ..sample::plain_row(&format!("req_{n:08}"))
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
