use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::*;

const NONE: Limits = Limits { requests: None, tokens: None, concurrency: None };
const RUN: Want = Want::Run { tokens: 10 };

fn gauge() -> Arc<Gauge> {
    Arc::new(Gauge::new(KeyId::master(), MINUTE, Meter::new))
}

fn gate(denied: Result<(Permit, Rates), Missed>) -> Gate {
    match denied {
        Err(Missed::Denied(Denial::RateLimited { gate, .. })) => gate,
        other => panic!("{other:?}"),
    }
}

fn remaining(gauge: &Arc<Gauge>, limits: &Limits, now: Instant) -> (u64, u64) {
    let mut used = gauge.lock();
    used.runs.advance(limits.requests.unwrap(), now);
    used.tokens.advance(limits.tokens.unwrap(), now);
    (used.runs.level().remaining, used.tokens.level().remaining)
}

#[test]
fn a_refusal_by_one_gate_takes_nothing_from_the_others() {
    let now = Instant::now();
    let limits = Limits { requests: Some(5), tokens: Some(25), concurrency: Some(2) };
    let gauge = gauge();
    let (one, rates) = gauge.take(&limits, RUN, now).unwrap();
    assert_eq!((rates.requests.unwrap().remaining, rates.tokens.unwrap().remaining), (4, 15));
    let (two, _) = gauge.take(&limits, RUN, now).unwrap();
    assert_eq!(gate(gauge.take(&limits, RUN, now)), Gate::Tokens);
    assert_eq!(gate(gauge.take(&limits, Want::Run { tokens: 5 }, now)), Gate::Concurrency);
    let none = Limits { requests: Some(2), ..limits };
    assert_eq!(gate(gauge.take(&none, Want::Run { tokens: 5 }, now)), Gate::Requests);
    assert_eq!(remaining(&gauge, &limits, now), (3, 5));
    one.settle(10, now);
    two.settle(10, now);
    assert_eq!(remaining(&gauge, &limits, now), (3, 5));
    assert_eq!(gauge.lock().open, 0);
}

#[test]
fn what_is_dropped_unsettled_was_never_taken() {
    let now = Instant::now();
    let limits = Limits { requests: Some(5), tokens: Some(25), concurrency: Some(1) };
    let gauge = gauge();
    for _ in 0..20 {
        drop(gauge.take(&limits, RUN, now).unwrap());
        drop(gauge.take(&limits, Want::Count, now).unwrap());
    }
    assert!(gauge.is_idle(now));
}

#[test]
fn counts_have_a_bucket_of_their_own_and_need_no_slot() {
    let now = Instant::now();
    let limits = Limits { requests: Some(25), tokens: Some(1), concurrency: Some(1) };
    let gauge = gauge();
    let (open, _) = gauge.take(&limits, RUN, now).unwrap();
    for _ in 0..25 {
        gauge.take(&limits, Want::Count, now).unwrap().0.settle(0, now);
    }
    assert_eq!(gate(gauge.take(&limits, Want::Count, now)), Gate::Requests);
    assert_eq!(gauge.lock().runs.level().remaining, 24);
    drop(open);
}

#[test]
fn slots_are_counted_also_while_nothing_limits_them() {
    let now = Instant::now();
    let gauge = gauge();
    let (open, rates) = gauge.take(&NONE, RUN, now).unwrap();
    assert_eq!(rates, Rates::default());
    let limits = Limits { concurrency: Some(1), ..NONE };
    assert_eq!(gate(gauge.take(&limits, RUN, now)), Gate::Concurrency);
    open.settle(0, now);
    gauge.take(&limits, RUN, now).unwrap();
}

