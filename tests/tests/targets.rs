//! Several accounts and regions: where requests begin, where they go on, and where they stay.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bedrock_sim::{Config, Fault, Sim};
use outcrop_tests::{BEDROCK_KEY, CLAUDE, Caller, Gateway, LANES, Options, QWEN, Reply, events, hello};
use serde_json::{Value, json};
use store::RowStatus;

const US: &str = "us-east-1";
const EU: &str = "eu-central-1";
const JP: &str = "ap-northeast-1";

/// A Bedrock of one region: it refuses the profiles and signatures of others.
async fn region(region: &str) -> Sim {
    let config = Config {
        bearer_tokens: vec![BEDROCK_KEY.to_owned()],
        record: true,
        region: Some(region.to_owned()),
        ..Config::default()
    };
    Sim::start(config).await.unwrap()
}

fn target(name: &str, region: &str, sim: &Sim, more: &Value) -> Value {
    let mut target = json!({
        "name": name, "region": region, "endpoint_url": sim.url(), "mantle_endpoint_url": sim.mantle_url(),
    });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target
}

async fn gateway(targets: &[Value], settings: &[&str]) -> Gateway {
    let mut options = Options::with_keys(settings);
    options.settings.push(format!("--bedrock-targets={}", json!(targets)));
    options.settings.extend(["--debug-headers=true".to_owned(), "--bedrock-retry-base-ms=1".to_owned()]);
    Gateway::with(options).await
}

/// Virginia before Frankfurt, each tried once; ids get the profile of the target's geography.
async fn pair(settings: &[&str]) -> (Gateway, Sim, Sim) {
    let (us, eu) = (region(US).await, region(EU).await);
    let targets = [target("virginia", US, &us, &json!({})), target("frankfurt", EU, &eu, &json!({}))];
    let own = ["--bedrock-inference-scope=geo", "--bedrock-max-attempts=2"];
    let settings: Vec<&str> = own.into_iter().chain(settings.iter().copied()).collect();
    (gateway(&targets, &settings).await, us, eu)
}

fn paths(sim: &Sim) -> Vec<String> {
    sim.requests().into_iter().map(|request| request.path.replace("%3A", ":")).collect()
}

fn served_by(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-outcrop-target").unwrap()
}

#[tokio::test]
async fn a_throttled_target_falls_to_the_next_with_the_profile_of_its_region() {
    for (lane, stream) in LANES.into_iter().flat_map(|lane| [(lane, false), (lane, true)]) {
        let (gateway, us, eu) = pair(&[]).await;
        us.script("", vec![Fault::throttle()]);
        let reply = gateway.caller().messages(&hello(lane, "Reply with exactly: pong", stream)).await;
        assert_eq!(served_by(&reply), "frankfurt");
        assert!(reply.text().contains("pong"), "{}", reply.text());
        assert_eq!(reply.header("x-outcrop-attempts"), Some("2"));
        let (there, here) = (&paths(&us)[0], &paths(&eu)[0]);
        let id = if lane == CLAUDE { "eu.anthropic.claude-sonnet-4-6" } else { QWEN };
        assert!(here.starts_with(&format!("/model/{id}/")), "{here}");
        assert_eq!(reply.header("x-outcrop-model"), Some(id));
        assert_eq!(*there, here.replace("/eu.", "/us."));
        assert_eq!(us.requests()[0].body, eu.requests()[0].body, "made anew of the same request");
        let row = &gateway.rows(1).await[0];
        assert_eq!((row.target.as_str(), row.region.as_str()), ("frankfurt", EU));
        assert_eq!((row.resolved_model.as_str(), row.attempts), (id, 2));
        // It is passed over now, for this model.
        let reply = gateway.caller().messages(&hello(lane, "Hi", stream)).await;
        assert_eq!((served_by(&reply), us.requests().len()), ("frankfurt", 1));
        let other = hello("claude-haiku-4-5", "Hi", stream);
        assert_eq!(served_by(&gateway.caller().messages(&other).await), "virginia");
    }
}

