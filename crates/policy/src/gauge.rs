//! What a key has in use: its limits and its open requests, shared by the workers of this process.
//!
//! A [`crate::Caller`] holds its key's gauge, so a request goes straight to it: one short lock of its own key, none shared with
//! other keys. Callers are made anew every few seconds, from the record as it then is; the gauge stays.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use store::{KeyId, KeyRecord, Rate, RateDrawn};

use crate::draw::Shared;
use crate::meter::{Begun, Look, Meter};
use crate::rate::Level;
use crate::sync::{Mutex, MutexGuard};
use crate::{Denial, Sharing, Weights};

/// Limits of tokens are limits a minute, whatever the window of the requests is.
const MINUTE: Duration = Duration::from_mins(1);
/// A slot is free when some request ends; nobody knows when.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// Gauges below which nobody looks for ones to forget.
const SWEEP_FROM: usize = 1024;

/// What keys may use where their records say nothing.
#[derive(Clone, Debug)]
pub struct RateConfig {
    /// Whether requests and tokens are limited at all; open requests are in any case.
    pub enabled: bool,
    /// Time in which an empty request bucket fills.
    pub window: Duration,
    /// Requests per window.
    pub requests: u32,
    /// Requests of the master key per window; 0 is no limit.
    pub master_requests: u32,
    /// Tokens per minute; 0 is no limit.
    pub tokens: u64,
    /// Requests and streams open at once; 0 is no limit.
    pub concurrency: u32,
    /// What counts as a token.
    pub weights: Weights,
    /// How gateways on one store share the limits of requests and tokens; `None` is each for itself.
    pub shared: Option<Sharing>,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: MINUTE,
            requests: 1000,
            master_requests: 10_000,
            tokens: 0,
            concurrency: 0,
            weights: Weights::default(),
            shared: None,
        }
    }
}

/// What one caller may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) requests: Option<u64>,
    pub(crate) tokens: Option<u64>,
    pub(crate) concurrency: Option<u32>,
}

impl Limits {
    pub(crate) fn of_key(record: &KeyRecord, config: &RateConfig) -> Self {
        let requests = record.rate_limit.unwrap_or(config.requests);
        Self::new(requests.into(), record.tpm_limit, record.concurrency_limit, config)
    }

    pub(crate) fn of_anonymous(config: &RateConfig) -> Self {
        Self::new(config.requests.into(), None, None, config)
    }

    pub(crate) fn of_master(config: &RateConfig) -> Self {
        let limits = Self::new(config.master_requests.into(), None, None, config);
        Self { requests: limits.requests.filter(|limit| *limit > 0), ..limits }
    }

    fn new(requests: u64, tokens: Option<u64>, concurrency: Option<u32>, config: &RateConfig) -> Self {
        let default_tokens = (config.tokens > 0).then_some(config.tokens);
        let default_concurrency = (config.concurrency > 0).then_some(config.concurrency);
        Self {
            requests: config.enabled.then_some(requests),
            tokens: tokens.or(default_tokens).filter(|_| config.enabled),
            concurrency: concurrency.or(default_concurrency),
        }
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Requests per window.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Requests and streams open at once.
    Concurrency,
}

/// How a caller's limits stand; absent where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests.
    pub requests: Option<Level>,
    /// Tokens.
    pub tokens: Option<Level>,
}

/// What a request wants to use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// A call of a model: a request, an open slot, and at most so many tokens.
    Run { tokens: u64 },
    /// A count of tokens: a request from a bucket of its own, because clients send them in bursts and nothing is generated.
    Count,
}

/// Why nothing was taken.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// A limit refuses.
    Denied(Denial),
    /// None refuses, as far as this process knows, and one has to be asked for at the store.
    Short(Short),
}

/// What has to be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    pub(crate) rate: Rate,
    pub(crate) cost: u64,
    /// How many asks had failed by then.
    pub(crate) failed: u64,
}

/// What keeps a request from taking.
enum Stop {
    Refused(Gate, Duration),
    Short(Rate, u64),
}

