//! Several gateways in one: each with purses of its own, over one store in memory.

use std::time::Instant;

use proptest::prelude::*;
use store::{Bucket, BudgetLimits, ByPeriod, Memory, NewKey, contract::sample};

use super::*;
use crate::patience::SILENCE;
use crate::slow::{HANGS, Slow};

const LIMIT: u128 = 1_000;

pub(super) fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(super) fn record() -> KeyRecord {
    let mut rng = rand::rng();
    let key = NewKey::generate(&mut rng);
    KeyRecord::new(KeyId::generate(&mut rng), &key, "amalia", "laptop", start())
}

struct Replica {
    budgets: Arc<Budgets>,
    holds: Vec<(Hold, u128)>,
    rows: Vec<UsageRow>,
}

struct Fleet {
    store: Arc<Memory>,
    record: KeyRecord,
    replicas: Vec<Replica>,
    mono: Instant,
    millis: i64,
    rows: u32,
}

impl Fleet {
    fn new(size: usize) -> Self {
        let store = Arc::new(Memory::new());
        let replica = |n| Replica {
            budgets: Arc::new(Budgets::new(
                Arc::clone(&store) as Arc<dyn Store>,
                Terms::new(format!("r{n}")),
            )),
            holds: Vec::new(),
            rows: Vec::new(),
        };
        let replicas = (0..size).map(replica).collect();
        Self { store, record: record(), replicas, mono: Instant::now(), millis: 0, rows: 0 }
    }

    fn now(&self) -> Now {
        let past = Duration::from_millis(u64::try_from(self.millis).unwrap());
        Now { wall: start().plus_millis(self.millis), mono: self.mono + past }
    }

    fn limits(limit: u128) -> BudgetLimits {
        ByPeriod { daily: Some(PicoUsd(limit)), ..ByPeriod::default() }
    }

    async fn hold(&mut self, n: usize, amount: u128) -> Result<(), Denial> {
        self.hold_under(n, &Self::limits(LIMIT).into(), amount).await
    }

    async fn hold_under(&mut self, n: usize, plan: &BudgetPlan, amount: u128) -> Result<(), Denial> {
        let now = self.now();
        let replica = &mut self.replicas[n];
        let mut funding =
            replica.budgets.of(&KeyRecord { budget_daily: Some(1), ..self.record.clone() }).unwrap();
        funding.plan = Arc::new(*plan);
        let hold = replica.budgets.hold(&funding, PicoUsd(amount), now).await?;
        replica.holds.push((hold, amount));
        Ok(())
    }

    fn settle(&mut self, n: usize, cost: impl FnOnce(u128) -> u128) {
        let (now, number) = (self.now(), self.rows);
        let replica = &mut self.replicas[n];
        let Some((hold, amount)) = replica.holds.pop() else { return };
        let cost = cost(amount);
        hold.settle(PicoUsd(cost));
        replica.rows.push(row(&self.record, number, now.wall, cost));
        self.rows += 1;
    }

    async fn book(&mut self, n: usize) {
        let replica = &mut self.replicas[n];
        let rows = std::mem::take(&mut replica.rows);
        let paid = replica.budgets.paid_by(&rows);
        self.store.record_paid_usage(&rows, paid.as_ref()).await.unwrap();
        replica.budgets.booked(&rows, paid.as_ref());
    }

    async fn spent(&self) -> u128 {
        let bucket = Bucket::Day(start());
        self.store.usage_totals(&self.record.key_id, &bucket).await.unwrap().cost_pico_usd.0
    }

    /// What the totals and all live leases come to.
    async fn used(&self) -> u128 {
        let now = self.now().wall;
        let ask = BudgetAsk {
            key_id: self.record.key_id.clone(),
            replica: "nobody".to_owned(),
            need: PicoUsd::ZERO,
            share_percent: 0,
            limits: Self::limits(LIMIT),
            at: start(),
            now,
            expires_at: now,
        };
        let grant = self.store.lease_budget(&ask).await.unwrap();
        grant.leased.0 + grant.spent.daily.0
    }

    /// The three that a gateway runs each by itself.
    async fn tend(&self, n: usize) {
        let (budgets, now) = (&self.replicas[n].budgets, self.now().wall);
        budgets.extend(now).await;
        budgets.renew(now).await;
        budgets.tell(now).await;
    }
}

