//! The laws about usage.

use std::sync::Arc;

use super::sample::{key_id, noon, row};
use crate::{
    Bucket, ErrorKind, KeyId, Page, PicoUsd, Recorded, RowStatus, Store, Timestamp, Totals, UsageQuery,
    UsageRow,
};

type Dyn = Arc<dyn Store>;

const EVER: i64 = i64::MAX;

fn ever(key_id: KeyId) -> UsageQuery {
    UsageQuery { key_id, since: Timestamp::from_unix_millis(-EVER), until: Timestamp::from_unix_millis(EVER) }
}

async fn rows(store: &Dyn) -> Vec<UsageRow> {
    store.usage_rows(&ever(key_id(1)), &Page::first(10_000)).await.unwrap().items
}

async fn requests(store: &Dyn, bucket: Bucket) -> u64 {
    store.usage_totals(&key_id(1), &bucket).await.unwrap().requests
}

fn at(time: &str, request_id: &str) -> UsageRow {
    UsageRow { ts: time.parse().unwrap(), ..row(request_id) }
}

pub async fn a_row_is_read_back_as_it_was_written(store: Dyn) {
    let full = row("req_full");
    let bare = UsageRow {
        reasoning_tokens: None,
        cost_pico_usd: None,
        error_type: None,
        stop_reason: None,
        ttft_ms: None,
        upstream_request_id: None,
        session: None,
        stream: false,
        estimated: false,
        status: RowStatus::Ok,
        ..row("req_bare")
    };
    let failed = UsageRow { status: RowStatus::UpstreamError, ..row("req_failed") };
    let recorded = store.record_usage(&[full.clone(), bare.clone(), failed.clone()]).await.unwrap();
    assert_eq!(recorded, Recorded { written: 3, repeated: 0 });
    assert_eq!(rows(&store).await, [bare, failed, full]);
    let master = UsageRow { key_id: KeyId::master(), ..row("req_master") };
    store.record_usage(std::slice::from_ref(&master)).await.unwrap();
    let listed = store.usage_rows(&ever(KeyId::master()), &Page::first(5)).await.unwrap();
    assert_eq!(listed.items, [master]);
}

pub async fn a_row_counts_once_however_often_it_is_sent(store: Dyn) {
    let batch = [row("a"), row("b"), row("a")];
    assert_eq!(store.record_usage(&batch).await.unwrap(), Recorded { written: 2, repeated: 1 });
    assert_eq!(store.record_usage(&batch).await.unwrap(), Recorded { written: 0, repeated: 3 });
    let changed = UsageRow { output_tokens: 1, ts: noon().plus_millis(9), key_id: key_id(2), ..row("a") };
    assert_eq!(store.record_usage(&[changed]).await.unwrap(), Recorded { written: 0, repeated: 1 });
    assert_eq!(rows(&store).await, [row("a"), row("b")]);
    assert_eq!(requests(&store, Bucket::Total).await, 2);
    assert_eq!(store.usage_totals(&key_id(2), &Bucket::Total).await.unwrap(), Totals::default());
}

pub async fn rounds_of_one_request_are_rows_of_their_own(store: Dyn) {
    let rounds = [0, 1, 2].map(|round| UsageRow { round, ..row("a") });
    assert_eq!(store.record_usage(&rounds).await.unwrap().written, 3);
    assert_eq!(store.record_usage(&rounds).await.unwrap().repeated, 3);
    assert_eq!(rows(&store).await, rounds);
}

