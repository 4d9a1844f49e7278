//! Limits by key, as callers meet them: who passes, what a refusal says, what every reply tells.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, MASTER, Options, QWEN, Reply, hello};
use serde_json::json;
use store::{KeyRecord, Timestamp};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

const GROUPS: [&str; 3] = ["anthropic-ratelimit-requests", "anthropic-ratelimit-tokens", "x-ratelimit"];

async fn with_key(settings: &[&str], change: impl FnOnce(&mut KeyRecord)) -> (Gateway, Caller, KeyRecord) {
    let gateway = Gateway::with(Options::with_keys(settings)).await;
    let (key, record) = gateway.key_with(change).await;
    let caller = Caller::new(gateway.addr, &key);
    (gateway, caller, record)
}

/// Limit, remaining and reset of a group; each header may stand there once.
fn group(reply: &Reply, name: &str) -> Option<(u64, u64, String)> {
    let values = ["limit", "remaining", "reset"].map(|part| {
        let name = format!("{name}-{part}");
        let mut found = reply.headers.iter().filter(|(header, _)| *header == name);
        let value = found.next().map(|(_, value)| value.clone());
        assert_eq!(found.next(), None, "{name} stands there twice");
        value
    });
    let [Some(limit), Some(remaining), Some(reset)] = values else {
        assert_eq!(values, [None, None, None], "half of a group");
        return None;
    };
    Some((limit.parse().unwrap(), remaining.parse().unwrap(), reset))
}

