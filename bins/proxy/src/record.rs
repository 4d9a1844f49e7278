//! What is counted and logged of a request: once, when its last byte has left or its caller has.

use std::sync::Arc;
use std::time::Instant;

use boot::logs::Value;
use catalog::{Lane, Resolution};
use http::StatusCode;
use policy::{Now, Place, Tokens};

use crate::error::Kind;
use crate::metrics::Metrics;
use crate::request_id::RequestId;

/// The record of one request. It is written when it is dropped, so that no way out of a handler can skip it.
pub(crate) struct Record(Option<Box<Facts>>);

struct Facts {
    metrics: Arc<Metrics>,
    id: RequestId,
    surface: &'static str,
    started: Now,
    /// None until the reply stands: a record that is dropped without one belongs to a caller that left.
    status: Option<StatusCode>,
    stream: bool,
    error: Option<&'static str>,
    key_id: Option<String>,
    call: Option<CallFacts>,
    first_content: Option<Instant>,
    client_left: bool,
}

/// What is known once the model is resolved.
struct CallFacts {
    model: String,
    /// Catalogue id or `other`: a bounded label.
    label: &'static str,
    lane: Lane,
    target: Arc<str>,
    attempts: u32,
    tokens: Option<Tokens>,
    sent: Option<Instant>,
}

impl Record {
    pub(crate) fn open(metrics: Arc<Metrics>, id: RequestId, surface: &'static str, started: Now) -> Self {
        metrics.in_flight(surface).increment(1.0);
        Self(Some(Box::new(Facts {
            metrics,
            id,
            surface,
            started,
            status: None,
            stream: false,
            error: None,
            key_id: None,
            call: None,
            first_content: None,
            client_left: false,
        })))
    }

    /// Takes the record over into a stream, which ends later than its handler.
    pub(crate) fn take_for_stream(&mut self) -> Self {
        let mut moved = Self(self.0.take());
        if let Some(facts) = &mut moved.0 {
            facts.stream = true;
            // Until the stream says otherwise, its end is the caller's doing.
            facts.client_left = true;
            facts.status = Some(StatusCode::OK);
        }
        moved
    }

    fn facts(&mut self, change: impl FnOnce(&mut Facts)) {
        if let Some(facts) = &mut self.0 {
            change(facts);
        }
    }

    pub(crate) fn key(&mut self, key_id: &str) {
        self.facts(|facts| facts.key_id = Some(key_id.to_owned()));
    }

    pub(crate) fn streamed(&mut self, stream: bool) {
        self.facts(|facts| facts.stream = stream);
    }

    /// The upstream call is about to be made.
    pub(crate) fn sending(&mut self, resolution: &Resolution, place: &Place, now: Instant) {
        let call = CallFacts {
            model: resolution.upstream_id.clone(),
            label: model_label(resolution),
            lane: resolution.lane(),
            target: Arc::clone(&place.target),
            attempts: 0,
            tokens: None,
            sent: Some(now),
        };
        self.facts(|facts| facts.call = Some(call));
    }

    /// It went to another place in the end.
    pub(crate) fn goes_to(&mut self, place: &Place, resolution: &Resolution) {
        self.facts(|facts| {
            if let Some(call) = &mut facts.call {
                call.target = Arc::clone(&place.target);
                call.model.clone_from(&resolution.upstream_id);
            }
        });
    }

    pub(crate) fn attempts(&mut self, attempts: u32) {
        self.facts(|facts| {
            if let Some(call) = &mut facts.call {
                call.attempts = attempts;
            }
        });
    }

    /// Content went out.
    pub(crate) fn content(&mut self, now: Instant) {
        self.facts(|facts| {
            facts.first_content.get_or_insert(now);
        });
    }

    pub(crate) fn tokens(&mut self, tokens: Tokens) {
        self.facts(|facts| {
            if let Some(call) = &mut facts.call {
                call.tokens = Some(tokens);
            }
        });
    }

    pub(crate) fn failed(&mut self, kind: Kind) {
        self.facts(|facts| facts.error = Some(kind.anthropic_type()));
    }

    /// The stream came to its own end, good or bad.
    pub(crate) fn ended(&mut self) {
        self.facts(|facts| facts.client_left = false);
    }

    pub(crate) fn replied(&mut self, status: StatusCode) {
        self.facts(|facts| facts.status = Some(status));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(facts) = self.0.take() {
            facts.write();
        }
    }
}

impl Facts {
    fn write(&self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.started.mono);
        let left = self.client_left || self.status.is_none();
        let status = if left { 499 } else { self.status.map_or(499, |status| status.as_u16()) };
        let metrics = &self.metrics;
        metrics.in_flight(self.surface).decrement(1.0);
        metrics.request(self.surface, status, self.stream).record(took.as_secs_f64());
        if left {
            metrics.client_disconnect(self.surface);
        }
        if let Some(call) = &self.call {
            if let Some(sent) = call.sent {
                let overhead = sent.saturating_duration_since(self.started.mono);
                metrics.overhead(self.surface, call.lane).record(overhead.as_secs_f64());
            }
            if let Some(first) = self.first_content {
                let wait = first.saturating_duration_since(self.started.mono);
                metrics.first_byte(self.surface, call.lane).record(wait.as_secs_f64());
            }
            if let Some(tokens) = &call.tokens {
                metrics.tokens(call.label, tokens);
            }
        }
        // Probes come every few seconds for ever; they would drown what matters.
        if matches!(self.surface, "health" | "metrics") {
            tracing::debug!(request_id = %self.id, route = self.surface, status, "probe answered");
        } else {
            self.log(status, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The line that every request writes.
    fn log(&self, status: u16, duration_ms: u64) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let text = |text: Option<&'static str>| text.map_or(Value::Absent, Value::Text);
        let number = |number: Option<u64>| number.map_or(Value::Absent, Value::Number);
        let call = self.call.as_ref();
        let tokens = call.and_then(|call| call.tokens);
        let ttft = self.first_content.map(|first| first.saturating_duration_since(self.started.mono));
        boot::logs::line(
            &store::Timestamp::now(),
            "request",
            &[
                ("request_id", Value::Text(self.id.as_str())),
                ("key_id", self.key_id.as_deref().map_or(Value::Absent, Value::Text)),
                ("route", Value::Text(self.surface)),
                ("status", Value::Number(status.into())),
                ("error", text(self.error)),
                ("stream", Value::Flag(self.stream)),
                ("model", call.map_or(Value::Absent, |call| Value::Text(&call.model))),
                ("lane", text(call.map(|call| lane_name(call.lane)))),
                ("target", call.map_or(Value::Absent, |call| Value::Text(&call.target))),
                ("attempts", number(call.map(|call| call.attempts.into()))),
                ("input_tokens", number(tokens.map(|tokens| tokens.input))),
                ("output_tokens", number(tokens.map(|tokens| tokens.output))),
                ("cache_read_tokens", number(tokens.map(|tokens| tokens.cache_read))),
                (
                    "cache_write_tokens",
                    number(tokens.map(|tokens| tokens.cache_write_5m + tokens.cache_write_1h)),
                ),
                ("duration_ms", Value::Number(duration_ms)),
                ("ttft_ms", number(ttft.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))),
            ],
        );
    }
}

/// Catalogue id or `other`: a bounded label.
pub(crate) fn model_label(resolution: &Resolution) -> &'static str {
    if catalog::is_known(resolution.model) { resolution.model.id } else { "other" }
}

pub(crate) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Native => "native",
        Lane::Converse => "converse",
    }
}
