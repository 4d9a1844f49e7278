//! The right to call the upstream once, and the duty to book what it used.

use std::mem::take;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Lane, Resolution, ServiceTier};
use store::{CacheTtl, PicoUsd, RowStatus, UsageRow};

use crate::gauge::Permit;
use crate::parts::{Ended, Part};
use crate::purse::Hold;
use crate::{Ask, Book, BudgetWarning, Caller, Now, Rates, Tables, Weights, cost, tier};

/// Token counts of one upstream call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Uncached input.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Written with the 5-minute TTL.
    pub cache_write_5m: u64,
    /// Written with the 1-hour TTL.
    pub cache_write_1h: u64,
    /// Thinking, where the upstream tells it apart.
    pub reasoning: u64,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct End {
    /// For the row.
    pub status: RowStatus,
    /// The status that the caller got, 200 of a stream whatever came of it; 499 where it had left.
    pub http_status: u16,
    /// Kind of error, where there was one.
    pub error_type: Option<&'static str>,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
}

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The target's name.
    pub target: Arc<str>,
    /// Its region.
    pub region: Arc<str>,
}

/// What the key's limits gave, and what the call goes by.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) tables: Arc<Tables>,
    pub(crate) permit: Permit,
    pub(crate) rates: Rates,
    pub(crate) weights: Weights,
    /// Of its budget, where it has one.
    pub(crate) hold: Option<Hold>,
}

/// Permission for one upstream call. Made by [`crate::Policy::admit`] alone.
///
/// Dropped without [`Admission::settle`], it books the call as closed by the caller, if the upstream had been called. Either
/// way its slot is free again, and what it took of tokens and budgets and did not use is given back.
pub struct Admission {
    /// Boxed: an admission travels through every future of its request.
    call: Box<Call>,
}

pub(crate) struct Call {
    caller: Arc<Caller>,
    pub(crate) resolution: Resolution,
    /// What the call goes by, whatever changes meanwhile.
    pub(crate) tables: Arc<Tables>,
    pub(crate) ask: Ask,
    place: Place,
    at: Now,
    rates: Rates,
    pub(crate) weights: Weights,
    /// Until it is settled.
    pub(crate) permit: Option<Permit>,
    /// Until it is settled.
    pub(crate) hold: Option<Hold>,
    pub(crate) book: Book,
    /// Whether a row is owed.
    owed: bool,
    tokens: Option<Tokens>,
    /// The tier that it is sent for, and in the end was served by.
    pub(crate) tier: ServiceTier,
    cache_ttl: Option<CacheTtl>,
    /// Of an admission for several calls.
    pub(crate) parts: Vec<Part>,
    /// Bytes of text that reached the caller, for answers whose usage never came.
    text_bytes: u64,
    attempts: u32,
    upstream_request_id: Option<String>,
    first_content: Option<Instant>,
}

/// Four bytes of text are about a token.
const BYTES_PER_TOKEN: u64 = 4;

impl Admission {
    pub(crate) fn new(
        caller: Arc<Caller>,
        resolution: Resolution,
        ask: Ask,
        place: Place,
        at: Now,
        grant: Grant,
        book: Book,
    ) -> Self {
        let Grant { tables, permit, rates, weights, hold } = grant;
        let call = Call {
            caller,
            resolution,
            tables,
            ask,
            place,
            at,
            rates,
            weights,
            permit: Some(permit),
            hold,
            book,
            owed: false,
            tokens: None,
            tier: ServiceTier::Default,
            cache_ttl: None,
            parts: Vec::new(),
            text_bytes: 0,
            attempts: 0,
            upstream_request_id: None,
            first_content: None,
        };
        Self { call: Box::new(call) }
    }

    /// What the model's name means.
    pub fn resolution(&self) -> &Resolution {
        &self.call.resolution
    }