pub async fn parallel_writers_of_the_same_rows_count_them_once(store: Dyn) {
    let batch: Arc<Vec<_>> = Arc::new((0..50).map(|n| row(&format!("req_{n:02}"))).collect());
    let writers: Vec<_> = (0..16)
        .map(|start| {
            let (store, batch) = (Arc::clone(&store), Arc::clone(&batch));
            // Each begins elsewhere, so that their batches interleave.
            tokio::spawn(async move {
                let mut written = 0;
                for chunk in 0..5 {
                    let from = ((chunk + start) % 5) * 10;
                    written += store.record_usage(&batch[from..from + 10]).await.unwrap().written;
                }
                written
            })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert_eq!(written, 50);
    assert_eq!(rows(&store).await.len(), 50);
    let totals = store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
    assert_eq!((totals.requests, totals.output_tokens), (50, 50 * 550));
    assert_eq!(totals.cost_pico_usd, PicoUsd(50 * 54_399_000_000));
}

pub async fn totals_are_the_sum_of_the_rows_in_every_period(store: Dyn) {
    let other_model = UsageRow {
        base_model: "qwen.qwen3-coder".to_owned(),
        status: RowStatus::UpstreamError,
        estimated: false,
        reasoning_tokens: None,
        ..at("2026-11-30T23:59:59.999Z", "b")
    };
    let first = at("2026-11-30T00:00:00.000Z", "a");
    let batch =
        [first.clone(), other_model, at("2026-12-01T00:00:00.000Z", "c"), at("2026-12-02T12:00:00Z", "d")];
    store.record_usage(&batch).await.unwrap();
    let (november, december) = (first.ts, batch[2].ts);
    assert_eq!(requests(&store, Bucket::Total).await, 4);
    assert_eq!(requests(&store, Bucket::Month(november)).await, 2);
    assert_eq!(requests(&store, Bucket::Month(december)).await, 2);
    assert_eq!(requests(&store, Bucket::Day(november)).await, 2);
    assert_eq!(requests(&store, Bucket::Day(december)).await, 1);
    assert_eq!(requests(&store, Bucket::Day(noon())).await, 0);
    let of_model = |model: &str| Bucket::DayModel(november, model.to_owned());
    assert_eq!(requests(&store, of_model("qwen.qwen3-coder")).await, 1);
    assert_eq!(requests(&store, of_model("anthropic.claude-opus-5")).await, 1);
    assert_eq!(requests(&store, of_model("qwen.qwen3-coder-next")).await, 0);
    let day = store.usage_totals(&key_id(1), &Bucket::Day(november)).await.unwrap();
    let expected = Totals {
        requests: 2,
        errors: 1,
        input_tokens: 6,
        output_tokens: 1_100,
        cache_read_tokens: 14,
        cache_write_5m_tokens: 24_608,
        cache_write_1h_tokens: 22,
        reasoning_tokens: 120,
        unpriced_requests: 0,
        estimated_requests: 1,
        cost_pico_usd: PicoUsd(108_798_000_000),
    };
    assert_eq!(day, expected);
}

pub async fn totals_belong_to_one_key(store: Dyn) {
    let others = UsageRow { key_id: key_id(2), ..row("b") };
    store.record_usage(&[row("a"), others, UsageRow { key_id: key_id(2), ..row("c") }]).await.unwrap();
    assert_eq!(requests(&store, Bucket::Total).await, 1);
    assert_eq!(store.usage_totals(&key_id(2), &Bucket::Total).await.unwrap().requests, 2);
    assert_eq!(store.usage_totals(&key_id(3), &Bucket::Total).await.unwrap(), Totals::default());
}

pub async fn money_adds_up_exactly(store: Dyn) {
    let priced =
        |n: u32, cost: u128| UsageRow { cost_pico_usd: Some(PicoUsd(cost)), ..row(&format!("r{n}")) };
    for batch in 0..10 {
        let rows: Vec<_> = (0..100).map(|n| priced(batch * 100 + n, 3_001)).collect();
        store.record_usage(&rows).await.unwrap();
    }
    let spent = async || store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap().cost_pico_usd;
    assert_eq!(spent().await, PicoUsd(3_001_000));
    // Beyond what 64 bits or a double could hold.
    let huge = u128::from(u64::MAX) * 1_000 + 1;
    store.record_usage(&[priced(5_000, huge), priced(5_001, huge)]).await.unwrap();
    assert_eq!(spent().await, PicoUsd(3_001_000 + 2 * huge));
    store.record_usage(&[priced(5_002, u128::MAX)]).await.unwrap();
    assert_eq!(spent().await, PicoUsd(u128::MAX));
}

pub async fn what_has_no_price_is_not_free(store: Dyn) {
    let unpriced = UsageRow { cost_pico_usd: None, ..row("a") };
    let free = UsageRow { cost_pico_usd: Some(PicoUsd::ZERO), ..row("b") };
    store.record_usage(&[unpriced.clone(), free.clone()]).await.unwrap();
    assert_eq!(rows(&store).await, [unpriced, free]);
    let totals = store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
    assert_eq!((totals.requests, totals.unpriced_requests), (2, 1));
    assert_eq!(totals.cost_pico_usd, PicoUsd::ZERO);
}

pub async fn huge_counts_are_cut_and_do_not_wrap(store: Dyn) {
    let huge = |id: &str| UsageRow { input_tokens: u64::MAX, ttft_ms: Some(u64::MAX), ..row(id) };
    store.record_usage(&[huge("a"), huge("b")]).await.unwrap();
    let totals = store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
    assert_eq!(totals.input_tokens, i64::MAX as u64);
    let kept = &rows(&store).await[0];
    assert_eq!((kept.input_tokens, kept.ttft_ms), (i64::MAX as u64, Some(i64::MAX as u64)));
}

pub async fn rows_are_listed_by_time_from_since_to_before_until(store: Dyn) {
    let later = |millis: i64, id: &str| UsageRow { ts: noon().plus_millis(millis), ..row(id) };
    let others = UsageRow { key_id: key_id(2), ..row("other") };
    let batch = [later(20, "d"), later(10, "c"), later(10, "b"), later(0, "a"), later(-1, "e"), others];
    store.record_usage(&batch).await.unwrap();
    let query = UsageQuery { key_id: key_id(1), since: noon(), until: noon().plus_millis(20) };
    let listed = store.usage_rows(&query, &Page::first(10)).await.unwrap();
    let ids: Vec<_> = listed.items.iter().map(|row| row.request_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(listed.next, None);
    let bad = store.usage_rows(&query, &Page::after("nonsense", 10)).await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Invalid);
}

pub async fn pages_of_rows_meet_without_gap_or_overlap(store: Dyn) {
    // Ids with dots and rounds above nine: a cursor that mixes them up repeats or skips.
    let mut batch: Vec<_> = ["a.b", "a", "a.b.1"]
        .into_iter()
        .flat_map(|id| (8..12).map(move |round| UsageRow { round, ..row(id) }))
        .collect();
    store.record_usage(&batch).await.unwrap();
    batch.sort_by(|a, b| (&a.request_id, a.round).cmp(&(&b.request_id, b.round)));
    for limit in [1, 5, 12] {
        let (mut seen, mut page) = (Vec::new(), Page::first(limit));
        loop {
            let listing = store.usage_rows(&ever(key_id(1)), &page).await.unwrap();
            seen.extend(listing.items);
            let Some(next) = listing.next else { break };
            page = Page::after(next, limit);
        }
        assert_eq!(seen, batch, "{limit} a page");
    }
}

pub async fn text_with_nul_and_escapes_is_kept_and_drops_no_other_row(store: Dyn) {
    let odd = "a\0b\\u0000'\"\u{1f980}\u{2028}\r\n";
    let strange = UsageRow {
        requested_model: odd.to_owned(),
        session: Some(odd.to_owned()),
        base_model: odd.to_owned(),
        ..row(&format!("b{odd}"))
    };
    let batch = [row("a"), strange.clone(), row("c")];
    assert_eq!(store.record_usage(&batch).await.unwrap().written, 3);
    assert_eq!(store.record_usage(&batch).await.unwrap().repeated, 3);
    assert_eq!(rows(&store).await, batch);
    assert_eq!(requests(&store, Bucket::DayModel(noon(), odd.to_owned())).await, 1);
}

pub async fn pruning_takes_the_oldest_rows_in_bounded_batches(store: Dyn) {
    let batch: Vec<_> =
        (0..10).map(|n| UsageRow { ts: noon().plus_millis(n), ..row(&format!("r{}", 9 - n)) }).collect();
    store.record_usage(&batch).await.unwrap();
    let horizon = noon().plus_millis(7);
    assert_eq!(store.prune_usage(horizon, 0).await.unwrap(), 0);
    assert_eq!(store.prune_usage(horizon, 5).await.unwrap(), 5);
    assert_eq!(rows(&store).await, batch[5..]);
    assert_eq!(store.prune_usage(horizon, 5).await.unwrap(), 2);
    assert_eq!(store.prune_usage(horizon, 5).await.unwrap(), 0);
    assert_eq!(rows(&store).await, batch[7..]);
    assert_eq!(requests(&store, Bucket::Total).await, 10);
    assert_eq!(requests(&store, Bucket::Day(noon())).await, 10);
    assert_eq!(store.record_usage(&batch[7..]).await.unwrap().repeated, 3);
}

pub async fn an_empty_batch_is_no_failure(store: Dyn) {
    assert_eq!(store.record_usage(&[]).await.unwrap(), Recorded::default());
}
