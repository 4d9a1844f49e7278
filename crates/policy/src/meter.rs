//! One limit of one key: how it stands, and where gateways share it, what this one has drawn of it.
//!
//! For the shared bucket a token is spent when a gateway draws it; in the gateway it lies in the **pot** until a request takes
//! it. Time refills the shared bucket, so what was drawn and not used comes to lie there a second time: therefore the pot
//! never holds more than what of all that this gateway has drawn is not refilled yet. It melts at the pace of the refill, when
//! it is not used. So at every moment the shared bucket lacks at least what all gateways have used and all their pots, and
//! whatever they do, they let pass what one bucket would. A gateway that is alone lets pass exactly that.

use std::time::{Duration, Instant};

use store::RateDrawn;

use crate::rate::{Bucket, Level};

/// How long a refusal is believed without asking again: others may have given something back.
const BELIEVED: Duration = Duration::from_secs(1);
const SECOND: u128 = 1_000_000_000;

/// A limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    /// How it stands. Of a shared one what others drew since the last answer is not known.
    seen: Bucket,
    share: Option<Share>,
}

/// Amounts are in units of [`Bucket`], which are the parts of [`store::RateAsk`].
#[derive(Clone, Copy, Debug)]
struct Share {
    /// What was drawn and is not refilled yet.
    drawn: Bucket,
    /// Drawn and not used; below zero what was used beyond that, which the shared bucket has still to be told.
    pot: i128,
    /// What has melted since the last answer. While the store is away nobody can draw it anew, and it may be used on credit.
    melted: i128,
    /// For how long after the last answer that is allowed.
    grace: Duration,
    /// The limit under which the pot was drawn.
    terms: Option<u64>,
    answered: Option<Instant>,
    /// The last ask had no answer.
    away: bool,
    /// When a request last took something, and how much.
    took: Option<(Instant, i128)>,
    /// A pot below this is to be filled behind the requests.
    low: i128,
}

/// Whether a request may take from a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Free,
    /// Not before so long.
    Wait(Duration),
    /// The pot has not enough; the store has to be asked.
    Short,
}

/// An ask that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) limit: u64,
    pub(crate) window: Duration,
    pub(crate) need: u128,
    pub(crate) back: u128,
    pub(crate) debt: u128,
    /// Whether a share is wanted beyond the need.
    pub(crate) more: bool,
    pub(crate) at: Instant,
}

fn signed(units: u128) -> i128 {
    i128::try_from(units).unwrap_or(i128::MAX)
}

impl Share {
    /// Time passes: the pot melts.
    fn advance(&mut self, limit: u64, now: Instant) {
        self.drawn.advance(limit, now);
        let most = signed(self.drawn.spent());
        if self.pot > most {
            self.melted = self.melted.saturating_add(self.pot - most);
            self.pot = most;
        }
    }

    fn covers(&self, need: i128, now: Instant) -> bool {
        let credit = if self.away && self.since_answer(now) < self.grace { self.melted } else { 0 };
        self.pot.saturating_add(credit) >= need
    }

    fn since_answer(&self, now: Instant) -> Duration {
        let now = self.drawn.latest(now);
        self.answered.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }

    fn begin(&mut self, need: i128, back: i128, more: bool, at: Instant) -> Begun {
        let back = back.clamp(0, self.pot.max(0));
        // Out of the pot before it is given away: an answer that is lost must not leave it in both places.
        self.pot -= back;
        self.drawn.relieve(back.unsigned_abs());
        Begun {
            limit: self.drawn.limit(),
            window: self.drawn.window(),
            need: need.saturating_sub(self.pot.max(0)).max(0).unsigned_abs(),
            back: back.unsigned_abs(),
            debt: self.pot.min(0).unsigned_abs(),
            more,
            at,
        }
    }
}

impl Meter {
    /// A limit that this process keeps for itself.
    pub(crate) fn new(window: Duration) -> Self {
        Self { seen: Bucket::new(window), share: None }
    }

    /// One that is shared through the store. Without the store, what was drawn may be used for so long.
    pub(crate) fn shared(window: Duration, grace: Duration) -> Self {
        let share = Share {
            drawn: Bucket::new(window),
            pot: 0,
            melted: 0,
            grace,
            terms: None,
            answered: None,
            away: false,
            took: None,
            low: 0,
        };
        Self { share: Some(share), ..Self::new(window) }
    }

    /// Brings it up to now, with the limit that holds from here on.
    pub(crate) fn advance(&mut self, limit: u64, now: Instant) {
        self.seen.advance(limit, now);
        if let Some(share) = &mut self.share {
            share.advance(limit, now);
        }
    }

