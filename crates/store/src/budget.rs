//! Budgets: what a key may spend in a period, and how gateways that share a store share it.
//!
//! A gateway takes a **lease**: a part of what is left, which from then on counts as used for everybody else. It pays
//! requests from it without asking again. A row that is booked moves its cost from the lease into the totals in one
//! transaction, so that at every moment totals and leases together are at most the budget, in each of its periods; a lease
//! is not bound to a period, it counts in all of them. What an upstream charged beyond the estimate is a debt of the lease:
//! the totals have it already, and the next grant does not charge it again.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use time::{Date, Time};

use crate::{Bucket, KeyId, PicoUsd, Timestamp, UsageRow};

/// A span over which a budget counts, of the UTC calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// Since the key exists.
    Total,
    /// A month.
    Monthly,
    /// A day.
    Daily,
}

impl Period {
    /// Every one, the longest first.
    pub const ALL: [Self; 3] = [Self::Total, Self::Monthly, Self::Daily];

    /// As in `budget_daily`; also a label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Monthly => "monthly",
            Self::Daily => "daily",
        }
    }

    /// The totals that count for it at an instant.
    pub fn bucket(self, at: Timestamp) -> Bucket {
        match self {
            Self::Total => Bucket::Total,
            Self::Monthly => Bucket::Month(at),
            Self::Daily => Bucket::Day(at),
        }
    }

    /// When the next one begins; a total has no next one.
    pub fn resets_at(self, at: Timestamp) -> Option<Timestamp> {
        let date = at.date();
        let next = match self {
            Self::Total => return None,
            Self::Monthly => {
                let year = date.year() + i32::from(date.month() == time::Month::December);
                Date::from_calendar_date(year, date.month().next(), 1).ok()?
            }
            Self::Daily => date.next_day()?,
        };
        let seconds = next.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
        Some(Timestamp::from_unix_millis(seconds.saturating_mul(1_000)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByPeriod<T> {
    /// Of [`Period::Total`].
    pub total: T,
    /// Of [`Period::Monthly`].
    pub monthly: T,
    /// Of [`Period::Daily`].
    pub daily: T,
}

impl<T: Copy> ByPeriod<T> {
    /// The value of a period.
    pub fn get(&self, period: Period) -> T {
        match period {
            Period::Total => self.total,
            Period::Monthly => self.monthly,
            Period::Daily => self.daily,
        }
    }

    /// The place of a period's value.
    pub fn get_mut(&mut self, period: Period) -> &mut T {
        match period {
            Period::Total => &mut self.total,
            Period::Monthly => &mut self.monthly,
            Period::Daily => &mut self.daily,
        }
    }
}

/// What a key may spend; `None` is no budget.
pub type BudgetLimits = ByPeriod<Option<PicoUsd>>;

impl BudgetLimits {
    /// The periods that have a budget, and what it is.
    pub fn set(&self) -> impl Iterator<Item = (Period, PicoUsd)> + '_ {
        Period::ALL.into_iter().filter_map(|period| Some((period, self.get(period)?)))
    }
}

/// A gateway asks for more of a key's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetAsk {
    /// Whose budget.
    pub key_id: KeyId,
    /// Who asks: a name that no other running process has.
    pub replica: String,
    /// Less is of no use.
    pub need: PicoUsd,
    /// How much of what is left is taken where that is more.
    pub share_percent: u8,
    /// The budgets.
    pub limits: BudgetLimits,
    /// The instant whose day and month are meant.
    pub at: Timestamp,
    /// This instant: leases that end here or earlier are none.
    pub now: Timestamp,
    /// Until when the whole lease of this replica lasts from now on.
    pub expires_at: Timestamp,
}

/// What became of a [`BudgetAsk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetGrant {
    /// What was added to the lease; zero where the need did not fit.
    pub granted: PicoUsd,
    /// What was booked in each period that has a budget.
    pub spent: ByPeriod<PicoUsd>,
    /// What lay in leases before, the replica's own included.
    pub leased: PicoUsd,
}

/// From whose lease rows are paid when they are booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidBy {
    /// The replica.
    pub replica: String,
    /// The keys of which it has a lease; rows of others are paid by nobody.
    pub keys: BTreeSet<KeyId>,
}

/// Whoever holds leases, as the usage writer sees it.
pub trait LeaseHolder: fmt::Debug + Send + Sync {
    /// Who pays these rows.
    fn paid_by(&self, rows: &[UsageRow]) -> Option<PaidBy>;

    /// These rows are in the totals, or never will be; `paid` is what [`LeaseHolder::paid_by`] had said of them.
    fn booked(&self, rows: &[UsageRow], paid: Option<&PaidBy>);
}

/// How long a lease that has ended stays where it was: whose clock is behind may still find it alive.
pub(crate) const KEPT_MILLIS: i64 = 7 * 86_400_000;