/// What one key has in use.
#[derive(Debug)]
pub(crate) struct Gauge {
    pub(crate) key_id: KeyId,
    used: Mutex<Used>,
    /// Whoever calls the store about this key's limits: one at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Used {
    runs: Meter,
    counts: Meter,
    tokens: Meter,
    open: u32,
    /// Asks that have ended, and those of them that had no answer.
    ended: u64,
    failed: u64,
}

impl Used {
    fn meter(&mut self, rate: Rate) -> &mut Meter {
        match rate {
            Rate::Requests => &mut self.runs,
            Rate::Counts => &mut self.counts,
            Rate::Tokens => &mut self.tokens,
        }
    }

    /// What the first gate in their order that does not let pass says; all are brought up to now.
    fn look(&mut self, limits: &Limits, want: Want, now: Instant) -> Option<Stop> {
        let mut first = None;
        let mut note = |gate, rate, cost, look| {
            let stop = match look {
                Look::Free => return,
                Look::Wait(time) => Stop::Refused(gate, time),
                Look::Short => Stop::Short(rate, cost),
            };
            first.get_or_insert(stop);
        };
        if let Some(limit) = limits.requests {
            let rate = want.rate();
            note(Gate::Requests, rate, 1, self.meter(rate).look(limit, 1, now));
        }
        match (limits.tokens, want) {
            (Some(limit), Want::Run { tokens }) => {
                note(Gate::Tokens, Rate::Tokens, tokens, self.tokens.look(limit, tokens, now));
            }
            (Some(limit), Want::Count) => self.tokens.advance(limit, now),
            (None, Want::Run { .. } | Want::Count) => {}
        }
        if want.needs_slot() && limits.concurrency.is_some_and(|limit| self.open >= limit) {
            first.get_or_insert(Stop::Refused(Gate::Concurrency, SLOT_WAIT));
        }
        first
    }

    fn rates(&mut self, limits: &Limits, want: Want) -> Rates {
        Rates {
            requests: limits.requests.map(|_| self.meter(want.rate()).level()),
            tokens: limits.tokens.map(|_| self.tokens.level()),
        }
    }
}

impl Want {
    /// The requests that it is one of.
    fn rate(self) -> Rate {
        match self {
            Self::Run { .. } => Rate::Requests,
            Self::Count => Rate::Counts,
        }
    }

    fn needs_slot(self) -> bool {
        match self {
            Self::Run { .. } => true,
            Self::Count => false,
        }
    }
}

impl Gauge {
    /// `meter` makes a limit of a window.
    fn new(key_id: KeyId, window: Duration, meter: impl Fn(Duration) -> Meter) -> Self {
        let requests = meter(window);
        let used =
            Used { runs: requests, counts: requests, tokens: meter(MINUTE), open: 0, ended: 0, failed: 0 };
        Self { key_id, used: Mutex::new(used), turn: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is wanted, all of it or nothing. A gate looks before any gate takes, so a refusal costs nothing.
    pub(crate) fn take(
        self: &Arc<Self>,
        limits: &Limits,
        want: Want,
        now: Instant,
    ) -> Result<(Permit, Rates), Missed> {
        let mut used = self.lock();
        match used.look(limits, want, now) {
            None => {}
            Some(Stop::Short(rate, cost)) => {
                return Err(Missed::Short(Short { rate, cost, failed: used.failed }));
            }
            Some(Stop::Refused(gate, time)) => {
                let rates = used.rates(limits, want);
                return Err(Missed::Denied(Denial::RateLimited { gate, wait: time, rates }));
            }
        }
        let requests = limits.requests.filter(|_| used.meter(want.rate()).take(1, now) > 0);
        let tokens = match want {
            Want::Run { tokens } => limits.tokens.map(|_| used.tokens.take(tokens, now)),
            Want::Count => None,
        };
        used.open = used.open.saturating_add(u32::from(want.needs_slot()));
        let rates = used.rates(limits, want);
        drop(used);
        Ok((Permit { gauge: Some(Arc::clone(self)), want, request: requests.is_some(), tokens }, rates))
    }

    /// How many asks have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// How many asks have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.lock().failed
    }

    /// Does something with a limit, under the lock.
    pub(crate) fn with<T>(&self, rate: Rate, work: impl FnOnce(&mut Meter) -> T) -> T {
        work(self.lock().meter(rate))
    }

    /// An ask has ended.
    pub(crate) fn end(&self, rate: Rate, begun: &Begun, answer: Option<&RateDrawn>) {
        let mut used = self.lock();
        used.ended += 1;
        used.failed += u64::from(answer.is_none());
        used.meter(rate).end(begun, answer);
    }

    /// Whether forgetting it would change nothing.
    fn is_idle(&self, now: Instant) -> bool {
        let mut used = self.lock();
        used.open == 0 && Rate::ALL.into_iter().all(|rate| used.meter(rate).is_idle(now))
    }
}

/// What a request has taken. Dropped unsettled, because a later gate refuses or because of a fault, it gives everything back.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Until it is settled.
    gauge: Option<Arc<Gauge>>,
    want: Want,
    request: bool,
    tokens: Option<u64>,
}

