//! Budgets of keys: the purses of this process, how they are filled from the store, and what is told about them.
//!
//! The hot path meets its own key's purse and nothing else. The store is asked where the lease has not enough, by one
//! request a key at a time, in a task of its own: the answer is credited also when the caller has left meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, future, stream};
use store::{
    Allowance, BudgetAsk, BudgetGrant, BudgetPlan, KeyId, KeyRecord, LeaseHolder, PaidBy, Period, PicoUsd,
    Store, Timestamp, UsageRow,
};
use tokio::sync::OwnedMutexGuard;

use crate::alert::{self, Alert};
use crate::patience::in_time;
use crate::purse::{Begun, Care, Hold, Purse};
use crate::sync::{Mutex, MutexGuard};
use crate::{Denial, Now, Unchecked};

/// How often the store is asked for one request.
const TRIES: usize = 10;
/// Leases that are renewed at a time.
const AT_ONCE: usize = 16;

/// How budgets are shared and watched.
#[derive(Clone)]
pub struct Terms {
    /// A name that no other running process has.
    pub replica: String,
    /// How much of what is left a lease takes.
    pub share_percent: u8,
    /// How long a lease lasts that nobody extends.
    pub ttl: Duration,
    /// Shares whose crossing is told, rising.
    pub alert_percents: Vec<u8>,
    /// Who is told.
    pub alert: Alert,
}

impl Terms {
    /// The defaults, for a replica of this name.
    pub fn new(replica: impl Into<String>) -> Self {
        Self {
            replica: replica.into(),
            share_percent: 10,
            ttl: Duration::from_secs(15),
            alert_percents: vec![80, 100],
            alert: Arc::new(|_| {}),
        }
    }

    pub(crate) fn ttl_millis(&self) -> i64 {
        i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX / 8)
    }
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms")
            .field("replica", &self.replica)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// The budgets of a caller that are nearly spent, and to how many percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetWarning(pub Vec<(Period, u64)>);

/// `daily=83%, total=91%`
impl std::fmt::Display for BudgetWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (period, percent)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{period}={percent}%")?;
        }
        Ok(())
    }
}

/// Why a budget has no room for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdrawn {
    /// The budget with the least left.
    pub period: Period,
    /// What it is, with what it is extended by.
    pub limit: PicoUsd,
    /// What is booked, since its last reset.
    pub spent: PicoUsd,
    /// What is set aside for requests that run.
    pub held: PicoUsd,
    /// What the request may cost at most.
    pub need: PicoUsd,
    /// When the next period begins.
    pub resets_at: Option<Timestamp>,
    /// How long that is from now.
    pub wait: Option<Duration>,
}

impl Overdrawn {
    fn new(allowance: &Allowance, need: u128, grant: &BudgetGrant, now: Timestamp) -> Option<Self> {
        let spent = |period| allowance.counted(period, grant.spent.get(period));
        let left = |(period, limit): &(Period, PicoUsd)| {
            let signed = |amount: u128| i128::try_from(amount).unwrap_or(i128::MAX);
            signed(limit.0).saturating_sub(signed(spent(*period).0))
        };
        let (period, limit) = allowance.limits.set().min_by_key(left)?;
        let resets_at = period.resets_at(now);
        let wait = resets_at.map(|at| at.unix_millis().saturating_sub(now.unix_millis()));
        Some(Self {
            period,
            limit,
            spent: spent(period),
            held: grant.leased,
            need: PicoUsd(need),
            resets_at,
            wait: wait.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        })
    }
}

/// How often the store was asked for a part of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refills {
    /// It gave some.
    pub granted: u64,
    /// There was not enough left.
    pub refused: u64,
    /// It did not answer.
    pub failed: u64,
}

/// What pays a caller's requests.
#[derive(Clone, Debug)]
pub(crate) struct Funding {
    purse: Arc<Purse>,
    plan: Arc<BudgetPlan>,
}

