//! Limits that gateways share: how this one draws from the buckets in the store.
//!
//! The hot path meets its own key's gauge and nothing else. The store is asked where a pot has not enough, by one request a
//! key at a time, in a task of its own: what was drawn is credited also when the caller has left meanwhile.

use std::sync::Arc;
use std::time::Duration;

use store::{Rate, RateAsk, Store};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;

use crate::gauge::{Gauge, Gauges, Limits, Missed, Permit, Rates, Short, Want};
use crate::meter::{Begun, Meter};
use crate::patience::in_time;
use crate::{Denial, Now, Unchecked};

/// How often the store is asked for one request.
const TRIES: usize = 10;
/// Keys that are looked after at a time.
const AT_ONCE: usize = 16;

/// How gateways on one store share the limits of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// How much of what is left is drawn at a time.
    pub share_percent: u8,
    /// What nobody has used for so long goes back.
    pub idle: Duration,
}

/// The same, with the store.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sharing: Sharing,
    /// How long what was drawn may be used while the store is away.
    pub(crate) grace: Duration,
}

impl Shared {
    fn ask(&self, gauge: &Gauge, rate: Rate, begun: &Begun, now: Now) -> RateAsk {
        // The meter may have heard of a later instant than this request's own beginning.
        let late = begun.at.saturating_duration_since(now.mono).as_millis();
        RateAsk {
            key_id: gauge.key_id.clone(),
            rate,
            limit: begun.limit,
            window: begun.window,
            need: begun.need,
            share_percent: if begun.more { self.sharing.share_percent } else { 0 },
            back: begun.back,
            debt: begun.debt,
            now: now.wall.plus_millis(i64::try_from(late).unwrap_or(i64::MAX)),
        }
    }
}

impl Gauges {
    /// Takes what is wanted of a key's limits: at once while the pots have it, else after asking the store.
    pub(crate) async fn take(
        self: &Arc<Self>,
        gauge: &Arc<Gauge>,
        limits: &Limits,
        want: Want,
        now: Now,
    ) -> Result<(Permit, Rates), Denial> {
        let short = match gauge.take(limits, want, now.mono) {
            Ok(taken) => return Ok(taken),
            Err(Missed::Denied(denial)) => return Err(denial),
            Err(Missed::Short(short)) => short,
        };
        let asked = async {
            let turn = Arc::clone(&gauge.turn).lock_owned().await;
            let (own, gauge, limits) = (Arc::clone(self), Arc::clone(gauge), *limits);
            // Goes on to its end when nobody waits any more: what comes late is credited, and until then nobody else asks.
            tokio::spawn(async move { own.draw_and_take(&gauge, &limits, want, short, now, turn).await })
                .await
        };
        if let Some(taken) = in_time(asked, || gauge.ended()).await {
            return taken.unwrap_or(Err(Denial::StoreAway(Unchecked::Limit)));
        }
        // As when it is away: what was drawn may be used on credit.
        gauge.with(short.rate, Meter::away);
        gauge.take(limits, want, now.mono).map_err(|missed| match missed {
            Missed::Denied(denial) => denial,
            Missed::Short(_) => Denial::StoreAway(Unchecked::Limit),
        })
    }

    async fn draw_and_take(
        &self,
        gauge: &Arc<Gauge>,
        limits: &Limits,
        want: Want,
        first: Short,
        now: Now,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<(Permit, Rates), Denial> {
        // Others may take what was drawn before we can, and a request may be short of two limits.
        for _ in 0..TRIES {
            let short = match gauge.take(limits, want, now.mono) {
                Ok(taken) => return Ok(taken),
                Err(Missed::Denied(denial)) => return Err(denial),
                Err(Missed::Short(short)) => short,
            };
            // The store was away for somebody who asked while we waited, or for ourselves.
            if gauge.failed() != first.failed {
                break;
            }
            let Some(begun) = gauge.with(short.rate, |meter| meter.begin(short.cost, now.mono)) else {
                break;
            };
            // An error is told by the gauge.
            let _ = self.draw(gauge, short.rate, &begun, now).await;
        }
        Err(Denial::StoreAway(Unchecked::Limit))
    }

    /// Asks the store. Whoever calls has the gauge's turn.
    async fn draw(&self, gauge: &Gauge, rate: Rate, begun: &Begun, now: Now) -> store::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let answer = shared.store.draw_rate(&shared.ask(gauge, rate, begun, now)).await;
        gauge.end(rate, begun, answer.as_ref().ok());
        if let Err(error) = &answer {
            tracing::warn!(%error, "the store did not answer for a limit");
        }
        answer.map(|_| ())
    }

    /// Looks after all pots: tells debts, fills those that run low, gives back those that nobody uses.
    pub(crate) async fn tend(self: &Arc<Self>, now: Now) {
        let Some(Shared { sharing, .. }) = &self.shared else { return };
        let mut calls = JoinSet::new();
        for gauge in self.all() {
            // Somebody who asks at this moment takes care of it.
            let Ok(turn) = Arc::clone(&gauge.turn).try_lock_owned() else { continue };
            let care = |rate| {
                let care = |meter: &mut Meter| meter.care(now.mono, sharing.share_percent, sharing.idle);
                Some((rate, gauge.with(rate, care)?))
            };
            let due: Vec<_> = Rate::ALL.into_iter().filter_map(care).collect();
            if due.is_empty() {
                continue;
            }
            let own = Arc::clone(self);
            calls.spawn(async move {
                let mut done = true;
                for (rate, begun) in due {
                    done &= own.draw(&gauge, rate, &begun, now).await.is_ok();
                }
                drop(turn);
                done
            });
            // The store is away; the next time will do.
            if calls.len() >= AT_ONCE && !calls.join_next().await.is_some_and(|done| done.unwrap_or(false)) {
                break;
            }
        }
        while calls.join_next().await.is_some() {}
    }

    /// Gives everything back.
    pub(crate) async fn close(self: &Arc<Self>, now: Now) {
        let mut calls = JoinSet::new();
        for gauge in self.all() {
            let own = Arc::clone(self);
            calls.spawn(async move { own.leave(&gauge, now).await });
            // The store is away; what was drawn is refilled by time.
            if calls.len() >= AT_ONCE && !calls.join_next().await.is_some_and(|done| done.unwrap_or(false)) {
                break;
            }
        }
        while calls.join_next().await.is_some() {}
    }

    async fn leave(&self, gauge: &Gauge, now: Now) -> bool {
        let _turn = gauge.turn.lock().await;
        for rate in Rate::ALL {
            let Some(begun) = gauge.with(rate, |meter| meter.leave(now.mono)) else { continue };
            if self.draw(gauge, rate, &begun, now).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
