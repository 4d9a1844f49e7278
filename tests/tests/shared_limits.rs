//! Limits that gateways share through their store: two processes on one file and on one DynamoDB, one that is killed, and a
//! store that is away.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use bedrock_sim::{Config, Sim};
use outcrop_tests::{
    BEDROCK_KEY, CLAUDE, Caller, Gateway, HASH_SECRET, Options, Process, Reply, hello, in_front_of, on_file,
    on_tables, put_key,
};
use store::contract::{
    fault::{Fate, FaultProxy},
    rate::look,
    stand_in,
};
use store::{DynamoDb, KeyId, Rate, Sqlite, Store, Timestamp};
use tempfile::TempDir;
use tokio::task::JoinSet;

const DAY: Duration = Duration::from_hours(24);

const PROGRAM: &str = env!("CARGO_BIN_EXE_outcrop-proxy-process");

/// A gateway in a process of its own, and what it needs.
struct Alone {
    process: Process,
    _needs: (Sim, TempDir),
}

impl Alone {
    async fn start(settings: &[String]) -> Self {
        let config = Config { bearer_tokens: vec![BEDROCK_KEY.to_owned()], ..Config::default() };
        let (sim, spool) = (Sim::start(config).await.unwrap(), tempfile::tempdir().unwrap());
        let mut all = in_front_of(&sim, spool.path());
        all.extend(["--workers=2".to_owned(), format!("--key-hash-secret={HASH_SECRET}")]);
        all.extend_from_slice(settings);
        Self { process: Process::start(PROGRAM, &all), _needs: (sim, spool) }
    }
}

async fn key(store: &dyn Store, limit: u32) -> (String, KeyId) {
    let (key, record) = put_key(store, |record| record.rate_limit = Some(limit)).await;
    (key, record.key_id)
}

/// What is drawn of a limit per day, in tokens, rounded up.
async fn drawn(store: &dyn Store, key_id: &KeyId, limit: u64) -> u128 {
    let ask = look(key_id.clone(), Rate::Requests, limit, DAY, Timestamp::now());
    store.draw_rate(&ask).await.unwrap().spent.div_ceil(DAY.as_nanos())
}

#[track_caller]
fn assert_limited(reply: &Reply, limit: &str) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(reply.json()["error"]["details"]["limit"], "requests");
    assert!(reply.header("retry-after").is_some());
    let told = |part| reply.header(&format!("anthropic-ratelimit-requests-{part}")).map(str::to_owned);
    assert_eq!((told("limit").as_deref(), told("remaining").as_deref()), (Some(limit), Some("0")));
}