/// The purses of all keys that have a budget. The lock of the map is taken when a record is read from the store and when
/// rows are booked, not by requests.
pub struct Budgets {
    store: Arc<dyn Store>,
    terms: Arc<Terms>,
    refills: [AtomicU64; 3],
    purses: Mutex<HashMap<KeyId, Arc<Purse>>>,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Budgets {
    /// No purses yet.
    pub fn new(store: Arc<dyn Store>, terms: Terms) -> Self {
        Self { store, terms: Arc::new(terms), refills: Default::default(), purses: Mutex::default() }
    }

    fn purses(&self) -> MutexGuard<'_, HashMap<KeyId, Arc<Purse>>> {
        self.purses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What pays for this key; `None` where it has no budget.
    pub(crate) fn of(&self, record: &KeyRecord) -> Option<Funding> {
        let plan = record.budgets();
        plan.limits.set().next()?;
        let mut purses = self.purses();
        let new = || Arc::new(Purse::new(record.key_id.clone(), Arc::clone(&self.terms)));
        let purse = purses.entry(record.key_id.clone()).or_insert_with(new);
        Some(Funding { purse: Arc::clone(purse), plan: Arc::new(plan) })
    }

    /// Holds an amount of the caller's budgets: at once while the lease has it, else after asking the store.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        funding: &Funding,
        amount: PicoUsd,
        now: Now,
    ) -> Result<Hold, Denial> {
        let Funding { purse, plan } = funding;
        if let Some(hold) = purse.hold(&plan.at(now.wall), amount.0, now) {
            return Ok(hold);
        }
        let before = purse.news();
        let asked = async {
            let turn = Arc::clone(&purse.turn).lock_owned().await;
            let (own, purse, plan) = (Arc::clone(self), Arc::clone(purse), Arc::clone(plan));
            let held = async move { own.ask_and_hold(&purse, &plan, amount.0, before, now, turn).await };
            // Goes on to its end when nobody waits any more: what comes late is credited, and until then nobody else asks.
            tokio::spawn(held).await
        };
        let held = in_time(asked, || purse.news()).await;
        held.and_then(Result::ok).unwrap_or(Err(Denial::StoreAway(Unchecked::Budget)))
    }

