//! How a key's budgets stand, for people and for programs.

use serde::{Serialize, Serializer};
use store::{KeyRecord, KeyStatus, Period, PicoUsd, Timestamp, Totals};

/// One budget.
#[derive(Debug)]
pub(crate) struct Standing {
    period: Period,
    limit: PicoUsd,
    spent: PicoUsd,
    resets_at: Option<Timestamp>,
}

impl Standing {
    fn left(&self) -> PicoUsd {
        PicoUsd(self.limit.0.saturating_sub(self.spent.0))
    }
}

/// The budgets of a record, by the totals under the names `total`, `month` and `day`.
pub(crate) fn of(record: &KeyRecord, periods: &[(&'static str, Totals)], now: Timestamp) -> Vec<Standing> {
    let limits = record.budgets();
    let standing = |(period, limit): (Period, PicoUsd)| {
        let name = match period {
            Period::Total => "total",
            Period::Monthly => "month",
            Period::Daily => "day",
        };
        let totals = periods.iter().find(|(known, _)| *known == name);
        let spent = totals.map_or(PicoUsd::ZERO, |(_, totals)| totals.cost_pico_usd);
        Standing { period, limit, spent, resets_at: period.resets_at(now) }
    };
    limits.set().map(standing).collect()
}

/// The status of a key whose totals are known.
pub(crate) fn status(record: &KeyRecord, budgets: &[Standing], now: Timestamp) -> KeyStatus {
    let spent = budgets.iter().any(|budget| budget.spent >= budget.limit);
    match record.status(now) {
        KeyStatus::Active if spent => KeyStatus::BudgetExceeded,
        other => other,
    }
}

/// As a JSON object by period.
pub(crate) fn as_map<S: Serializer>(budgets: &[Standing], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown {
        limit_usd: String,
        spent_usd: String,
        left_usd: String,
        resets_at: Option<Timestamp>,
    }
    let shown = |budget: &Standing| Shown {
        limit_usd: budget.limit.to_string(),
        spent_usd: budget.spent.to_string(),
        left_usd: budget.left().to_string(),
        resets_at: budget.resets_at,
    };
    serializer.collect_map(budgets.iter().map(|budget| (budget.period.as_str(), shown(budget))))
}

/// One line a budget, under a head.
pub(crate) fn rows(budgets: &[Standing]) -> Vec<[String; 5]> {
    let head = ["BUDGET", "LIMIT (USD)", "SPENT", "LEFT", "RESETS"].map(String::from);
    let row = |budget: &Standing| {
        [
            budget.period.to_string(),
            budget.limit.to_string(),
            budget.spent.to_string(),
            budget.left().to_string(),
            budget.resets_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
        ]
    };
    std::iter::once(head).chain(budgets.iter().map(row)).collect()
}
