//! What this process has of one key's budgets, and what it does with it.
//!
//! A purse holds a lease of the store's and pays from it: a request holds its upper bound, and when it ends its cost takes
//! the place of the hold until the row is booked, which takes the cost from the lease and adds it to the key's totals in
//! one transaction. What of the lease is neither held nor unbooked is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{BudgetGrant, BudgetLimits, ByPeriod, KeyId, Period, PicoUsd, Timestamp};

use crate::budget::{BudgetAlert, BudgetWarning, Terms};
use crate::{Denial, Now};

/// From this share of a budget on, replies say so.
const WARN_PERCENT: u8 = 80;

/// One key's purse.
#[derive(Debug)]
pub(crate) struct Purse {
    pub(crate) key_id: KeyId,
    terms: Arc<Terms>,
    book: Mutex<Book>,
    /// Whoever calls the store about this purse: one at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

/// Amounts are pico-dollars. All arithmetic saturates: budgets end far below where that happens.
#[derive(Debug, Default)]
struct Book {
    limits: BudgetLimits,
    /// As the store has it.
    lease: i128,
    ends: Option<Timestamp>,
    /// An ask is on its way: what is booked meanwhile counts for the lease that it brings.
    asking: bool,
    held: i128,
    unbooked: i128,
    /// The latest wall clock that anybody brought: requests come with the time of their own beginning.
    latest: Option<Timestamp>,
    seen: Seen,
    /// What the last call about it brought.
    news: News,
    /// When something last happened.
    used: Option<Timestamp>,
    last_grant: i128,
    low: bool,
}

/// What is known to be spent, for what is told and not for what is decided.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Timestamp>,
    spent: ByPeriod<u128>,
    alerted: ByPeriod<u8>,
}

/// How the last ask ended, for those who waited for it.
#[derive(Debug, Default)]
struct News {
    count: u64,
    denial: Option<(BudgetLimits, u128, Denial)>,
}

impl Book {
    fn is_alive(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends > self.latest.map_or(now, |latest| latest.max(now)))
    }

    fn free(&self) -> i128 {
        self.lease.saturating_sub(self.held).saturating_sub(self.unbooked)
    }

    fn look(&mut self, now: Timestamp) {
        self.latest = self.latest.max(Some(now));
        let seen = &mut self.seen;
        let Some(at) = seen.at.filter(|at| *at < now) else {
            seen.at = seen.at.or(Some(now));
            return;
        };
        for period in Period::ALL {
            if period.resets_at(at).is_some_and(|reset| reset <= now) {
                *seen.spent.get_mut(period) = 0;
                *seen.alerted.get_mut(period) = 0;
            }
        }
        seen.at = Some(now);
    }

    /// The budgets that are nearly spent.
    fn warnings(&self) -> Vec<(Period, u64)> {
        let used =
            self.limits.set().map(|(period, limit)| (period, percent(self.seen.spent.get(period), limit)));
        used.filter(|(_, percent)| *percent >= WARN_PERCENT.into()).collect()
    }

    /// The shares that were reached since this was last asked, each once a period.
    fn crossed(&mut self, terms: &Terms, key_id: &KeyId) -> Vec<BudgetAlert> {
        let mut alerts = Vec::new();
        for (period, limit) in self.limits.set() {
            let spent = self.seen.spent.get(period);
            let used = percent(spent, limit);
            let alerted = self.seen.alerted.get_mut(period);
            for share in terms.alert_percents.iter().filter(|share| u64::from(**share) <= used) {
                if *share > *alerted {
                    *alerted = *share;
                    let spent = PicoUsd(spent);
                    alerts.push(BudgetAlert {
                        key_id: key_id.clone(),
                        period,
                        percent: *share,
                        spent,
                        limit,
                    });
                }
            }
        }
        alerts
    }
}