/// 200 requests at once to two processes on one store, against a limit of 50 a day.
async fn two_processes_share_a_limit(mut settings: Vec<String>, store: &dyn Store) {
    settings.push("--rate-limit-window=86400".to_owned());
    let (key, key_id) = key(store, 50).await;
    let processes = [Alone::start(&settings).await, Alone::start(&settings).await];
    let mut open = JoinSet::new();
    for n in 0..200 {
        let caller = Caller::new(processes[n % 2].process.addr, &key);
        let body = hello(CLAUDE, "Hi", n % 3 == 0);
        open.spawn(async move { caller.messages(&body).await });
    }
    let replies = open.join_all().await;
    let (passed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!((45..=50).contains(&passed.len()), "{}", passed.len());
    for reply in refused {
        assert_limited(reply, "50");
    }
    for reply in &passed {
        assert_eq!(reply.header("x-ratelimit-limit"), Some("50"));
        assert!(reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap() < 50);
    }
    // What lies in a pot of the one is no more than what the other was refused.
    assert_eq!(drawn(store, &key_id, 50).await, 50);
    let mut more = 0;
    for Alone { process, .. } in processes.iter().cycle().take(20) {
        more += usize::from(
            Caller::new(process.addr, &key).messages(&hello(CLAUDE, "Hi", false)).await.status == 200,
        );
    }
    assert_eq!(passed.len() + more, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_at_two_processes_on_one_file_the_limit_passes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    two_processes_share_a_limit(on_file(&path), &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_at_two_processes_on_one_dynamodb_the_limit_passes() {
    let Some(tables) = stand_in::tables().await else { return };
    let store = DynamoDb::open(&tables).await.unwrap();
    two_processes_share_a_limit(on_tables(&tables, tables.endpoint_url.as_ref().unwrap()), &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_process_takes_what_it_had_drawn_with_it_until_the_refill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    let mut settings = on_file(&path);
    // A request in half a second.
    settings.push("--rate-limit-window=20".to_owned());
    let (key, _) = key(&store, 40).await;
    let mut killed = Alone::start(&settings).await;
    let other = Alone::start(&settings).await;
    let ask = async |addr| Caller::new(addr, &key).messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(ask(killed.process.addr).await.status, 200);
    killed.process.kill();
    let mut passed = 0;
    let refused = loop {
        let reply = ask(other.process.addr).await;
        if reply.status != 200 {
            break reply;
        }
        passed += 1;
    };
    assert!(passed >= 36, "{passed}: four were drawn by the one that was killed");
    assert_limited(&refused, "40");
    let wait: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
    assert!(wait <= 500, "{wait}");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    assert_eq!(ask(other.process.addr).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_gateway_on_a_file_tells_each_request_what_one_bucket_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::with_keys(&["--rate-limit-window=3600", "--workers=2"]);
    options.settings.extend(on_file(&dir.path().join("outcrop.db")));
    let gateway = Gateway::with(options).await;
    let (key, _) = gateway.key_with(|record| record.rate_limit = Some(10)).await;
    let caller = Caller::new(gateway.addr, &key);
    let mut open = JoinSet::new();
    for n in 0..50 {
        let caller = caller.clone();
        open.spawn(async move { caller.messages(&hello(CLAUDE, "Hi", n % 2 == 0)).await });
    }
    let mut left = Vec::new();
    for reply in open.join_all().await {
        if reply.status == 200 {
            left.push(reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap());
        } else {
            assert_limited(&reply, "10");
        }
    }
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gateway_that_stops_or_idles_gives_back_what_it_had_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    let (key, key_id) = key(&store, 100).await;
    for idle in [false, true] {
        let ttl = if idle { 1 } else { 3_600 };
        let mut options =
            Options::with_keys(&["--rate-limit-window=86400", &format!("--lease-ttl-seconds={ttl}")]);
        options.settings.extend(on_file(&path));
        let gateway = Gateway::with(options).await;
        let before = drawn(&store, &key_id, 100).await;
        let reply = Caller::new(gateway.addr, &key).messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 200);
        if idle {
            while drawn(&store, &key_id, 100).await > before + 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } else {
            assert_eq!(drawn(&store, &key_id, 100).await, before + 10);
            gateway.ended().await;
        }
        assert_eq!(drawn(&store, &key_id, 100).await, before + 1);
    }
}

#[tokio::test]
async fn without_the_store_what_is_drawn_runs_on_then_nothing_and_no_more_than_the_limit_in_all() {
    let Some(tables) = stand_in::tables().await else { return };
    let proxy = FaultProxy::start(stand_in::url().unwrap()).await;
    let mut options = Options::with_keys(&["--rate-limit-window=86400", "--lease-ttl-seconds=1"]);
    options.settings.extend(on_tables(&tables, &proxy.url()));
    let gateway = Gateway::with(options).await;
    let (key, _) = gateway.key_with(|record| record.rate_limit = Some(50)).await;
    let caller = Caller::new(gateway.addr, &key);
    let ask = async || caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(ask().await.status, 200);
    proxy.all(Fate::Cut);
    let mut passed = 1;
    let refused = loop {
        let reply = ask().await;
        if reply.status != 200 {
            break reply;
        }
        passed += 1;
    };
    assert_eq!((passed, refused.status), (5, 503), "{}", refused.text());
    assert!(refused.error().1.starts_with("The limits of the key cannot be checked"), "{}", refused.text());
    // It is back, and hears of everything.
    proxy.all(Fate::Pass);
    let refused = loop {
        let reply = ask().await;
        match reply.status {
            200 => passed += 1,
            429 => break reply,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_limited(&refused, "50");
    assert_eq!(passed, 50);
}
