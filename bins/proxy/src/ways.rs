//! The ways to a model, and which of them failed a moment ago.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use bedrock::{Operation, Site};
use catalog::{Lane, Route};

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// The Converse lane has one way.
    Converse,
    /// The native lane has several.
    Native(Route),
}

impl Way {
    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::Converse => Lane::Converse,
            Self::Native(_) => Lane::Native,
        }
    }

    /// For headers and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::Native(route) => route.name(),
        }
    }

    pub(crate) fn operation(self, stream: bool) -> Operation {
        match (self, stream) {
            (Self::Converse, false) => Operation::Converse,
            (Self::Converse, true) => Operation::ConverseStream,
            (Self::Native(Route::InvokeModel), false) => Operation::InvokeModel,
            (Self::Native(Route::InvokeModel), true) => Operation::InvokeModelWithResponseStream,
            (Self::Native(Route::Messages), stream) => Operation::Messages { site: Site::Runtime, stream },
            (Self::Native(Route::Mantle), stream) => Operation::Messages { site: Site::Mantle, stream },
        }
    }
}

/// More would be names that callers made up.
const MOST: usize = 1024;

/// Ways that failed, each for one model: passed over until their time is up, then tried by one request at a time.
#[derive(Debug)]
pub(crate) struct Cooling {
    time: Duration,
    until: RwLock<HashMap<(Way, String), Instant>>,
}

impl Cooling {
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, until: RwLock::default() }
    }

    /// Whether a request may go this way. Where the time is up, the one that asks first is the probe, and the others wait
    /// for how it fares.
    pub(crate) fn may_go(&self, way: Way, model: &str, now: Instant) -> bool {
        {
            let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
            if until.is_empty() {
                return true;
            }
            match until.get(&(way, model.to_owned())) {
                None => return true,
                Some(until) if now < *until => return false,
                Some(_) => {}
            }
        }
        let mut until = self.until.write().unwrap_or_else(PoisonError::into_inner);
        match until.get_mut(&(way, model.to_owned())) {
            None => true,
            Some(until) if now < *until => false,
            Some(until) => {
                *until = now + self.time;
                true
            }
        }
    }

    /// It failed.
    pub(crate) fn failed(&self, way: Way, model: &str, now: Instant) {
        if self.time.is_zero() {
            return;
        }
        let mut until = self.until.write().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert((way, model.to_owned()), now + self.time);
        }
    }

    /// It works.
    pub(crate) fn works(&self, way: Way, model: &str) {
        if self.until.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        self.until.write().unwrap_or_else(PoisonError::into_inner).remove(&(way, model.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);
    const MANTLE: Way = Way::Native(Route::Mantle);

    #[test]
    fn a_failed_way_is_passed_over_for_its_model_alone_until_one_probe_finds_it_working() {
        let cooling = Cooling::new(TIME);
        let start = Instant::now();
        assert!(cooling.may_go(MANTLE, "a", start));
        cooling.failed(MANTLE, "a", start);
        assert!(!cooling.may_go(MANTLE, "a", start));
        assert!(cooling.may_go(MANTLE, "b", start) && cooling.may_go(Way::Converse, "a", start));
        let later = start + TIME;
        assert!(cooling.may_go(MANTLE, "a", later), "the probe");
        assert!(!cooling.may_go(MANTLE, "a", later), "nobody goes with it");
        cooling.failed(MANTLE, "a", later);
        assert!(!cooling.may_go(MANTLE, "a", later + TIME / 2), "a new failure extends the time");
        assert!(cooling.may_go(MANTLE, "a", later + TIME));
        cooling.works(MANTLE, "a");
        assert!(cooling.may_go(MANTLE, "a", later + TIME));
    }

    #[test]
    fn without_a_time_nothing_cools() {
        let cooling = Cooling::new(Duration::ZERO);
        cooling.failed(MANTLE, "a", Instant::now());
        assert!(cooling.may_go(MANTLE, "a", Instant::now()));
    }
}
