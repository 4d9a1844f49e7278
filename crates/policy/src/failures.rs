//! Wrong keys per address and minute: guessing is slowed, and a guess costs us no look-up.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::Denial;

const WINDOW: Duration = Duration::from_mins(1);
/// Addresses remembered; the least used leave first, so a flood of addresses costs bounded memory.
const ADDRESSES: usize = 10_000;

pub(crate) struct Failures {
    limit: u32,
    /// Start of the window, and how many failed in it.
    seen: Cache<IpAddr, (Instant, u32)>,
}

impl Failures {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, seen: Cache::new(ADDRESSES) }
    }

    /// Refuses an address that has failed too often in the current minute.
    pub(crate) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Denial> {
        if self.limit == 0 || self.seen.is_empty() {
            return Ok(());
        }
        match self.seen.get(&key(address)) {
            Some((start, count)) if count >= self.limit && now < start + WINDOW => {
                Err(Denial::TooManyFailures { wait: start + WINDOW - now })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note(&self, address: IpAddr, now: Instant) {
        if self.limit == 0 {
            return;
        }
        let address = key(address);
        // Two notes at once may count as one: the limit is a brake, not a ledger.
        let (start, count) = match self.seen.get(&address) {
            Some((start, count)) if now < start + WINDOW => (start, count.saturating_add(1)),
            _ => (now, 1),
        };
        self.seen.insert(address, (start, count));
    }
}

/// IPv4 addresses have one form; an IPv6 host owns its whole /64.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_per_address_and_minute() {
        let failures = Failures::new(2);
        let start = Instant::now();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..2 {
            failures.check(one, start).unwrap();
            failures.note(one, start);
        }
        assert!(failures.check(one, start).is_err());
        assert!(
            failures.check("::ffff:10.0.0.1".parse().unwrap(), start).is_err(),
            "the mapped form is the same"
        );
        failures.check(other, start).unwrap();
        failures.check(one, start + WINDOW).unwrap();
    }

    #[test]
    fn zero_is_no_limit() {
        let failures = Failures::new(0);
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..1000 {
            failures.note(address, Instant::now());
        }
        failures.check(address, Instant::now()).unwrap();
    }
}
