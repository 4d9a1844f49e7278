//! How a key's budgets stand, for people and for programs. `verbs` is what can be done about them.

pub(crate) mod args;
pub(crate) mod verbs;

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use store::{BudgetChange, KeyRecord, KeyStatus, Period, PicoUsd, Store, Timestamp, Totals};

use crate::failure::Failure;

/// One budget.
#[derive(Debug)]
pub(crate) struct Standing {
    period: Period,
    limit: PicoUsd,
    spent: PicoUsd,
    resets_at: Option<Timestamp>,
    /// What holds at this time.
    change: BudgetChange,
}

impl Standing {
    fn left(&self) -> PicoUsd {
        PicoUsd(self.limit.0.saturating_sub(self.spent.0))
    }
}

/// The budgets of a record, by the totals under the names `total`, `month` and `day`.
pub(crate) fn of(record: &KeyRecord, periods: &[(&'static str, Totals)], now: Timestamp) -> Vec<Standing> {
    let plan = record.budgets();
    let allowance = plan.at(now);
    let standing = |(period, limit): (Period, PicoUsd)| {
        let name = match period {
            Period::Total => "total",
            Period::Monthly => "month",
            Period::Daily => "day",
        };
        let totals = periods.iter().find(|(known, _)| *known == name);
        let spent = totals.map_or(PicoUsd::ZERO, |(_, totals)| totals.cost_pico_usd);
        Standing {
            period,
            limit,
            spent: allowance.counted(period, spent),
            resets_at: period.resets_at(now),
            change: plan.changes.get(period).tidied(period, now),
        }
    };
    allowance.limits.set().map(standing).collect()
}

/// The status of a key, whose totals are looked up where it has a budget.
pub(crate) async fn looked_up(
    store: &dyn Store,
    record: &KeyRecord,
    now: Timestamp,
) -> Result<KeyStatus, Failure> {
    let status = record.status(now);
    if status != KeyStatus::Active {
        return Ok(status);
    }
    let allowance = record.budgets().at(now);
    for (period, limit) in allowance.limits.set() {
        let totals = store.usage_totals(&record.key_id, &period.bucket(now)).await?;
        if allowance.counted(period, totals.cost_pico_usd) >= limit {
            return Ok(KeyStatus::BudgetExceeded);
        }
    }
    Ok(status)
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
        #[serde(skip_serializing_if = "Option::is_none")]
        extension: Option<Extension>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reset: Option<Reset>,
    }
    #[derive(Serialize)]
    struct Extension {
        by_usd: String,
        until: Timestamp,
    }
    #[derive(Serialize)]
    struct Reset {
        at: Timestamp,
        forgiven_usd: String,
    }
    let shown = |budget: &Standing| Shown {
        limit_usd: budget.limit.to_string(),
        spent_usd: budget.spent.to_string(),
        left_usd: budget.left().to_string(),
        resets_at: budget.resets_at,
        extension: budget
            .change
            .extension
            .map(|extension| Extension { by_usd: dollars(extension.by), until: extension.until }),
        reset: budget.change.reset.map(|reset| Reset { at: reset.at, forgiven_usd: reset.spent.to_string() }),
    };
    serializer.collect_map(budgets.iter().map(|budget| (budget.period.as_str(), shown(budget))))
}

fn dollars(micro: u64) -> String {
    PicoUsd(u128::from(micro) * 1_000_000).to_string()
}

/// What was done about the budgets, one line each.
pub(crate) fn changes(budgets: &[Standing]) -> String {
    let mut text = String::new();
    for Standing { period, change, .. } in budgets {
        if let Some(extension) = change.extension {
            let (by, until) = (dollars(extension.by), extension.until);
            let _ = writeln!(text, "{period}: extended by {by} until {until}");
        }
        if let Some(reset) = change.reset {
            let (at, spent) = (reset.at, reset.spent);
            let _ = writeln!(text, "{period}: reset at {at}; {spent} spent before does not count");
        }
    }
    text
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
