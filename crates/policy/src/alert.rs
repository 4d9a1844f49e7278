//! What is told when a share of a budget is reached: once a period, whoever of the gateways that share a store sees it
//! first, and however often they are started.

use std::sync::Arc;

use store::{KeyId, Period, PicoUsd, Store, Timestamp};

/// How long a claim outlives its period: rows of its last minute are booked later, and clocks differ.
const AFTER_MILLIS: i64 = Timestamp::DAY_MILLIS;
/// How long one lasts that has no end of its own.
const LASTING_MILLIS: i64 = 400 * Timestamp::DAY_MILLIS;

/// What is told when a share of a budget is reached.
pub type Alert = Arc<dyn Fn(&BudgetAlert) + Send + Sync>;

/// A share of a budget was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetAlert {
    /// Whose budget.
    pub key_id: KeyId,
    /// Which.
    pub period: Period,
    /// The share.
    pub percent: u8,
    /// What is spent since the last reset, as far as this process knows.
    pub spent: PicoUsd,
    /// The budget, with what it is extended by.
    pub limit: PicoUsd,
    /// What was forgiven by that reset.
    pub forgiven: PicoUsd,
    /// When.
    pub at: Timestamp,
}

impl BudgetAlert {
    /// Another limit or another reset is another budget: to reach a share of that is news.
    fn name(&self) -> String {
        let Self { period, percent, limit, forgiven, at, .. } = self;
        format!("alert#{}#{percent}#{}#{}", period.bucket(*at), limit.0, forgiven.0)
    }

    /// Until when nobody else tells it.
    fn until(&self) -> Timestamp {
        match self.period.resets_at(self.at) {
            Some(reset) => reset.plus_millis(AFTER_MILLIS),
            None => self.at.plus_millis(LASTING_MILLIS),
        }
    }
}

/// Tells what nobody has told yet. Where the store does not say, it is told: twice is better than never.
pub(crate) async fn tell(store: &dyn Store, alert: &Alert, news: Vec<BudgetAlert>, now: Timestamp) {
    for news in news {
        let first = store.claim(&news.key_id, &news.name(), now, news.until()).await;
        if let Err(error) = &first {
            tracing::warn!(%error, "whether another gateway has told of a budget is not known");
        }
        if first.unwrap_or(true) {
            alert(&news);
        }
    }
}
