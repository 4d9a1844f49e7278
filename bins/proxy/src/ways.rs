//! The ways to a model, at each target, and which of them failed a moment ago.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use bedrock::{Kind as Cause, Operation, Site};
use catalog::{Lane, Route};

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// The Converse lane has one way.
    Converse,
    /// To have tokens counted, which has rights and quotas of its own.
    Count,
    /// The native lane has several.
    Native(Route),
}

impl Way {
    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::Converse => Lane::Converse,
            Self::Native(_) | Self::Count => Lane::Native,
        }
    }

    /// For headers and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::Count => "count",
            Self::Native(route) => route.name(),
        }
    }

    pub(crate) fn operation(self, stream: bool) -> Operation {
        match (self, stream) {
            (Self::Converse, false) => Operation::Converse,
            (Self::Converse, true) => Operation::ConverseStream,
            (Self::Count, _) => Operation::CountTokens,
            (Self::Native(Route::InvokeModel), false) => Operation::InvokeModel,
            (Self::Native(Route::InvokeModel), true) => Operation::InvokeModelWithResponseStream,
            (Self::Native(Route::Messages), stream) => Operation::Messages { site: Site::Runtime, stream },
            (Self::Native(Route::Mantle), stream) => Operation::Messages { site: Site::Mantle, stream },
        }
    }
}

/// One way to a model at one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    /// Its place in the list of targets.
    pub(crate) target: usize,
    pub(crate) way: Way,
}

/// More would be names that callers made up.
const MOST: usize = 1024;

/// Why a candidate is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has enough to do.
    Throttled,
    /// It failed, or could not be reached.
    Down,
    /// We may not go there.
    Closed,
}

impl Why {
    pub(crate) fn of(error: &bedrock::Error) -> Self {
        match error.kind {
            Cause::Throttling | Cause::ServiceQuota => Self::Throttled,
            Cause::AccessDenied | Cause::NotFound | Cause::Credentials | Cause::Validation => Self::Closed,
            Cause::ModelNotReady
            | Cause::InternalServer
            | Cause::ServiceUnavailable
            | Cause::Connect
            | Cause::FirstByteTimeout
            | Cause::Reset
            | Cause::Protocol
            | Cause::TooLarge
            | Cause::ModelTimeout
            | Cause::Model { .. }
            | Cause::ModelStream
            | Cause::IdleTimeout
            | Cause::TotalTimeout
            | Cause::Other { .. } => Self::Down,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    why: Why,
}

/// After throttling that names no wait; Bedrock's never does.
const THROTTLED: Duration = Duration::from_secs(3);
/// However long an upstream asks for.
const LONGEST: Duration = Duration::from_mins(5);

/// Candidates that failed, each for one model: passed over until their time is up, then tried by one request at a time.
#[derive(Debug)]
pub(crate) struct Cooling {
    time: Duration,
    rests: RwLock<HashMap<(Candidate, String), Rest>>,
}

impl Cooling {
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, rests: RwLock::default() }
    }

    /// The rest of a candidate, whether its time is up or not.
    fn rest(&self, at: Candidate, model: &str) -> Option<Rest> {
        let rests = self.rests.read().unwrap_or_else(PoisonError::into_inner);
        if rests.is_empty() {
            return None;
        }
        rests.get(&(at, model.to_owned())).copied()
    }

    /// Whether it is passed over.
    pub(crate) fn cools(&self, at: Candidate, model: &str, now: Instant) -> bool {
        self.rest(at, model).is_some_and(|rest| now < rest.until)
    }

    /// Whether a request may go there. Where the time is up, the one that asks first is the probe, and the others wait for
    /// how it fares.
    pub(crate) fn may_go(&self, at: Candidate, model: &str, now: Instant) -> bool {
        match self.rest(at, model) {
            None => return true,
            Some(rest) if now < rest.until => return false,
            Some(_) => {}
        }
        let mut rests = self.rests.write().unwrap_or_else(PoisonError::into_inner);
        match rests.get_mut(&(at, model.to_owned())) {
            None => true,
            Some(rest) if now < rest.until => false,
            Some(rest) => {
                rest.until = now + self.time;
                true
            }
        }
    }

    /// Where all candidates cool: the shortest wait, and whether it is for one that was throttled. `None` where one does not
    /// cool, or where all are closed to us: then there is no use in waiting.
    pub(crate) fn all_cool(
        &self,
        candidates: impl Iterator<Item = Candidate>,
        model: &str,
        now: Instant,
    ) -> Option<(Duration, Why)> {
        let mut shortest: Option<(Duration, Why)> = None;
        for at in candidates {
            let rest = self.rest(at, model).filter(|rest| now < rest.until)?;
            let wait = rest.until - now;
            if rest.why != Why::Closed && shortest.is_none_or(|(known, _)| wait < known) {
                shortest = Some((wait, rest.why));
            }
        }
        shortest
    }

