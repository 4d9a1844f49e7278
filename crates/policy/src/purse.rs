//! What this process has of one key's budgets, and what it does with it.
//!
//! A purse holds a lease of the store's and pays from it: a request holds its upper bound, and when it ends its cost takes
//! the place of the hold until the row is booked, which takes the cost from the lease and adds it to the key's totals in
//! one transaction. What of the lease is neither held nor unbooked is free.

use std::sync::{Arc, PoisonError};

use store::{Allowance, BudgetGrant, BudgetPlan, ByPeriod, KeyId, Period, PicoUsd, Timestamp};

use crate::alert::BudgetAlert;
use crate::budget::{BudgetWarning, Terms};
use crate::sync::{Mutex, MutexGuard};
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
    plan: Arc<BudgetPlan>,
    /// Under which the lease was granted.
    allowance: Allowance,
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
    /// Shares that were reached and nobody has been told of.
    untold: Vec<BudgetAlert>,
}

/// What is known to be spent, for what is told and not for what is decided.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Timestamp>,
    spent: ByPeriod<u128>,
    alerted: ByPeriod<u8>,
}

impl Seen {
    /// Where a budget is another than before, its shares have not been reached yet.
    fn forget_alerts(&mut self, before: &Allowance, now: &Allowance) {
        for period in Period::ALL {
            let of = |allowance: &Allowance| (allowance.limits.get(period), allowance.forgiven.get(period));
            if of(before) != of(now) {
                *self.alerted.get_mut(period) = 0;
            }
        }
    }
}

/// How the last ask ended, for those who waited for it.
#[derive(Debug, Default)]
struct News {
    count: u64,
    denial: Option<(Allowance, u128, Denial)>,
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

    /// The clock was ahead and has been set right. What was leased by it is not spent, because the leases of others had looked
    /// ended; it is given back when nothing depends on it.
    fn turn_back(&mut self, now: Timestamp, ttl_millis: i64) {
        if self.latest.is_some_and(|latest| latest > now.plus_millis(ttl_millis)) {
            (self.latest, self.seen.at) = (Some(now), Some(now));
            self.used = self.used.min(Some(now));
            self.lease = self.lease.min(0);
        }
    }

    /// The budgets that are nearly spent.
    fn warnings(&self) -> Vec<(Period, u64)> {
        let used = self.allowance.limits.set().map(|(period, limit)| {
            let spent = self.allowance.counted(period, PicoUsd(self.seen.spent.get(period)));
            (period, percent(spent, limit))
        });
        used.filter(|(_, percent)| *percent >= WARN_PERCENT.into()).collect()
    }

    /// Notes the shares that were reached since this was last asked, each once a period.
    fn note_crossed(&mut self, terms: &Terms, key_id: &KeyId) {
        let Some(at) = self.seen.at else { return };
        for (period, limit) in self.allowance.limits.set() {
            let spent = self.allowance.counted(period, PicoUsd(self.seen.spent.get(period)));
            let used = percent(spent, limit);
            let alerted = self.seen.alerted.get_mut(period);
            for share in terms.alert_percents.iter().filter(|share| u64::from(**share) <= used) {
                if *share > *alerted {
                    *alerted = *share;
                    self.untold.push(BudgetAlert {
                        key_id: key_id.clone(),
                        period,
                        percent: *share,
                        spent,
                        limit,
                        forgiven: self.allowance.forgiven.get(period),
                        at,
                    });
                }
            }
        }
    }
}

