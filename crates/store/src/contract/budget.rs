//! The laws about leases of budgets.

use std::sync::Arc;

use super::{
    rate::taken,
    sample::{hash, key_id, noon, record, row},
};
use crate::{
    Bucket, BudgetAsk, BudgetChange, BudgetExtension, BudgetGrant, BudgetLimits, BudgetReset, ByPeriod,
    KeyRecord, PaidBy, PicoUsd, Recorded, Store, Timestamp, UsageRow,
};

type Dyn = Arc<dyn Store>;

const TTL: i64 = 15_000;

fn daily(limit: u128) -> BudgetLimits {
    BudgetLimits { daily: Some(PicoUsd(limit)), ..BudgetLimits::default() }
}

/// At noon, of a day's budget of 1000, without a share.
fn ask(replica: &str, need: u128) -> BudgetAsk {
    BudgetAsk {
        key_id: key_id(1),
        replica: replica.to_owned(),
        need: PicoUsd(need),
        share_percent: 0,
        limits: daily(1_000),
        at: noon(),
        now: noon(),
        expires_at: noon().plus_millis(TTL),
    }
}

fn later(ask: BudgetAsk, millis: i64) -> BudgetAsk {
    let now = noon().plus_millis(millis);
    BudgetAsk { at: now, now, expires_at: now.plus_millis(TTL), ..ask }
}

async fn granted(store: &Dyn, ask: BudgetAsk) -> u128 {
    store.lease_budget(&ask).await.unwrap().granted.0
}

async fn looked(store: &Dyn) -> BudgetGrant {
    store.lease_budget(&ask("somebody", 0)).await.unwrap()
}

fn costing(request_id: &str, cost: u128) -> UsageRow {
    UsageRow { cost_pico_usd: Some(PicoUsd(cost)), ..row(request_id) }
}

fn paid_by(replica: &str) -> PaidBy {
    PaidBy { replica: replica.to_owned(), keys: [key_id(1)].into() }
}

pub async fn sixty_four_takers_never_overspend(store: Dyn) {
    let takers: Vec<_> = (0..64)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { granted(&store, ask(&format!("replica-{n}"), 70)).await })
        })
        .collect();
    assert_eq!(taken(takers).await, (14 * 70, 14));
    assert_eq!(looked(&store).await.leased, PicoUsd(14 * 70));
}