impl Permit {
    /// The request has ended and has used so many tokens.
    pub(crate) fn settle(mut self, tokens: u64, now: Instant) {
        let Some(gauge) = self.gauge.take() else { return };
        let mut used = gauge.lock();
        if let Some(taken) = self.tokens {
            used.tokens.settle(taken, tokens, now);
        }
        used.open = used.open.saturating_sub(u32::from(self.want.needs_slot()));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(gauge) = self.gauge.take() else { return };
        let mut used = gauge.lock();
        if take(&mut self.request) {
            used.meter(self.want.rate()).give_back(1);
        }
        if let Some(taken) = self.tokens.take() {
            used.tokens.give_back(taken);
        }
        used.open = used.open.saturating_sub(u32::from(self.want.needs_slot()));
    }
}

/// The gauges of all keys. Its lock is taken when a record is read from the store, not by requests.
#[derive(Debug)]
pub(crate) struct Gauges {
    window: Duration,
    /// How the limits are shared, where they are.
    pub(crate) shared: Option<Shared>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    gauges: HashMap<KeyId, Arc<Gauge>>,
    /// At how many the next look for idle ones is due.
    sweep_at: usize,
}

impl Gauges {
    pub(crate) fn new(window: Duration, shared: Option<Shared>) -> Self {
        let known = Known { gauges: HashMap::new(), sweep_at: SWEEP_FROM };
        Self { window, shared, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one gauge of a key. Idle ones that no caller holds are forgotten now and then, so that there are never more than
    /// twice as many as there are keys in use; what a key has spent is never forgotten.
    pub(crate) fn of(&self, key_id: &KeyId, now: Instant) -> Arc<Gauge> {
        let mut known = self.known();
        if let Some(gauge) = known.gauges.get(key_id) {
            return Arc::clone(gauge);
        }
        if known.gauges.len() >= known.sweep_at {
            known.gauges.retain(|_, gauge| Arc::strong_count(gauge) > 1 || !gauge.is_idle(now));
            known.sweep_at = (known.gauges.len() * 2).max(SWEEP_FROM);
        }
        self.add(&mut known, key_id)
    }

    /// The gauge of callers that have no record.
    pub(crate) fn special(&self, key_id: &KeyId) -> Arc<Gauge> {
        self.add(&mut self.known(), key_id)
    }

    fn add(&self, known: &mut Known, key_id: &KeyId) -> Arc<Gauge> {
        let meter = |window| match &self.shared {
            Some(shared) => Meter::shared(window, shared.grace),
            None => Meter::new(window),
        };
        let gauge = Arc::new(Gauge::new(key_id.clone(), self.window, meter));
        known.gauges.insert(key_id.clone(), Arc::clone(&gauge));
        gauge
    }

    pub(crate) fn all(&self) -> Vec<Arc<Gauge>> {
        self.known().gauges.values().cloned().collect()
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests;
