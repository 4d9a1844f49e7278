//! Budgets by key, as callers meet them: who passes, what is held and booked, what a refusal says, and two gateways on
//! one store.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{
    CLAUDE, Caller, Gateway, LANES, Options, QWEN, Reply, booked_rows, hello, on_file, on_tables, put_key,
    spent_and_leased,
};
use serde_json::json;
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};
use store::{Bucket, DynamoDb, KeyRecord, PicoUsd, Store, Totals, UsageRow};
use tokio::task::JoinSet;

async fn with_key(settings: &[&str], change: impl FnOnce(&mut KeyRecord)) -> (Gateway, Caller, KeyRecord) {
    let gateway = Gateway::with(Options::with_keys(settings)).await;
    let (key, record) = gateway.key_with(change).await;
    let caller = Caller::new(gateway.addr, &key);
    (gateway, caller, record)
}

fn cost(rows: &[UsageRow]) -> u128 {
    rows.iter().map(|row| row.cost_pico_usd.unwrap().0).sum()
}

#[track_caller]
fn assert_refused(reply: &Reply, period: &str) {
    assert_eq!(reply.status, 402, "{}", reply.text());
    let (kind, message) = reply.error();
    assert_eq!(kind, "billing_error");
    assert!(message.starts_with(&format!("Budget exceeded. Of the {period} budget of $")), "{message}");
    assert!(message.contains(" is spent and $") && message.contains(" is held; "), "{message}");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert_eq!(reply.header("retry-after").is_some(), period != "total");
    assert_eq!(message.ends_with("It does not reset."), period == "total", "{message}");
    assert_eq!(message.ends_with("T00:00:00Z."), period != "total", "{message}");
}

/// At most 300 output tokens of Sonnet are 4500 micro-dollars; the question is less than 100 more.
const TEN_REQUESTS: u64 = 48_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_the_budget_pays_ten_and_what_they_did_not_use_pays_more() {
    let (gateway, caller, record) =
        with_key(&["--workers=2"], |record| record.budget_total = Some(TEN_REQUESTS)).await;
    gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_secs(5)); 10]);
    let mut open = JoinSet::new();
    for n in 0..50 {
        let caller = caller.clone();
        open.spawn(async move { caller.messages(&hello(CLAUDE, "Hi", n % 2 == 0)).await });
    }
    let replies = open.join_all().await;
    let (passed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((passed.len(), refused.len()), (10, 40));
    assert_eq!(gateway.sim.requests().len(), 10);
    for reply in refused {
        assert_refused(reply, "total");
    }
    for _ in 0..5 {
        assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    }
    let store = gateway.ended().await;
    let rows = booked_rows(store.as_ref(), &record.key_id).await;
    let seen = spent_and_leased(store.as_ref(), &record.key_id).await;
    assert_eq!((rows.len(), seen.spent.total.0, seen.leased.0), (15, cost(&rows), 0));
}

#[tokio::test]
async fn a_spent_budget_refuses_in_every_dialect_and_runs_again_when_it_is_raised() {
    let settings = ["--key-cache-ttl-seconds=0.2", "--rate-limit-window=86400"];
    let (gateway, caller, record) = with_key(&settings, |record| {
        record.budget_daily = Some(5_000);
        record.budget_monthly = Some(1_000_000);
    })
    .await;
    let mut long = hello(CLAUDE, "sim:words=290", false);
    long["max_tokens"] = json!(300);
    assert_eq!(caller.messages(&long).await.status, 200);
    for model in LANES {
        for stream in [false, true] {
            let mut large = hello(model, "Hi", stream);
            large["max_tokens"] = json!(4000);
            assert_refused(&caller.messages(&large).await, "daily");
        }
    }
    let converse = json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }],
        "inferenceConfig": { "maxTokens": 4000 } });
    for operation in ["converse", "converse-stream"] {
        let path = format!("/model/{QWEN}/{operation}");
        let reply = caller.post(&path, converse.to_string().as_bytes()).await;
        let named = reply.header("x-amzn-errortype");
        assert_eq!((reply.status, named), (402, Some("ServiceQuotaExceededException")), "{}", reply.text());
        assert!(reply.json()["message"].as_str().unwrap().starts_with("Budget exceeded."));
    }
    // To count costs nothing, and what the gates before had given came back.
    let counted = caller.post("/v1/messages/count_tokens", long.to_string().as_bytes()).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    let raised = KeyRecord { budget_daily: Some(500_000), ..record.clone() };
    gateway.store.update_key(&raised).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    let reply = caller.messages(&long).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("998"), "a refusal takes no request");
}

