//! How the last minute went. Each worker counts for itself, so that counting shares no cache line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::{Error, Kind};

/// Outcomes of the calls that ended within the last 60 seconds, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Answered; a stream counts when it begins.
    pub succeeded: u32,
    /// Throttled, over quota, or the model was not ready.
    pub throttled: u32,
    /// The request's own fault: the upstream is well.
    pub refused: u32,
    /// The upstream, the way to it or our credentials failed.
    pub failed: u32,
}

const SLOT_SECONDS: u64 = 5;
const SLOTS: usize = 12;

/// One worker's last minute.
pub(crate) struct Tally {
    slots: [Slot; SLOTS],
}

#[derive(Default)]
struct Slot {
    /// Which five seconds the counts belong to, from 1; 0 is none.
    turn: AtomicU64,
    counts: [AtomicU32; 4],
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { slots: std::array::from_fn(|_| Slot::default()) }
    }

    /// `since_start` is in seconds. Two threads that begin a slot together may lose a count: this is a summary.
    fn record(&self, outcome: usize, since_start: u64) {
        let turn = since_start / SLOT_SECONDS + 1;
        let Some(slot) = usize::try_from(turn % SLOTS as u64).ok().and_then(|at| self.slots.get(at)) else {
            return;
        };
        if slot.turn.swap(turn, Ordering::Relaxed) != turn {
            slot.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        }
        slot.counts[outcome].fetch_add(1, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut [u32; 4], since_start: u64) {
        let now = since_start / SLOT_SECONDS + 1;
        for slot in &self.slots {
            let turn = slot.turn.load(Ordering::Relaxed);
            if turn > 0 && turn + SLOTS as u64 > now {
                for (sum, count) in sum.iter_mut().zip(&slot.counts) {
                    *sum = sum.saturating_add(count.load(Ordering::Relaxed));
                }
            }
        }
    }
}

/// All workers' tallies and the clock they share.
pub(crate) struct Ledger {
    started: Instant,
    tallies: Mutex<Vec<std::sync::Weak<Tally>>>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), tallies: Mutex::default() }
    }

    pub(crate) fn open(&self) -> std::sync::Arc<Tally> {
        let tally = std::sync::Arc::new(Tally::new());
        let mut tallies = self.tallies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tallies.retain(|known| known.strong_count() > 0);
        tallies.push(std::sync::Arc::downgrade(&tally));
        tally
    }

    pub(crate) fn record<T>(&self, tally: &Tally, outcome: &Result<T, Error>) {
        let index = match outcome {
            Ok(_) => 0,
            Err(error) => class(error.kind),
        };
        tally.record(index, self.started.elapsed().as_secs());
    }

    pub(crate) fn summary(&self) -> Health {
        let now = self.started.elapsed().as_secs();
        let mut sum = [0; 4];
        let tallies = self.tallies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for tally in tallies.iter().filter_map(std::sync::Weak::upgrade) {
            tally.add_to(&mut sum, now);
        }
        let [succeeded, throttled, refused, failed] = sum;
        Health { succeeded, throttled, refused, failed }
    }
}

fn class(kind: Kind) -> usize {
    match kind {
        Kind::Throttling | Kind::ServiceQuota | Kind::ModelNotReady => 1,
        Kind::Validation | Kind::AccessDenied | Kind::NotFound | Kind::TooLarge => 2,
        Kind::ModelTimeout
        | Kind::Model { .. }
        | Kind::ModelStream
        | Kind::InternalServer
        | Kind::ServiceUnavailable
        | Kind::Credentials
        | Kind::Connect
        | Kind::FirstByteTimeout
        | Kind::IdleTimeout
        | Kind::TotalTimeout
        | Kind::Reset
        | Kind::Protocol
        | Kind::Other { .. } => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(tally: &Tally, now: u64) -> [u32; 4] {
        let mut sum = [0; 4];
        tally.add_to(&mut sum, now);
        sum
    }

    #[test]
    fn outcomes_are_forgotten_after_a_minute() {
        let tally = Tally::new();
        tally.record(0, 0);
        tally.record(3, 30);
        tally.record(3, 31);
        assert_eq!(sum(&tally, 31), [1, 0, 0, 2]);
        assert_eq!(sum(&tally, 59), [1, 0, 0, 2]);
        assert_eq!(sum(&tally, 60), [0, 0, 0, 2]);
        assert_eq!(sum(&tally, 200), [0; 4]);
    }

    #[test]
    fn a_slot_begins_anew_when_its_turn_comes_again() {
        let tally = Tally::new();
        tally.record(1, 2);
        tally.record(1, 62);
        assert_eq!(sum(&tally, 62), [0, 1, 0, 0]);
    }

    #[test]
    fn the_summary_is_of_all_workers() {
        let ledger = Ledger::new();
        let (one, two) = (ledger.open(), ledger.open());
        ledger.record(&one, &Ok(()));
        ledger.record(&two, &Ok(()));
        ledger.record(&two, &Err::<(), _>(Error::new(Kind::Throttling, "slow")));
        assert_eq!(ledger.summary(), Health { succeeded: 2, throttled: 1, refused: 0, failed: 0 });
    }
}
