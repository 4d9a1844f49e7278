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

/// Whether it is to be told. Where the store does not say, it is: twice is better than never.
fn is_news(claimed: &store::Result<bool>) -> bool {
    *claimed.as_ref().unwrap_or(&true)
}

/// Tells what nobody has told yet.
pub(crate) async fn tell(store: &dyn Store, alert: &Alert, news: Vec<BudgetAlert>, now: Timestamp) {
    for news in news {
        let claimed = store.claim(&news.key_id, &news.name(), now, news.until()).await;
        if let Err(error) = &claimed {
            tracing::warn!(%error, "whether another gateway has told of a budget is not known");
        }
        if is_news(&claimed) {
            alert(&news);
        }
    }
}

#[cfg(test)]
mod tests {
    use store::{Error, ErrorKind};

    use super::*;

    fn alert(percent: u8, at: &str) -> BudgetAlert {
        BudgetAlert {
            key_id: KeyId::master(),
            period: Period::Daily,
            percent,
            spent: PicoUsd(90),
            limit: PicoUsd(100),
            forgiven: PicoUsd::ZERO,
            at: at.parse().unwrap(),
        }
    }

    #[test]
    fn without_a_word_from_the_store_it_is_told_rather_twice_than_never() {
        assert!(is_news(&Ok(true)) && !is_news(&Ok(false)));
        assert!(is_news(&Err(Error::new(ErrorKind::Unavailable, "away"))));
    }

    #[test]
    fn a_share_is_named_by_its_period_and_budget_and_not_by_who_saw_it_when() {
        let noon = alert(80, "2026-11-21T12:00:00Z");
        let evening = BudgetAlert { spent: PicoUsd(95), ..alert(80, "2026-11-21T23:59:59.999Z") };
        assert_eq!(noon.name(), evening.name());
        assert_eq!(noon.until(), "2026-11-23T00:00:00Z".parse().unwrap());
        for other in [
            alert(100, "2026-11-21T12:00:00Z"),
            alert(80, "2026-11-22T00:00:00Z"),
            BudgetAlert { period: Period::Monthly, ..noon.clone() },
            BudgetAlert { limit: PicoUsd(101), ..noon.clone() },
            BudgetAlert { forgiven: PicoUsd(1), ..noon.clone() },
        ] {
            assert_ne!(noon.name(), other.name(), "{other:?}");
        }
    }
}