#[tokio::test]
async fn requests_of_the_openai_api_fall_to_the_next_target_alike() {
    let (gateway, us, eu) = pair(&[]).await;
    us.script("", vec![Fault::throttle()]);
    let chat = json!({ "model": CLAUDE, "messages": [{ "role": "user", "content": "Hi" }] });
    let reply = gateway.caller().openai("/v1/chat/completions", &chat).await;
    assert_eq!(served_by(&reply), "frankfurt");
    us.script("", vec![Fault::throttle()]);
    let embed = json!({ "model": "amazon.titan-embed-text-v2:0", "input": "a" });
    let reply = gateway.caller().openai("/v1/embeddings", &embed).await;
    assert_eq!((served_by(&reply), reply.header("x-outcrop-attempts")), ("frankfurt", Some("2")));
    assert_eq!((us.requests().len(), eu.requests().len()), (2, 2));
    let rows = gateway.rows(2).await;
    assert!(rows.iter().all(|row| (row.target.as_str(), row.region.as_str()) == ("frankfurt", EU)));
    for sim in [&us, &eu] {
        sim.script("", vec![Fault::unavailable(); 2]);
    }
    let texts = json!({ "model": "amazon.titan-embed-text-v1", "input": "a" });
    let refused = gateway.caller().openai("/v1/embeddings", &texts).await.openai_error();
    assert_eq!((refused.status, refused.code.as_deref()), (503, Some("overloaded")));
    let row = gateway.rows(3).await.pop().unwrap();
    assert_eq!((row.target.as_str(), row.attempts, row.status), ("frankfurt", 2, RowStatus::UpstreamError));
}