pub(super) fn row(record: &KeyRecord, number: u32, ts: Timestamp, cost: u128) -> UsageRow {
    UsageRow {
        key_id: record.key_id.clone(),
        ts,
        cost_pico_usd: Some(PicoUsd(cost)),
        ..sample::plain_row(&format!("req_{number}"))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Hold(usize, u128),
    Settle(usize, u8),
    LetGo(usize),
    Book(usize),
    Tend(usize),
    /// Everybody is tended, so that nothing in use lapses.
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..3_usize;
    prop_oneof![
        6 => (replica.clone(), 1..150_u128).prop_map(|(n, amount)| Step::Hold(n, amount)),
        3 => (replica.clone(), 0..=100_u8).prop_map(|(n, percent)| Step::Settle(n, percent)),
        1 => replica.clone().prop_map(Step::LetGo),
        2 => replica.clone().prop_map(Step::Book),
        1 => replica.prop_map(Step::Tend),
        1 => (1..6_000_i64).prop_map(Step::Pass),
    ]
}

async fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut fleet = Fleet::new(3);
    for step in steps {
        match *step {
            Step::Hold(n, amount) => {
                let held = fleet.hold(n, amount).await;
                prop_assert!(matches!(held, Ok(()) | Err(Denial::BudgetExceeded(_))), "{held:?}");
            }
            Step::Settle(n, percent) => fleet.settle(n, |amount| amount * u128::from(percent) / 100),
            Step::LetGo(n) => drop(fleet.replicas[n].holds.pop()),
            Step::Book(n) => fleet.book(n).await,
            Step::Tend(n) => fleet.tend(n).await,
            Step::Pass(millis) => {
                fleet.millis += millis;
                for n in 0..3 {
                    fleet.tend(n).await;
                }
            }
        }
        prop_assert!(fleet.used().await <= LIMIT, "{step:?}");
    }
    for n in 0..3 {
        while !fleet.replicas[n].holds.is_empty() {
            fleet.settle(n, |amount| amount);
        }
        fleet.book(n).await;
    }
    let spent = fleet.spent().await;
    prop_assert!(spent <= LIMIT, "{spent}");
    // Idle leases come back, and all that is left can be spent.
    fleet.millis += 6_000;
    for n in 0..3 {
        fleet.tend(n).await;
    }
    prop_assert_eq!(fleet.used().await, spent);
    if spent < LIMIT {
        prop_assert_eq!(fleet.hold(1, LIMIT - spent).await, Ok(()));
    }
    prop_assert!(fleet.hold(2, 1).await.is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_replicas_hold_settle_and_book_the_budget_is_never_exceeded(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        runtime().block_on(run(&steps))?;
    }
}

#[tokio::test]
async fn a_lost_replicas_lease_is_there_again_when_it_ends() {
    let mut fleet = Fleet::new(2);
    fleet.hold(0, 950).await.unwrap();
    let Err(Denial::BudgetExceeded(why)) = fleet.hold(1, 100).await else { panic!() };
    assert_eq!((why.spent.0, why.held.0, why.need.0, why.period), (0, 950, 100, Period::Daily));
    assert_eq!(why.resets_at, Some("2026-11-22T00:00:00Z".parse().unwrap()));
    fleet.millis = 14_999;
    assert!(fleet.hold(1, 100).await.is_err());
    fleet.millis = 15_000;
    fleet.hold(1, 900).await.unwrap();
    // Who was only thought lost holds what is not covered any more, and gets nothing beyond it.
    assert!(fleet.hold(0, 1).await.is_err());
}

#[tokio::test]
async fn what_costs_more_than_it_held_refuses_the_next() {
    let mut fleet = Fleet::new(1);
    fleet.hold(0, 900).await.unwrap();
    fleet.settle(0, |_| 1_200);
    assert!(fleet.hold(0, 1).await.is_err());
    fleet.book(0).await;
    let Err(Denial::BudgetExceeded(why)) = fleet.hold(0, 1).await else { panic!() };
    assert_eq!((why.spent.0, why.held.0), (1_200, 0));
}

#[tokio::test]
async fn the_store_is_not_asked_while_the_lease_lasts() {
    let mut fleet = Fleet::new(1);
    fleet.hold(0, 1).await.unwrap();
    assert_eq!(fleet.used().await, 100, "a tenth");
    for _ in 0..99 {
        fleet.hold(0, 1).await.unwrap();
    }
    assert_eq!(fleet.used().await, 100);
    fleet.hold(0, 1).await.unwrap();
    assert_eq!(fleet.used().await, 190, "a tenth of the rest");
    // Running low, it is renewed behind the requests.
    for _ in 0..80 {
        fleet.hold(0, 1).await.unwrap();
    }
    fleet.tend(0).await;
    assert_eq!(fleet.used().await, 270, "again, in whole hundredths");
}

#[tokio::test]
async fn shares_of_a_budget_are_told_once_a_period() {
    let told: Arc<Mutex<Vec<(Period, u8)>>> = Arc::default();
    let mut fleet = Fleet::new(1);
    let hear = Arc::clone(&told);
    let alert: Alert = Arc::new(move |alert| hear.lock().unwrap().push((alert.period, alert.percent)));
    let terms = Terms { alert, alert_percents: vec![50, 80, 100], ..Terms::new("a") };
    fleet.replicas[0].budgets = Arc::new(Budgets::new(Arc::clone(&fleet.store) as Arc<dyn Store>, terms));
    for (cost, expected) in [(490, 0), (10, 1), (100, 1), (300, 2), (100, 3)] {
        fleet.hold(0, cost).await.unwrap();
        let warned = fleet.replicas[0].holds[0].0.warning.as_ref().map(ToString::to_string);
        assert_eq!(warned, (cost == 100 && expected == 3).then(|| "daily=90%".to_owned()));
        fleet.settle(0, |amount| amount);
        fleet.book(0).await;
        fleet.tend(0).await;
        assert_eq!(told.lock().unwrap().len(), expected, "{cost}");
    }
    assert!(fleet.hold(0, 1).await.is_err());
    assert_eq!(*told.lock().unwrap(), [50, 80, 100].map(|percent| (Period::Daily, percent)));
    // The next day begins anew.
    fleet.millis += 86_400_000;
    fleet.hold(0, 600).await.unwrap();
    fleet.settle(0, |amount| amount);
    fleet.tend(0).await;
    assert_eq!(told.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn another_budget_holds_at_the_next_request() {
    let mut fleet = Fleet::new(1);
    fleet.hold(0, 900).await.unwrap();
    assert!(fleet.hold(0, 200).await.is_err());
    let budgets = Arc::clone(&fleet.replicas[0].budgets);
    let mut funding = budgets.of(&KeyRecord { budget_total: Some(1), ..fleet.record.clone() }).unwrap();
    for (limit, amount, fits) in [(2_000, 200, true), (1_100, 1, false), (1_101, 1, true), (500, 1, false)] {
        funding.plan = Arc::new(Fleet::limits(limit).into());
        let held = budgets.hold(&funding, PicoUsd(amount), fleet.now()).await;
        assert_eq!(held.is_ok(), fits, "{limit}");
        fleet.replicas[0].holds.extend(held.ok().map(|hold| (hold, amount)));
    }
    assert_eq!(fleet.used().await, 1_101, "what the larger budgets left free went back");
}

/// A replica that adds to `told` what it tells, with its own number.
fn telling(store: &Arc<Memory>, told: &Arc<Mutex<Vec<(usize, u8)>>>, n: usize) -> Arc<Budgets> {
    let hear = Arc::clone(told);
    let alert: Alert = Arc::new(move |alert| hear.lock().unwrap().push((n, alert.percent)));
    let terms = Terms { alert, alert_percents: vec![50, 100], ..Terms::new(format!("telling {n}")) };
    Arc::new(Budgets::new(Arc::clone(store) as Arc<dyn Store>, terms))
}

#[tokio::test]
async fn of_several_gateways_one_tells_and_a_restart_tells_nothing_again() {
    let told: Arc<Mutex<Vec<(usize, u8)>>> = Arc::default();
    let mut fleet = Fleet::new(3);
    for n in 0..3 {
        fleet.replicas[n].budgets = telling(&fleet.store, &told, n);
    }
    fleet.hold(0, 600).await.unwrap();
    fleet.settle(0, |amount| amount);
    fleet.book(0).await;
    // The second one is told of the first one's spending by the store.
    fleet.hold(1, 10).await.unwrap();
    for n in [1, 0, 2] {
        fleet.tend(n).await;
    }
    assert_eq!(*told.lock().unwrap(), [(1, 50)]);
    fleet.settle(1, |amount| amount);
    fleet.book(1).await;
    fleet.replicas[2].budgets = telling(&fleet.store, &told, 7);
    fleet.hold(2, 20).await.unwrap();
    fleet.tend(2).await;
    assert_eq!(told.lock().unwrap().len(), 1);
    // Another budget is another matter.
    let plan = Fleet::limits(1_200).into();
    fleet.hold_under(2, &plan, 1).await.unwrap();
    fleet.tend(2).await;
    assert_eq!(*told.lock().unwrap(), [(1, 50), (7, 50)]);
}

#[tokio::test]
async fn an_extension_is_spent_until_its_moment_and_is_gone_at_it() {
    let mut fleet = Fleet::new(2);
    let mut plan = BudgetPlan::from(Fleet::limits(1_000));
    let until = start().plus_millis(2_000);
    // A micro-dollar is a million of the units here.
    plan.changes.daily.extension = Some(store::BudgetExtension { by: 1, until });
    fleet.hold_under(0, &plan, 1_001_000).await.unwrap();
    assert!(fleet.hold_under(1, &plan, 1).await.is_err());
    drop(fleet.replicas[0].holds.pop());
    fleet.millis = 1_999;
    fleet.hold_under(0, &plan, 1_000_500).await.unwrap();
    fleet.settle(0, |_| 400);
    fleet.book(0).await;
    fleet.millis = 2_000;
    let Err(Denial::BudgetExceeded(why)) = fleet.hold_under(0, &plan, 601).await else { panic!() };
    assert_eq!((why.limit.0, why.spent.0), (1_000, 400));
    fleet.hold_under(0, &plan, 600).await.unwrap();
}

#[tokio::test]
async fn what_an_extension_left_free_in_a_lease_goes_back_when_it_ends() {
    let mut fleet = Fleet::new(2);
    let mut plan = BudgetPlan::from(Fleet::limits(1_000));
    let until = start().plus_millis(1_000);
    plan.changes.daily.extension = Some(store::BudgetExtension { by: 1, until });
    fleet.hold_under(0, &plan, 100).await.unwrap();
    assert!(fleet.used().await > 100_000, "a tenth of the extension is leased");
    fleet.millis = 1_000;
    fleet.tend(0).await;
    assert_eq!(fleet.used().await, 190, "what is held, and a tenth of what is left");
    fleet.hold_under(1, &plan, 810).await.unwrap();
}

#[tokio::test]
async fn after_a_reset_the_whole_budget_can_be_spent_and_refusals_and_warnings_speak_of_what_counts() {
    let mut fleet = Fleet::new(1);
    let mut plan = BudgetPlan::from(Fleet::limits(1_000));
    fleet.hold_under(0, &plan, 1_000).await.unwrap();
    fleet.settle(0, |amount| amount);
    fleet.book(0).await;
    assert!(fleet.hold_under(0, &plan, 1).await.is_err());
    plan.changes.daily.reset = Some(store::BudgetReset { at: start(), spent: PicoUsd(1_000) });
    fleet.hold_under(0, &plan, 700).await.unwrap();
    assert_eq!(fleet.replicas[0].holds[0].0.warning, None);
    fleet.settle(0, |amount| amount);
    fleet.book(0).await;
    fleet.hold_under(0, &plan, 150).await.unwrap();
    fleet.settle(0, |amount| amount);
    fleet.book(0).await;
    fleet.hold_under(0, &plan, 10).await.unwrap();
    let warned = fleet.replicas[0].holds[0].0.warning.as_ref().map(ToString::to_string);
    assert_eq!(warned.as_deref(), Some("daily=85%"));
    let Err(Denial::BudgetExceeded(why)) = fleet.hold_under(0, &plan, 141).await else { panic!() };
    assert_eq!((why.limit.0, why.spent.0), (1_000, 850));
    assert_eq!(fleet.spent().await, 1_850, "totals stay true");
}

#[tokio::test]
async fn neither_alerts_nor_the_renewal_of_another_lease_keep_a_lease_from_being_extended() {
    let store = Arc::new(Slow::new());
    let budgets = Arc::new(Budgets::new(Arc::clone(&store) as Arc<dyn Store>, Terms::new("a")));
    let mono = Instant::now();
    let at = |millis| Now { wall: start().plus_millis(millis), mono };
    let mut holds = Vec::new();
    for amount in [95, 90, 5] {
        let mut funding = budgets.of(&KeyRecord { budget_daily: Some(1), ..record() }).unwrap();
        funding.plan = Arc::new(Fleet::limits(100).into());
        holds.push((budgets.hold(&funding, PicoUsd(amount), at(0)).await.unwrap(), funding));
    }
    // One is to be told of, one runs low, and all end.
    holds.remove(0).0.settle(PicoUsd(95));
    for call in ["claim", "lease_budget"] {
        store.slow_down(call, HANGS);
    }
    let others = async { tokio::join!(budgets.tell(at(0).wall), budgets.renew(at(0).wall)) };
    let extended = async {
        tokio::task::yield_now().await;
        budgets.extend(at(5_000).wall).await;
    };
    tokio::select! {
        biased;
        _ = others => panic!("they hang"),
        () = extended => {}
    }
    let funding = &holds[1].1;
    let still = |millis| funding.purse.hold(&funding.plan.at(at(millis).wall), 0, at(millis)).is_some();
    assert!(still(19_999) && !still(20_000), "the last one runs low of nothing, and was extended");
}

#[tokio::test]
async fn one_renewal_does_not_wait_for_another() {
    let store = Arc::new(Slow::new());
    let budgets = Arc::new(Budgets::new(Arc::clone(&store) as Arc<dyn Store>, Terms::new("a")));
    let now = Now { wall: start(), mono: Instant::now() };
    let mut fundings = Vec::new();
    for _ in 0..2 {
        let mut funding = budgets.of(&KeyRecord { budget_daily: Some(1), ..record() }).unwrap();
        funding.plan = Arc::new(Fleet::limits(LIMIT).into());
        // A tenth is leased, and less than a quarter of it is left.
        std::mem::forget(budgets.hold(&funding, PicoUsd(90), now).await.unwrap());
        fundings.push(funding);
    }
    store.slow_down("lease_budget", HANGS);
    tokio::select! {
        biased;
        () = budgets.renew(now.wall) => panic!("it hangs"),
        () = tokio::task::yield_now() => {}
    }
    assert!(
        fundings.iter().all(|funding| funding.purse.care(now.wall) == Care::Nothing),
        "both are asked for"
    );
}

#[tokio::test]
async fn a_store_that_says_nothing_refuses_what_was_not_leased_and_what_comes_late_is_credited() {
    let store = Arc::new(Slow::new());
    let budgets = Arc::new(Budgets::new(Arc::clone(&store) as Arc<dyn Store>, Terms::new("a")));
    let now = Now { wall: start(), mono: Instant::now() };
    let mut funding = budgets.of(&KeyRecord { budget_daily: Some(1), ..record() }).unwrap();
    funding.plan = Arc::new(Fleet::limits(LIMIT).into());
    let hold = async || budgets.hold(&funding, PicoUsd(60), now).await.map(|_| ());
    store.slow_down("lease_budget", SILENCE + Duration::from_millis(300));
    let away = Err(Denial::StoreAway(Unchecked::Budget));
    let both = tokio::join!(hold(), hold());
    assert_eq!(both, (away.clone(), away));
    tokio::time::sleep(Duration::from_millis(400)).await;
    store.slow_down("lease_budget", HANGS);
    assert_eq!(hold().await, Ok(()), "from the lease that came for those who had left");
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_moment_ends_nobodys_lease_afterwards() {
    let mut fleet = Fleet::new(2);
    fleet.hold(1, 500).await.unwrap();
    fleet.millis = 3_600_000;
    fleet.hold(0, 10).await.unwrap();
    fleet.settle(0, |amount| amount);
    fleet.book(0).await;
    fleet.millis = 1_000;
    fleet.tend(0).await;
    let Err(Denial::BudgetExceeded(why)) = fleet.hold(0, 600).await else { panic!() };
    assert!(why.held.0 >= 500, "{why:?}");
    // What was leased by the wrong clock comes back when nobody uses it.
    fleet.millis = 6_000;
    fleet.tend(0).await;
    assert_eq!(fleet.used().await, 510);
    assert_eq!(fleet.hold(0, 490).await, Ok(()));
}