fn percent(spent: PicoUsd, limit: PicoUsd) -> u64 {
    u64::try_from(spent.0.saturating_mul(100) / limit.0.max(1)).unwrap_or(u64::MAX)
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
    pub(crate) fn hold(self: &Arc<Self>, allowance: &Allowance, amount: u128, now: Now) -> Option<Hold> {
        let mut book = self.book();
        book.look(now.wall);
        // Other budgets than those that the lease was granted under: ask again.
        if book.allowance != *allowance || !book.is_alive(now.wall) || book.free() < signed(amount) {
            return None;
        }
        book.held = book.held.saturating_add(signed(amount));
        book.low = book.free() < book.last_grant / 4;
        let warnings = book.warnings();
        let warning = (!warnings.is_empty()).then_some(BudgetWarning(warnings));
        Some(Hold { purse: Arc::clone(self), amount: signed(amount), at: now.wall, warning })
    }

    /// The budgets, as whoever asked last knew them.
    pub(crate) fn plan(&self) -> Arc<BudgetPlan> {
        Arc::clone(&self.book().plan)
    }

    /// How many asks have ended.
    pub(crate) fn news(&self) -> u64 {
        self.book().news.count
    }

    /// What an ask that ended after `before` says of this one too: what was refused to less is refused to more.
    pub(crate) fn denied_since(&self, before: u64, allowance: &Allowance, amount: u128) -> Option<Denial> {
        let book = self.book();
        let (of, less, denial) = book.news.denial.as_ref()?;
        (book.news.count > before && of == allowance && *less <= amount).then(|| denial.clone())
    }

    /// Begins an ask: what must be given back first, and what is needed from the store. A lease that has ended is none.
    pub(crate) fn begin(
        &self,
        plan: &Arc<BudgetPlan>,
        allowance: &Allowance,
        amount: u128,
        now: Timestamp,
    ) -> Begun {
        let mut book = self.book();
        book.look(now);
        let now = book.latest.map_or(now, |latest| latest.max(now));
        let mut give_back = PicoUsd::ZERO;
        if !book.is_alive(now) {
            book.lease = 0;
        } else if book.allowance != *allowance {
            // Under a new budget nothing old is spent; what is held stays.
            let free = book.free().max(0);
            book.lease -= free;
            give_back = PicoUsd(free.unsigned_abs());
        }
        let before = std::mem::replace(&mut book.allowance, *allowance);
        book.seen.forget_alerts(&before, allowance);
        book.plan = Arc::clone(plan);
        book.asking = true;
        let need = signed(amount).saturating_sub(book.free()).max(0);
        Begun { give_back, need: PicoUsd(need.unsigned_abs()), now }
    }

    /// The store has answered an ask that has begun; `denial` is what it comes to for whoever needed `amount`.
    pub(crate) fn end(
        &self,
        allowance: &Allowance,
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
        book.news.denial = denial.map(|denial| (*allowance, amount, denial));
        book.note_crossed(&self.terms, &self.key_id);
    }

    /// What there is to tell, each once.
    pub(crate) fn untold(&self) -> Vec<BudgetAlert> {
        std::mem::take(&mut self.book().untold)
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
        book.note_crossed(&self.terms, &self.key_id);
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

    /// What is to be done about the lease at this instant, which is no request's beginning but the clock's.
    pub(crate) fn care(&self, now: Timestamp) -> Care {
        let ttl = self.terms.ttl_millis();
        let mut book = self.book();
        book.turn_back(now, ttl);
        book.look(now);
        if book.asking || !book.is_alive(now) {
            return Care::Nothing;
        }
        let busy = book.held > 0 || book.unbooked > 0;
        if !busy && book.used.is_none_or(|used| used.plus_millis(ttl / 3) <= now) {
            return Care::GiveBack;
        }
        // Before a renewal, which extends nothing when it brings nothing.
        if book.ends.is_some_and(|ends| ends.plus_millis(-ttl * 2 / 3) <= now) {
            return Care::Extend;
        }
        // What may be spent changes by itself when an extension ends.
        let changed = book.plan.at(now) != book.allowance;
        if book.low || changed { Care::Renew } else { Care::Nothing }
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
        !book.asking && book.held == 0 && book.unbooked == 0 && book.untold.is_empty() && !book.is_alive(now)
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
    /// It runs low, or the budgets are others by now.
    Renew,
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
