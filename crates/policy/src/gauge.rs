//! What a key has in use: its buckets and its open requests, shared by the workers of this process.
//!
//! A [`crate::Caller`] holds its key's gauge, so a request goes straight to it: one short lock of its own key, none shared with
//! other keys. Callers are made anew every few seconds, from the record as it then is; the gauge stays.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store::{KeyId, KeyRecord};

use crate::rate::{Bucket, Level};
use crate::{Denial, Weights};

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

/// What one key has in use.
#[derive(Debug)]
pub(crate) struct Gauge(Mutex<Used>);

#[derive(Debug)]
struct Used {
    runs: Bucket,
    counts: Bucket,
    tokens: Bucket,
    open: u32,
}

impl Used {
    fn requests(&mut self, counting: bool) -> &mut Bucket {
        if counting { &mut self.counts } else { &mut self.runs }
    }
}

impl Gauge {
    pub(crate) fn new(window: Duration) -> Self {
        let requests = Bucket::new(window);
        Self(Mutex::new(Used { runs: requests, counts: requests, tokens: Bucket::new(MINUTE), open: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is wanted, all of it or nothing. A gate looks before any gate takes, so a refusal costs nothing.
    pub(crate) fn take(
        self: &Arc<Self>,
        limits: &Limits,
        want: Want,
        now: Instant,
    ) -> Result<(Permit, Rates), Denial> {
        let (counting, cost) = match want {
            Want::Run { tokens } => (false, Some(tokens)),
            Want::Count => (true, None),
        };
        let mut used = self.lock();
        let mut refused = None;
        let mut look = |gate, wait: Duration| {
            if !wait.is_zero() {
                refused.get_or_insert((gate, wait));
            }
        };
        if let Some(limit) = limits.requests {
            let bucket = used.requests(counting);
            bucket.advance(limit, now);
            look(Gate::Requests, bucket.wait(1));
        }
        if let Some(limit) = limits.tokens {
            used.tokens.advance(limit, now);
            look(Gate::Tokens, cost.map_or(Duration::ZERO, |cost| used.tokens.wait(cost)));
        }
        let full = !counting && limits.concurrency.is_some_and(|limit| used.open >= limit);
        look(Gate::Concurrency, if full { SLOT_WAIT } else { Duration::ZERO });
        let mut permit = Permit { gauge: None, counting, request: false, tokens: None };
        if refused.is_none() {
            permit.request = limits.requests.is_some() && used.requests(counting).take(1) > 0;
            permit.tokens = cost.filter(|_| limits.tokens.is_some()).map(|cost| used.tokens.take(cost));
            used.open = used.open.saturating_add(u32::from(!counting));
        }
        let rates = Rates {
            requests: limits.requests.map(|_| used.requests(counting).level()),
            tokens: limits.tokens.map(|_| used.tokens.level()),
        };
        drop(used);
        if let Some((gate, wait)) = refused {
            return Err(Denial::RateLimited { gate, wait, rates });
        }
        permit.gauge = Some(Arc::clone(self));
        Ok((permit, rates))
    }

    /// Whether forgetting it would change nothing.
    fn is_idle(&self, now: Instant) -> bool {
        let mut used = self.lock();
        used.open == 0 && used.runs.is_full(now) && used.counts.is_full(now) && used.tokens.is_full(now)
    }
}

/// What a request has taken. Dropped unsettled, because a later gate refuses or because of a fault, it gives everything back.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Until it is settled.
    gauge: Option<Arc<Gauge>>,
    counting: bool,
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
        used.open = used.open.saturating_sub(u32::from(!self.counting));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(gauge) = self.gauge.take() else { return };
        let mut used = gauge.lock();
        if take(&mut self.request) {
            used.requests(self.counting).give_back(1);
        }
        if let Some(taken) = self.tokens.take() {
            used.tokens.give_back(taken);
        }
        used.open = used.open.saturating_sub(u32::from(!self.counting));
    }
}

/// The gauges of all keys. Its lock is taken when a record is read from the store, not by requests.
#[derive(Debug)]
pub(crate) struct Gauges {
    window: Duration,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    gauges: HashMap<KeyId, Arc<Gauge>>,
    /// At how many the next look for idle ones is due.
    sweep_at: usize,
}

impl Gauges {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, known: Mutex::new(Known { gauges: HashMap::new(), sweep_at: SWEEP_FROM }) }
    }

    /// The one gauge of a key. Idle ones that no caller holds are forgotten now and then, so that there are never more than
    /// twice as many as there are keys in use; what a key has spent is never forgotten.
    pub(crate) fn of(&self, key_id: &KeyId, now: Instant) -> Arc<Gauge> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gauge) = known.gauges.get(key_id) {
            return Arc::clone(gauge);
        }
        if known.gauges.len() >= known.sweep_at {
            known.gauges.retain(|_, gauge| Arc::strong_count(gauge) > 1 || !gauge.is_idle(now));
            known.sweep_at = (known.gauges.len() * 2).max(SWEEP_FROM);
        }
        let gauge = Arc::new(Gauge::new(self.window));
        known.gauges.insert(key_id.clone(), Arc::clone(&gauge));
        gauge
    }
}

#[cfg(test)]
mod tests;
