//! The metrics of the data plane. Labels come from fixed sets: never a key, a user or a raw path.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use catalog::Lane;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use policy::{BudgetAlert, Denial, Refills, Tokens};
use store::usage::WriterStats;

use crate::record::lane_name;
use crate::targets::Targets;

/// Handles that one worker has used so far: looking one up in the exporter's registry costs ten times more than here.
#[derive(Default)]
pub(crate) struct Metrics {
    in_flight: Handles<&'static str, Gauge>,
    requests: Handles<(&'static str, u16, bool), Request>,
    overhead: Handles<(&'static str, &'static str), Histogram>,
    first_byte: Handles<(&'static str, &'static str), Histogram>,
    tokens: Handles<&'static str, Arc<TokenCounters>>,
    upstream: Handles<(usize, &'static str, &'static str), Counter>,
    upstream_seconds: Handles<(usize, &'static str), Histogram>,
}

/// Count and duration of requests of one kind.
#[derive(Clone)]
pub(crate) struct Request {
    count: Counter,
    seconds: Histogram,
}

impl Request {
    pub(crate) fn record(&self, seconds: f64) {
        self.count.increment(1);
        self.seconds.record(seconds);
    }
}

struct TokenCounters {
    input: Counter,
    output: Counter,
    cache_read: Counter,
    cache_write_5m: Counter,
    cache_write_1h: Counter,
    reasoning: Counter,
}

struct Handles<K, V>(RwLock<HashMap<K, V>>);

impl<K, V> Default for Handles<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Hash + Eq + Copy, V: Clone> Handles<K, V> {
    fn get<Q: Borrow<K>>(&self, key: Q, make: impl FnOnce() -> V) -> V {
        let key = key.borrow();
        if let Some(handle) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return handle.clone();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(*key).or_insert_with(make).clone()
    }
}

impl Metrics {
    pub(crate) fn in_flight(&self, surface: &'static str) -> Gauge {
        self.in_flight.get(surface, || gauge!("outcrop_requests_in_flight", "surface" => surface))
    }

    pub(crate) fn request(&self, surface: &'static str, status: u16, stream: bool) -> Request {
        self.requests.get((surface, status, stream), || {
            let streamed = if stream { "true" } else { "false" };
            Request {
                count: counter!("outcrop_requests_total",
                    "surface" => surface, "status" => status.to_string(), "stream" => streamed),
                seconds: histogram!("outcrop_request_duration_seconds",
                    "surface" => surface, "stream" => streamed),
            }
        })
    }

    pub(crate) fn overhead(&self, surface: &'static str, lane: Lane) -> Histogram {
        let lane = lane_name(lane);
        self.overhead.get(
            (surface, lane),
            || histogram!("outcrop_gateway_overhead_seconds", "surface" => surface, "lane" => lane),
        )
    }

    pub(crate) fn first_byte(&self, surface: &'static str, lane: Lane) -> Histogram {
        let lane = lane_name(lane);
        self.first_byte.get(
            (surface, lane),
            || histogram!("outcrop_time_to_first_byte_seconds", "surface" => surface, "lane" => lane),
        )
    }

    pub(crate) fn tokens(&self, model: &'static str, tokens: &Tokens) {
        let counters = self.tokens.get(model, || {
            let of = |kind: &'static str| counter!("outcrop_tokens_total", "model" => model, "kind" => kind);
            Arc::new(TokenCounters {
                input: of("input"),
                output: of("output"),
                cache_read: of("cache_read"),
                cache_write_5m: of("cache_write_5m"),
                cache_write_1h: of("cache_write_1h"),
                reasoning: of("reasoning"),
            })
        });
        counters.input.increment(tokens.input);
        counters.output.increment(tokens.output);
        for (counter, count) in [
            (&counters.cache_read, tokens.cache_read),
            (&counters.cache_write_5m, tokens.cache_write_5m),
            (&counters.cache_write_1h, tokens.cache_write_1h),
            (&counters.reasoning, tokens.reasoning),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    /// One call to a target, which has its place in the list and its name. It took so long until it had its answer, or the
    /// first event of one.
    pub(crate) fn upstream(
        &self,
        target: (usize, &Arc<str>),
        model: &'static str,
        outcome: &'static str,
        seconds: f64,
    ) {
        let (index, name) = target;
        let counter = self.upstream.get((index, model, outcome), || {
            counter!("outcrop_upstream_requests_total",
                "target" => Arc::clone(name), "model" => model, "outcome" => outcome)
        });
        counter.increment(1);
        let histogram = self.upstream_seconds.get((index, model), || {
            histogram!("outcrop_upstream_duration_seconds", "target" => Arc::clone(name), "model" => model)
        });
        histogram.record(seconds);
    }

    // The rest is rare enough for the registry's own look-up.

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn denied(&self, denial: &Denial) {
        let reason = denial.reason();
        match denial {
            Denial::MissingKey
            | Denial::InvalidKey
            | Denial::ExpiredKey
            | Denial::AddressNotAllowed
            | Denial::TooManyFailures { .. } => {
                counter!("outcrop_auth_failures_total", "reason" => reason).increment(1);
            }
            Denial::StoreAway(_)
            | Denial::UnknownModel { .. }
            | Denial::ModelNotAllowed { .. }
            | Denial::RateLimited { .. }
            | Denial::BudgetExceeded(_)
            | Denial::UnpricedModel { .. } => {
                counter!("outcrop_denials_total", "kind" => reason).increment(1);
            }
        }
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn client_disconnect(&self, surface: &'static str) {
        counter!("outcrop_client_disconnects_total", "surface" => surface).increment(1);
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn ping(&self, surface: &'static str) {
        counter!("outcrop_pings_total", "surface" => surface).increment(1);
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn stream_error(&self, surface: &'static str) {
        counter!("outcrop_stream_errors_total", "surface" => surface).increment(1);
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn loss(&self, reason: &'static str) {
        counter!("outcrop_losses_total", "reason" => reason).increment(1);
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn tier_fallback(&self, model: &'static str, tier: &'static str) {
        counter!("outcrop_tier_fallbacks_total", "model" => model, "tier" => tier).increment(1);
    }

    #[expect(clippy::unused_self, reason = "every metric is reached the same way")]
    pub(crate) fn retries(&self, target: &Arc<str>, attempts: u32) {
        if attempts > 1 {
            counter!("outcrop_upstream_retries_total", "target" => Arc::clone(target))
                .increment(u64::from(attempts - 1));
        }
    }
}

/// How the targets are, as of now.
pub(crate) fn targets(targets: &Targets) {
    for target in targets.iter() {
        gauge!("outcrop_target_state", "target" => Arc::clone(&target.place.target))
            .set(target.observed().level());
    }
}

/// A share of a key's budget was reached.
pub(crate) fn budget_alert(alert: &BudgetAlert) {
    let BudgetAlert { key_id, period, percent, spent, limit, .. } = alert;
    tracing::warn!(%key_id, %period, percent, spent_usd = %spent, budget_usd = %limit, "a share of a budget is spent");
    counter!("outcrop_budget_alerts_total",
        "period" => alert.period.as_str(), "percent" => alert.percent.to_string())
    .increment(1);
}

/// How the store was asked for parts of budgets, as of now.
pub(crate) fn leases(refills: &Refills) {
    for (outcome, count) in
        [("granted", refills.granted), ("refused", refills.refused), ("failed", refills.failed)]
    {
        counter!("outcrop_lease_refills_total", "kind" => "budget", "outcome" => outcome).absolute(count);
    }
}

/// What the usage writer has done, as of now.
pub(crate) fn usage(stats: &WriterStats) {
    gauge!("outcrop_usage_queue_rows").set(stats.queued as f64);
    gauge!("outcrop_usage_spooled_rows").set(stats.spooled.saturating_sub(stats.replayed) as f64);
    gauge!("outcrop_usage_unreadable_files").set(stats.unreadable_files as f64);
    for (outcome, count) in [
        ("written", stats.written),
        ("repeated", stats.repeated),
        ("rejected", stats.rejected),
        ("lost", stats.lost),
        ("adopted", stats.adopted),
        ("unkept", stats.unkept),
    ] {
        counter!("outcrop_usage_rows_written_total", "outcome" => outcome).absolute(count);
    }
}

/// Help texts, once a process.
pub(crate) fn describe() {
    for (name, help) in [
        ("outcrop_requests_total", "Requests by surface, status and whether the answer was streamed."),
        ("outcrop_tokens_total", "Tokens by model and kind, as booked."),
        (
            "outcrop_cost_micro_usd_total",
            "What was booked in micro-dollars, by model and the tier that served.",
        ),
        ("outcrop_unpriced_requests_total", "Booked calls of models without a price, by model."),
        ("outcrop_auth_failures_total", "Requests without a valid key, by reason."),
        ("outcrop_denials_total", "Requests with a valid key that were refused, by kind."),
        ("outcrop_budget_alerts_total", "Shares of budgets that were reached, by period and percent."),
        ("outcrop_client_disconnects_total", "Callers that left before their answer was complete."),
        ("outcrop_pings_total", "Pings sent into silent streams."),
        ("outcrop_stream_errors_total", "Streams that ended with an error event."),
        ("outcrop_losses_total", "Parts of requests that could not be carried, by reason."),
        (
            "outcrop_upstream_requests_total",
            "Calls to a target, repetitions there included, by how they ended.",
        ),
        (
            "outcrop_tier_fallbacks_total",
            "Calls sent by default because the model does not take the wished tier.",
        ),
        ("outcrop_lease_refills_total", "How often the store was asked for a part of a budget, by outcome."),
        (
            "outcrop_store_operations_total",
            "Calls of the store, by operation and outcome; an abandoned one took too long for whoever asked.",
        ),
        ("outcrop_upstream_retries_total", "Repetitions at the same target."),
        ("outcrop_usage_rows_written_total", "Usage rows by outcome."),
    ] {
        describe_counter!(name, help);
    }
    for (name, help) in [
        ("outcrop_request_duration_seconds", "From a request's head to the last byte of its answer."),
        ("outcrop_time_to_first_byte_seconds", "From a request's head to the first content of its answer."),
        (
            "outcrop_upstream_duration_seconds",
            "A call to a target, repetitions there included, until its answer or the first event of it.",
        ),
        ("outcrop_store_duration_seconds", "A call of the store, its own repetitions included."),
        (
            "outcrop_gateway_overhead_seconds",
            "From a request's head to the upstream call: what the gateway adds.",
        ),
    ] {
        describe_histogram!(name, help);
    }
    for (name, help) in [
        ("outcrop_requests_in_flight", "Requests being answered."),
        ("outcrop_target_state", "By the calls of the last minute: 1 is well, 0.5 mostly failing, 0 out."),
        ("outcrop_usage_queue_rows", "Usage rows waiting in memory."),
        ("outcrop_usage_spooled_rows", "Usage rows waiting on disk."),
        ("outcrop_usage_unreadable_files", "Spool files that could not be brought back at the last look."),
        ("outcrop_build_info", "1, labelled with the version."),
    ] {
        describe_gauge!(name, help);
    }
    gauge!("outcrop_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
