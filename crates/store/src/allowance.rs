//! What a key's budgets come to at an instant: the limits of its record, what was allowed beyond them for a time, and
//! what was spent before a reset.
//!
//! Nothing of this touches a total or a lease. A reset notes what the period's total was, and from then on that much more
//! may be in the total; an extension counts until its moment and then no more, whoever looks. Every gateway works that out
//! by itself from the record, so what changes at an instant changes everywhere at that instant.

use serde::{Deserialize, Serialize};

use crate::{BudgetLimits, ByPeriod, Error, Period, PicoUsd, Result, Timestamp};

/// A micro-dollar in pico-dollars.
const MICRO: u128 = 1_000_000;

/// What was done about one budget of a key, beside its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetChange {
    /// The last reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<BudgetReset>,
    /// What may be spent beyond the limit for a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<BudgetExtension>,
}

/// What was spent in a period before does not count against its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReset {
    /// When; it is one of the period that holds this instant, and nothing to the next one.
    pub at: Timestamp,
    /// The period's total at that time.
    pub spent: PicoUsd,
}

/// More than the limit may be spent for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetExtension {
    /// How many micro-dollars more, at least 1.
    pub by: u64,
    /// From this instant on it is over.
    pub until: Timestamp,
}

impl BudgetChange {
    /// Whether the reset is of the period that holds an instant.
    pub fn reset_in(&self, period: Period, at: Timestamp) -> Option<BudgetReset> {
        self.reset.filter(|reset| {
            let (then, now) = (reset.at.date(), at.date());
            match period {
                Period::Total => true,
                Period::Monthly => (then.year(), then.month()) == (now.year(), now.month()),
                Period::Daily => then == now,
            }
        })
    }

    /// The extension that holds at an instant.
    pub fn extension_at(&self, at: Timestamp) -> Option<BudgetExtension> {
        self.extension.filter(|extension| extension.until > at)
    }