fn percent(spent: u128, limit: PicoUsd) -> u64 {
    u64::try_from(spent.saturating_mul(100) / limit.0.max(1)).unwrap_or(u64::MAX)
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

impl Purse {
    pub(crate) fn new(key_id: KeyId, terms: Arc<Terms>) -> Self {
        Self { key_id, terms, book: Mutex::default(), turn: Arc::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No code between lock and unlock leaves it half changed.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds an amount, if the lease has it. Nobody is asked.
    pub(crate) fn hold(self: &Arc<Self>, limits: &BudgetLimits, amount: u128, now: Now) -> Option<Hold> {
        let mut book = self.book();
        book.look(now.wall);
        // Other budgets than those that the lease was granted under: ask again.
        if book.limits != *limits || !book.is_alive(now.wall) || book.free() < signed(amount) {
            return None;
        }
        book.held = book.held.saturating_add(signed(amount));
        book.low = book.free() < book.last_grant / 4;
        let warnings = book.warnings();
        let warning = (!warnings.is_empty()).then_some(BudgetWarning(warnings));
        Some(Hold { purse: Arc::clone(self), amount: signed(amount), at: now.wall, warning })
    }

    /// How many asks have ended.
    pub(crate) fn news(&self) -> u64 {
        self.book().news.count
    }

    /// What an ask that ended after `before` says of this one too: what was refused to less is refused to more.
    pub(crate) fn denied_since(&self, before: u64, limits: &BudgetLimits, amount: u128) -> Option<Denial> {
        let book = self.book();
        let (of, less, denial) = book.news.denial.as_ref()?;
        (book.news.count > before && of == limits && *less <= amount).then(|| denial.clone())
    }

    /// Begins an ask: what must be given back first, and what is needed from the store. A lease that has ended is none.
    pub(crate) fn begin(&self, limits: &BudgetLimits, amount: u128, now: Timestamp) -> Begun {
        let mut book = self.book();
        book.look(now);
        let now = book.latest.map_or(now, |latest| latest.max(now));
        let mut give_back = PicoUsd::ZERO;
        if !book.is_alive(now) {
            book.lease = 0;
        } else if book.limits != *limits {
            // Under a new budget nothing old is spent; what is held stays.
            let free = book.free().max(0);
            book.lease -= free;
            give_back = PicoUsd(free.unsigned_abs());
        }
        book.limits = *limits;
        book.asking = true;
        let need = signed(amount).saturating_sub(book.free()).max(0);
        Begun { give_back, need: PicoUsd(need.unsigned_abs()), now }
    }

    /// The store has answered an ask that has begun; `denial` is what it comes to for whoever needed `amount`.
    pub(crate) fn end(
        &self,
        limits: &BudgetLimits,
        amount: u128,
        ends: Timestamp,
        answer: Result<&BudgetGrant, ()>,
        denial: Option<Denial>,
    ) {
        let mut book = self.book();
        book.asking = false;
        if let Ok(grant) = answer {
            for period in Period::ALL {
                let unbooked = book.unbooked.max(0).unsigned_abs();
                *book.seen.spent.get_mut(period) = grant.spent.get(period).0.saturating_add(unbooked);
            }
            if grant.granted > PicoUsd::ZERO {
                book.lease = book.lease.saturating_add(signed(grant.granted.0));
                book.last_grant = signed(grant.granted.0);
                book.ends = Some(ends);
            }
        }
        book.low = false;
        book.news.count += 1;
        book.news.denial = denial.map(|denial| (*limits, amount, denial));
        let alerts = book.crossed(&self.terms, &self.key_id);
        drop(book);
        self.tell(&alerts);
    }

    fn tell(&self, alerts: &[BudgetAlert]) {
        for alert in alerts {
            (self.terms.alert)(alert);
        }
    }

    fn let_go(&self, amount: i128) {
        let mut book = self.book();
        book.held = book.held.saturating_sub(amount);
        book.used = book.latest;
    }

    fn settle(&self, hold: i128, cost: u128, at: Timestamp) {
        let mut book = self.book();
        book.held = book.held.saturating_sub(hold);
        book.unbooked = book.unbooked.saturating_add(signed(cost));
        book.used = book.latest;
        for period in Period::ALL {
            // What was admitted in an earlier period counts there.
            let over =
                period.resets_at(at).is_some_and(|reset| book.seen.at.is_some_and(|seen| reset <= seen));
            if !over {
                let spent = book.seen.spent.get_mut(period);
                *spent = spent.saturating_add(cost);
            }
        }
        let alerts = book.crossed(&self.terms, &self.key_id);
        drop(book);
        self.tell(&alerts);
    }

    /// Whether a row that is booked now is paid from the lease.
    pub(crate) fn pays(&self) -> bool {
        let book = self.book();
        book.asking || book.latest.is_some_and(|now| book.is_alive(now))
    }

    /// Rows of this cost are booked, from the lease or not.
    pub(crate) fn booked(&self, cost: u128, paid: bool) {
        let mut book = self.book();
        book.unbooked = book.unbooked.saturating_sub(signed(cost)).max(0);
        if paid {
            book.lease = book.lease.saturating_sub(signed(cost));
        }
    }

    /// What is to be done about the lease at this instant.
    pub(crate) fn care(&self, now: Timestamp) -> Care {
        let mut book = self.book();
        book.look(now);
        if book.asking || !book.is_alive(now) {
            return Care::Nothing;
        }
        let ttl = self.terms.ttl_millis();
        let busy = book.held > 0 || book.unbooked > 0;
        if !busy && book.used.is_none_or(|used| used.plus_millis(ttl / 3) <= now) {
            return Care::GiveBack;
        }
        // Before a renewal, which extends nothing when it brings nothing.
        if book.ends.is_some_and(|ends| ends.plus_millis(-ttl * 2 / 3) <= now) {
            return Care::Extend;
        }
        if book.low { Care::Renew(book.limits) } else { Care::Nothing }
    }

    /// The lease lasts until then.
    pub(crate) fn extended(&self, ends: Timestamp) {
        let mut book = self.book();
        book.ends = book.ends.max(Some(ends));
    }

    /// The lease has been lost.
    pub(crate) fn lost(&self) {
        let mut book = self.book();
        book.lease = 0;
        book.ends = None;
    }

    /// Gives the lease up, unless something depends on it; false where it must stay, or there is none.
    pub(crate) fn give_up(&self) -> bool {
        let mut book = self.book();
        let busy = book.asking || book.held > 0 || book.unbooked > 0;
        if book.ends.is_none() || busy {
            return false;
        }
        book.lease = 0;
        book.ends = None;
        true
    }

    /// Whether forgetting it would change nothing.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let book = self.book();
        !book.asking && book.held == 0 && book.unbooked == 0 && !book.is_alive(now)
    }
}

/// An ask that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) give_back: PicoUsd,
    pub(crate) need: PicoUsd,
    pub(crate) now: Timestamp,
}

/// What a lease wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    Nothing,
    /// It is in use, and ends soon.
    Extend,
    /// It runs low.
    Renew(BudgetLimits),
    /// Nobody has used it for a while.
    GiveBack,
}

/// What a request may cost, set aside. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Hold {
    purse: Arc<Purse>,
    amount: i128,
    at: Timestamp,
    pub(crate) warning: Option<BudgetWarning>,
}

impl Hold {
    /// The request has cost this; a row will say so.
    pub(crate) fn settle(mut self, cost: PicoUsd) {
        let amount = std::mem::take(&mut self.amount);
        self.purse.settle(amount, cost.0, self.at);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.purse.let_go(self.amount);
        }
    }
}
