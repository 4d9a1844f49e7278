//! Whether to try again, and when. Pure: the clock and the dice are the caller's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Kind};

/// The settings that decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) max_attempts: u32,
    pub(crate) base: Duration,
    pub(crate) max_wait: Duration,
}

/// How often a kind of failure may be tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    Never,
    Once,
    Again,
}

/// The wait before the next attempt, or none to stop. `attempt` is the one that just failed, from 1; `dice` is in 0..1.
pub(crate) fn wait(policy: &Policy, error: &Error, attempt: u32, dice: f64) -> Option<Duration> {
    let allowed = match chance(error) {
        Chance::Never => 1,
        Chance::Once => 2,
        Chance::Again => u32::MAX,
    };
    if attempt >= allowed.min(policy.max_attempts) {
        return None;
    }
    match error.retry_after {
        // Longer than we wait for anybody: the caller is told instead.
        Some(asked) if asked > policy.max_wait => None,
        Some(asked) => Some(asked),
        None => Some(back_off(policy, attempt).mul_f64(dice.clamp(0.0, 1.0))),
    }
}

/// Doubles from `base`; saturates at `max_wait` whatever the attempt.
fn back_off(policy: &Policy, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.base.saturating_mul(factor).min(policy.max_wait)
}

fn chance(error: &Error) -> Chance {
    match error.kind {
        Kind::Throttling
        | Kind::ModelNotReady
        | Kind::InternalServer
        | Kind::ServiceUnavailable
        | Kind::Connect
        | Kind::FirstByteTimeout
        | Kind::Reset
        | Kind::Other { status: 500.. } => Chance::Again,
        // Each costs a whole model run, so a second failure is believed.
        Kind::ModelTimeout | Kind::ModelStream | Kind::Model { original_status: Some(500..) } => Chance::Once,
        Kind::Validation
        | Kind::AccessDenied
        | Kind::NotFound
        | Kind::ServiceQuota
        | Kind::Model { .. }
        | Kind::TooLarge
        | Kind::Credentials
        | Kind::IdleTimeout
        | Kind::TotalTimeout
        | Kind::Protocol
        | Kind::Other { .. } => Chance::Never,
    }
}

/// Retries as a share of requests: when everything fails, retrying everything only makes it worse.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u32,
    /// In hundredths of a retry.
    left: AtomicU32,
}

/// What a fresh client may spend before it has earned anything, and the most that is kept.
const FULL: u32 = 10 * RETRY;
const RETRY: u32 = 100;

impl Budget {
    pub(crate) fn new(percent: u32) -> Self {
        Self { percent, left: AtomicU32::new(if percent == 0 { 0 } else { FULL }) }
    }

    /// A request earns its share. Nothing is written while the budget is full, which is nearly always.
    pub(crate) fn earn(&self) {
        if self.left.load(Ordering::Relaxed) < FULL && self.percent > 0 {
            let add = |left: u32| Some(left.saturating_add(self.percent).min(FULL));
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Whether one more retry may be made.
    pub(crate) fn spend(&self) -> bool {
        let take = |left: u32| left.checked_sub(RETRY);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { max_attempts: 3, base: Duration::from_millis(250), max_wait: Duration::from_secs(5) }
    }

    fn error(kind: Kind) -> Error {
        Error::new(kind, "m")
    }

    #[test]
    fn failures_that_will_fail_again_are_not_retried() {
        for kind in [
            Kind::Validation,
            Kind::AccessDenied,
            Kind::NotFound,
            Kind::ServiceQuota,
            Kind::Model { original_status: Some(400) },
            Kind::Model { original_status: None },
            Kind::TooLarge,
            Kind::Credentials,
            Kind::IdleTimeout,
            Kind::TotalTimeout,
            Kind::Protocol,
            Kind::Other { status: 418 },
        ] {
            assert_eq!(wait(&policy(), &error(kind), 1, 0.5), None, "{kind:?}");
        }
    }

    #[test]
    fn passing_failures_are_retried_up_to_the_limit() {
        for kind in [
            Kind::Throttling,
            Kind::ModelNotReady,
            Kind::InternalServer,
            Kind::ServiceUnavailable,
            Kind::Connect,
            Kind::FirstByteTimeout,
            Kind::Reset,
            Kind::Other { status: 529 },
        ] {
            assert!(wait(&policy(), &error(kind), 1, 0.5).is_some(), "{kind:?}");
            assert!(wait(&policy(), &error(kind), 2, 0.5).is_some(), "{kind:?}");
            assert_eq!(wait(&policy(), &error(kind), 3, 0.5), None, "{kind:?}");
        }
    }

    #[test]
    fn failed_model_runs_are_repeated_once() {
        for kind in [Kind::ModelTimeout, Kind::ModelStream, Kind::Model { original_status: Some(500) }] {
            assert!(wait(&policy(), &error(kind), 1, 0.5).is_some(), "{kind:?}");
            assert_eq!(wait(&policy(), &error(kind), 2, 0.5), None, "{kind:?}");
        }
    }

    #[test]
    fn the_wait_is_spread_over_the_whole_back_off() {
        let throttled = error(Kind::Throttling);
        assert_eq!(wait(&policy(), &throttled, 1, 0.0), Some(Duration::ZERO));
        assert_eq!(wait(&policy(), &throttled, 1, 1.0), Some(Duration::from_millis(250)));
        assert_eq!(wait(&policy(), &throttled, 2, 1.0), Some(Duration::from_millis(500)));
    }

    #[test]
    fn the_back_off_saturates_instead_of_overflowing() {
        let many = Policy { max_attempts: u32::MAX, ..policy() };
        for attempt in [6, 31, 32, 33, 64, u32::MAX - 1] {
            assert_eq!(wait(&many, &error(Kind::Throttling), attempt, 1.0), Some(many.max_wait), "{attempt}");
        }
    }

    #[test]
    fn a_wait_the_upstream_asks_for_is_kept_or_passed_on() {
        let asking =
            |seconds| Error { retry_after: Some(Duration::from_secs(seconds)), ..error(Kind::Throttling) };
        assert_eq!(wait(&policy(), &asking(1), 1, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(wait(&policy(), &asking(5), 1, 0.0), Some(Duration::from_secs(5)));
        assert_eq!(wait(&policy(), &asking(6), 1, 0.0), None);
    }

    #[test]
    fn no_more_retries_are_made_than_requests_earn() {
        let budget = Budget::new(20);
        let burst = std::iter::repeat_with(|| budget.spend()).take_while(|spent| *spent).count();
        assert_eq!(burst, 10);
        for _ in 0..4 {
            budget.earn();
            assert!(!budget.spend());
        }
        budget.earn();
        assert!(budget.spend(), "five requests earn one retry at 20 %");
        assert!(!Budget::new(0).spend());
    }
}