/// Decides an ask, for every backend. `others` is what lies in the live leases of other replicas, `own` the replica's own
/// live lease, below zero where it is in debt.
pub(crate) fn grant(ask: &BudgetAsk, spent: ByPeriod<PicoUsd>, others: i128, own: i128) -> BudgetGrant {
    let leased = others.saturating_add(own.max(0));
    let left = ask
        .limits
        .set()
        .map(|(period, limit)| signed(limit).saturating_sub(signed(spent.get(period))).saturating_sub(leased))
        .min()
        .unwrap_or(i128::MAX);
    // To pay a debt takes nothing from what is left: what was owed is in the totals.
    let reach = left.saturating_add((-own).max(0));
    let need = signed(ask.need);
    let granted = if need > reach {
        0
    } else {
        let share = (left.max(0) / 100).saturating_mul(ask.share_percent.min(100).into());
        need.max(share).min(reach).max(0)
    };
    BudgetGrant { granted: unsigned(granted), spent, leased: unsigned(leased) }
}

/// Amounts of leases are signed, and cut where sums of them would outgrow a database's numbers: at 10¹² dollars.
pub(crate) fn signed(amount: PicoUsd) -> i128 {
    const MOST: i128 = 1_000_000_000_000_000_000_000_000;
    i128::try_from(amount.0).unwrap_or(MOST).min(MOST)
}

fn unsigned(amount: i128) -> PicoUsd {
    PicoUsd(u128::try_from(amount).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::sample::{key_id, noon};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods_reset_by_the_utc_calendar() {
        for (now, day, month) in [
            ("2026-11-21T08:00:00.120Z", "2026-11-22T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-01-31T23:59:59.999Z", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z", "2027-03-01T00:00:00Z"),
            ("2028-02-28T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            // Midnight in Berlin, where clocks change that night, is the evening before.
            ("2026-03-29T00:30:00+01:00", "2026-03-29T00:00:00Z", "2026-04-01T00:00:00Z"),
            ("2026-10-25T02:30:00+01:00", "2026-10-26T00:00:00Z", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(Period::Daily.resets_at(at(now)), Some(at(day)), "{now}");
            assert_eq!(Period::Monthly.resets_at(at(now)), Some(at(month)), "{now}");
            assert_eq!(Period::Total.resets_at(at(now)), None);
        }
    }

    fn ask(need: u128, limits: BudgetLimits) -> BudgetAsk {
        BudgetAsk {
            key_id: key_id(1),
            replica: "a".to_owned(),
            need: PicoUsd(need),
            share_percent: 10,
            limits,
            at: noon(),
            now: noon(),
            expires_at: noon().plus_millis(15_000),
        }
    }

    fn daily(limit: u128) -> BudgetLimits {
        BudgetLimits { daily: Some(PicoUsd(limit)), ..BudgetLimits::default() }
    }

    fn spent(amount: u128) -> ByPeriod<PicoUsd> {
        ByPeriod { daily: PicoUsd(amount), ..ByPeriod::default() }
    }

    #[test]
    fn a_grant_is_the_share_of_what_is_left_or_the_need_where_that_is_more() {
        let granted =
            |need, booked, others, own| grant(&ask(need, daily(1_000)), spent(booked), others, own).granted.0;
        assert_eq!(granted(1, 0, 0, 0), 100);
        assert_eq!(granted(1, 500, 300, 100), 10, "a tenth of what is left");
        assert_eq!(granted(90, 500, 300, 100), 90);
        assert_eq!(granted(100, 500, 300, 100), 100);
        assert_eq!(granted(101, 500, 300, 100), 0, "all or nothing");
        assert_eq!(granted(0, 1_500, 0, 0), 0, "overspent");
        assert_eq!(granted(40, 1_000, 0, -40), 40, "a debt is in the totals already");
        assert_eq!(granted(41, 1_000, 0, -40), 0);
    }

    #[test]
    fn the_tightest_period_decides() {
        let limits = BudgetLimits { total: Some(PicoUsd(5_000)), ..daily(1_000) };
        let spent = ByPeriod { total: PicoUsd(4_990), ..spent(10) };
        assert_eq!(grant(&ask(11, limits), spent, 0, 0).granted, PicoUsd::ZERO);
        assert_eq!(grant(&ask(10, limits), spent, 0, 0).granted, PicoUsd(10));
    }

    proptest! {
        #[test]
        fn no_grant_brings_totals_and_leases_above_the_limit(
            need in 0..2_000_u128, share in 0..=100_u8, limit in 0..2_000_u128, booked in 0..2_000_u128,
            others in 0..2_000_i128, own in -500..500_i128,
        ) {
            let ask = BudgetAsk { share_percent: share, ..ask(need, daily(limit)) };
            let grant = grant(&ask, spent(booked), others, own);
            if grant.granted > PicoUsd::ZERO {
                prop_assert!(grant.granted.0 >= need);
                let after = (own + signed(grant.granted)).max(0) + others + i128::try_from(booked).unwrap();
                prop_assert!(after <= signed(PicoUsd(limit)).max(i128::try_from(booked).unwrap() + others));
            }
        }
    }
}