#[test]
fn threads_that_take_at_once_get_the_limit_and_no_more() {
    const THREADS: usize = 8;
    let now = Instant::now();
    let limits = Limits { requests: Some(1000), tokens: Some(7000), concurrency: None };
    let gauge = gauge();
    let start = Barrier::new(THREADS);
    let kept: Vec<Permit> = thread::scope(|scope| {
        let run = |n: usize| {
            let mut kept = Vec::new();
            start.wait();
            for round in 0..2000 {
                match gauge.take(&limits, RUN, now) {
                    // Some are given back, some settled for less, the rest kept.
                    Ok((permit, _)) if (round + n).is_multiple_of(3) => drop(permit),
                    Ok((permit, _)) => kept.push(permit),
                    Err(_) => {}
                }
            }
            kept
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kept.len(), 700, "7000 tokens at 10 each");
    assert_eq!(remaining(&gauge, &limits, now), (300, 0));
    let half = kept.len() / 2;
    for (n, permit) in kept.into_iter().enumerate() {
        if n < half { permit.settle(4, now) } else { drop(permit) }
    }
    assert_eq!(remaining(&gauge, &limits, now), (650, 7000 - 4 * 350));
    assert_eq!(gauge.lock().open, 0);
}

#[test]
fn threads_never_hold_more_slots_than_there_are() {
    let limits = Limits { concurrency: Some(3), ..NONE };
    let gauge = gauge();
    let (open, most, admitted) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let Ok((permit, _)) = gauge.take(&limits, RUN, Instant::now()) else { continue };
                    admitted.fetch_add(1, Ordering::SeqCst);
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    open.fetch_sub(1, Ordering::SeqCst);
                    permit.settle(0, Instant::now());
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert!(admitted.into_inner() > 0);
    assert_eq!(gauge.lock().open, 0);
}

#[test]
fn idle_gauges_are_forgotten_and_those_in_use_or_in_debt_are_not() {
    let start = Instant::now();
    let gauges = Gauges::new(MINUTE, None);
    let id = |n: usize| format!("key_{n:016}").parse::<KeyId>().unwrap();
    let limits = Limits { requests: Some(10), ..NONE };
    let held = gauges.of(&id(0), start);
    gauges.of(&id(1), start).take(&limits, RUN, start).unwrap().0.settle(0, start);
    for n in 2..5000 {
        gauges.of(&id(n), start);
        let known = gauges.known.lock().unwrap().gauges.len();
        assert!(known <= SWEEP_FROM, "{known}");
    }
    assert!(Arc::ptr_eq(&held, &gauges.of(&id(0), start)));
    assert_eq!(gauges.of(&id(1), start).lock().runs.level().remaining, 9);
    for n in 5000..9000 {
        gauges.of(&id(n), start + MINUTE);
    }
    assert!(!gauges.known.lock().unwrap().gauges.contains_key(&id(1)), "time has filled it");
}

#[test]
fn a_key_has_what_its_record_says_and_else_what_the_settings_say() {
    let config =
        RateConfig { tokens: 500, concurrency: 4, requests: 20, master_requests: 0, ..RateConfig::default() };
    let key = store::NewKey::generate(&mut rand::rng());
    let now = store::Timestamp::EPOCH;
    let record = KeyRecord::new(KeyId::generate(&mut rand::rng()), &key, "alice", "laptop", now);
    let limits = |requests, tokens, concurrency| Limits { requests, tokens, concurrency };
    assert_eq!(Limits::of_key(&record, &config), limits(Some(20), Some(500), Some(4)));
    assert_eq!(Limits::of_anonymous(&config), limits(Some(20), Some(500), Some(4)));
    assert_eq!(Limits::of_master(&config), limits(None, Some(500), Some(4)));
    let own =
        KeyRecord { rate_limit: Some(0), tpm_limit: Some(7), concurrency_limit: Some(9), ..record.clone() };
    assert_eq!(Limits::of_key(&own, &config), limits(Some(0), Some(7), Some(9)));
    let off = RateConfig { enabled: false, ..config };
    assert_eq!(Limits::of_key(&own, &off), limits(None, None, Some(9)));
    let plain = RateConfig::default();
    assert_eq!(Limits::of_key(&record, &plain), limits(Some(1000), None, None));
    assert_eq!(Limits::of_master(&plain), limits(Some(10_000), None, None));
}

#[test]
fn requests_and_tokens_have_windows_of_their_own() {
    let start = Instant::now();
    let limits = Limits { requests: Some(2), tokens: Some(10), concurrency: None };
    let gauge = Arc::new(Gauge::new(KeyId::master(), Duration::from_hours(1), Meter::new));
    let run = |at| {
        gauge.take(&limits, RUN, at).map(|(permit, rates)| {
            permit.settle(10, at);
            rates
        })
    };
    run(start).unwrap();
    let Err(Missed::Denied(Denial::RateLimited { gate, wait, .. })) = run(start) else {
        panic!("the tokens are spent")
    };
    assert_eq!((gate, wait), (Gate::Tokens, MINUTE));
    // A minute has given the tokens back, and a sixtieth of the requests of an hour.
    let rates = run(start + MINUTE).unwrap();
    assert_eq!((rates.requests.unwrap().remaining, rates.tokens.unwrap().remaining), (0, 0));
    let Err(Missed::Denied(Denial::RateLimited { gate, wait, .. })) = run(start + 2 * MINUTE) else {
        panic!("no request is left")
    };
    assert_eq!((gate, wait), (Gate::Requests, 28 * MINUTE));
}
