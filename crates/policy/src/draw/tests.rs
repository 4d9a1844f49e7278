//! Several gateways in one, each with pots of its own, over one store in memory; beside them one gateway that is alone and sees
//! every request that they let pass.

use std::time::Instant;

use proptest::prelude::*;
use store::{KeyId, Memory, Timestamp, contract::rate::look};

use super::*;
use crate::gauge::Gate;
use crate::patience::SILENCE;
use crate::rate::Level;
use crate::slow::{HANGS, Slow};

const LIMITS: Limits = Limits { requests: Some(20), tokens: Some(1_000), concurrency: None };
const MINUTE: Duration = Duration::from_mins(1);
const SHARING: Sharing = Sharing { share_percent: 10, idle: Duration::from_secs(5) };

struct Replica {
    gauges: Arc<Gauges>,
    gauge: Arc<Gauge>,
    /// With what the gateway that is alone gave for them.
    open: Vec<(Permit, Permit, u64)>,
}

struct Fleet {
    store: Arc<dyn Store>,
    replicas: Vec<Replica>,
    alone: Arc<Gauge>,
    mono: Instant,
    millis: u64,
}

impl Replica {
    fn new(store: &Arc<dyn Store>) -> Self {
        let shared = Shared { store: Arc::clone(store), sharing: SHARING, grace: Duration::ZERO };
        let gauges = Arc::new(Gauges::new(MINUTE, Some(shared)));
        let gauge = gauges.special(&KeyId::master());
        Self { gauges, gauge, open: Vec::new() }
    }
}

impl Fleet {
    fn new(size: usize) -> Self {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let replicas = (0..size).map(|_| Replica::new(&store)).collect();
        let alone = Gauges::new(MINUTE, None).special(&KeyId::master());
        Self { store, replicas, alone, mono: Instant::now(), millis: 0 }
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_unix_millis(1_795_262_400_000 + i64::try_from(self.millis).unwrap());
        Now { wall, mono: self.mono + Duration::from_millis(self.millis) }
    }

    async fn take(&mut self, n: usize, limits: &Limits, want: Want) -> Result<(Permit, Rates), Denial> {
        let now = self.now();
        let replica = &self.replicas[n];
        replica.gauges.take(&replica.gauge, limits, want, now).await
    }

    /// Takes and keeps what was given. What the fleet lets pass, the one that is alone lets pass too.
    async fn run(&mut self, n: usize, tokens: u64) -> Result<Rates, Denial> {
        let want = Want::Run { tokens };
        let (permit, rates) = self.take(n, &LIMITS, want).await?;
        let (other, _) = self.alone.take(&LIMITS, want, self.now().mono).expect("one gateway would refuse");
        self.replicas[n].open.push((permit, other, tokens.min(1_000)));
        Ok(rates)
    }

    async fn settle(&mut self, n: usize, percent: u64) {
        let now = self.now();
        let Some((permit, other, taken)) = self.replicas[n].open.pop() else { return };
        for permit in [permit, other] {
            permit.settle(taken * percent / 100, now.mono);
        }
        // A debt is told within a second, and until then the others do not know of it.
        if percent > 100 {
            self.tend(n).await;
        }
    }

    async fn lose(&self, n: usize, all_back: bool, arrives: bool) {
        let (now, Replica { gauges, gauge, .. }) = (self.now(), &self.replicas[n]);
        let begun = gauge.with(Rate::Tokens, |meter| {
            meter.look(1_000, 100, now.mono);
            if all_back { meter.leave(now.mono) } else { meter.begin(100, now.mono) }
        });
        let Some(begun) = begun else { return };
        let ask = gauges.shared.as_ref().unwrap().ask(gauge, Rate::Tokens, &begun, now);
        if arrives {
            self.store.draw_rate(&ask).await.unwrap();
        }
        gauge.end(Rate::Tokens, &begun, None);
    }

