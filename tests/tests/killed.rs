//! `kill -9` amid requests: what a gateway had answered is booked to the token all the same, on a file and on DynamoDB.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bedrock_sim::{Config, Sim};
use outcrop_tests::{
    BEDROCK_KEY, Caller, HASH_SECRET, LANES, Process, Reply, assert_as_served, assert_summed_up, booked_rows,
    eventually, hello, in_front_of, on_file, on_tables, put_key, spent_and_leased,
};
use store::contract::stand_in;
use store::{DynamoDb, KeyId, PicoUsd, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outcrop-proxy-process");

/// Callers of a gateway.
const AT_ONCE: usize = 8;
/// Rows of such a gateway would reach the store in an hour: all that survives of them is on disk.
const HOARDS: &str = "--usage-flush-interval-ms=3600000";

async fn simulator() -> Sim {
    let delay = Duration::from_millis(3);
    let config =
        Config { bearer_tokens: vec![BEDROCK_KEY.to_owned()], record: true, delay, ..Config::default() };
    Sim::start(config).await.unwrap()
}

fn settings(sim: &Sim, spool: &TempDir, store: &[String]) -> Vec<String> {
    let common = [
        "--workers=2".to_owned(),
        format!("--key-hash-secret={HASH_SECRET}"),
        "--lease-ttl-seconds=3".to_owned(),
    ];
    [&common, &in_front_of(sim, spool.path())[..], store].concat()
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
        for n in 0..AT_ONCE {
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

fn assert_empty(spool: &TempDir) {
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "nothing is left on disk");
}

/// One row for each request that was answered whole, with the tokens that the simulator charged; totals and budget agree.
async fn assert_booked(store: &dyn Store, key_id: &KeyId, sim: &Sim, asked: &[(String, bool)]) {
    let rows = booked_rows(store, key_id).await;
    let by_session: BTreeMap<_, _> = rows.iter().map(|row| (row.session.clone().unwrap(), row)).collect();
    assert_eq!(by_session.len(), rows.len(), "one row each");
    let answers = sim.answers();
    for (session, _) in asked.iter().filter(|(_, whole)| *whole) {
        let row =
            by_session.get(session).unwrap_or_else(|| panic!("{session} was answered and is not booked"));
        assert!(!row.estimated, "{row:?}");
    }
    assert_as_served(rows.iter().filter(|row| !row.estimated), &answers);
    assert_eq!(assert_summed_up(store, key_id, &rows).await, PicoUsd::ZERO);
    // What was on its way at the instant of a kill is all that may be missing.
    assert!(answers.len() - rows.len() <= 2 * AT_ONCE, "{} {}", answers.len(), rows.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_gateways_one_is_killed_and_its_rows_are_booked_once_and_its_lease_comes_back() {
    let Some(tables) = stand_in::tables().await else { return };
    let store = DynamoDb::open(&tables).await.unwrap();
    let (key, record) = put_key(&store, |record| record.budget_daily = Some(1_000_000_000)).await;
    let key_id = record.key_id;
    let (sim, spool, elsewhere) =
        (simulator().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = on_tables(&tables, tables.endpoint_url.as_ref().unwrap());
    let common = settings(&sim, &spool, &shared);
    let mut doomed = Process::start(PROGRAM, &[&common[..], &[HOARDS.to_owned()]].concat());
    let other = Process::start(PROGRAM, &settings(&sim, &elsewhere, &shared));
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
    let whole = asked.iter().filter(|(_, whole)| *whole).count();
    assert!(booked_rows(&store, &key_id).await.len() < whole, "the dead one's rows are on disk");
    // Two find its directory at once.
    let heirs = [Process::start(PROGRAM, &common), Process::start(PROGRAM, &common)];
    eventually("rows are missing", async || booked_rows(&store, &key_id).await.len() >= whole).await;
    heirs.into_iter().chain([other]).for_each(Process::stop);
    assert_empty(&spool);
    assert_empty(&elsewhere);
    assert_booked(&store, &key_id, &sim, &asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_a_file_is_killed_again_and_again_and_every_answer_is_booked_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = store::Sqlite::open(&path).unwrap();
    let (key, record) = put_key(&store, |record| record.budget_daily = Some(1_000_000_000)).await;
    let key_id = record.key_id;
    let (sim, spool) = (simulator().await, tempfile::tempdir().unwrap());
    let own = on_file(&path);
    let common = settings(&sim, &spool, &own);
    let mut asked = Vec::new();
    for (name, interval) in [("first", HOARDS), ("second", "--usage-flush-interval-ms=5")] {
        let mut doomed = Process::start(PROGRAM, &[&common[..], &[interval.to_owned()]].concat());
        let callers = Callers::start(doomed.addr, &key, name);
        callers.until(60).await;
        doomed.kill();
        asked.extend(callers.ended().await);
    }
    Process::start(PROGRAM, &common).stop();
    assert_empty(&spool);
    eventually("a lease did not come back", async || {
        spent_and_leased(&store, &key_id).await.leased == PicoUsd::ZERO
    })
    .await;
    assert_booked(&store, &key_id, &sim, &asked).await;
}