#[tokio::test]
async fn a_budget_that_is_nearly_spent_is_told_on_every_reply() {
    let (_gateway, caller, _) = with_key(&[], |record| record.budget_monthly = Some(10_000)).await;
    let long = hello(CLAUDE, "sim:words=290", false);
    let mut warnings = Vec::new();
    for _ in 0..2 {
        let reply = caller.messages(&long).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        warnings.push(reply.header("x-outcrop-budget-warning").map(str::to_owned));
    }
    let mut small = hello(CLAUDE, "Hi", true);
    small["max_tokens"] = json!(5);
    let reply = caller.header("origin", "https://app.example").messages(&small).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    warnings.push(reply.header("x-outcrop-budget-warning").map(str::to_owned));
    assert_eq!(warnings[..2], [None, None]);
    let warning = warnings[2].as_deref().unwrap();
    let share = warning.strip_prefix("monthly=").unwrap().strip_suffix('%').unwrap();
    assert!((80..=100).contains(&share.parse::<u32>().unwrap()), "{warning}");
    let exposed = reply.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-outcrop-budget-warning"));
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_to_a_key_with_a_budget() {
    let (_gateway, caller, record) = with_key(&[], |record| record.budget_total = Some(1_000_000)).await;
    let reply = caller.messages(&hello("some.unknown-model", "Hi", false)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"), "{}", reply.text());
    assert!(reply.error().1.contains("has no price"), "{record:?}");
}

#[tokio::test]
async fn callers_that_leave_and_upstreams_that_die_pay_what_was_used_and_hold_nothing() {
    let options = Options { delay: Duration::from_millis(20), ..Options::with_keys(&[]) };
    let gateway = Gateway::with(options).await;
    let (key, record) = gateway.key_with(|record| record.budget_daily = Some(40_000)).await;
    let caller = Caller::new(gateway.addr, &key);
    // One leaves before the answer begins, one amid it, one is refused upstream, one is cut.
    gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_mins(1))]);
    let early = caller.send("POST", "/v1/messages", hello(CLAUDE, "Hi", false).to_string().as_bytes()).await;
    while gateway.sim.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(early);
    gateway.rows_of(&record.key_id, 1).await;
    let long = hello(QWEN, "sim:words=20000", true).to_string();
    let mut amid = caller.send("POST", "/v1/messages", long.as_bytes()).await;
    assert!(tokio::io::AsyncReadExt::read(&mut amid, &mut [0; 512]).await.unwrap() > 0);
    drop(amid);
    gateway.rows_of(&record.key_id, 2).await;
    gateway.sim.script("", vec![Fault::error(400, "ValidationException", "no")]);
    assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 400);
    gateway.sim.script("", vec![Fault::mid_stream("modelStreamErrorException", 4)]);
    caller.messages(&hello(CLAUDE, "sim:words=50", true)).await;
    let rows = gateway.rows_of(&record.key_id, 4).await;
    let key_id = record.key_id.clone();
    // All that is left can be held at once: eight ninths, if nothing is held elsewhere.
    let left = 40_000 - u64::try_from(cost(&rows) / 1_000_000).unwrap();
    let mut all = hello(CLAUDE, "Hi", false);
    all["max_tokens"] = json!(left / 15 - 20);
    let reply = caller.messages(&all).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let store = gateway.ended().await;
    let seen = spent_and_leased(store.as_ref(), &key_id).await;
    let booked = store.usage_totals(&key_id, &Bucket::Total).await.unwrap();
    assert_eq!((seen.spent.total, seen.leased), (booked.cost_pico_usd, PicoUsd::ZERO));
}

