//! Several upstream calls under one admission: each has a row of its own, and the limits and the budget count their sum.

use std::time::Instant;

use catalog::Resolution;
use store::{PicoUsd, RowStatus, UsageRow};

use crate::admission::Call;
use crate::{End, Place, Tokens, tier};

/// One call of several.
#[derive(Debug)]
pub(crate) struct Part {
    input_estimate: u64,
    began: Instant,
    ended: Option<(Ended, Instant)>,
}

/// How one call of several ended.
#[derive(Debug)]
pub struct Ended {
    /// What it used, as the upstream reports it.
    pub tokens: Option<Tokens>,
    /// For its row.
    pub end: End,
    /// How often it was tried.
    pub attempts: u32,
    /// What the upstream calls it.
    pub upstream_request_id: Option<String>,
    /// Where it went, and what the model's name means there.
    pub place: Option<(Place, Resolution)>,
}

impl Call {
    /// One more call begins.
    pub(crate) fn begin(&mut self, input_estimate: u64, now: Instant) -> usize {
        self.parts.push(Part { input_estimate, began: now, ended: None });
        self.parts.len() - 1
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, part: usize, ended: Ended, now: Instant) {
        if let Some(part) = self.parts.get_mut(part) {
            part.ended = Some((ended, now));
        }
    }

    /// Settles with the limits and the budget, and writes all rows.
    pub(crate) fn end_parts(&mut self, end: &End, now: Instant) -> Tokens {
        let model = self.resolution.model;
        let (rows, tokens, cost) = self.part_rows(end, now);
        if let Some(permit) = self.permit.take() {
            permit.settle(self.weights.count(model, &tokens), now);
        }
        // First, because the rows take their costs from there when they are booked.
        if let Some(hold) = self.hold.take() {
            hold.settle(cost);
        }
        for row in rows {
            (self.book)(row);
        }
        tokens
    }

    /// The rows of all calls, and what they used and cost together. `end` is for those that are still open: they were
    /// given up, and may have run to their end all the same.
    fn part_rows(&mut self, end: &End, now: Instant) -> (Vec<UsageRow>, Tokens, PicoUsd) {
        let parts = std::mem::take(&mut self.parts);
        let resolution = self.resolution.clone();
        let identity = self.identity();
        let mut used = Tokens::default();
        let mut sum = PicoUsd::ZERO;
        let mut rows = Vec::with_capacity(parts.len());
        for (round, part) in (0..).zip(parts) {
            let estimate = Tokens { input: part.input_estimate, ..Tokens::default() };
            let (ended, until) = part.ended.unwrap_or_else(|| {
                let given_up = Ended {
                    tokens: None,
                    end: End { status: RowStatus::ClientClosed, ..end.clone() },
                    attempts: 1,
                    upstream_request_id: None,
                    place: None,
                };
                (given_up, now)
            });
            let (tokens, estimated) = match (ended.tokens, ended.end.status) {
                (Some(tokens), _) => (tokens, false),
                // It failed, and failures are not billed.
                (None, RowStatus::UpstreamError) => (Tokens::default(), false),
                (None, RowStatus::Ok | RowStatus::ClientClosed) => (estimate, true),
            };
            let there = ended.place.as_ref().map_or(&resolution, |(_, there)| there);
            let price = self.cost_at(there, &tokens);
            used.input = used.input.saturating_add(tokens.input);
            sum = PicoUsd(sum.0.saturating_add(price.unwrap_or_default().0));
            let mut row = UsageRow {
                round,
                input_tokens: tokens.input,
                tier_requested: tier::stored(self.ask.tier.unwrap_or_default()),
                tier_served: tier::stored(self.tier),
                cost_pico_usd: price,
                estimated,
                status: ended.end.status,
                http_status: ended.end.http_status,
                error_type: ended.end.error_type.map(str::to_owned),
                attempts: ended.attempts,
                latency_ms: millis(part.began, until),
                upstream_request_id: ended.upstream_request_id,
                ..identity.clone()
            };
            if let Some((place, there)) = ended.place {
                place.target.as_ref().clone_into(&mut row.target);
                place.region.as_ref().clone_into(&mut row.region);
                row.resolved_model = there.upstream_id;
            }
            rows.push(row);
        }
        (rows, used, sum)
    }
}

fn millis(from: Instant, until: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
