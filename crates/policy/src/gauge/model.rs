//! One key's gauge under threads that take, settle and give back, in many orders.
#![expect(clippy::unwrap_used, reason = "a thread that panics fails its test")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use shuttle::thread;

use super::*;

const LIMITS: Limits = Limits { requests: Some(4), tokens: Some(25), concurrency: Some(2) };

/// What threads know that they have: counted after it was taken, and no more before it is given back.
#[derive(Default)]
struct Had {
    requests: AtomicU64,
    tokens: AtomicU64,
    open: AtomicU64,
}

impl Had {
    fn took(&self, tokens: u64) {
        assert!(self.requests.fetch_add(1, SeqCst) < 4);
        assert!(self.tokens.fetch_add(tokens, SeqCst) + tokens <= 25);
        assert!(self.open.fetch_add(1, SeqCst) < 2);
    }

    fn gives_back(&self, requests: u64, tokens: u64) {
        self.requests.fetch_sub(requests, SeqCst);
        self.tokens.fetch_sub(tokens, SeqCst);
        self.open.fetch_sub(1, SeqCst);
    }
}

fn requests_of_one_key() {
    let (gauge, had, now) =
        (Arc::new(Gauge::new(KeyId::master(), MINUTE, Meter::new)), Arc::new(Had::default()), Instant::now());
    let threads: Vec<_> = [(5, Some(2)), (10, None), (10, Some(10))]
        .into_iter()
        .map(|(tokens, used)| {
            let (gauge, had) = (Arc::clone(&gauge), Arc::clone(&had));
            thread::spawn(move || {
                for _ in 0..2 {
                    let Ok((permit, _)) = gauge.take(&LIMITS, Want::Run { tokens }, now) else { continue };
                    had.took(tokens);
                    thread::yield_now();
                    if let Some(used) = used {
                        had.gives_back(0, tokens - used);
                        permit.settle(used, now);
                    } else {
                        had.gives_back(1, tokens);
                        drop(permit);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut used = gauge.lock();
    used.runs.advance(4, now);
    used.tokens.advance(25, now);
    let left = (used.runs.level().remaining, used.tokens.level().remaining, used.open);
    assert_eq!(left, (4 - had.requests.load(SeqCst), 25 - had.tokens.load(SeqCst), 0));
}

#[test]
fn in_no_order_do_threads_take_more_than_the_limits_or_lose_what_they_give_back() {
    shuttle::check_random(requests_of_one_key, 2_000);
    shuttle::check_pct(requests_of_one_key, 2_000, 3);
}

#[test]
fn in_no_order_does_a_key_get_two_gauges() {
    let look = || {
        let gauges = Arc::new(Gauges::new(MINUTE, None));
        let now = Instant::now();
        let of = move |gauges: &Gauges| gauges.of(&KeyId::master(), now);
        let other = Arc::clone(&gauges);
        let there = thread::spawn(move || of(&other));
        let here = of(&gauges);
        assert!(Arc::ptr_eq(&here, &there.join().unwrap()));
    };
    shuttle::check_random(look, 200);
}
