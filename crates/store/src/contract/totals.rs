//! The laws about reading many totals, and counting them again.

use std::sync::Arc;

use super::sample::{key_id, noon, row};
use crate::{Bucket, KeyId, Page, PeriodQuery, Span, Store, Timestamp, Totals, UsageRow};

type Dyn = Arc<dyn Store>;

const DAY: i64 = Timestamp::DAY_MILLIS;

fn at(days: i64, model: &str, request_id: &str) -> UsageRow {
    UsageRow { ts: noon().plus_millis(days * DAY), base_model: model.to_owned(), ..row(request_id) }
}

/// Of October, and of some days of November and December: `a` on the 21st, and so on.
fn rows() -> Vec<UsageRow> {
    vec![
        at(-30, "m", "october"),
        at(0, "m", "a"),
        at(0, "m#n\0\\u0000", "b"),
        at(1, "m", "c"),
        at(10, "m", "december"),
        UsageRow { key_id: key_id(2), ..at(1, "m", "other") },
    ]
}

async fn periods(store: &Dyn, span: Span, since: i64, until: i64) -> Vec<(String, u64)> {
    let at = |days| noon().plus_millis(days * DAY);
    let query = PeriodQuery { key_id: key_id(1), span, since: at(since), until: at(until) };
    let found = store.usage_periods(&query).await.unwrap();
    found.into_iter().map(|(bucket, totals)| (bucket.to_string(), totals.requests)).collect()
}

pub async fn totals_of_many_periods_come_in_order_and_of_one_key(store: Dyn) {
    store.record_usage(&rows()).await.unwrap();
    let days = |names: &[(&str, u64)]| {
        names.iter().map(|(name, requests)| ((*name).to_owned(), *requests)).collect::<Vec<_>>()
    };
    let two = [
        ("day#2026-11-21", 2),
        ("day#2026-11-21#m", 1),
        ("day#2026-11-21#m#n\0\\u0000", 1),
        ("day#2026-11-22", 1),
        ("day#2026-11-22#m", 1),
    ];
    assert_eq!(periods(&store, Span::Days, 0, 1).await, days(&two));
    assert_eq!(periods(&store, Span::Days, 0, 0).await, days(&two[..3]));
    assert_eq!(periods(&store, Span::Days, 2, 9).await, []);
    assert_eq!(periods(&store, Span::Days, 1, 0).await, []);
    assert_eq!(periods(&store, Span::Months, -5, 5).await, days(&[("month#2026-11", 3)]));
    let all = [("month#2026-10", 1), ("month#2026-11", 3), ("month#2026-12", 1)];
    assert_eq!(periods(&store, Span::Months, -60, 60).await, days(&all));
}

pub async fn whose_usage_there_is_is_listed_in_pages(store: Dyn) {
    assert_eq!(store.usage_keys(&Page::first(5)).await.unwrap().items, []);
    let of = |key_id: KeyId, id: &str| UsageRow { key_id, ..row(id) };
    let mut batch: Vec<_> = (0..5).map(|n| of(key_id(n), &n.to_string())).collect();
    batch.extend([of(KeyId::master(), "m"), of(KeyId::anonymous(), "a"), of(key_id(3), "again")]);
    store.record_usage(&batch).await.unwrap();
    let mut expected: Vec<_> = (0..5).map(key_id).collect();
    expected.extend([KeyId::anonymous(), KeyId::master()]);
    expected.sort();
    for limit in [1, 3, 7, 50] {
        let (mut seen, mut page) = (Vec::new(), Page::first(limit));
        loop {
            let listing = store.usage_keys(&page).await.unwrap();
            seen.extend(listing.items);
            let Some(next) = listing.next else { break };
            page = Page::after(next, limit);
        }
        assert_eq!(seen, expected, "{limit} a page");
    }
    assert!(store.usage_keys(&Page::after("nonsense", 5)).await.is_err());
}

pub async fn what_was_counted_right_is_left_alone(store: Dyn) {
    let nobody = store.rebuild_usage(&key_id(1), noon(), false).await.unwrap();
    assert_eq!(nobody, []);
    store.record_usage(&rows()).await.unwrap();
    for since in [-100, 0, 1, 5, 100] {
        let since = noon().plus_millis(since * DAY);
        for only_compare in [true, false] {
            assert_eq!(store.rebuild_usage(&key_id(1), since, only_compare).await.unwrap(), []);
        }
    }
}

/// Bookings and recounts side by side: nothing is counted twice or lost, and at the end all agrees.
pub async fn counting_again_amid_bookings_loses_nothing(store: Dyn) {
    store.record_usage(&rows()).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..20 {
                store.record_usage(&[at(n % 3, "m", &format!("more-{n}"))]).await.unwrap();
            }
        })
    };
    let since = noon().plus_millis(-100 * DAY);
    for _ in 0..5 {
        match store.rebuild_usage(&key_id(1), since, false).await {
            Ok(corrected) => assert_eq!(corrected, []),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    writer.await.unwrap();
    assert_eq!(store.rebuild_usage(&key_id(1), since, true).await.unwrap(), []);
    let total = store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
    assert_eq!(total.requests, 25);
    assert_ne!(total, Totals::default());
}
