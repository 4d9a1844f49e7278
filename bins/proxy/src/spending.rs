//! What was booked, as metrics: money, and use that has no price. Counted where rows are booked, so that no way a call can
//! end is left out.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::Catalog;
use metrics::{Counter, counter};
use store::{ServiceTier, UsageRow};

/// Pico-dollars of a micro-dollar.
const MICRO: u128 = 1_000_000;
/// The label of every model that has no row in the catalogue.
const OTHER: &str = "other";

/// A place for each label there can be, made at the start: nothing is locked later.
pub(crate) struct Spending {
    models: HashMap<&'static str, Spent>,
    other: Spent,
}

#[derive(Default)]
struct Spent {
    /// By the tier that served, in the order of [`ServiceTier::ALL`].
    tiers: [Cost; 4],
    unpriced: OnceLock<Counter>,
}

#[derive(Default)]
struct Cost {
    counter: OnceLock<Counter>,
    /// Pico-dollars that make no whole micro-dollar yet.
    rest: AtomicU64,
}

impl Spending {
    pub(crate) fn new() -> Self {
        let models =
            Catalog::builtin().list().into_iter().map(|model| (model.id, Spent::default())).collect();
        Self { models, other: Spent::default() }
    }

    /// Counts a row that is booked.
    pub(crate) fn count(&self, row: &UsageRow) {
        let known = self.models.get_key_value(row.base_model.as_str());
        let (label, spent) = known.map_or((OTHER, &self.other), |(label, spent)| (*label, spent));
        if let Some(pico) = row.cost_pico_usd {
            let tiers = ServiceTier::ALL.iter().zip(&spent.tiers);
            for (tier, cost) in tiers.filter(|(tier, _)| **tier == row.tier_served) {
                let name = tier.as_str();
                let counter = || counter!("outcrop_cost_micro_usd_total", "model" => label, "tier" => name);
                cost.counter.get_or_init(counter).increment(cost.whole(pico.0));
            }
        } else {
            let counter = || counter!("outcrop_unpriced_requests_total", "model" => label);
            spent.unpriced.get_or_init(counter).increment(1);
        }
    }
}

impl Cost {
    /// Adds an amount, and returns how many whole micro-dollars that makes; what is left over is kept for the next.
    fn whole(&self, pico: u128) -> u64 {
        let part = u64::try_from(pico % MICRO).unwrap_or_default();
        let micro = u64::try_from(pico / MICRO).unwrap_or(u64::MAX);
        self.rest.fetch_add(part, Ordering::Relaxed);
        let full = |rest: u64| rest.checked_sub(1_000_000);
        let carried = self.rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, full).is_ok();
        micro.saturating_add(u64::from(carried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_micro_dollar_add_up_and_none_is_lost() {
        let cost = Cost::default();
        let whole: u64 = (0..10).map(|_| cost.whole(1_750_000)).sum();
        assert_eq!((whole, cost.rest.load(Ordering::Relaxed)), (17, 500_000));
        assert_eq!(cost.whole(500_000), 1);
    }
}