    async fn ask_and_hold(
        &self,
        purse: &Arc<Purse>,
        plan: &Arc<BudgetPlan>,
        amount: u128,
        before: u64,
        now: Now,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<Hold, Denial> {
        let allowance = plan.at(now.wall);
        // Somebody else may have asked meanwhile, and brought enough for all or a no for all.
        if let Some(hold) = purse.hold(&allowance, amount, now) {
            return Ok(hold);
        }
        if let Some(denial) = purse.denied_since(before, &allowance, amount) {
            return Err(denial);
        }
        // Those who need less may take what was brought before we can.
        for _ in 0..TRIES {
            self.ask(purse, plan, amount, now.wall).await?;
            if let Some(hold) = purse.hold(&allowance, amount, now) {
                return Ok(hold);
            }
        }
        Err(Denial::StoreAway(Unchecked::Budget))
    }

    /// Asks the store for what an amount needs. Whoever calls has the purse's turn.
    async fn ask(
        &self,
        purse: &Purse,
        plan: &Arc<BudgetPlan>,
        amount: u128,
        at: Timestamp,
    ) -> Result<(), Denial> {
        let allowance = plan.at(at);
        let Begun { give_back, need, now } = purse.begin(plan, &allowance, amount, at);
        let expires_at = now.plus_millis(self.terms.ttl_millis());
        let ask = BudgetAsk {
            key_id: purse.key_id.clone(),
            replica: self.terms.replica.clone(),
            need,
            share_percent: self.terms.share_percent,
            limits: allowance.ceilings(),
            at,
            now,
            expires_at,
        };
        let answer = self.exchange(give_back, &ask).await;
        let denial = match &answer {
            Ok(grant) if amount > 0 && grant.granted == PicoUsd::ZERO && need > PicoUsd::ZERO => {
                Overdrawn::new(&allowance, amount, grant, at).map(|why| Denial::BudgetExceeded(Box::new(why)))
            }
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the store did not answer for a budget");
                Some(Denial::StoreAway(Unchecked::Budget))
            }
        };
        let [granted, refused, failed] = &self.refills;
        let counter = match &answer {
            Ok(grant) if grant.granted == PicoUsd::ZERO => refused,
            Ok(_) => granted,
            Err(_) => failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        purse.end(&allowance, amount, expires_at, answer.as_ref().map_err(|_| ()), denial.clone());
        denial.map_or(Ok(()), Err)
    }

    async fn exchange(&self, give_back: PicoUsd, ask: &BudgetAsk) -> store::Result<BudgetGrant> {
        if give_back > PicoUsd::ZERO {
            self.store.release_budget(&ask.key_id, &ask.replica, Some(give_back)).await?;
        }
        self.store.lease_budget(ask).await
    }

    /// What came of asking the store, so far.
    pub fn refills(&self) -> Refills {
        let [granted, refused, failed] = self.refills.each_ref().map(|count| count.load(Ordering::Relaxed));
        Refills { granted, refused, failed }
    }

    /// How often [`Budgets::extend`], [`Budgets::renew`] and [`Budgets::tell`] are due, each by itself.
    pub fn pace(&self) -> Duration {
        (self.terms.ttl / 5).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    fn all(&self) -> Vec<Arc<Purse>> {
        self.purses().values().cloned().collect()
    }

    /// Extends the leases that are in use and end soon. Nothing else may come before it: one that ends is there for others,
    /// whatever of it is held.
    pub async fn extend(&self, now: Timestamp) {
        let ending = self.all().into_iter().filter(|purse| purse.care(now) == Care::Extend);
        // Somebody who asks at this moment takes care of it.
        let mine =
            |purse: Arc<Purse>| Arc::clone(&purse.turn).try_lock_owned().ok().map(|turn| (purse, turn));
        let leases: Vec<_> = ending.filter_map(mine).collect();
        self.extend_all(&leases, now).await;
    }

    /// Renews the leases that run low and gives back those that nobody uses, some at a time.
    pub async fn renew(&self, now: Timestamp) {
        let away = AtomicBool::new(false);
        let renewals = self.all().into_iter().map(|purse| self.renew_one(purse, now, &away));
        stream::iter(renewals).buffer_unordered(AT_ONCE).for_each(|()| future::ready(())).await;
        self.purses().retain(|_, purse| Arc::strong_count(purse) > 1 || !purse.is_idle(now));
    }

    async fn renew_one(&self, purse: Arc<Purse>, now: Timestamp, away: &AtomicBool) {
        let care = purse.care(now);
        // The store is away: the next time will do.
        if matches!(care, Care::Nothing | Care::Extend) || away.load(Ordering::Relaxed) {
            return;
        }
        let Ok(_turn) = purse.turn.try_lock() else { return };
        let done = match care {
            Care::Nothing | Care::Extend => true,
            Care::Renew => self.ask(&purse, &purse.plan(), 0, now).await.is_ok(),
            Care::GiveBack => self.give_back(&purse).await,
        };
        away.fetch_or(!done, Ordering::Relaxed);
    }

    /// Tells what shares of budgets were reached.
    pub async fn tell(&self, now: Timestamp) {
        let news = self.all().iter().flat_map(|purse| purse.untold()).collect();
        alert::tell(self.store.as_ref(), &self.terms.alert, news, now).await;
    }

    async fn extend_all(&self, leases: &[(Arc<Purse>, OwnedMutexGuard<()>)], now: Timestamp) {
        if leases.is_empty() {
            return;
        }
        let keys: Vec<_> = leases.iter().map(|(purse, _)| purse.key_id.clone()).collect();
        let ends = now.plus_millis(self.terms.ttl_millis());
        match self.store.extend_leases(&self.terms.replica, &keys, now, ends).await {
            Ok(extended) => {
                for (purse, _) in leases {
                    if extended.contains(&purse.key_id) { purse.extended(ends) } else { purse.lost() }
                }
            }
            Err(error) => tracing::warn!(%error, "leases of budgets could not be extended"),
        }
    }

    /// Gives a lease back that nothing depends on; false when the store is away.
    async fn give_back(&self, purse: &Purse) -> bool {
        if !purse.give_up() {
            return true;
        }
        let released = self.store.release_budget(&purse.key_id, &self.terms.replica, None).await;
        if let Err(error) = &released {
            tracing::warn!(%error, "a lease could not be given back; it ends by itself");
        }
        released.is_ok()
    }

    /// Gives back what is left, when everything is booked, and tells what is still to be told. What waits on disk keeps its
    /// lease until that ends.
    pub async fn close(&self, now: Timestamp) {
        self.tell(now).await;
        for purse in self.all() {
            let _turn = purse.turn.lock().await;
            if !self.give_back(&purse).await {
                return;
            }
        }
    }

    /// What rows cost, by the purses that are concerned.
    fn costs(&self, rows: &[UsageRow]) -> Vec<(Arc<Purse>, u128)> {
        let mut costs: BTreeMap<&KeyId, u128> = BTreeMap::new();
        for row in rows {
            let cost = costs.entry(&row.key_id).or_default();
            *cost = cost.saturating_add(row.cost_pico_usd.unwrap_or_default().0);
        }
        let purses = self.purses();
        let known = |(key_id, cost)| Some((Arc::clone(purses.get(key_id)?), cost));
        costs.into_iter().filter_map(known).collect()
    }
}

impl LeaseHolder for Budgets {
    fn paid_by(&self, rows: &[UsageRow]) -> Option<PaidBy> {
        let purses = self.costs(rows).into_iter();
        let keys = purses.filter(|(purse, _)| purse.pays()).map(|(purse, _)| purse.key_id.clone());
        let paid = PaidBy { replica: self.terms.replica.clone(), keys: keys.collect() };
        (!paid.keys.is_empty()).then_some(paid)
    }

    fn booked(&self, rows: &[UsageRow], paid: Option<&PaidBy>) {
        for (purse, cost) in self.costs(rows) {
            purse.booked(cost, paid.is_some_and(|paid| paid.keys.contains(&purse.key_id)));
        }
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests;
