//! Limits of rates, and how gateways that share a store share them.
//!
//! There is one token bucket for each key and rate. A gateway **draws** a share of what is in it and spends that without asking
//! again; for the bucket it is spent when it is drawn, so that whatever gateways do, and whichever of them are lost, no more
//! is spent than the limit allows. Time refills the bucket, and with it what a lost gateway had drawn.
//!
//! Amounts are in **parts**: a token is as many parts as the window has nanoseconds, and a nanosecond pays back as many parts
//! as the limit has tokens. Nothing is rounded.

use std::{fmt, time::Duration};

use crate::{KeyId, Timestamp};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// Calls of models.
    Requests,
    /// Counts of tokens.
    Counts,
    /// Tokens.
    Tokens,
}

impl Rate {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Counts, Self::Tokens];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Counts => "counts",
            Self::Tokens => "tokens",
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A gateway draws from a bucket, and says what it owes or gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateAsk {
    /// Whose limit.
    pub key_id: KeyId,
    /// Which.
    pub rate: Rate,
    /// Tokens that the bucket holds from now on.
    pub limit: u64,
    /// Time in which an empty bucket fills.
    pub window: Duration,
    /// Less is of no use, in parts.
    pub need: u128,
    /// How much of what is left is drawn where that is more; in whole tokens beyond the need.
    pub share_percent: u8,
    /// Was drawn and is not used, in parts.
    pub back: u128,
    /// Was used and is not drawn, in parts; it is taken whatever is left.
    pub debt: u128,
    /// This instant. The bucket's own time never goes back.
    pub now: Timestamp,
}

/// What became of a [`RateAsk`]; amounts are in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateDrawn {
    /// What was drawn; zero where the need is not there.
    pub granted: u128,
    /// What the bucket lacks now, of its limit; more than all of it after a debt.
    pub spent: u128,
}

/// A bucket as it is stored. One that is not there is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateState {
    pub(crate) limit: u64,
    /// In nanoseconds, at least one.
    pub(crate) window: u64,
    pub(crate) spent: u128,
    /// Until when it was refilled.
    pub(crate) at: Timestamp,
}

/// Clocks may differ by so much, or by a window where that is longer. A bucket whose time is further ahead was made by a clock
/// that was wrong, and begins anew at this instant, or it would not be refilled for as long. (AWS refuses signatures of
/// clocks that are further off than that.)
const SKEW: Duration = Duration::from_mins(5);

impl RateState {
    /// Until it is full again, in milliseconds.
    pub(crate) fn fills_in(&self) -> i64 {
        let nanos = match self.limit {
            0 => self.window.into(),
            limit => self.spent.div_ceil(limit.into()),
        };
        i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
    }

    fn refilled(self, now: Timestamp) -> Self {
        let elapsed = now.unix_millis().saturating_sub(self.at.unix_millis());
        let skew = i128::from(self.window).max(i128::try_from(SKEW.as_nanos()).unwrap_or(i128::MAX));
        if i128::from(elapsed).saturating_mul(-1_000_000) > skew {
            return Self { at: now, ..self };
        }
        let elapsed = u128::from(u64::try_from(elapsed).unwrap_or(0)).saturating_mul(1_000_000);
        let spent = self.spent.saturating_sub(elapsed.saturating_mul(self.limit.into()));
        Self { at: self.at.max(now), spent, ..self }
    }

    /// The same in parts of another window, rounded up.
    fn of_window(self, window: u64) -> Self {
        if window == self.window {
            return self;
        }
        let (old, new) = (u128::from(self.window), u128::from(window));
        let rest = (self.spent % old).saturating_mul(new).div_ceil(old);
        Self { window, spent: (self.spent / old).saturating_mul(new).saturating_add(rest), ..self }
    }
}

/// Decides an ask, for every backend. The state is to be written where it is another one than was found.
pub(crate) fn draw(found: Option<RateState>, ask: &RateAsk) -> (RateState, RateDrawn) {
    let window = u64::try_from(ask.window.as_nanos()).unwrap_or(u64::MAX).max(1);
    let token = u128::from(window);
    let full = RateState { limit: ask.limit, window, spent: 0, at: ask.now };
    let state = found.unwrap_or(full).refilled(ask.now).of_window(window);
    let spent = state.spent.saturating_sub(ask.back).saturating_add(ask.debt);
    let left = u128::from(ask.limit).saturating_mul(token).saturating_sub(spent);
    let granted = if ask.need > left {
        0
    } else {
        let share = (left / 100).saturating_mul(ask.share_percent.min(100).into());
        ask.need + share.saturating_sub(ask.need) / token * token
    };
    let spent = spent.saturating_add(granted);
    // What time alone has done is not worth a write: it will have done it at the next ask too.
    let unchanged = found.filter(|found| {
        let same = (found.limit, found.window) == (ask.limit, window) && found.at <= state.at;
        same && granted == 0 && ask.back == 0 && ask.debt == 0
    });
    let changed = RateState { limit: ask.limit, spent, ..state };
    (unchanged.unwrap_or(changed), RateDrawn { granted, spent })
}