    /// The tables it was admitted under.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.call.tables
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.call.caller
    }

    /// How the caller's limits stood when it was admitted.
    pub fn rates(&self) -> &Rates {
        &self.call.rates
    }

    /// Where it goes, as far as anybody has said.
    pub fn place(&self) -> &Place {
        &self.call.place
    }

    /// The caller's session, where it names one.
    pub fn session(&self) -> Option<&str> {
        self.call.ask.session.as_deref()
    }

    /// An estimate of the input tokens.
    pub fn input_estimate(&self) -> u64 {
        self.call.ask.input_estimate
    }

    /// It goes to another place than it was admitted for. What the model's name means there is what is booked and priced:
    /// the profile of another geography, never another model.
    pub fn goes_to(&mut self, place: &Place, resolution: &Resolution) {
        self.call.place = place.clone();
        if self.call.resolution.base_id == resolution.base_id {
            self.call.resolution = resolution.clone();
        }
    }

    /// The tier that the call is to have, where the model takes it.
    pub fn tier(&self) -> ServiceTier {
        self.call.ask.tier.unwrap_or_default()
    }

    /// What the call is sent with, and after it what it was: the last word is priced and booked. `cache_ttl` is the longest one
    /// of its cache markers.
    pub fn sent(&mut self, tier: ServiceTier, cache_ttl: Option<CacheTtl>) {
        self.call.tier = tier;
        self.call.cache_ttl = cache_ttl;
    }

    /// The tier that served, as the upstream says.
    pub fn served(&mut self, tier: ServiceTier) {
        self.call.tier = tier;
    }

    /// The budgets that were nearly spent when it was admitted.
    pub fn budget_warning(&self) -> Option<&BudgetWarning> {
        self.call.hold.as_ref()?.warning.as_ref()
    }

    /// From here on the call is billable: a row will be written whatever happens.
    pub fn called(&mut self) {
        self.call.owed = true;
    }

    /// What the upstream calls this call, and how often it was tried.
    pub fn answered(&mut self, upstream_request_id: Option<&str>, attempts: u32) {
        self.call.upstream_request_id = upstream_request_id.map(str::to_owned);
        self.call.attempts = attempts;
    }

    /// Content went out; the first time counts as the time to the first token.
    pub fn content(&mut self, bytes: usize, now: Instant) {
        self.call.text_bytes += bytes as u64;
        self.call.first_content.get_or_insert(now);
    }

    /// The counts as the upstream last reported them; cumulative, so the last call stands.
    pub fn used(&mut self, tokens: Tokens) {
        self.call.tokens = Some(tokens);
    }

    /// One of several calls begins, of about so many input tokens: like [`called`](Self::called), but each has a row of its
    /// own, and this is its place among them.
    pub fn begin(&mut self, input_estimate: u64, now: Instant) -> usize {
        self.call.owed = true;
        self.call.begin(input_estimate, now)
    }

    /// One of several calls has ended.
    pub fn ended(&mut self, part: usize, ended: Ended, now: Instant) {
        self.call.ended(part, ended, now);
    }

    /// Books the call and returns what was booked.
    pub fn settle(mut self, end: End, now: Instant) -> Tokens {
        self.call.end(end, now)
    }
}

impl Call {
    /// Settles with the limits and writes the row, once.
    fn end(&mut self, end: End, now: Instant) -> Tokens {
        let owed = take(&mut self.owed);
        if owed && !self.parts.is_empty() {
            return self.end_parts(&end, now);
        }
        let (tokens, estimated) = if owed { self.counts(&end) } else { (Tokens::default(), false) };
        if let Some(permit) = self.permit.take() {
            permit.settle(self.weights.count(self.resolution.model, &tokens), now);
        }
        // What no row will say has cost nothing.
        let hold = self.hold.take().filter(|_| owed);
        if owed {
            let cost = self.cost(&tokens);
            // First, because the row takes its cost from there when it is booked.
            if let Some(hold) = hold {
                hold.settle(cost.unwrap_or_default());
            }
            self.write(end, tokens, cost, estimated, now);
        }
        tokens
    }

