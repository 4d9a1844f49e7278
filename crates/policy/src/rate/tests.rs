use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// Takes if it may.
fn admitted(bucket: &mut Bucket, cost: u64) -> bool {
    let free = bucket.wait(cost).is_zero();
    if free {
        bucket.take(cost);
    }
    free
}

fn filled(limit: u64, window: Duration, now: Instant) -> Bucket {
    let mut bucket = Bucket::new(window);
    bucket.advance(limit, now);
    bucket
}

#[test]
fn a_full_bucket_gives_its_limit_and_then_one_token_each_share_of_the_window() {
    let start = Instant::now();
    let mut bucket = filled(10, MINUTE, start);
    assert_eq!((0..50).filter(|_| admitted(&mut bucket, 1)).count(), 10);
    assert_eq!(bucket.wait(1), Duration::from_secs(6));
    assert_eq!(bucket.level(), Level { limit: 10, remaining: 0, reset: MINUTE });
    bucket.advance(10, start + Duration::from_nanos(5_999_999_999));
    assert_eq!(bucket.wait(1), Duration::from_nanos(1));
    bucket.advance(10, start + Duration::from_secs(6));
    assert!(admitted(&mut bucket, 1) && !admitted(&mut bucket, 1));
}

#[test]
fn a_limit_of_nothing_admits_nothing_however_long_one_waits() {
    let start = Instant::now();
    let mut bucket = filled(0, MINUTE, start);
    for hours in 0..3 {
        bucket.advance(0, start + Duration::from_hours(hours));
        assert_eq!(bucket.wait(1), MINUTE);
        assert_eq!(bucket.level(), Level { limit: 0, remaining: 0, reset: MINUTE });
    }
}

#[test]
fn a_settlement_above_what_is_left_is_a_debt_that_time_pays() {
    let start = Instant::now();
    let mut bucket = filled(100, MINUTE, start);
    let taken = bucket.take(60);
    bucket.settle(taken, 250, start);
    assert_eq!(bucket.level().remaining, 0);
    // 150 beyond the limit, and one more to run: 151 shares of 0.6 seconds.
    assert_eq!(bucket.wait(1), Duration::from_millis(90_600));
    bucket.advance(100, start + Duration::from_millis(90_600));
    assert!(admitted(&mut bucket, 1));
}

#[test]
fn a_debt_begins_when_it_is_known() {
    let start = Instant::now();
    let mut bucket = filled(60, MINUTE, start);
    let taken = bucket.take(1);
    // The minutes of the call filled the bucket; they do not pay for what it turns out to cost.
    bucket.settle(taken, 31, start + MINUTE * 5);
    assert_eq!(bucket.level().remaining, 30);
}

#[test]
fn what_costs_more_than_the_limit_runs_alone() {
    let start = Instant::now();
    let mut bucket = filled(100, MINUTE, start);
    assert!(admitted(&mut bucket, 1));
    assert_eq!(bucket.wait(64_000), Duration::from_millis(600), "until it is full");
    bucket.advance(100, start + Duration::from_millis(600));
    assert!(admitted(&mut bucket, 64_000) && !admitted(&mut bucket, 1));
}

#[test]
fn a_new_limit_holds_at_once_and_forgets_nothing() {
    let start = Instant::now();
    let mut bucket = filled(10, MINUTE, start);
    for _ in 0..10 {
        bucket.take(1);
    }
    bucket.advance(25, start);
    assert_eq!(bucket.level().remaining, 15);
    bucket.advance(5, start);
    assert_eq!(bucket.level().remaining, 0);
    // Six seconds at 5 a minute pay half a token, at 10 a minute one: the time before a change counts at the old limit.
    bucket.advance(10, start + Duration::from_secs(6));
    assert_eq!(bucket.spent, bucket.units(10) - bucket.units(1) / 2);
}

#[test]
fn the_largest_numbers_overflow_nothing() {
    let start = Instant::now();
    let mut bucket = filled(u64::MAX, Duration::from_hours(24), start);
    let taken = bucket.take(u64::MAX);
    bucket.settle(taken, u64::MAX, start);
    bucket.settle(0, u64::MAX, start);
    assert_eq!(bucket.level().remaining, 0);
    assert!(!bucket.wait(1).is_zero());
    bucket.advance(u64::MAX, start + Duration::from_hours(24 * 365 * 100));
    assert_eq!(bucket.level().remaining, u64::MAX);
}