    async fn tend(&self, n: usize) {
        self.replicas[n].gauges.tend(self.now()).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Run(usize, u64),
    Settle(usize, u64),
    LetGo(usize),
    Tend(usize),
    Pass(u64),
    /// A gateway is killed, and another takes its place.
    Kill(usize),
    /// An ask has no answer, and has arrived or not.
    Lose {
        n: usize,
        all_back: bool,
        arrives: bool,
    },
}

/// `most` is what calls use of what they had reserved, in percent.
fn step(replicas: usize, most: u64) -> impl Strategy<Value = Step> {
    let replica = 0..replicas;
    prop_oneof![
        10 => (replica.clone(), prop_oneof![8 => 1..200_u64, 1 => 200..2_000_u64])
            .prop_map(|(n, tokens)| Step::Run(n, tokens)),
        4 => (replica.clone(), 0..=most).prop_map(|(n, percent)| Step::Settle(n, percent)),
        1 => replica.clone().prop_map(Step::LetGo),
        2 => replica.clone().prop_map(Step::Tend),
        3 => prop_oneof![0..500_u64, 0..20_000_u64, 60_000..90_000_u64].prop_map(Step::Pass),
        1 => replica.clone().prop_map(Step::Kill),
        2 => (replica, any::<bool>(), any::<bool>())
            .prop_map(|(n, all_back, arrives)| Step::Lose { n, all_back, arrives }),
    ]
}

async fn walk(fleet: &mut Fleet, step: &Step) -> Result<(), TestCaseError> {
    match *step {
        Step::Run(n, tokens) => {
            let taken = fleet.run(n, tokens).await;
            prop_assert!(matches!(taken, Ok(_) | Err(Denial::RateLimited { .. })), "{taken:?}");
        }
        Step::Settle(n, percent) => fleet.settle(n, percent).await,
        Step::LetGo(n) => drop(fleet.replicas[n].open.pop()),
        Step::Tend(n) => fleet.tend(n).await,
        Step::Pass(millis) => fleet.millis += millis,
        Step::Kill(n) => {
            let killed = std::mem::replace(&mut fleet.replicas[n], Replica::new(&fleet.store));
            // What its requests had taken stays taken.
            killed.open.into_iter().for_each(|(_, other, _)| std::mem::forget(other));
        }
        Step::Lose { n, all_back, arrives } => fleet.lose(n, all_back, arrives).await,
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_replicas_do_they_let_pass_no_more_than_one_bucket(
        steps in proptest::collection::vec(step(3, 100), 1..120)
    ) {
        runtime().block_on(async {
            let mut fleet = Fleet::new(3);
            for step in &steps {
                walk(&mut fleet, step).await?;
            }
            // And nothing is lost for good: when the bucket has filled, all of it can be used.
            fleet.millis += 10 * 60_000;
            for n in 0..3 {
                fleet.replicas[n].open.clear();
                fleet.tend(n).await;
            }
            fleet.millis += 60_000;
            prop_assert!(fleet.run(1, 1_000).await.is_ok());
            Ok(())
        })?;
    }

    #[test]
    fn a_replica_that_is_alone_lets_pass_and_says_what_one_bucket_does(
        steps in proptest::collection::vec(step(1, 150), 1..120)
    ) {
        runtime().block_on(async {
            let mut fleet = Fleet::new(1);
            for step in steps.iter().filter(|step| !matches!(step, Step::Kill(_) | Step::Lose { .. })) {
                let Step::Run(_, tokens) = *step else {
                    walk(&mut fleet, step).await?;
                    continue;
                };
                let want = Want::Run { tokens };
                let ours = fleet.take(0, &LIMITS, want).await;
                let others = fleet.alone.take(&LIMITS, want, fleet.now().mono);
                match (ours, others) {
                    (Ok((ours, rates)), Ok((others, expected))) => {
                        prop_assert_eq!(rates, expected);
                        fleet.replicas[0].open.push((ours, others, tokens.min(1_000)));
                    }
                    (Err(ours), Err(Missed::Denied(others))) => prop_assert_eq!(ours, others),
                    (ours, others) => prop_assert!(false, "{ours:?}, and alone {others:?}"),
                }
            }
            Ok(())
        })?;
    }
}

fn gate(denied: Result<Rates, Denial>) -> (Gate, Duration) {
    match denied {
        Err(Denial::RateLimited { gate, wait, .. }) => (gate, wait),
        other => panic!("{other:?}"),
    }
}

/// What is spent in the shared bucket, in whole tokens.
async fn spent(fleet: &Fleet, rate: Rate) -> u128 {
    let limit = if rate == Rate::Tokens { 1_000 } else { 20 };
    let ask = look(KeyId::master(), rate, limit, MINUTE, fleet.now().wall);
    fleet.store.draw_rate(&ask).await.unwrap().spent / MINUTE.as_nanos()
}

#[tokio::test]
async fn the_store_is_not_asked_while_the_pot_has_enough() {
    let mut fleet = Fleet::new(1);
    assert_eq!(fleet.run(0, 10).await.unwrap().requests.unwrap().remaining, 19);
    assert_eq!((spent(&fleet, Rate::Requests).await, spent(&fleet, Rate::Tokens).await), (2, 100));
    let left = fleet.run(0, 90).await.unwrap();
    assert_eq!((spent(&fleet, Rate::Requests).await, spent(&fleet, Rate::Tokens).await), (2, 100));
    assert_eq!((left.requests.unwrap().remaining, left.tokens.unwrap().remaining), (18, 900));
    fleet.run(0, 1).await.unwrap();
    assert_eq!((spent(&fleet, Rate::Requests).await, spent(&fleet, Rate::Tokens).await), (3, 190));
}

#[tokio::test]
async fn a_pot_that_runs_low_is_filled_behind_the_requests_and_one_that_nobody_uses_goes_back() {
    let mut fleet = Fleet::new(2);
    let limits = Limits { requests: Some(1_000), tokens: None, concurrency: None };
    let mut kept = Vec::new();
    for _ in 0..80 {
        kept.push(fleet.take(0, &limits, Want::Count).await.unwrap());
    }
    let drawn = async |fleet: &Fleet| {
        let ask = look(KeyId::master(), Rate::Counts, 1_000, MINUTE, fleet.now().wall);
        fleet.store.draw_rate(&ask).await.unwrap().spent / MINUTE.as_nanos()
    };
    assert_eq!(drawn(&fleet).await, 100);
    fleet.tend(0).await;
    assert_eq!(drawn(&fleet).await, 190, "a tenth of the rest, before anybody had to wait");
    fleet.tend(0).await;
    assert_eq!(drawn(&fleet).await, 190);
    fleet.millis += 5_000;
    // 83 of them are refilled; what had melted is not given back a second time.
    fleet.tend(0).await;
    assert_eq!(drawn(&fleet).await, 0);
    fleet.replicas[0].gauges.close(fleet.now()).await;
    assert_eq!(drawn(&fleet).await, 0);
}

#[tokio::test]
async fn what_a_killed_replica_had_drawn_is_there_again_after_the_refill() {
    let mut fleet = Fleet::new(2);
    fleet.run(0, 0).await.unwrap();
    assert_eq!(spent(&fleet, Rate::Requests).await, 2, "one lies in its pot");
    let mut passed = 0;
    while fleet.run(1, 0).await.is_ok() {
        passed += 1;
    }
    assert_eq!(passed, 18);
    assert_eq!(gate(fleet.run(1, 0).await), (Gate::Requests, Duration::from_secs(3)));
    fleet.millis += 6_000;
    for _ in 0..2 {
        fleet.run(1, 0).await.unwrap();
    }
    assert!(fleet.run(1, 0).await.is_err());
}

#[tokio::test]
async fn a_debt_of_one_is_a_debt_of_all() {
    let mut fleet = Fleet::new(2);
    fleet.run(0, 500).await.unwrap();
    fleet.settle(0, 300).await;
    assert_eq!(spent(&fleet, Rate::Tokens).await, 1_500);
    let (gate, wait) = gate(fleet.run(1, 100).await);
    assert_eq!((gate, wait), (Gate::Tokens, Duration::from_secs(36)));
}

#[tokio::test]
async fn what_a_large_reservation_did_not_use_serves_the_others_within_seconds() {
    let mut fleet = Fleet::new(2);
    fleet.run(0, 900).await.unwrap();
    assert!(fleet.run(1, 500).await.is_err());
    fleet.settle(0, 1).await;
    fleet.run(0, 900).await.unwrap();
    fleet.settle(0, 1).await;
    fleet.millis += 5_000;
    fleet.tend(0).await;
    fleet.run(1, 900).await.unwrap();
}

#[tokio::test]
async fn another_limit_holds_at_once_for_what_was_drawn_too() {
    let mut fleet = Fleet::new(1);
    let of = |limit| Limits { requests: Some(limit), tokens: None, concurrency: None };
    let run = Want::Run { tokens: 0 };
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(fleet.take(0, &of(200), run).await.unwrap());
    }
    kept.push(fleet.take(0, &of(4), run).await.unwrap());
    assert!(fleet.take(0, &of(4), run).await.is_err(), "the pot of before is not used");
    kept.push(fleet.take(0, &of(5), run).await.unwrap());
    assert!(fleet.take(0, &of(5), run).await.is_err());
    assert!(fleet.take(0, &of(0), run).await.is_err());
    let (_, rates) = fleet.take(0, &of(200), run).await.unwrap();
    assert_eq!(
        rates.requests,
        Some(Level { limit: 200, remaining: 194, reset: Duration::from_millis(1_800) })
    );
}

#[tokio::test]
async fn a_store_that_says_nothing_refuses_what_was_not_drawn_and_what_comes_late_is_credited() {
    let store = Arc::new(Slow::new());
    let fleet = Replica::new(&(Arc::clone(&store) as Arc<dyn Store>));
    let now = Fleet::new(0).now();
    let take = async || fleet.gauges.take(&fleet.gauge, &LIMITS, Want::Count, now).await.map(|_| ());
    store.slow_down("draw_rate", SILENCE + Duration::from_millis(300));
    let away = Err(Denial::StoreAway(Unchecked::Limit));
    // Whoever asks, and whoever waits for the one who does.
    let both = tokio::join!(take(), take());
    assert_eq!(both, (away.clone(), away));
    tokio::time::sleep(Duration::from_millis(400)).await;
    store.slow_down("draw_rate", HANGS);
    assert_eq!(take().await, Ok(()), "from what was drawn for those who had left");
}

#[tokio::test]
async fn gauges_are_closed_side_by_side() {
    let store = Arc::new(Slow::new());
    let Replica { gauges, .. } = Replica::new(&(Arc::clone(&store) as Arc<dyn Store>));
    let now = Fleet::new(0).now();
    let keys = (1..=2).map(|n| gauges.special(&store::contract::sample::key_id(n)));
    let keys: Vec<_> = keys.collect();
    for gauge in &keys {
        let _ = gauges.take(gauge, &LIMITS, Want::Run { tokens: 1 }, now).await.unwrap();
    }
    store.slow_down("draw_rate", HANGS);
    tokio::select! {
        biased;
        () = gauges.close(now) => unreachable!("it hangs"),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
    }
    assert!(keys.iter().all(|gauge| gauge.turn.try_lock().is_err()), "all are under way");
}