    fn write(&mut self, end: End, tokens: Tokens, cost: Option<PicoUsd>, estimated: bool, now: Instant) {
        let row = UsageRow {
            ts: self.at.wall,
            round: 0,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cache_read_tokens: tokens.cache_read,
            cache_write_5m_tokens: tokens.cache_write_5m,
            cache_write_1h_tokens: tokens.cache_write_1h,
            reasoning_tokens: (tokens.reasoning > 0).then_some(tokens.reasoning),
            tier_requested: tier::stored(self.ask.tier.unwrap_or_default()),
            tier_served: tier::stored(self.tier),
            cache_ttl: self.cache_ttl,
            cost_pico_usd: cost,
            estimated,
            status: end.status,
            http_status: end.http_status,
            error_type: end.error_type.map(str::to_owned),
            stop_reason: end.stop_reason,
            attempts: self.attempts,
            latency_ms: self.millis_until(now),
            ttft_ms: self.first_content.map(|first| self.millis_until(first)),
            ..self.identity()
        };
        (self.book)(row);
    }

    /// What was used, at the price of the id that was called in the end and of the tier that served.
    fn cost(&self, tokens: &Tokens) -> Option<PicoUsd> {
        self.cost_at(&self.resolution, tokens)
    }

    pub(crate) fn cost_at(&self, resolution: &Resolution, tokens: &Tokens) -> Option<PicoUsd> {
        let (tariff, _) = self.tables.tariff(resolution)?;
        Some(cost(&tariff, resolution, tokens, self.tier))
    }

    /// The part of the row that says who called what; its texts are moved out, because a call is booked once.
    pub(crate) fn identity(&mut self) -> UsageRow {
        let lane = match self.resolution.lane() {
            Lane::Native => "native",
            Lane::Converse => "converse",
        };
        UsageRow {
            key_id: self.caller.key_id().clone(),
            user_id: self.caller.user_id().to_owned(),
            ts: self.at.wall,
            request_id: take(&mut self.ask.request_id),
            round: 0,
            surface: self.ask.surface.to_owned(),
            requested_model: take(&mut self.resolution.requested),
            resolved_model: take(&mut self.resolution.upstream_id),
            base_model: take(&mut self.resolution.base_id),
            lane: lane.to_owned(),
            target: self.place.target.as_ref().to_owned(),
            region: self.place.region.as_ref().to_owned(),
            stream: self.ask.stream,
            input_tokens: 0,
            output_tokens: 0,
            cache_read_tokens: 0,
            cache_write_5m_tokens: 0,
            cache_write_1h_tokens: 0,
            reasoning_tokens: None,
            tier_requested: store::ServiceTier::Default,
            tier_served: store::ServiceTier::Default,
            cache_ttl: None,
            cost_pico_usd: None,
            estimated: false,
            status: RowStatus::Ok,
            http_status: 0,
            error_type: None,
            stop_reason: None,
            attempts: 0,
            latency_ms: 0,
            ttft_ms: None,
            upstream_request_id: self.upstream_request_id.take(),
            session: self.ask.session.take(),
        }
    }

    fn millis_until(&self, later: Instant) -> u64 {
        u64::try_from(later.saturating_duration_since(self.at.mono).as_millis()).unwrap_or(u64::MAX)
    }

    /// What is booked: the reported counts; where none came, an estimate of what was certainly used. A call that failed
    /// before any content is not billed by Bedrock and booked with zeros.
    fn counts(&self, end: &End) -> (Tokens, bool) {
        let nothing_came = self.first_content.is_none();
        let estimate = Tokens {
            input: self.ask.input_estimate,
            output: self.text_bytes.div_ceil(BYTES_PER_TOKEN),
            ..Tokens::default()
        };
        match (self.tokens, end.status) {
            (Some(tokens), RowStatus::Ok) => (tokens, false),
            // A stream that broke off has reported its input and an output of one or two tokens at most.
            (Some(tokens), RowStatus::ClientClosed | RowStatus::UpstreamError) => {
                (Tokens { output: tokens.output.max(estimate.output), ..tokens }, true)
            }
            (None, RowStatus::UpstreamError) if nothing_came => (Tokens::default(), false),
            (None, RowStatus::Ok | RowStatus::ClientClosed | RowStatus::UpstreamError) => (estimate, true),
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.call.permit.is_none() {
            return;
        }
        let end = End {
            status: RowStatus::ClientClosed,
            http_status: 499,
            error_type: Some("client_closed"),
            stop_reason: None,
        };
        // A drop gets no argument: the one place that reads the clock by itself.
        self.call.end(end, Instant::now());
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("resolution", self.resolution()).finish_non_exhaustive()
    }
}