/// Limits and windows of all sizes.
fn sizes() -> impl Strategy<Value = (u64, Duration)> {
    let limit = prop_oneof![1..20_u64, 1..2_000_000_u64, 1..1_000_000_000_000_u64];
    let window = prop_oneof![1..1000_u64, 1_000_000..90_000_000_000_000_u64];
    (limit, window.prop_map(Duration::from_nanos))
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_what_time_pays_in_any_span(
        (limit, window) in sizes(),
        // A step in parts of the window, and a cost in parts of the limit.
        steps in prop::collection::vec((0..400_u64, 1..300_u64), 1..60),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = filled(limit, window, now);
        let mut takes: Vec<(Instant, u128)> = Vec::new();
        for (step, cost) in steps {
            now += window.mul_f64(f64::from(u32::try_from(step).unwrap()) / 1000.0);
            let cost = (limit / cost).max(1);
            bucket.advance(limit, now);
            if admitted(&mut bucket, cost) {
                takes.push((now, cost.into()));
            }
        }
        for first in 0..takes.len() {
            let mut sum = 0;
            for (at, cost) in &takes[first..] {
                sum += cost;
                let span = at.duration_since(takes[first].0).as_nanos();
                prop_assert!(sum * window.as_nanos() <= u128::from(limit) * (window.as_nanos() + span));
            }
        }
    }

    #[test]
    fn many_small_steps_of_time_are_one_large_one(
        (limit, window) in sizes(),
        spent in 1..1_000_000_u64,
        steps in prop::collection::vec(0..1_000_000_000_u64, 1..50),
    ) {
        let mut now = Instant::now();
        let mut stepped = filled(limit, window, now);
        stepped.settle(0, spent, now);
        let mut leapt = stepped;
        for step in steps {
            now += Duration::from_nanos(step);
            stepped.advance(limit, now);
        }
        leapt.advance(limit, now);
        prop_assert_eq!(stepped.spent, leapt.spent);
    }

    #[test]
    fn a_wait_is_exact_to_the_nanosecond((limit, window) in sizes(), debt in 0..1000_u64, cost in 1..100_u64) {
        let start = Instant::now();
        let mut bucket = filled(limit, window, start);
        bucket.take(limit);
        bucket.settle(0, debt, start);
        let wait = bucket.wait(cost);
        prop_assert!(!wait.is_zero());
        bucket.advance(limit, start + wait.checked_sub(Duration::from_nanos(1)).unwrap());
        prop_assert_eq!(bucket.wait(cost), Duration::from_nanos(1));
        bucket.advance(limit, start + wait);
        prop_assert!(bucket.wait(cost).is_zero());
        // And full at the time that callers are told.
        let reset = bucket.level().reset;
        bucket.advance(limit, start + wait + reset);
        prop_assert_eq!(bucket.level().remaining, limit);
    }

    #[test]
    fn a_clock_that_goes_back_gives_and_takes_nothing(
        (limit, window) in sizes(),
        spent in 1..1_000_000_u64,
        back in 1..5_000_000_000_u64,
    ) {
        let now = Instant::now() + Duration::from_secs(10);
        let mut bucket = filled(limit, window, now);
        bucket.settle(0, spent, now);
        let before = bucket;
        bucket.advance(limit, now.checked_sub(Duration::from_nanos(back)).unwrap());
        prop_assert_eq!((bucket.spent, bucket.at), (before.spent, before.at));
        bucket.advance(limit, now);
        prop_assert_eq!(bucket.spent, before.spent, "and the way back is not paid twice");
    }

    #[test]
    fn what_is_given_back_was_never_taken(
        (limit, window) in sizes(),
        spent in 0..1_000_000_u64,
        cost in 1..1_000_000_u64,
        pause in 0..100_000_000_000_u64,
    ) {
        let now = Instant::now();
        let mut bucket = filled(limit, window, now);
        bucket.settle(0, spent, now);
        let mut untouched = bucket;
        let taken = bucket.take(cost);
        for each in [&mut bucket, &mut untouched] {
            each.advance(limit, now + Duration::from_nanos(pause));
        }
        bucket.give_back(taken);
        prop_assert_eq!(bucket.spent, untouched.spent);
    }

    #[test]
    fn a_settled_call_costs_what_it_used(
        (limit, window) in sizes(),
        reserved in 0..1_000_000_u64,
        used in 0..1_000_000_u64,
    ) {
        let now = Instant::now();
        let mut bucket = filled(limit, window, now);
        let taken = bucket.take(reserved);
        bucket.settle(taken, used, now);
        prop_assert_eq!(bucket.spent, bucket.units(used));
    }
}