#[tokio::test]
async fn an_exception_as_the_first_frame_still_falls_to_the_next_target() {
    let (gateway, us, _eu) = pair(&[]).await;
    us.script("", vec![Fault::mid_stream("throttlingException", 0)]);
    let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await;
    assert_eq!(served_by(&reply), "frankfurt");
    assert_eq!(events(&reply.text()).iter().filter(|(name, _)| name == "message_start").count(), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_is_not_begun_again_on_another_target() {
    let (gateway, us, eu) = pair(&[]).await;
    us.script("", vec![Fault::mid_stream("serviceUnavailableException", 5)]);
    let reply = gateway.caller().messages(&hello(CLAUDE, "sim:words=20", true)).await;
    let all = events(&reply.text());
    assert_eq!(all.last().unwrap().0, "error");
    assert_eq!(all.iter().filter(|(name, _)| name == "message_start").count(), 1);
    assert_eq!((us.requests().len(), eu.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_target_is_tried_again_when_its_time_is_up() {
    let (gateway, us, _eu) = pair(&["--target-cooldown-seconds=0.2"]).await;
    us.script("", vec![Fault::unavailable()]);
    assert_eq!(served_by(&gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await), "frankfurt");
    while served_by(&gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await) != "virginia" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(us.requests().len(), 2, "one probe found it working");
}

#[tokio::test]
async fn where_all_targets_cool_the_caller_is_told_the_shortest_wait_and_nobody_is_asked() {
    for (fault, status, kind) in
        [(Fault::throttle(), 429, "rate_limit_error"), (Fault::unavailable(), 503, "overloaded_error")]
    {
        let (gateway, us, eu) = pair(&["--target-cooldown-seconds=40"]).await;
        us.script("", vec![fault.clone()]);
        eu.script("", vec![fault.clone().retry_after(20)]);
        for asked in [1, 1] {
            let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await;
            assert_eq!((reply.status, reply.error().0.as_str()), (status, kind), "{}", reply.text());
            let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=20).contains(&wait), "{wait}");
            assert_eq!((us.requests().len(), eu.requests().len()), (asked, asked));
        }
        let rows = gateway.rows(1).await;
        assert_eq!(rows.len(), 1, "what was never sent is not booked");
        // The other surfaces hear the same.
        let invoked = gateway.caller().post(&format!("/model/{CLAUDE}/invoke"), b"{}").await;
        assert_eq!(invoked.status, status, "{}", invoked.text());
    }
}

#[tokio::test]
async fn what_is_denied_in_one_account_moves_on_and_what_is_wrong_with_the_request_does_not() {
    let on_demand =
        "Invocation of model ID x with on-demand throughput isn\u{2019}t supported. Retry your request.";
    for (fault, moves) in [
        (Fault::error(403, "AccessDeniedException", "You don't have access to the model."), true),
        (Fault::error(404, "ResourceNotFoundException", "use case details"), true),
        (Fault::error(400, "ValidationException", on_demand), true),
        (Fault::error(400, "ValidationException", "max_tokens: too many"), false),
        (Fault::model_error(500), false),
    ] {
        let (gateway, us, eu) = pair(&["--bedrock-retry-budget-percent=0"]).await;
        us.script("", vec![fault.clone()]);
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!((us.requests().len(), eu.requests().len()), (1, usize::from(moves)), "{fault:?}");
        assert_eq!(reply.status == 200, moves, "{fault:?}");
    }
}

#[tokio::test]
async fn all_targets_together_have_one_number_of_attempts_and_one_retry_budget() {
    let faults = || vec![Fault::unavailable(); 20];
    let (gateway, us, eu) = pair(&["--bedrock-max-attempts=3", "--target-cooldown-seconds=0"]).await;
    us.script("", faults());
    eu.script("", faults());
    assert_eq!(gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await.status, 503);
    assert_eq!(
        (us.requests().len(), eu.requests().len()),
        (2, 1),
        "the last one is kept for the next target"
    );

    let (gateway, us, eu) = pair(&["--bedrock-retry-budget-percent=0"]).await;
    us.script("", faults());
    assert_eq!(gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await.status, 503);
    assert_eq!((us.requests().len(), eu.requests().len()), (1, 0), "a move is a repetition");

    let many = [
        "--bedrock-max-attempts=64",
        "--bedrock-retry-max-wait-seconds=0.001",
        "--target-cooldown-seconds=0",
    ];
    let (gateway, us, eu) = pair(&many).await;
    us.script("", vec![Fault::throttle(); 100]);
    eu.script("", vec![Fault::throttle(); 100]);
    assert_eq!(gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await.status, 429);
    let made = us.requests().len() + eu.requests().len();
    assert!((2..=13).contains(&made), "the burst of the budget and no more: {made}");
}

#[tokio::test]
async fn a_caller_can_forbid_every_second_way() {
    let (gateway, us, eu) = pair(&["--bedrock-routes={\"*claude*\":[\"invoke\",\"messages\"]}"]).await;
    let caller = gateway.caller().header("x-outcrop-no-fallback", "1");
    us.script("", vec![Fault::unavailable(); 6]);
    assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 503);
    assert_eq!(caller.post(&format!("/model/{CLAUDE}/converse"), CONVERSE.as_bytes()).await.status, 503);
    let counted = caller.messages_at("/v1/messages/count_tokens", &hello(CLAUDE, "Hi", false)).await;
    assert_eq!(counted.status, 503);
    assert_eq!((us.requests().len(), eu.requests().len()), (6, 0), "two attempts each, at one place");
    assert!(paths(&us).iter().all(|path| path.starts_with("/model/")), "{:?}", paths(&us));
}

const CONVERSE: &str = r#"{"messages":[{"role":"user","content":[{"text":"Reply with exactly: pong"}]}]}"#;

#[tokio::test]
async fn bedrocks_own_operations_and_counts_go_on_at_the_next_target() {
    let (gateway, us, eu) = pair(&[]).await;
    let caller = gateway.caller();
    us.script("", vec![Fault::throttle(); 3]);
    for (operation, id) in [("converse", "claude-sonnet-4-6"), ("converse-stream", "claude-haiku-4-5")] {
        let reply = caller.post(&format!("/model/{id}/{operation}"), CONVERSE.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let counted = caller.messages_at("/v1/messages/count_tokens", &hello(CLAUDE, "Hi", false)).await;
    assert_eq!(counted.header("x-outcrop-token-count"), Some("exact"), "{}", counted.text());
    let asked = paths(&eu);
    assert!(asked[0].contains("/eu.anthropic.claude-sonnet-4-6/converse"), "{asked:?}");
    assert!(asked[1].contains("/eu.anthropic.claude-haiku-4-5-20251001-v1:0/converse-stream"), "{asked:?}");
    assert!(asked[2].ends_with("/count-tokens"), "{asked:?}");
    let rows = gateway.rows(2).await;
    assert!(rows.iter().all(|row| row.target == "frankfurt" && row.attempts == 2), "{rows:?}");
    // That counting fails somewhere says nothing about running.
    assert_eq!(served_by(&caller.messages(&hello("claude-opus-4-6", "Hi", false)).await), "virginia");
}

/// Where each of so many sessions begins, asked twice.
async fn homes(gateway: &Gateway, sessions: u32) -> BTreeMap<String, u32> {
    let mut homes = BTreeMap::new();
    for session in 0..sessions {
        let caller = gateway.caller().header("x-session-id", &format!("session-{session}"));
        let first = caller.messages(&hello(QWEN, "Hi", false)).await;
        let again = caller.messages(&hello(QWEN, "Hi", true)).await;
        assert_eq!(served_by(&first), served_by(&again), "session {session} moved");
        *homes.entry(served_by(&first).to_owned()).or_default() += 1;
    }
    homes
}

#[tokio::test]
async fn a_hundred_sessions_are_spread_by_weight_and_each_stays_where_it_began() {
    let (us, eu, jp) = (region(US).await, region(EU).await, region(JP).await);
    let targets = [
        target("virginia", US, &us, &json!({ "weight": 3 })),
        target("frankfurt", EU, &eu, &json!({ "weight": 1 })),
        target("tokyo", JP, &jp, &json!({})),
    ];
    let gateway = gateway(&targets, &[]).await;
    let homes = homes(&gateway, 100).await;
    assert!((60..=90).contains(&homes["virginia"]), "{homes:?}");
    assert_eq!(homes["virginia"] + homes["frankfurt"], 100, "the third is for when they fail: {homes:?}");
}

#[tokio::test]
async fn without_weights_every_session_begins_at_the_first_target() {
    let (gateway, _us, _eu) = pair(&[]).await;
    assert_eq!(homes(&gateway, 10).await, BTreeMap::from([("virginia".to_owned(), 10)]));
}

#[tokio::test]
async fn without_affinity_each_request_is_spread_for_itself() {
    let (us, eu) = (region(US).await, region(EU).await);
    let even = json!({ "weight": 1 });
    let targets = [target("virginia", US, &us, &even), target("frankfurt", EU, &eu, &even)];
    let gateway = gateway(&targets, &["--session-affinity=false"]).await;
    let caller = gateway.caller().header("x-session-id", "one");
    for _ in 0..60 {
        caller.messages(&hello(QWEN, "Hi", false)).await;
    }
    assert!(us.requests().len() > 5 && eu.requests().len() > 5);
}

#[tokio::test]
async fn a_bound_key_goes_to_its_own_target_alone() {
    let (gateway, us, eu) = pair(&[]).await;
    let (key, _) = gateway.key_with(|record| record.target = Some("frankfurt".to_owned())).await;
    let caller = Caller::new(gateway.addr, &key);
    assert_eq!(served_by(&caller.messages(&hello(CLAUDE, "Hi", false)).await), "frankfurt");
    assert!(paths(&eu)[0].contains("/eu.anthropic"), "{:?}", paths(&eu));
    eu.script("", vec![Fault::unavailable(); 2]);
    assert_eq!(caller.messages(&hello(CLAUDE, "Hi", true)).await.status, 503);
    assert_eq!(us.requests().len(), 0);
    let (key, _) = gateway.key_with(|record| record.target = Some("atlantis".to_owned())).await;
    let reply = Caller::new(gateway.addr, &key).messages(&hello(CLAUDE, "Hi", true)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"));
}

#[tokio::test]
async fn targets_that_a_request_is_not_for_are_skipped() {
    let (us, eu) = (region(US).await, region(EU).await);
    let targets = [
        target("virginia", US, &us, &json!({ "models": ["qwen.*", "us.*haiku*"], "context_tokens": 1000 })),
        target("frankfurt", EU, &eu, &json!({ "models": ["qwen.*", "anthropic.*"] })),
    ];
    let gateway = gateway(&targets, &["--bedrock-inference-scope=geo"]).await;
    let long = "word ".repeat(2000);
    for (model, text, home) in [
        (QWEN, "Hi", "virginia"),
        (QWEN, long.as_str(), "frankfurt"),
        (CLAUDE, "Hi", "frankfurt"),
        ("claude-haiku-4-5", "Hi", "virginia"),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "Hi", "frankfurt"),
    ] {
        let reply = gateway.caller().messages(&hello(model, text, false)).await;
        assert_eq!(served_by(&reply), home, "{model}");
    }
    let nowhere = gateway.caller().messages(&hello("amazon.nova-lite-v1:0", "Hi", false)).await;
    assert_eq!((nowhere.status, nowhere.error().0.as_str()), (404, "not_found_error"));
}

#[tokio::test]
async fn a_profile_of_another_geography_is_not_asked_for_where_it_is_unknown() {
    let (gateway, us, eu) = pair(&[]).await;
    let reply = gateway.caller().messages(&hello("eu.anthropic.claude-sonnet-4-6", "Hi", false)).await;
    assert_eq!((served_by(&reply), us.requests().len()), ("frankfurt", 0));
    eu.script("", vec![Fault::unavailable(); 2]);
    let reply = gateway.caller().messages(&hello("eu.anthropic.claude-sonnet-4-6", "Hi", false)).await;
    assert_eq!((reply.status, us.requests().len()), (503, 0));
}

#[tokio::test]
async fn an_arn_goes_to_its_own_region_and_is_looked_up_there() {
    let arn = format!("arn:aws:bedrock:{EU}:123456789012:application-inference-profile/abc");
    let us = region(US).await;
    let config = Config {
        bearer_tokens: vec![BEDROCK_KEY.to_owned()],
        record: true,
        region: Some(EU.to_owned()),
        profiles: vec![(arn.clone(), "eu.anthropic.claude-sonnet-4-6".to_owned())],
        ..Config::default()
    };
    let eu = Sim::start(config).await.unwrap();
    let targets = [target("virginia", US, &us, &json!({})), target("frankfurt", EU, &eu, &json!({}))];
    let gateway = gateway(&targets, &[]).await;
    let reply = gateway.caller().messages(&hello(&arn, "Hi", false)).await;
    assert_eq!((served_by(&reply), us.requests().len()), ("frankfurt", 0));
    assert_eq!(reply.header("x-outcrop-lane"), Some("native"), "its model was found out");
}

#[tokio::test]
async fn a_caller_that_leaves_during_the_back_off_stops_the_retries() {
    let (gateway, us, eu) = pair(&["--bedrock-max-attempts=4", "--bedrock-retry-max-wait-seconds=60"]).await;
    us.script("", vec![Fault::throttle().retry_after(1); 4]);
    for (n, stream) in [false, true].into_iter().enumerate() {
        let body = hello(CLAUDE, "Hi", stream).to_string();
        let reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
        while us.requests().len() <= n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(reply);
        let rows = gateway.rows(n + 1).await;
        assert_eq!(rows[n].status, RowStatus::ClientClosed);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((us.requests().len(), eu.requests().len()), (2, 0), "the waits are over, and nobody came");
}

#[tokio::test]
async fn health_tells_how_each_target_is() {
    let (gateway, us, _eu) = pair(&[]).await;
    us.script("", vec![Fault::unavailable()]);
    gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
    let health = gateway.caller().get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["services"]["bedrock"]["region"]),
        (&json!("degraded"), &json!(US))
    );
    let expected = json!([
        { "name": "virginia", "region": US, "status": "unavailable" },
        { "name": "frankfurt", "region": EU, "status": "healthy" },
    ]);
    assert_eq!(health["services"]["bedrock"]["targets"], expected);
    assert_eq!(gateway.caller().get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_failure_is_booked_where_the_model_was_really_asked_last() {
    for (lane, stream) in LANES.into_iter().flat_map(|lane| [(lane, false), (lane, true)]) {
        let (gateway, us, eu) = pair(&[]).await;
        us.script("", vec![Fault::throttle()]);
        eu.script("", vec![Fault::error(400, "ValidationException", "no")]);
        assert_eq!(gateway.caller().messages(&hello(lane, "Hi", stream)).await.status, 400);
        let row = &gateway.rows(1).await[0];
        assert_eq!((row.target.as_str(), row.region.as_str(), row.attempts), ("frankfurt", EU, 2), "{lane}");
        assert!(lane != CLAUDE || row.resolved_model.starts_with("eu."), "{}", row.resolved_model);
        // Virginia is passed over: nobody asks it, and nothing is booked there.
        eu.script("", vec![Fault::error(400, "ValidationException", "no")]);
        assert_eq!(gateway.caller().messages(&hello(lane, "Hi", stream)).await.status, 400);
        let rows = gateway.rows(2).await;
        assert!(rows.iter().all(|row| row.target == "frankfurt"), "{rows:?}");
        assert_eq!(us.requests().len(), 1);
    }
}

#[tokio::test]
async fn bedrocks_own_operations_book_a_failure_where_it_happened() {
    let (gateway, us, eu) = pair(&[]).await;
    us.script("", vec![Fault::throttle()]);
    eu.script("", vec![Fault::error(400, "ValidationException", "no")]);
    let body = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}).to_string();
    let path = format!("/model/{QWEN}/converse");
    let reply = gateway.caller().request("POST", &path, body.as_bytes()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let row = &gateway.rows(1).await[0];
    assert_eq!((row.target.as_str(), row.region.as_str(), row.attempts), ("frankfurt", EU, 2));
}
