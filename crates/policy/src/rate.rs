//! A token bucket, exactly: whole numbers, no drift, no clock of its own.
//!
//! A bucket remembers what was spent, not what is left: a new limit then takes effect at once and forgets nothing. A token is
//! as many units as the window has nanoseconds, and every nanosecond pays back as many units as the limit has tokens;
//! so nothing is rounded inside a bucket, whatever limit and window are.

use std::time::{Duration, Instant};

/// How a limit stands, for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The limit.
    pub limit: u64,
    /// Whole tokens that are left.
    pub remaining: u64,
    /// Until the bucket is full again.
    pub reset: Duration,
}

/// One bucket: it holds `limit` tokens when full, and an empty one fills within the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// In nanoseconds, at least one.
    window: u64,
    limit: u64,
    /// In units; more than a full bucket holds after a settlement that took more than was left.
    spent: u128,
    /// Until when it was refilled.
    at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(window: Duration) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { window, limit: 0, spent: 0, at: None }
    }

    /// The one place where a bucket gets its tokens.
    pub(crate) fn refill(&mut self, now: Instant) {
        let last = self.at.unwrap_or(now);
        // Requests read their clock before they come here, so a later one may be the earlier: time stands still for it.
        let elapsed = now.saturating_duration_since(last).as_nanos();
        self.at = Some(last.max(now));
        self.spent = self.spent.saturating_sub(elapsed.saturating_mul(self.limit.into()));
    }

    /// Brings the bucket up to now, with the limit that holds from here on.
    pub(crate) fn advance(&mut self, limit: u64, now: Instant) {
        self.refill(now);
        self.limit = limit;
    }

    /// How long until it holds `cost` tokens; zero when it does. What costs more than the limit waits for a full bucket, or it
    /// could never run.
    pub(crate) fn wait(&self, cost: u64) -> Duration {
        if self.limit == 0 {
            return nanos(self.window.into());
        }
        let wanted = self.spent.saturating_add(self.units(cost.min(self.limit)));
        nanos(wanted.saturating_sub(self.units(self.limit)).div_ceil(self.limit.into()))
    }

    /// Takes `cost` tokens, or a whole bucket if it is less; returns how many.
    pub(crate) fn take(&mut self, cost: u64) -> u64 {
        let taken = cost.min(self.limit);
        self.spent = self.spent.saturating_add(self.units(taken));
        taken
    }

    /// Undoes a [`Bucket::take`]. Refilled meanwhile or not, the bucket is as if it had never been.
    pub(crate) fn give_back(&mut self, taken: u64) {
        self.spent = self.spent.saturating_sub(self.units(taken));
    }

    /// Replaces what was taken by what was used, be it more than is left.
    pub(crate) fn settle(&mut self, taken: u64, used: u64, now: Instant) {
        match used.checked_sub(taken) {
            Some(more) => {
                // First what time has paid back: a debt is paid by the time after it.
                self.refill(now);
                self.spent = self.spent.saturating_add(self.units(more));
            }
            None => self.give_back(taken - used),
        }
    }

    pub(crate) fn level(&self) -> Level {
        let left = self.units(self.limit).saturating_sub(self.spent) / u128::from(self.window);
        let reset = match self.limit {
            0 => self.window.into(),
            limit => self.spent.div_ceil(limit.into()),
        };
        Level { limit: self.limit, remaining: u64::try_from(left).unwrap_or(self.limit), reset: nanos(reset) }
    }

    /// What it lacks, in units.
    pub(crate) fn spent(&self) -> u128 {
        self.spent
    }

    /// The limit that it was last brought up to now with.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// How long a token's units are, in nanoseconds.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    /// The latest instant that it has heard of.
    pub(crate) fn latest(&self, now: Instant) -> Instant {
        self.at.map_or(now, |at| at.max(now))
    }

    /// Takes units, be it more than is left.
    pub(crate) fn charge(&mut self, units: u128) {
        self.spent = self.spent.saturating_add(units);
    }

    /// Gives units back.
    pub(crate) fn relieve(&mut self, units: u128) {
        self.spent = self.spent.saturating_sub(units);
    }

    /// It lacked so many units at that instant, as somebody says who knows.
    pub(crate) fn stood(&mut self, spent: u128, at: Instant) {
        (self.spent, self.at) = (spent, Some(at));
    }

    /// Whether forgetting it would change nothing.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.spent == 0
    }

    pub(crate) fn units(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.window)
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