/// 200 requests at once to two gateways on one store, against a budget that pays for about 20 of them.
async fn two_gateways_share_a_budget(settings: &[String], store: &dyn Store) {
    const BUDGET: u64 = 20 * 4_600;
    let (key, record) = put_key(store, |record| {
        record.budget_daily = Some(BUDGET);
        record.budget_total = Some(BUDGET);
    })
    .await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let mut options = Options::with_keys(&["--workers=2"]);
        options.settings.extend_from_slice(settings);
        gateways.push(Gateway::with(options).await);
    }
    let mut open = JoinSet::new();
    for n in 0..200 {
        let caller = Caller::new(gateways[n % 2].addr, &key);
        let body = hello(CLAUDE, "sim:words=280", n % 3 == 0);
        open.spawn(async move { caller.messages(&body).await.status });
    }
    let statuses = open.join_all().await;
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| [200, 402].contains(status)), "{statuses:?}");
    let mut served = Totals::default();
    for gateway in gateways {
        let sim = gateway.sim.served();
        served.input_tokens += sim.input_tokens;
        served.output_tokens += sim.output_tokens;
        served.requests += sim.answers;
        gateway.ended().await;
    }
    let rows = booked_rows(store, &record.key_id).await;
    let totals = store.usage_totals(&record.key_id, &Bucket::Total).await.unwrap();
    let booked = (totals.requests, totals.input_tokens, totals.output_tokens);
    assert_eq!(booked, (served.requests, served.input_tokens, served.output_tokens));
    assert_eq!((rows.len(), cost(&rows)), (passed, totals.cost_pico_usd.0));
    let spent = totals.cost_pico_usd.0 / 1_000_000;
    assert!((1..=u128::from(BUDGET)).contains(&spent), "{spent} {passed}");
    assert!(passed >= 15, "{passed}: hardly anything lay idle in leases");
    let seen = spent_and_leased(store, &record.key_id).await;
    assert_eq!(seen.leased, PicoUsd::ZERO, "everything was given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_on_one_file_never_exceed_a_budget() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = store::Sqlite::open(&path).unwrap();
    two_gateways_share_a_budget(&on_file(&path), &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_on_dynamodb_never_exceed_a_budget() {
    let Some(tables) = stand_in::tables().await else { return };
    let store = DynamoDb::open(&tables).await.unwrap();
    let settings = on_tables(&tables, tables.endpoint_url.as_ref().unwrap());
    two_gateways_share_a_budget(&settings, &store).await;
}

#[tokio::test]
async fn without_the_store_what_is_leased_runs_on_and_then_nothing_more() {
    let Some(tables) = stand_in::tables().await else { return };
    let proxy = FaultProxy::start(stand_in::url().unwrap()).await;
    let mut options = Options::with_keys(&["--lease-ttl-seconds=3"]);
    options.settings.extend(on_tables(&tables, &proxy.url()));
    let gateway = Gateway::with(options).await;
    let (key, record) = gateway.key_with(|record| record.budget_total = Some(10_000_000)).await;
    let caller = Caller::new(gateway.addr, &key);
    let ask = async || caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(ask().await.status, 200);
    proxy.all(Fate::Cut);
    assert_eq!(ask().await.status, 200, "the lease has a dollar");
    let refused = loop {
        let reply = ask().await;
        if reply.status != 200 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.error().1.starts_with("The budgets of the key cannot be checked"), "{}", refused.text());
    proxy.all(Fate::Pass);
    loop {
        if ask().await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = gateway.sim.served().answers;
    let store = DynamoDb::open(&tables).await.unwrap();
    gateway.ended().await;
    let rows = booked_rows(&store, &record.key_id).await;
    assert_eq!(rows.len() as u64, before, "each was booked once");
    assert_eq!(spent_and_leased(&store, &record.key_id).await.spent.total.0, cost(&rows));
}
