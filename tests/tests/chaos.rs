//! A thousand requests to a gateway in a process of its own, amid callers that leave, upstreams that die and a database that
//! goes away: nothing is lost, nothing counts twice, and everything is given back.
//!
//! Needs DynamoDB; see `store::contract::stand_in`. What happens is drawn from a seed: `OUTCROP_SEED=…` repeats a run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bedrock_sim::{Config, Sim};
use outcrop_tests::{
    BEDROCK_KEY, Caller, HASH_SECRET, LANES, Process, assert_as_served, assert_summed_up, booked_rows,
    eventually, hello, in_front_of, on_tables, put_key, spent_and_leased,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};
use store::{DynamoDb, KeyId, PicoUsd, RowStatus, UsageRow};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outcrop-proxy-process");
/// Requests that are open at once.
const AT_ONCE: usize = 24;
/// What the key allows.
const CONCURRENCY: u32 = 40;
/// One request, as it was drawn.
#[derive(Debug, Clone)]
struct Plan {
    session: String,
    body: serde_json::Value,
    leaves: Option<Leaves>,
}

/// When its caller goes.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    /// Without a look at the answer.
    After(Duration),
    /// So many bytes into it.
    At(usize),
}

impl Plan {
    fn draw(rng: &mut StdRng, session: String) -> Self {
        let fault = match rng.random_range(0..100) {
            0..55 => String::new(),
            55..63 => format!("sim:reset@{}", rng.random_range(0..12)),
            63..66 => "sim:reset".to_owned(),
            66..74 => format!("sim:truncate@{}", rng.random_range(0..12)),
            74..82 => format!("sim:throttle={}", rng.random_range(1..4)),
            82..87 => format!("sim:midstream=throttlingException@{}", rng.random_range(0..8)),
            87..91 => "sim:error=500".to_owned(),
            91..94 => format!("sim:stall=0.4@{}", rng.random_range(1..5)),
            94..96 => "sim:stall-headers=0.4".to_owned(),
            96..98 => "sim:no-metadata".to_owned(),
            _ => format!("sim:crc@{}", rng.random_range(0..6)),
        };
        let (words, slow) = (rng.random_range(3..40), rng.random_range(0..4));
        let said = format!("{session} {fault} sim:words={words} sim:slow={slow}ms");
        let leaves = match rng.random_range(0..10) {
            0..2 => Some(Leaves::After(Duration::from_millis(rng.random_range(0..60)))),
            2..4 => Some(Leaves::At(rng.random_range(1..4000))),
            _ => None,
        };
        let body = hello(LANES[rng.random_range(0..2)], &said, rng.random_bool(0.7));
        Self { session, body, leaves }
    }

    /// Does it; the status where the caller stayed.
    async fn run(self, caller: Caller) -> (Self, Option<u16>) {
        let caller = caller.header("x-session-id", &self.session);
        let Some(leaves) = self.leaves else {
            let status = caller.messages(&self.body).await.status;
            return (self, Some(status));
        };
        let body = self.body.to_string();
        let mut reply = caller.send("POST", "/v1/messages", body.as_bytes()).await;
        match leaves {
            Leaves::After(time) => tokio::time::sleep(time).await,
            Leaves::At(bytes) => {
                // An answer may be shorter, or end with a reset.
                let _ = reply.read_exact(&mut vec![0; bytes]).await;
            }
        }
        (self, None)
    }
}

struct Stand {
    sim: Sim,
    proxy: FaultProxy,
    store: DynamoDb,
    process: Process,
    key_id: KeyId,
    caller: Caller,
    spool: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Option<Self> {
        let tables = stand_in::tables().await?;
        let store = DynamoDb::open(&tables).await.unwrap();
        let (key, record) = put_key(&store, |record| {
            record.budget_total = Some(10_000_000_000);
            record.concurrency_limit = Some(CONCURRENCY);
        })
        .await;
        let key_id = record.key_id;
        let config =
            Config { bearer_tokens: vec![BEDROCK_KEY.to_owned()], record: true, ..Config::default() };
        let sim = Sim::start(config).await.unwrap();
        let proxy = FaultProxy::start(stand_in::url()?).await;
        let spool = tempfile::tempdir().unwrap();
        let settings = [
            "--workers=2".to_owned(),
            // Rows leave memory in the outage.
            "--usage-queue-rows=50".to_owned(),
            "--usage-flush-interval-ms=50".to_owned(),
            format!("--key-hash-secret={HASH_SECRET}"),
            // A target that fails so often would be passed over, and nothing would be called any more.
            "--target-cooldown-seconds=0".to_owned(),
            "--bedrock-pool-idle-seconds=1".to_owned(),
            "--rate-limit-enabled=false".to_owned(),
            "--lease-ttl-seconds=6".to_owned(),
        ];
        let all =
            [&settings, &in_front_of(&sim, spool.path())[..], &on_tables(&tables, &proxy.url())].concat();
        let process = Process::start(PROGRAM, &all);
        let caller = Caller::new(process.addr, &key);
        Some(Self { sim, proxy, store, process, key_id, caller, spool })
    }