    /// Whether `cost` tokens may be taken, under a limit.
    pub(crate) fn look(&mut self, limit: u64, cost: u64, now: Instant) -> Look {
        self.advance(limit, now);
        let wait = self.seen.wait(cost);
        let Some(share) = self.share.as_ref().filter(|_| limit > 0) else {
            return if wait.is_zero() { Look::Free } else { Look::Wait(wait) };
        };
        // A pot is no use while the bucket is overdrawn: debts are paid first, of all that were known at the last answer.
        let free = wait.is_zero() && share.covers(signed(self.seen.units(cost.min(limit))), now);
        let known = !share.away && share.since_answer(now) < BELIEVED;
        match share.terms {
            Some(terms) if terms == limit && free => Look::Free,
            Some(terms) if terms == limit && known && !wait.is_zero() => Look::Wait(wait),
            Some(_) | None => Look::Short,
        }
    }

    /// Takes `cost` tokens, or a whole bucket if it is less; returns how many.
    pub(crate) fn take(&mut self, cost: u64, now: Instant) -> u64 {
        let taken = self.seen.take(cost);
        if let Some(share) = &mut self.share {
            let units = signed(self.seen.units(taken));
            share.pot = share.pot.saturating_sub(units);
            share.took = Some((share.drawn.latest(now), units));
        }
        taken
    }

    /// Undoes a [`Meter::take`].
    pub(crate) fn give_back(&mut self, taken: u64) {
        self.seen.give_back(taken);
        if let Some(share) = &mut self.share {
            share.pot = share.pot.saturating_add(signed(self.seen.units(taken)));
        }
    }

    /// Replaces what was taken by what was used, be it more than is left.
    pub(crate) fn settle(&mut self, taken: u64, used: u64, now: Instant) {
        let Some(more) = used.checked_sub(taken) else { return self.give_back(taken - used) };
        self.seen.settle(taken, used, now);
        if let Some(share) = &mut self.share {
            share.advance(share.drawn.limit(), now);
            share.pot = share.pot.saturating_sub(signed(self.seen.units(more)));
        }
    }

    pub(crate) fn level(&self) -> Level {
        self.seen.level()
    }