    /// Without what is over at an instant.
    #[must_use]
    pub fn tidied(&self, period: Period, at: Timestamp) -> Self {
        Self { reset: self.reset_in(period, at), extension: self.extension_at(at) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        /// As for the limits of a record: a million dollars.
        const MOST: u64 = 1_000_000_000_000;
        match self.extension {
            Some(extension) if !(1..=MOST).contains(&extension.by) => {
                Err(Error::invalid(format!("budget_changes: an extension is by 1 to {MOST}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A key's budgets over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetPlan {
    /// The limits, without anything done about them.
    pub limits: BudgetLimits,
    /// What was done about them.
    pub changes: ByPeriod<BudgetChange>,
}

impl BudgetPlan {
    /// Micro-dollars as budgets.
    pub(crate) fn of_micro(limits: ByPeriod<Option<u64>>, changes: ByPeriod<BudgetChange>) -> Self {
        let pico = |micro: Option<u64>| micro.map(|micro| PicoUsd(u128::from(micro) * MICRO));
        let ByPeriod { total, monthly, daily } = limits;
        Self { limits: ByPeriod { total: pico(total), monthly: pico(monthly), daily: pico(daily) }, changes }
    }

    /// What holds at an instant.
    pub fn at(&self, at: Timestamp) -> Allowance {
        let mut allowance = Allowance { limits: self.limits, forgiven: ByPeriod::default() };
        for period in Period::ALL {
            let change = self.changes.get(period);
            if let (Some(limit), Some(extension)) =
                (allowance.limits.get_mut(period), change.extension_at(at))
            {
                *limit = PicoUsd(limit.0.saturating_add(u128::from(extension.by) * MICRO));
            }
            if let Some(reset) = change.reset_in(period, at) {
                *allowance.forgiven.get_mut(period) = reset.spent;
            }
        }
        allowance
    }
}

/// Budgets without anything done about them.
impl From<BudgetLimits> for BudgetPlan {
    fn from(limits: BudgetLimits) -> Self {
        Self { limits, changes: ByPeriod::default() }
    }
}

/// What a key may spend, at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// The budgets, with what they are extended by.
    pub limits: BudgetLimits,
    /// What of each period's total does not count against its budget.
    pub forgiven: ByPeriod<PicoUsd>,
}

impl Allowance {
    /// What the totals may come to: what a store is asked for leases under.
    pub fn ceilings(&self) -> BudgetLimits {
        let mut ceilings = self.limits;
        for period in Period::ALL {
            if let Some(limit) = ceilings.get_mut(period) {
                *limit = PicoUsd(limit.0.saturating_add(self.forgiven.get(period).0));
            }
        }
        ceilings
    }

    /// What of a period's total counts against its budget.
    pub fn counted(&self, period: Period, total: PicoUsd) -> PicoUsd {
        PicoUsd(total.0.saturating_sub(self.forgiven.get(period).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn plan() -> BudgetPlan {
        let limit = Some(PicoUsd(10 * PicoUsd::USD.0));
        BudgetPlan::from(ByPeriod { total: limit, monthly: limit, daily: limit })
    }

    fn dollars(amount: Option<PicoUsd>) -> u128 {
        amount.unwrap().0 / PicoUsd::USD.0
    }

    #[test]
    fn an_extension_ends_by_itself_at_its_moment() {
        let mut plan = plan();
        let until = at("2026-11-21T18:00:00Z");
        plan.changes.daily.extension = Some(BudgetExtension { by: 5_000_000, until });
        for (now, limit) in [(until.plus_millis(-1), 15), (until, 10), (until.plus_millis(1), 10)] {
            assert_eq!(dollars(plan.at(now).limits.daily), limit, "{now}");
            assert_eq!(dollars(plan.at(now).limits.monthly), 10);
        }
        plan.limits.daily = None;
        assert_eq!(
            plan.at(until.plus_millis(-1)).limits.daily,
            None,
            "no budget is no limit, extended or not"
        );
    }

    #[test]
    fn a_reset_forgives_what_its_own_period_had_and_nothing_of_the_next() {
        let mut plan = plan();
        let noon = at("2026-11-30T12:00:00Z");
        let reset = Some(BudgetReset { at: noon, spent: PicoUsd(7 * PicoUsd::USD.0) });
        plan.changes = ByPeriod {
            total: BudgetChange { reset, ..BudgetChange::default() },
            monthly: BudgetChange { reset, ..BudgetChange::default() },
            daily: BudgetChange { reset, ..BudgetChange::default() },
        };
        let ceilings = |now| {
            let ceilings = plan.at(now).ceilings();
            [ceilings.total, ceilings.monthly, ceilings.daily].map(dollars)
        };
        assert_eq!(
            ceilings(at("2026-11-30T00:00:00Z")),
            [17, 17, 17],
            "a request that began before counts alike"
        );
        assert_eq!(ceilings(at("2026-11-30T23:59:59.999Z")), [17, 17, 17]);
        assert_eq!(ceilings(at("2026-12-01T00:00:00Z")), [17, 10, 10]);
        assert_eq!(
            ceilings(at("2027-11-30T12:00:00Z")),
            [17, 10, 10],
            "another year's November is another month"
        );
        let counted = plan.at(noon).counted(Period::Daily, PicoUsd(9 * PicoUsd::USD.0));
        assert_eq!(dollars(Some(counted)), 2);
        assert_eq!(plan.at(noon).counted(Period::Daily, PicoUsd(1)), PicoUsd::ZERO);
    }

    #[test]
    fn what_is_over_is_tidied_away() {
        let noon = at("2026-11-30T12:00:00Z");
        let change = BudgetChange {
            reset: Some(BudgetReset { at: noon, spent: PicoUsd(1) }),
            extension: Some(BudgetExtension { by: 1, until: noon.plus_millis(1_000) }),
        };
        assert_eq!(change.tidied(Period::Daily, noon), change);
        let tomorrow = noon.plus_millis(86_400_000);
        assert_eq!(change.tidied(Period::Daily, tomorrow), BudgetChange::default());
        assert_eq!(change.tidied(Period::Total, tomorrow).reset, change.reset);
    }
}