    /// It failed, and cools for as long as the upstream asks for, or else for the usual time. Quotas refill all the time: who
    /// was throttled cools briefly, or a short burst on every target would shut a model out.
    pub(crate) fn failed(&self, at: Candidate, model: &str, error: &bedrock::Error, now: Instant) {
        if self.time.is_zero() {
            return;
        }
        let why = Why::of(error);
        let usual = if why == Why::Throttled { self.time.min(THROTTLED) } else { self.time };
        let rest = Rest { until: now + error.retry_after.map_or(usual, |asked| asked.min(LONGEST)), why };
        let mut rests = self.rests.write().unwrap_or_else(PoisonError::into_inner);
        if rests.len() >= MOST {
            rests.retain(|_, rest| now < rest.until);
        }
        if rests.len() < MOST {
            rests.insert((at, model.to_owned()), rest);
        }
    }

    /// It works.
    pub(crate) fn works(&self, at: Candidate, model: &str) {
        if self.rests.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        self.rests.write().unwrap_or_else(PoisonError::into_inner).remove(&(at, model.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);
    const MANTLE: Candidate = Candidate { target: 0, way: Way::Native(Route::Mantle) };
    const ELSEWHERE: Candidate = Candidate { target: 1, ..MANTLE };

    fn error(kind: Cause) -> bedrock::Error {
        bedrock::Error::new(kind, "no")
    }

    #[test]
    fn a_failed_way_is_passed_over_for_its_model_alone_until_one_probe_finds_it_working() {
        let cooling = Cooling::new(TIME);
        let start = Instant::now();
        let down = error(Cause::ServiceUnavailable);
        let converse = Candidate { way: Way::Converse, ..MANTLE };
        assert!(cooling.may_go(MANTLE, "a", start));
        cooling.failed(MANTLE, "a", &down, start);
        assert!(!cooling.may_go(MANTLE, "a", start) && cooling.cools(MANTLE, "a", start));
        assert!(cooling.may_go(MANTLE, "b", start) && cooling.may_go(converse, "a", start));
        assert!(cooling.may_go(ELSEWHERE, "a", start));
        let later = start + TIME;
        assert!(!cooling.cools(MANTLE, "a", later));
        assert!(cooling.may_go(MANTLE, "a", later), "the probe");
        assert!(!cooling.may_go(MANTLE, "a", later), "nobody goes with it");
        cooling.failed(MANTLE, "a", &down, later);
        assert!(!cooling.may_go(MANTLE, "a", later + TIME / 2), "a new failure extends the time");
        assert!(cooling.may_go(MANTLE, "a", later + TIME));
        cooling.works(MANTLE, "a");
        assert!(cooling.may_go(MANTLE, "a", later + TIME));
    }

    #[test]
    fn who_was_throttled_cools_briefly_and_no_wait_that_is_asked_for_is_endless() {
        let cooling = Cooling::new(TIME);
        let start = Instant::now();
        cooling.failed(MANTLE, "a", &error(Cause::Throttling), start);
        assert!(cooling.cools(MANTLE, "a", start) && !cooling.cools(MANTLE, "a", start + THROTTLED));
        let asking = bedrock::Error { retry_after: Some(Duration::MAX), ..error(Cause::Throttling) };
        cooling.failed(MANTLE, "a", &asking, start);
        assert!(!cooling.cools(MANTLE, "a", start + LONGEST));
    }

    #[test]
    fn where_all_cool_the_shortest_wait_is_told_and_none_where_all_are_closed() {
        let cooling = Cooling::new(TIME);
        let start = Instant::now();
        let both = || [MANTLE, ELSEWHERE].into_iter();
        cooling.failed(MANTLE, "a", &error(Cause::ServiceUnavailable), start);
        assert_eq!(cooling.all_cool(both(), "a", start), None, "one is open");
        let asking = bedrock::Error { retry_after: Some(TIME / 3), ..error(Cause::Throttling) };
        cooling.failed(ELSEWHERE, "a", &asking, start);
        assert_eq!(cooling.all_cool(both(), "a", start), Some((TIME / 3, Why::Throttled)));
        for (at, kind) in [(MANTLE, Cause::AccessDenied), (ELSEWHERE, Cause::Credentials)] {
            cooling.failed(at, "b", &error(kind), start);
        }
        assert_eq!(cooling.all_cool(both(), "b", start), None);
    }

    #[test]
    fn without_a_time_nothing_cools() {
        let cooling = Cooling::new(Duration::ZERO);
        cooling.failed(MANTLE, "a", &error(Cause::Connect), Instant::now());
        assert!(cooling.may_go(MANTLE, "a", Instant::now()));
    }
}