#[track_caller]
fn assert_limited(reply: &Reply, limit: &str) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    let (kind, message) = reply.error();
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    let millis: u64 = reply.header("retry-after-ms").unwrap().parse().unwrap();
    assert!(millis >= 1 && millis.div_ceil(1000) == wait, "{millis} {wait}");
    assert_eq!(kind, "rate_limit_error");
    assert_eq!(message, format!("Rate limit exceeded. Try again in {wait} seconds."));
    assert_eq!(reply.json()["error"]["details"]["limit"], limit);
    for name in ["retry-after", "retry-after-ms", "request-id", "content-type"] {
        assert_eq!(reply.headers.iter().filter(|(header, _)| header == name).count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_the_limit_passes_and_no_more() {
    let settings = ["--rate-limit-window=3600", "--workers=2"];
    let (gateway, caller, _) = with_key(&settings, |record| record.rate_limit = Some(10)).await;
    let mut open = JoinSet::new();
    for n in 0..50 {
        let caller = caller.clone();
        let body = hello(LANES[n % 2], "Hi", n % 3 == 0);
        open.spawn(async move { caller.messages(&body).await });
    }
    let replies = open.join_all().await;
    let (passed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((passed.len(), refused.len()), (10, 40));
    assert_eq!(gateway.sim.requests().len(), 10);
    for reply in refused {
        assert_limited(reply, "requests");
        assert_eq!(group(reply, "x-ratelimit").unwrap().1, 0);
    }
    let mut left: Vec<u64> = passed.iter().map(|reply| group(reply, "x-ratelimit").unwrap().1).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>(), "each passing request was told another number");
}

#[tokio::test]
async fn a_window_that_passes_admits_again() {
    let settings = ["--rate-limit-window=1"];
    let (_gateway, caller, _) = with_key(&settings, |record| record.rate_limit = Some(1)).await;
    assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    let refused = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    if refused.status == 429 {
        let wait: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    }
}

#[tokio::test]
async fn every_reply_tells_how_the_limits_stand_streams_and_failures_too() {
    let settings = ["--rate-limit-window=3600"];
    let (gateway, caller, _) = with_key(&settings, |record| {
        record.rate_limit = Some(100);
        record.tpm_limit = Some(1_000_000);
    })
    .await;
    let mut left = 100;
    for model in LANES {
        for stream in [false, true] {
            let before = Timestamp::now().unix_millis() / 1000;
            let reply = caller.messages(&hello(model, "Hi", stream)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            left -= 1;
            for name in ["anthropic-ratelimit-requests", "x-ratelimit"] {
                let (limit, remaining, _) = group(&reply, name).unwrap();
                assert_eq!((limit, remaining), (100, left), "{name} {model} {stream}");
            }
            let (limit, remaining, reset) = group(&reply, "anthropic-ratelimit-tokens").unwrap();
            assert!(limit == 1_000_000 && remaining < limit - 300, "{remaining}");
            assert!(reset.ends_with('Z') && reset.parse::<Timestamp>().is_ok(), "{reset}");
            let instant: Timestamp =
                group(&reply, "anthropic-ratelimit-requests").unwrap().2.parse().unwrap();
            let seconds: i64 = group(&reply, "x-ratelimit").unwrap().2.parse().unwrap();
            assert_eq!(instant.unix_millis(), seconds * 1000);
            assert!(seconds > before && seconds <= before + 3600);
        }
    }
    gateway.sim.script("", vec![Fault::error(400, "ValidationException", "no")]);
    let failed = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!((failed.status, group(&failed, "x-ratelimit").unwrap().1), (400, left - 1));
    // Nothing was asked of the limits.
    let unknown = caller.clone().anonymous().messages(&hello(CLAUDE, "Hi", false)).await;
    for reply in [unknown, caller.get("/v1/models").await] {
        assert!(GROUPS.iter().all(|name| group(&reply, name).is_none()), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn a_reply_about_limits_may_be_read_by_browsers() {
    let (_gateway, caller, _) = with_key(&[], |record| record.rate_limit = Some(0)).await;
    let reply = caller.header("origin", "https://app.example").messages(&hello(CLAUDE, "Hi", false)).await;
    assert_limited(&reply, "requests");
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["retry-after", "anthropic-ratelimit-tokens-reset", "x-ratelimit-remaining"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
    }
}

#[tokio::test]
async fn counts_do_not_eat_the_quota_of_messages_and_have_one_of_their_own() {
    let settings = ["--rate-limit-window=3600", "--concurrency-limit=1"];
    let (_gateway, caller, _) = with_key(&settings, |record| record.rate_limit = Some(25)).await;
    let body = hello(CLAUDE, "Hi", false).to_string();
    for n in 0..26 {
        let reply = caller.post("/v1/messages/count_tokens", body.as_bytes()).await;
        if n < 25 {
            assert_eq!((reply.status, group(&reply, "x-ratelimit").unwrap().1), (200, 24 - n));
        } else {
            assert_limited(&reply, "requests");
        }
    }
    let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!((reply.status, group(&reply, "x-ratelimit").unwrap().1), (200, 24));
}

#[tokio::test]
async fn five_streams_against_two_slots_and_a_caller_that_leaves_frees_its_own() {
    let gateway = Gateway::with(Options {
        delay: Duration::from_millis(20),
        ..Options::with_keys(&["--rate-limit-enabled=false"])
    })
    .await;
    let (key, _) = gateway.key_with(|record| record.concurrency_limit = Some(2)).await;
    let caller = Caller::new(gateway.addr, &key);
    let mut open = Vec::new();
    let mut refused = Vec::new();
    for n in 0..5 {
        let body = hello(LANES[n % 2], "sim:words=20000", true).to_string();
        let mut reply = caller.send("POST", "/v1/messages", body.as_bytes()).await;
        let mut start = [0; 1024];
        let read = reply.read(&mut start).await.unwrap();
        if start[..read].starts_with(b"HTTP/1.1 200") {
            open.push(reply);
        } else {
            let mut text = start[..read].to_vec();
            reply.read_to_end(&mut text).await.unwrap();
            refused.push(String::from_utf8(text).unwrap());
        }
    }
    assert_eq!((open.len(), refused.len()), (2, 3));
    for text in refused {
        assert!(text.starts_with("HTTP/1.1 429") && text.contains("\"limit\":\"concurrency\""), "{text}");
        assert!(!text.contains("ratelimit"), "requests and tokens have no limit here: {text}");
    }
    drop(open.pop());
    // The gateway learns of it when it writes next.
    loop {
        let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
        if reply.status == 200 {
            break;
        }
        assert_limited(&reply, "concurrency");
    }
    // One still streams, so one at a time passes for ever.
    for _ in 0..3 {
        assert_eq!(caller.messages(&hello(QWEN, "Hi", false)).await.status, 200);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_before_its_answer_frees_its_slot() {
    let (gateway, caller, _) = with_key(&["--concurrency-limit=1"], |_| {}).await;
    for (n, stream) in [false, true].into_iter().enumerate() {
        gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_mins(1))]);
        let body = hello(CLAUDE, "Hi", stream).to_string();
        let reply = caller.send("POST", "/v1/messages", body.as_bytes()).await;
        while gateway.sim.requests().len() <= 2 * n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_limited(&caller.messages(&hello(CLAUDE, "Hi", false)).await, "concurrency");
        drop(reply);
        while caller.messages(&hello(CLAUDE, "Hi", false)).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn new_limits_hold_within_the_ttl_and_forget_nothing() {
    let settings = ["--rate-limit-window=86400", "--key-cache-ttl-seconds=0.2"];
    let (gateway, caller, mut record) = with_key(&settings, |record| record.rate_limit = Some(3)).await;
    let body = hello(CLAUDE, "Hi", false);
    for _ in 0..3 {
        assert_eq!(caller.messages(&body).await.status, 200);
    }
    assert_limited(&caller.messages(&body).await, "requests");
    for (limit, passing) in [(5, 2), (2, 0), (6, 1)] {
        record.rate_limit = Some(limit);
        record = gateway.store.update_key(&record).await.unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
        for _ in 0..passing {
            let reply = caller.messages(&body).await;
            assert_eq!((reply.status, group(&reply, "x-ratelimit").unwrap().0), (200, limit.into()));
        }
        assert_limited(&caller.messages(&body).await, "requests");
    }
}

#[tokio::test]
async fn tokens_run_out_by_what_was_used_and_not_by_what_was_asked_for() {
    let weights = r#"--rate-limit-token-weights={"input": 0, "output": 100, "cache_write": 0}"#;
    let settings = [weights, "--rate-limit-window=86400"];
    let (_gateway, caller, _) = with_key(&settings, |record| record.tpm_limit = Some(100_000)).await;
    let mut request = hello(CLAUDE, "Reply with exactly: pong", false);
    request["max_tokens"] = json!(60_000);
    for _ in 0..4 {
        let reply = caller.messages(&request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // 3000 tokens at 100 each are a debt of two minutes, for either lane and for Bedrock's own operations.
    let mut large = hello(QWEN, "sim:words=3000", true);
    large["max_tokens"] = json!(4000);
    assert_eq!(caller.messages(&large).await.status, 200);
    for model in LANES {
        let refused = caller.messages(&hello(model, "Hi", true)).await;
        assert_limited(&refused, "tokens");
        assert_eq!(group(&refused, "anthropic-ratelimit-tokens").unwrap().1, 0);
        assert_eq!(group(&refused, "anthropic-ratelimit-requests").unwrap().1, 995, "that gate took nothing");
    }
    for operation in ["converse", "converse-stream"] {
        let reply =
            caller.post(&format!("/model/{QWEN}/{operation}"), converse("Hi", Some(10)).as_bytes()).await;
        assert_eq!((reply.status, reply.header("x-amzn-errortype")), (429, Some("ThrottlingException")));
        assert!(reply.header("retry-after").is_some() && reply.json()["message"].is_string());
        assert!(GROUPS.iter().all(|name| group(&reply, name).is_none()), "Bedrock tells nothing of limits");
    }
}

fn converse(text: &str, max_tokens: Option<u64>) -> String {
    let mut body = json!({ "messages": [{ "role": "user", "content": [{ "text": text }] }] });
    if let Some(most) = max_tokens {
        body["inferenceConfig"] = json!({ "maxTokens": most });
    }
    body.to_string()
}

#[tokio::test]
async fn bedrocks_own_operations_reserve_what_their_bodies_ask_for() {
    let options =
        Options { delay: Duration::from_millis(50), ..Options::with_keys(&["--rate-limit-requests=1000"]) };
    let gateway = Gateway::with(options).await;
    let (key, _) = gateway.key_with(|record| record.tpm_limit = Some(10_000)).await;
    let caller = Caller::new(gateway.addr, &key);
    // A stream that holds nine tenths.
    let mut large = hello(QWEN, "sim:words=9000", true);
    large["max_tokens"] = json!(9000);
    let mut open = caller.send("POST", "/v1/messages", large.to_string().as_bytes()).await;
    assert!(open.read(&mut [0; 64]).await.unwrap() > 0);
    let invoke = |most: u64| {
        let body = json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": most,
            "messages": [{ "role": "user", "content": "Hi" }] });
        (format!("/model/{CLAUDE}/invoke"), body.to_string())
    };
    let path = format!("/model/{QWEN}/converse");
    for ((path, body), status) in [
        ((path.clone(), converse("Hi", Some(6000))), 429),
        ((path.clone(), converse("Hi", None)), 429),
        (invoke(6000), 429),
        ((path, converse("Hi", Some(20))), 200),
        (invoke(20), 200),
    ] {
        let reply = caller.post(&path, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_master_key_and_callers_without_one_have_limits_of_their_own() {
    let settings = ["--require-api-key=false", "--rate-limit-requests=2", "--master-key-rate-limit=3"];
    let gateway = Gateway::with(Options::with(&settings)).await;
    let body = hello(CLAUDE, "Hi", false);
    for (caller, limit) in [(gateway.caller(), 3), (gateway.caller().anonymous(), 2)] {
        for _ in 0..limit {
            assert_eq!(caller.messages(&body).await.status, 200);
        }
        let refused = caller.messages(&body).await;
        assert_limited(&refused, "requests");
        assert_eq!(group(&refused, "x-ratelimit").unwrap().0, limit);
    }
    let gateway =
        Gateway::with(Options::with(&["--rate-limit-requests=2", "--master-key-rate-limit=0"])).await;
    for _ in 0..5 {
        let reply = Caller::new(gateway.addr, MASTER).messages(&body).await;
        assert_eq!(reply.status, 200);
        assert!(GROUPS.iter().all(|name| group(&reply, name).is_none()));
    }
}

#[tokio::test]
async fn switched_off_limits_refuse_nobody_and_say_nothing() {
    let settings = ["--rate-limit-enabled=false", "--rate-limit-requests=1", "--rate-limit-tokens=1"];
    let (_gateway, caller, _) = with_key(&settings, |record| record.rate_limit = Some(0)).await;
    for _ in 0..3 {
        let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 200);
        assert!(GROUPS.iter().all(|name| group(&reply, name).is_none()));
    }
}

#[tokio::test]
async fn the_settings_are_the_defaults_of_keys() {
    let settings = ["--rate-limit-requests=2", "--rate-limit-tokens=5000", "--rate-limit-window=7200"];
    let (_gateway, caller, _) = with_key(&settings, |_| {}).await;
    let now = Timestamp::now().unix_millis() / 1000;
    let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(group(&reply, "anthropic-ratelimit-tokens").unwrap().0, 5000);
    let (limit, remaining, reset) = group(&reply, "x-ratelimit").unwrap();
    assert_eq!((limit, remaining), (2, 1));
    let wait = reset.parse::<i64>().unwrap() - now;
    assert!((3600..=3700).contains(&wait), "a request of two is paid back in half the window: {wait}");
}

/// Every way to run a model: a path and a body.
fn surfaces() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for model in LANES {
        for stream in [false, true] {
            all.push(("/v1/messages".to_owned(), hello(model, "Hi", stream).to_string()));
        }
        let body = json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 300,
            "messages": [{ "role": "user", "content": "Hi" }] });
        for operation in ["invoke", "invoke-with-response-stream"] {
            all.push((format!("/model/{model}/{operation}"), body.to_string()));
        }
        for operation in ["converse", "converse-stream"] {
            all.push((format!("/model/{model}/{operation}"), converse("Hi", Some(300))));
        }
    }
    all
}

#[tokio::test]
async fn every_surface_has_the_same_limits_streamed_or_not() {
    let gateway = Gateway::with(Options::with_keys(&["--rate-limit-window=86400"])).await;
    let ask = async |record: fn(&mut KeyRecord), (path, body): &(String, String)| {
        let (key, record) = gateway.key_with(record).await;
        let caller = Caller::new(gateway.addr, &key);
        let first = caller.post(path, body.as_bytes()).await.status;
        // A debt of tokens and the end of a slot are there when the request is booked.
        if first == 200 {
            gateway.rows_of(&record.key_id, 1).await;
        }
        (first, caller.post(path, body.as_bytes()).await.status)
    };
    for surface in surfaces() {
        let requests = ask(|record| record.rate_limit = Some(1), &surface).await;
        assert_eq!(requests, (200, 429), "requests at {surface:?}");
        let tokens = ask(|record| record.tpm_limit = Some(1), &surface).await;
        assert_eq!(tokens, (200, 429), "tokens at {surface:?}");
        let budget = ask(|record| record.budget_total = Some(1), &surface).await;
        assert_eq!(budget, (402, 402), "a budget at {surface:?}");
    }
    // One slot, and a stream that holds it.
    let (key, _) = gateway.key_with(|record| record.concurrency_limit = Some(1)).await;
    let caller = Caller::new(gateway.addr, &key);
    let slow = hello(QWEN, "sim:words=250 sim:slow=200ms", true).to_string();
    let mut open = caller.send("POST", "/v1/messages", slow.as_bytes()).await;
    assert!(open.read(&mut [0; 64]).await.unwrap() > 0);
    for (path, body) in surfaces() {
        assert_eq!(caller.post(&path, body.as_bytes()).await.status, 429, "slots at {path}: {body}");
    }
}