    /// Whether forgetting it would change nothing.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        match &mut self.share {
            None => self.seen.is_full(now),
            Some(share) => {
                share.advance(share.drawn.limit(), now);
                share.pot == 0 && !share.away
            }
        }
    }

    /// Begins to ask for what `cost` tokens need. Under another limit nothing old is used.
    pub(crate) fn begin(&mut self, cost: u64, now: Instant) -> Option<Begun> {
        let at = self.seen.latest(now);
        self.advance(self.seen.limit(), at);
        let (limit, share) = (self.seen.limit(), self.share.as_mut()?);
        let back = if share.terms == Some(limit) { 0 } else { share.pot };
        Some(share.begin(signed(self.seen.units(cost.min(limit))), back, true, at))
    }

    /// Begins to do what is due: to tell debts, to give back what is not used, to fill the pot behind the requests.
    pub(crate) fn care(&mut self, now: Instant, share_percent: u8, idle: Duration) -> Option<Begun> {
        let at = self.seen.latest(now);
        self.advance(self.seen.limit(), at);
        let full = signed(self.seen.units(self.seen.limit()));
        let left = self.seen.wait(1).is_zero();
        // What melts by itself within a second is not worth a call.
        let second = signed(u128::from(self.seen.limit()) * SECOND);
        let share = self.share.as_mut()?;
        share.terms?;
        if share.away || share.pot < 0 {
            return Some(share.begin(0, 0, false, at));
        }
        let (took, most) = share.took.unwrap_or((at, 0));
        let in_use = at.saturating_duration_since(took) < idle;
        // A request that asked for much and used little leaves a large pot, of which the next like it will be paid.
        let kept = if in_use { most.max(full / 100 * i128::from(share_percent)) } else { 0 };
        let unused = share.pot.saturating_sub(kept);
        if unused > second {
            return Some(share.begin(0, unused, false, at));
        }
        (in_use && left && share.pot < share.low).then(|| share.begin(0, 0, true, at))
    }

    /// Begins to give everything back.
    pub(crate) fn leave(&mut self, now: Instant) -> Option<Begun> {
        let at = self.seen.latest(now);
        self.advance(self.seen.limit(), at);
        let share = self.share.as_mut().filter(|share| share.terms.is_some() && share.pot != 0)?;
        Some(share.begin(0, share.pot, false, at))
    }

    /// The store says nothing. The ask may still end.
    pub(crate) fn away(&mut self) {
        if let Some(share) = &mut self.share {
            share.away = true;
        }
    }

    /// The ask has ended.
    pub(crate) fn end(&mut self, begun: &Begun, answer: Option<&RateDrawn>) {
        let Some(share) = &mut self.share else { return };
        let Some(answer) = answer else {
            share.away = true;
            return;
        };
        let gained = answer.granted.saturating_add(begun.debt);
        share.drawn.charge(gained);
        share.pot = share.pot.saturating_add(signed(gained));
        (share.away, share.melted) = (false, 0);
        (share.terms, share.answered) = (Some(begun.limit), Some(begun.at));
        share.low = signed(answer.granted) / 4;
        let others = match u128::try_from(share.pot) {
            Ok(pot) => answer.spent.saturating_sub(pot),
            Err(_) => answer.spent.saturating_add(share.pot.unsigned_abs()),
        };
        self.seen.stood(others, begun.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const GRACE: Duration = Duration::from_mins(5);

    /// Sixty a minute, of which ten were drawn and two taken.
    fn drawn(start: Instant) -> Meter {
        let mut meter = Meter::shared(MINUTE, GRACE);
        assert_eq!(meter.look(60, 1, start), Look::Short);
        let begun = meter.begin(1, start).unwrap();
        assert_eq!((begun.need, begun.debt, begun.back), (MINUTE.as_nanos(), 0, 0));
        let ten = meter.seen.units(10);
        meter.end(&begun, Some(&RateDrawn { granted: ten, spent: ten }));
        for _ in 0..2 {
            assert_eq!(meter.look(60, 1, start), Look::Free);
            meter.take(1, start);
        }
        meter
    }

    #[test]
    fn a_pot_melts_as_the_shared_bucket_refills() {
        let start = Instant::now();
        let mut meter = drawn(start);
        assert_eq!(meter.look(60, 8, start + Duration::from_secs(2)), Look::Free);
        assert_eq!(meter.look(60, 8, start + Duration::from_secs(3)), Look::Short);
        assert_eq!(meter.look(60, 7, start + Duration::from_secs(3)), Look::Free);
        assert_eq!(meter.look(60, 1, start + Duration::from_secs(10)), Look::Short);
        assert!(meter.is_idle(start + Duration::from_secs(10)));
    }

    #[test]
    fn while_the_store_is_away_all_that_was_drawn_is_used_and_then_told() {
        let start = Instant::now();
        let mut meter = drawn(start);
        let later = start + Duration::from_secs(30);
        assert_eq!(meter.look(60, 1, later), Look::Short);
        let begun = meter.begin(1, later).unwrap();
        meter.end(&begun, None);
        for _ in 0..8 {
            assert_eq!(meter.look(60, 1, later), Look::Free);
            meter.take(1, later);
        }
        assert_eq!(meter.look(60, 1, later), Look::Short, "no more than was drawn");
        // It is back, and hears of them; the bucket was full by then.
        let begun = meter.care(later, 10, Duration::from_secs(5)).unwrap();
        let eight = meter.seen.units(8);
        assert_eq!((begun.need, begun.debt, begun.back, begun.more), (0, eight, 0, false));
        meter.end(&begun, Some(&RateDrawn { granted: 0, spent: eight }));
        assert_eq!((meter.level().remaining, meter.share.unwrap().pot), (52, 0));
        assert_eq!(meter.look(60, 1, later), Look::Short);
    }

    #[test]
    fn what_has_melted_is_used_no_longer_than_the_grace() {
        let start = Instant::now();
        let mut meter = drawn(start);
        let begun = meter.begin(60, start).unwrap();
        meter.end(&begun, None);
        assert_eq!(meter.look(60, 1, start + GRACE.mul_f64(0.999)), Look::Free);
        assert_eq!(meter.look(60, 1, start + GRACE), Look::Short);
    }

    #[test]
    fn what_is_given_back_leaves_the_pot_before_the_store_hears_of_it() {
        let start = Instant::now();
        let mut meter = drawn(start);
        let begun = meter.leave(start).unwrap();
        assert_eq!(begun.back, meter.seen.units(8));
        assert_eq!(meter.look(60, 1, start), Look::Short);
        // The answer is lost: whether it arrived or not, nothing is used twice.
        meter.end(&begun, None);
        assert_eq!(meter.look(60, 1, start), Look::Short);
        assert!(meter.leave(start).is_none());
    }
}
