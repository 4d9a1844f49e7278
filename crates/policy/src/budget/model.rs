//! Two gateways over one store: threads that hold, settle, give up, book and tend, in many orders. All of it is the real
//! code but the task in which [`Budgets::hold`] asks the store.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a thread that panics fails its test")]

use std::sync::Mutex as Plain;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use shuttle::{future::block_on, thread};
use store::{Bucket, BudgetLimits, ByPeriod, Memory};

use super::tests::{record, row, start};
use super::*;

const LIMIT: u64 = 100;

struct World {
    store: Arc<Memory>,
    record: KeyRecord,
    plan: Arc<BudgetPlan>,
    gateways: [(Arc<Budgets>, Plain<Vec<UsageRow>>); 2],
    /// What was spent, and what requests know that they hold: counted after it was held, and no more before it is let go.
    promised: AtomicU64,
    rows: AtomicU64,
    mono: Instant,
}

fn limits() -> BudgetLimits {
    ByPeriod { daily: Some(PicoUsd(LIMIT.into())), ..ByPeriod::default() }
}

impl World {
    fn new() -> Self {
        let store = Arc::new(Memory::new());
        let gateway = |name: &str| {
            let store = Arc::clone(&store) as Arc<dyn Store>;
            // More than one request needs, so that the next one finds some.
            let terms = Terms { share_percent: 60, ..Terms::new(name) };
            (Arc::new(Budgets::new(store, terms)), Plain::default())
        };
        Self {
            gateways: [gateway("a"), gateway("b")],
            store,
            record: KeyRecord { budget_daily: Some(1), ..record() },
            plan: Arc::new(limits().into()),
            promised: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            mono: Instant::now(),
        }
    }

    fn hold(&self, n: usize, at: i64, amount: u64) -> Option<Hold> {
        let (budgets, now) = (&self.gateways[n].0, Now { wall: start().plus_millis(at), mono: self.mono });
        let purse = budgets.of(&self.record)?.purse;
        let (before, need) = (purse.news(), u128::from(amount));
        let answer = match purse.hold(&self.plan.at(now.wall), need, now) {
            Some(hold) => Ok(hold),
            None => block_on(async {
                let turn = Arc::clone(&purse.turn).lock_owned().await;
                budgets.ask_and_hold(&purse, &self.plan, need, before, now, turn).await
            }),
        };
        match answer {
            Ok(hold) => {
                let promised = self.promised.fetch_add(amount, SeqCst) + amount;
                assert!(promised <= LIMIT, "{promised} are promised");
                Some(hold)
            }
            // Or others took what was asked for, again and again.
            Err(Denial::BudgetExceeded(_) | Denial::StoreAway(_)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A request that costs so much of what it held; without a cost it is given up.
    fn request(&self, n: usize, at: i64, (amount, cost): (u64, Option<u64>)) {
        let Some(hold) = self.hold(n, at, amount) else { return };
        thread::yield_now();
        self.promised.fetch_sub(amount - cost.unwrap_or(0), SeqCst);
        let Some(cost) = cost else { return drop(hold) };
        hold.settle(PicoUsd(cost.into()));
        let number = self.rows.fetch_add(1, SeqCst);
        let row = row(&self.record, number.try_into().unwrap(), start(), cost.into());
        self.gateways[n].1.lock().unwrap().push(row);
    }

    /// As the writer of usage does.
    fn book(&self, n: usize, at: i64) {
        let (budgets, rows) = &self.gateways[n];
        let rows = std::mem::take(&mut *rows.lock().unwrap());
        let paid = budgets.paid_by(&rows);
        block_on(self.store.record_paid_usage(&rows, paid.as_ref())).unwrap();
        budgets.booked(&rows, paid.as_ref());
        assert!(self.used(at) <= LIMIT.into());
    }

    fn tend(&self, n: usize, at: i64) {
        let (budgets, now) = (&self.gateways[n].0, start().plus_millis(at));
        block_on(async {
            budgets.extend(now).await;
            budgets.renew(now).await;
        });
        assert!(self.used(at) <= LIMIT.into());
    }

    /// What totals and live leases come to.
    fn used(&self, at: i64) -> u128 {
        let now = start().plus_millis(at);
        let ask = BudgetAsk {
            key_id: self.record.key_id.clone(),
            replica: "nobody".to_owned(),
            need: PicoUsd::ZERO,
            share_percent: 0,
            limits: limits(),
            at: start(),
            now,
            expires_at: now,
        };
        let grant = block_on(self.store.lease_budget(&ask)).unwrap();
        grant.leased.0 + grant.spent.daily.0
    }
}

/// Runs in threads of their own, to their end.
fn at_once(world: &Arc<World>, work: &[fn(&World)]) {
    let run = |work: fn(&World)| {
        let world = Arc::clone(world);
        thread::spawn(move || work(&world))
    };
    let threads: Vec<_> = work.iter().map(|work| run(*work)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Every cost is booked once; idle leases come back, and all that is left can be spent.
fn ends_well(world: &World, at: i64) {
    for n in 0..2 {
        world.book(n, at);
    }
    let spent = block_on(world.store.usage_totals(&world.record.key_id, &Bucket::Day(start()))).unwrap();
    assert_eq!(spent.cost_pico_usd.0, u128::from(world.promised.load(SeqCst)));
    for n in 0..2 {
        world.tend(n, at);
    }
    assert_eq!(world.used(at), spent.cost_pico_usd.0);
    let left = LIMIT - world.promised.load(SeqCst);
    assert!(left == 0 || world.hold(1, at, left).is_some(), "{left} are lost");
}

fn two_gateways() {
    let world = Arc::new(World::new());
    let work: [fn(&World); 5] = [
        |world| [(20, None), (20, Some(20))].into_iter().for_each(|ask| world.request(0, 0, ask)),
        |world| [(20, Some(7)), (20, Some(20))].into_iter().for_each(|ask| world.request(0, 0, ask)),
        |world| [(25, Some(5)), (75, Some(75))].into_iter().for_each(|ask| world.request(1, 0, ask)),
        |world| (0..2).for_each(|n| world.book(n, 0)),
        |world| [0, 1, 0].into_iter().for_each(|n| world.tend(n, 6_000)),
    ];
    at_once(&world, &work);
    ends_well(&world, 12_000);
}

fn a_gateway_whose_lease_has_ended() {
    let world = Arc::new(World::new());
    world.request(0, 0, (40, Some(40)));
    let work: [fn(&World); 4] = [
        |world| world.request(0, 20_000, (60, Some(60))),
        |world| world.request(0, 20_000, (40, Some(40))),
        |world| world.request(1, 20_000, (50, Some(50))),
        |world| (0..2).for_each(|_| world.book(0, 20_000)),
    ];
    at_once(&world, &work);
    ends_well(&world, 32_000);
}

#[test]
fn in_no_order_do_two_gateways_promise_more_than_the_budget_or_lose_any_of_it() {
    shuttle::check_random(two_gateways, 2_000);
    shuttle::check_pct(two_gateways, 2_000, 3);
}

#[test]
fn in_no_order_is_what_an_ended_lease_paid_forgotten_or_counted_twice() {
    shuttle::check_random(a_gateway_whose_lease_has_ended, 2_000);
    shuttle::check_pct(a_gateway_whose_lease_has_ended, 2_000, 3);
}