pub async fn takers_and_bookers_at_once_stay_within_the_budget(store: Dyn) {
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let replica = format!("replica-{n}");
                for step in 0..8 {
                    if granted(&store, ask(&replica, 25)).await > 0 {
                        let rows = [costing(&format!("{n}-{step}"), 25)];
                        store.record_paid_usage(&rows, Some(&paid_by(&replica))).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    // A grant may have met a row half-way and been refused; never may there be too many.
    let spent = store.usage_totals(&key_id(1), &Bucket::Day(noon())).await.unwrap().cost_pico_usd;
    let seen = looked(&store).await;
    assert!(spent <= PicoUsd(1_000) && spent >= PicoUsd(25), "{spent:?}");
    assert_eq!((seen.spent.daily, seen.leased), (spent, PicoUsd::ZERO));
}

pub async fn what_one_has_leased_is_gone_for_the_others_until_it_ends(store: Dyn) {
    assert_eq!(granted(&store, ask("a", 900)).await, 900);
    assert_eq!(granted(&store, ask("b", 101)).await, 0);
    assert_eq!(granted(&store, ask("b", 100)).await, 100);
    assert_eq!(granted(&store, later(ask("c", 1), TTL - 1)).await, 0);
    // From its last moment on it is none, for its own replica too.
    assert_eq!(granted(&store, later(ask("a", 1_000), TTL)).await, 1_000);
    assert_eq!(granted(&store, later(ask("b", 1), TTL)).await, 0);
}

pub async fn a_row_moves_its_cost_from_the_lease_to_the_totals_once(store: Dyn) {
    assert_eq!(granted(&store, ask("a", 600)).await, 600);
    let rows = [costing("one", 200), costing("two", 100)];
    for recorded in [Recorded { written: 2, repeated: 0 }, Recorded { written: 0, repeated: 2 }] {
        assert_eq!(store.record_paid_usage(&rows, Some(&paid_by("a"))).await.unwrap(), recorded);
        let seen = looked(&store).await;
        assert_eq!((seen.spent.daily, seen.leased), (PicoUsd(300), PicoUsd(300)));
    }
    // Nobody pays this one, and somebody without a lease the other.
    store.record_usage(&[costing("three", 10)]).await.unwrap();
    store.record_paid_usage(&[costing("four", 10)], Some(&paid_by("b"))).await.unwrap();
    let others = UsageRow { key_id: key_id(2), ..costing("five", 50) };
    store.record_paid_usage(&[others], Some(&paid_by("a"))).await.unwrap();
    let seen = looked(&store).await;
    assert_eq!((seen.spent.daily, seen.leased), (PicoUsd(320), PicoUsd(300)));
}

pub async fn a_row_that_costs_more_than_the_lease_is_a_debt_that_is_charged_once(store: Dyn) {
    assert_eq!(granted(&store, ask("a", 100)).await, 100);
    store.record_paid_usage(&[costing("one", 150)], Some(&paid_by("a"))).await.unwrap();
    assert_eq!(granted(&store, ask("b", 851)).await, 0, "150 are spent");
    assert_eq!(granted(&store, ask("a", 900)).await, 900, "50 of these pay the debt");
    let seen = looked(&store).await;
    assert_eq!((seen.spent.daily, seen.leased), (PicoUsd(150), PicoUsd(850)));
    store.record_paid_usage(&[costing("two", 2_000)], Some(&paid_by("a"))).await.unwrap();
    assert_eq!(granted(&store, ask("b", 1)).await, 0);
}

pub async fn what_is_given_back_is_there_again(store: Dyn) {
    assert_eq!(granted(&store, ask("a", 1_000)).await, 1_000);
    store.release_budget(&key_id(1), "a", Some(PicoUsd(400))).await.unwrap();
    assert_eq!(granted(&store, ask("b", 400)).await, 400);
    assert_eq!(granted(&store, ask("b", 1)).await, 0);
    store.release_budget(&key_id(1), "a", None).await.unwrap();
    assert_eq!(granted(&store, ask("b", 600)).await, 600);
    // Nothing is there to give back, and nothing comes of it.
    store.release_budget(&key_id(1), "a", None).await.unwrap();
    store.release_budget(&key_id(1), "c", Some(PicoUsd(5))).await.unwrap();
    assert_eq!(granted(&store, ask("a", 1)).await, 0);
}

pub async fn an_extension_reaches_only_what_has_not_ended(store: Dyn) {
    assert_eq!(granted(&store, ask("a", 1_000)).await, 1_000);
    let at = |millis| noon().plus_millis(millis);
    let extend = async |now: Timestamp, until: Timestamp| {
        store.extend_leases("a", &[key_id(1), key_id(2)], now, until).await.unwrap()
    };
    assert_eq!(extend(at(TTL - 1), at(2 * TTL)).await, [key_id(1)]);
    assert_eq!(granted(&store, later(ask("b", 1), TTL)).await, 0);
    assert_eq!(extend(at(2 * TTL), at(3 * TTL)).await, []);
    assert_eq!(granted(&store, later(ask("b", 1_000), 2 * TTL)).await, 1_000);
}

pub async fn every_budget_counts_and_the_next_period_is_whole(store: Dyn) {
    let last: Timestamp = "2028-02-29T23:59:59.000Z".parse().unwrap();
    let limits = BudgetLimits {
        total: Some(PicoUsd(2_500)),
        monthly: Some(PicoUsd(1_500)),
        daily: Some(PicoUsd(1_000)),
    };
    let of = |replica: &str, need, at: Timestamp| BudgetAsk {
        limits,
        at,
        now: at,
        expires_at: at.plus_millis(TTL),
        ..ask(replica, need)
    };
    let spend = async |id: &str, at: Timestamp, cost: u128| {
        assert_eq!(granted(&store, of("a", cost, at)).await, cost, "{id}");
        let row = UsageRow { ts: at, ..costing(id, cost) };
        store.record_paid_usage(&[row], Some(&paid_by("a"))).await.unwrap();
    };
    spend("one", last.plus_millis(-86_400_000), 1_000).await;
    spend("two", last, 500).await;
    assert_eq!(granted(&store, of("a", 1, last)).await, 0, "the month is spent");
    let march = last.plus_millis(1_000);
    let grant = store.lease_budget(&of("b", 0, march)).await.unwrap();
    let used = grant.spent;
    assert_eq!((used.daily.0, used.monthly.0, used.total.0), (0, 0, 1_500));
    spend("three", march, 1_000).await;
    assert_eq!(granted(&store, of("a", 1, march)).await, 0, "all is spent");
}

pub async fn a_lease_from_before_midnight_counts_after_it(store: Dyn) {
    let before: Timestamp = "2026-11-21T23:59:59.999Z".parse().unwrap();
    let of = |replica: &str, need, at: Timestamp| BudgetAsk {
        at,
        now: at,
        expires_at: at.plus_millis(TTL),
        ..ask(replica, need)
    };
    assert_eq!(granted(&store, of("a", 700, before)).await, 700);
    let after = before.plus_millis(1);
    assert_eq!(granted(&store, of("b", 301, after)).await, 0);
    assert_eq!(granted(&store, of("b", 300, after)).await, 300);
    // A request of yesterday is booked today, and counts where it was admitted.
    let row = UsageRow { ts: before, ..costing("late", 600) };
    store.record_paid_usage(&[row], Some(&paid_by("a"))).await.unwrap();
    let seen = store.lease_budget(&of("c", 0, after)).await.unwrap();
    assert_eq!((seen.spent.daily, seen.leased), (PicoUsd(0), PicoUsd(400)));
}

/// A key with a day's budget of 1 micro-dollar, as it is found after a change of it was written.
async fn changed(store: &Dyn, change: BudgetChange) -> KeyRecord {
    let stored = if let Some(stored) = store.key_by_id(&key_id(1)).await.unwrap() {
        stored
    } else {
        let budgets =
            KeyRecord { budget_total: None, budget_monthly: None, budget_daily: Some(1), ..record(1) };
        let new = KeyRecord { budget_changes: ByPeriod::default(), ..budgets };
        store.put_new_key(&hash(1), &new).await.unwrap();
        new
    };
    let wanted = KeyRecord { budget_changes: ByPeriod { daily: change, ..ByPeriod::default() }, ..stored };
    store.update_key(&wanted).await.unwrap();
    store.key_by_hash(&hash(1)).await.unwrap().unwrap()
}

/// Of a key's budgets as they are at that time.
fn under(record: &KeyRecord, ask: BudgetAsk) -> BudgetAsk {
    BudgetAsk { limits: record.budgets().at(ask.at).ceilings(), ..ask }
}

pub async fn a_reset_lets_as_much_be_spent_again_and_no_total_changes(store: Dyn) {
    const ALL: u128 = 1_000_000;
    let whole = changed(&store, BudgetChange::default()).await;
    assert_eq!(granted(&store, under(&whole, ask("a", ALL))).await, ALL);
    store.record_paid_usage(&[costing("one", ALL)], Some(&paid_by("a"))).await.unwrap();
    assert_eq!(granted(&store, under(&whole, ask("a", 1))).await, 0);
    let day = Bucket::Day(noon());
    let spent = store.usage_totals(&key_id(1), &day).await.unwrap().cost_pico_usd;
    let reset = BudgetChange { reset: Some(BudgetReset { at: noon(), spent }), ..BudgetChange::default() };
    let again = changed(&store, reset).await;
    assert_eq!(granted(&store, under(&again, ask("a", ALL + 1))).await, 0);
    assert_eq!(granted(&store, under(&again, ask("b", ALL))).await, ALL);
    assert_eq!(granted(&store, under(&again, ask("a", 1))).await, 0, "leased is leased, reset or not");
    store.record_paid_usage(&[costing("two", ALL)], Some(&paid_by("b"))).await.unwrap();
    let totals = store.usage_totals(&key_id(1), &day).await.unwrap();
    assert_eq!((totals.cost_pico_usd.0, totals.requests), (2 * ALL, 2));
    // The next day has its own budget, once.
    let tomorrow = under(&again, later(ask("c", ALL + 1), 86_400_000));
    assert_eq!(granted(&store, tomorrow.clone()).await, 0);
    assert_eq!(granted(&store, BudgetAsk { need: PicoUsd(ALL), ..tomorrow }).await, ALL);
}

pub async fn an_extension_counts_for_every_replica_until_its_moment(store: Dyn) {
    const ALL: u128 = 1_000_000;
    let until = noon().plus_millis(1_000);
    let extension = Some(BudgetExtension { by: 2, until });
    let record = changed(&store, BudgetChange { extension, ..BudgetChange::default() }).await;
    assert_eq!(granted(&store, under(&record, ask("a", 2 * ALL))).await, 2 * ALL);
    let last = |replica, need| under(&record, later(ask(replica, need), 999));
    assert_eq!(granted(&store, last("b", ALL + 1)).await, 0);
    assert_eq!(granted(&store, last("b", ALL)).await, ALL);
    let over = |replica, need| under(&record, later(ask(replica, need), 1_000));
    store.release_budget(&key_id(1), "a", None).await.unwrap();
    store.release_budget(&key_id(1), "b", Some(PicoUsd(ALL / 2))).await.unwrap();
    assert_eq!(granted(&store, over("a", ALL / 2 + 1)).await, 0);
    assert_eq!(granted(&store, over("a", ALL / 2)).await, ALL / 2);
}

pub async fn of_many_who_claim_a_name_one_succeeds_until_its_claim_ends(store: Dyn) {
    let until = noon().plus_millis(1_000);
    let takers: Vec<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.claim(&key_id(1), "daily 80", noon(), until).await.unwrap() })
        })
        .collect();
    let mut firsts = 0;
    for taker in takers {
        firsts += u32::from(taker.await.unwrap());
    }
    assert_eq!(firsts, 1);
    let claim = async |n, name: &str, millis| {
        let now = noon().plus_millis(millis);
        store.claim(&key_id(n), name, now, now.plus_millis(1_000)).await.unwrap()
    };
    assert!(!claim(1, "daily 80", 999).await);
    assert!(claim(1, "daily 100", 0).await && claim(2, "daily 80", 0).await);
    assert!(claim(1, "daily 80", 1_000).await, "it has ended");
    assert!(!claim(1, "daily 80", 1_999).await);
    assert_eq!(looked(&store).await.leased, PicoUsd::ZERO, "it is no lease");
}