    /// Requests at once, in the order in which they were drawn; the database is away in the middle where that is asked for.
    async fn run(&self, plans: Vec<Plan>, outage: bool) -> Vec<(Plan, Option<u16>)> {
        let (third, open) = (plans.len() / 3, Arc::new(Semaphore::new(AT_ONCE)));
        let mut running = JoinSet::new();
        for (n, plan) in plans.into_iter().enumerate() {
            if outage && n == third {
                self.proxy.all(Fate::Cut);
            }
            if outage && n == third * 2 {
                // At first it does what it is asked, and its answers are lost.
                self.proxy.next(vec![Fate::Forget; 3]);
            }
            let permit = Arc::clone(&open).acquire_owned().await.unwrap();
            let caller = self.caller.clone();
            running.spawn(async move {
                let done = plan.run(caller).await;
                drop(permit);
                done
            });
        }
        running.join_all().await
    }

    /// A lease in use is never given back: nothing is held, and nothing waits to be booked.
    async fn at_rest(&self) {
        eventually("the lease was not given back: something is held", async || {
            spent_and_leased(&self.store, &self.key_id).await.leased == PicoUsd::ZERO
        })
        .await;
    }

    /// How often the upstream was called, by the session that the prompt begins with.
    fn calls(&self) -> BTreeMap<String, u32> {
        let mut calls = BTreeMap::new();
        for request in self.sim.requests() {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let at = text.find("chaos-").unwrap();
            let session = text[at..].split(' ').next().unwrap();
            *calls.entry(session.to_owned()).or_default() += 1;
        }
        calls
    }

    /// Every slot is free: as many as the key allows wait for the upstream at once, and one more is refused.
    async fn all_slots_are_free(&self) {
        let before = self.sim.requests().len();
        let mut open = Vec::new();
        for n in 0..CONCURRENCY {
            let session = format!("chaos-slot-{before}-{n}");
            let body = hello(LANES[0], &format!("{session} sim:stall-headers=60"), false).to_string();
            let caller = self.caller.clone().header("x-session-id", &session);
            open.push(caller.send("POST", "/v1/messages", body.as_bytes()).await);
        }
        eventually("a slot was not given back", async || {
            self.sim.requests().len() == before + CONCURRENCY as usize
        })
        .await;
        let refused = self.caller.messages(&hello(LANES[0], "chaos-refused", false)).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        drop(open);
    }
}

fn draw(rng: &mut StdRng, name: &str, count: usize) -> Vec<Plan> {
    (0..count).map(|n| Plan::draw(rng, format!("chaos-{name}-{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amid_disconnects_dying_upstreams_and_an_outage_nothing_is_lost_or_kept() {
    let seed = std::env::var("OUTCROP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    println!("OUTCROP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let Some(stand) = Stand::start().await else { return };
    let mut done = stand.run(draw(&mut rng, "warm", 300), false).await;
    stand.all_slots_are_free().await;
    stand.at_rest().await;
    let (files, memory) = (stand.process.open_files(), stand.process.resident());

    done.extend(stand.run(draw(&mut rng, "storm", 1_000), true).await);
    stand.all_slots_are_free().await;
    stand.at_rest().await;
    eventually("file descriptors stayed open", async || stand.process.descriptors() <= files.len()).await;
    let grown = stand.process.resident().saturating_sub(memory);
    println!("{memory} KiB, and {grown} more; {} descriptors", files.len());
    assert!(grown < 24 * 1024, "{grown} KiB more than after the warm-up's {memory}");

    let told = stand.process.told();
    assert!(
        told.iter().any(|line| line.contains("does not take usage rows")),
        "there was an outage: {told:#?}"
    );
    let calls = stand.calls();
    let rows = booked_rows(&stand.store, &stand.key_id).await;
    let outcome = |(plan, status): &(Plan, Option<u16>)| {
        (plan.session.clone(), (plan.body.to_string().contains("sim:reset"), *status))
    };
    assert_booked(&rows, &calls, &done.iter().map(outcome).collect());
    let told = rows.iter().filter(|row| !row.estimated && row.status == RowStatus::Ok);
    assert_as_served(told, &stand.sim.answers());
    assert_summed_up(&stand.store, &stand.key_id, &rows).await;
    let Stand { process, spool, .. } = stand;
    process.stop();
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "nothing is left on disk");
}

/// One row for each request that reached the upstream, and of how many calls it was made. Of each request is known whether
/// its connection was reset, and the status where the caller stayed.
fn assert_booked(
    rows: &[UsageRow],
    calls: &BTreeMap<String, u32>,
    outcomes: &BTreeMap<String, (bool, Option<u16>)>,
) {
    let mut booked = BTreeSet::new();
    for row in rows {
        let session = row.session.clone().unwrap();
        assert!(booked.insert(session.clone()), "{session} was booked twice");
        let called = calls.get(&session).copied().unwrap_or_default();
        // Who leaves at once may do so between the decision to call and the call.
        assert!(called > 0 || row.status == RowStatus::ClientClosed, "nothing was called: {row:?}");
        if let Some((reset, Some(status))) = outcomes.get(&session) {
            // A connection that lay in the pool and breaks before the answer is replaced, which is no attempt.
            let replaced = *reset && row.attempts < called;
            assert!(row.attempts == called || replaced, "{called}: {row:?}");
            assert_eq!(row.http_status, *status, "{row:?}");
        }
    }
    let missing: Vec<_> = calls.keys().filter(|session| !booked.contains(*session)).collect();
    assert!(missing.is_empty(), "called and not booked: {missing:?}");
}
