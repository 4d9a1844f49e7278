//! `kill -9`: two gateways on one DynamoDB, one of them killed amid its requests, and what it had served is booked to the
//! token all the same.
//!
//! Needs DynamoDB; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bedrock_sim::{Config, Sim};
use outcrop_tests::{
    BEDROCK_KEY, Caller, HASH_SECRET, LANES, Process, Reply, booked_rows, eventually, hello, put_key,
    spent_and_leased,
};
use store::contract::stand_in;
use store::{Bucket, DynamoDb, DynamoDbSettings, PicoUsd, Store, Totals};
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outcrop-proxy-process");

fn settings(sim: &Sim, tables: &DynamoDbSettings, spool: &tempfile::TempDir) -> Vec<String> {
    vec![
        "--workers=2".to_owned(),
        "--store=dynamodb".to_owned(),
        format!("--dynamodb-endpoint-url={}", tables.endpoint_url.as_ref().unwrap()),
        format!("--dynamodb-table-prefix={}", tables.tables.prefix),
        format!("--usage-spool-dir={}", spool.path().display()),
        format!("--key-hash-secret={HASH_SECRET}"),
        format!("--bedrock-endpoint-url={}", sim.url()),
        format!("--bedrock-mantle-endpoint-url={}", sim.mantle_url()),
        format!("--aws-bearer-token-bedrock={BEDROCK_KEY}"),
        "--aws-region=us-east-1".to_owned(),
        "--lease-ttl-seconds=3".to_owned(),
    ]
}

/// Callers that ask one gateway, one request after the other, until they are told to end or it is gone.
struct Callers {
    asking: JoinSet<Vec<(String, bool)>>,
    end: Arc<AtomicBool>,
    whole: Arc<AtomicUsize>,
}

impl Callers {
    fn start(addr: std::net::SocketAddr, key: &str, name: &'static str) -> Self {
        let (end, whole) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut asking = JoinSet::new();
        for n in 0..8 {
            let (end, whole, caller) = (Arc::clone(&end), Arc::clone(&whole), Caller::new(addr, key));
            asking.spawn(async move {
                let mut asked = Vec::new();
                while !end.load(Relaxed) {
                    let session = format!("{name}-{n}-{}", asked.len());
                    let said = format!("{session} sim:words={}", 5 + asked.len() % 30);
                    let body = hello(LANES[n % 2], &said, n % 4 > 1);
                    let reply = caller.clone().header("x-session-id", &session).try_messages(&body).await;
                    let came = reply.as_ref().is_some_and(came_whole);
                    whole.fetch_add(came.into(), Relaxed);
                    asked.push((session, came));
                    if reply.is_none() {
                        break;
                    }
                }
                asked
            });
        }
        Self { asking, end, whole }
    }

    async fn until(&self, whole: usize) {
        eventually("answers came", async || self.whole.load(Relaxed) >= whole).await;
    }

    /// Which sessions got their answer whole.
    async fn ended(self) -> Vec<(String, bool)> {
        self.end.store(true, Relaxed);
        self.asking.join_all().await.into_iter().flatten().collect()
    }
}

fn came_whole(reply: &Reply) -> bool {
    let stream = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    reply.status == 200 && reply.complete && (!stream || reply.text().contains("event: message_stop"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_gateway_had_served_is_booked_once_and_to_the_token_and_its_lease_comes_back() {
    let Some(tables) = stand_in::tables().await else { return };
    let store = DynamoDb::open(&tables).await.unwrap();
    let (key, record) = put_key(&store, |record| record.budget_daily = Some(1_000_000_000)).await;
    let key_id = record.key_id;
    let delay = Duration::from_millis(3);
    let config =
        Config { bearer_tokens: vec![BEDROCK_KEY.to_owned()], record: true, delay, ..Config::default() };
    let sim = Sim::start(config).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let common = settings(&sim, &tables, &spool);
    // Its rows would reach the store in an hour: all that survives of them is on disk.
    let hoarding = [&common[..], &["--usage-flush-interval-ms=3600000".to_owned()]].concat();
    let mut doomed = Process::start(PROGRAM, &hoarding);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Process::start(PROGRAM, &settings(&sim, &tables, &elsewhere));
    let (of_doomed, of_other) =
        (Callers::start(doomed.addr, &key, "doomed"), Callers::start(other.addr, &key, "other"));
    of_doomed.until(100).await;
    doomed.kill();
    of_other.until(100).await;
    let asked = [of_doomed.ended().await, of_other.ended().await].concat();
    // The other one gives its lease back when it is idle; that of the dead one lapses.
    eventually("a lease did not come back", async || {
        spent_and_leased(&store, &key_id).await.leased == PicoUsd::ZERO
    })
    .await;
    let whole: Vec<_> = asked.iter().filter(|(_, whole)| *whole).map(|(session, _)| session).collect();
    assert!(booked_rows(&store, &key_id).await.len() < whole.len(), "the dead one's rows are on disk");
    // Two find its directory at once.
    let heirs = [Process::start(PROGRAM, &common), Process::start(PROGRAM, &common)];
    eventually("rows are missing", async || booked_rows(&store, &key_id).await.len() >= whole.len()).await;
    heirs.into_iter().chain([other]).for_each(Process::stop);
    for dir in [&spool, &elsewhere] {
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left on disk");
    }

    let rows = booked_rows(&store, &key_id).await;
    let by_session: BTreeMap<_, _> = rows.iter().map(|row| (row.session.clone().unwrap(), row)).collect();
    assert_eq!(by_session.len(), rows.len(), "one row each");
    let answers = sim.answers();
    let served: BTreeMap<_, _> = answers.iter().map(|one| (one.request_id.as_str(), one.served)).collect();
    for session in whole {
        assert!(by_session.contains_key(session), "{session} was answered and is not booked");
    }
    for row in rows.iter().filter(|row| !row.estimated) {
        let served = served[row.upstream_request_id.as_deref().unwrap()];
        assert_eq!(
            (row.input_tokens, row.output_tokens),
            (served.input_tokens, served.output_tokens),
            "{row:?}"
        );
    }
    assert!(rows.iter().all(|row| !row.estimated || !asked.contains(&(row.session.clone().unwrap(), true))));
    let sum = rows.iter().fold(Totals::default(), |mut sum, row| {
        sum.add(row);
        sum
    });
    assert_eq!(store.usage_totals(&key_id, &Bucket::Total).await.unwrap(), sum);
    let seen = spent_and_leased(&store, &key_id).await;
    assert_eq!((seen.spent.total, seen.leased), (sum.cost_pico_usd, PicoUsd::ZERO));
    // What was on its way at the instant of the kill is all that may be missing.
    assert!(answers.len() - rows.len() <= 8, "{} {}", answers.len(), rows.len());
}
