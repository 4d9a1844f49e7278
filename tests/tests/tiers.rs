//! Service tiers: who decides, what is sent, what a refusal teaches, and what is reported, booked and priced.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bedrock_sim::{Captured, Fault};
use outcrop_tests::{CLAUDE, Caller, Gateway, Options, QWEN, Reply, events, hello};
use serde_json::{Value, json};
use store::{KeyRecord, ServiceTier, UsageRow};

const SONNET: &str = "anthropic.claude-sonnet-4-6";

fn with(settings: &[&str]) -> Options {
    let settings: Vec<_> = settings.iter().copied().chain(["--debug-headers=true"]).collect();
    Options::with_keys(&settings)
}

fn reserving(settings: &[&str]) -> Options {
    Options { reservations: vec![SONNET.to_owned()], ..with(settings) }
}

async fn keyed(gateway: &Gateway, tier: ServiceTier) -> (Caller, KeyRecord) {
    let (key, record) = gateway.key_with(|record| record.service_tier = Some(tier)).await;
    (Caller::new(gateway.addr, &key), record)
}

/// The tier that a call asked for, wherever its operation says so.
fn asked(request: &Captured) -> Option<String> {
    let header = request.header("x-amzn-bedrock-service-tier").map(str::to_owned);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert!(body.get("service_tier").is_none(), "{body}");
    header.or_else(|| body["serviceTier"]["type"].as_str().map(str::to_owned))
}

fn all_asked(gateway: &Gateway) -> Vec<Option<String>> {
    gateway.sim.requests().iter().map(asked).collect()
}

/// `usage.service_tier` of an answer, whole or streamed.
fn reported(reply: &Reply, stream: bool) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    if !stream {
        return reply.json()["usage"]["service_tier"].clone();
    }
    let all = events(&reply.text());
    let delta = all.iter().rfind(|(name, _)| name == "message_delta").unwrap();
    delta.1["usage"]["service_tier"].clone()
}

fn wishing(model: &str, tier: &str, stream: bool) -> Value {
    let mut request = hello(model, "Hi", stream);
    request["service_tier"] = json!(tier);
    request
}

#[tokio::test]
async fn a_tier_is_asked_for_in_converse_reported_booked_and_priced() {
    let gateway = Gateway::with(with(&[])).await;
    for stream in [false, true] {
        for (tier, said) in [("auto", "standard"), ("flex", "flex"), ("priority", "priority")] {
            let reply = gateway.caller().messages(&wishing(QWEN, tier, stream)).await;
            assert_eq!(reported(&reply, stream), said, "{stream}");
            let name = if tier == "auto" { "default" } else { tier };
            assert_eq!(reply.header("x-outcrop-tier"), Some(name));
            assert!(!reply.header("x-outcrop-loss").unwrap().contains("service_tier"));
        }
    }
    let flex = || Some("flex".to_owned());
    let priority = || Some("priority".to_owned());
    assert_eq!(all_asked(&gateway), [None, flex(), priority(), None, flex(), priority()]);
    let rows = gateway.rows(6).await;
    let cost = |row: &UsageRow| row.cost_pico_usd.unwrap().0;
    for tier in [ServiceTier::Default, ServiceTier::Flex, ServiceTier::Priority] {
        assert_eq!(
            rows.iter().filter(|row| (row.tier_requested, row.tier_served) == (tier, tier)).count(),
            2
        );
    }
    let of = |tier| cost(rows.iter().find(|row| row.tier_served == tier).unwrap());
    let listed = of(ServiceTier::Default);
    assert_eq!((of(ServiceTier::Flex) * 2, of(ServiceTier::Priority) * 4), (listed, listed * 7));
}

#[tokio::test]
async fn a_tier_is_a_header_of_invoke_model_whichever_route_is_preferred() {
    let gateway =
        Gateway::with(reserving(&["--bedrock-routes={\"*claude*\":[\"messages\",\"invoke\"]}"])).await;
    let by_header = gateway.caller().header("x-amzn-bedrock-service-tier", "reserved");
    for stream in [false, true] {
        for reply in [
            by_header.messages(&hello(CLAUDE, "Hi", stream)).await,
            gateway.caller().messages(&wishing(CLAUDE, "reserved", stream)).await,
        ] {
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-outcrop-tier"), Some("reserved"));
            assert_eq!(reply.header("x-outcrop-route"), Some("invoke"));
        }
        let plain = gateway.caller().messages(&wishing(CLAUDE, "standard_only", stream)).await;
        assert_eq!((plain.header("x-outcrop-route"), plain.status), (Some("messages"), 200));
    }
    let reserved = || Some("reserved".to_owned());
    assert_eq!(all_asked(&gateway), [reserved(), reserved(), None, reserved(), reserved(), None]);
    let rows = gateway.rows(6).await;
    assert_eq!(rows.iter().filter(|row| row.tier_served == ServiceTier::Reserved).count(), 4);
}

#[tokio::test]
async fn callers_of_the_openai_api_hear_the_tier_that_served_in_both_lanes() {
    let gateway = Gateway::with(with(&[])).await;
    for (model, wish, served) in [
        (CLAUDE, "priority", "default"),
        (CLAUDE, "auto", "default"),
        (QWEN, "priority", "priority"),
        (QWEN, "default", "default"),
    ] {
        for stream in [false, true] {
            let mut body = wishing(model, wish, stream);
            let chat = gateway.caller().openai("/v1/chat/completions", &body).await;
            assert_eq!(chat.header("x-outcrop-tier"), Some(served));
            let told = format!("\"service_tier\":\"{served}\"");
            assert!(chat.text().contains(&told), "{model} {wish}: {}", chat.text());
            body = json!({ "model": model, "input": "Hi", "stream": stream, "service_tier": wish });
            let reply = gateway.caller().openai("/v1/responses", &body).await;
            assert_eq!(reply.header("x-outcrop-tier"), Some(served));
            let all = reply.text();
            let objects = if stream { 3 } else { 1 };
            assert_eq!(all.matches("\"service_tier\":").count(), objects, "{all}");
            assert_eq!(all.matches(&told).count(), objects, "{model} {wish}: {all}");
        }
    }
}

#[tokio::test]
async fn a_refused_tier_is_left_out_once_and_remembered_in_both_lanes() {
    for model in [CLAUDE, QWEN] {
        for stream in [false, true] {
            let gateway = Gateway::with(with(&[])).await;
            for attempts in ["2", "1", "1"] {
                let reply = gateway.caller().messages(&wishing(model, "reserved", stream)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let told = (reply.header("x-outcrop-tier"), reply.header("x-outcrop-attempts"));
                assert_eq!(told, (Some("default"), Some(attempts)), "{model} {stream}");
            }
            assert_eq!(all_asked(&gateway), [Some("reserved".to_owned()), None, None, None]);
            let rows = gateway.rows(3).await;
            assert!(rows.iter().all(|row| row.tier_requested == ServiceTier::Reserved));
            assert!(rows.iter().all(|row| row.tier_served == ServiceTier::Default));
        }
    }
}

#[tokio::test]
async fn what_is_no_refusal_of_the_tier_teaches_nothing() {
    let gateway = Gateway::with(with(&["--bedrock-max-attempts=1"])).await;
    for (status, code, message) in [
        (429, "ThrottlingException", "service tier is not supported"),
        (400, "ValidationException", "The temperature is not supported for this model."),
    ] {
        for stream in [false, true] {
            gateway.sim.script("", vec![Fault::error(status, code, message)]);
            let refused = gateway.caller().messages(&wishing(QWEN, "flex", stream)).await;
            assert_eq!(refused.status, status);
            let reply = gateway.caller().messages(&wishing(QWEN, "flex", stream)).await;
            assert_eq!(reported(&reply, stream), "flex");
        }
    }
    assert_eq!(all_asked(&gateway), vec![Some("flex".to_owned()); 8]);
}

#[tokio::test]
async fn a_tier_that_the_model_is_known_not_to_take_is_not_sent_and_said() {
    let gateway = Gateway::with(with(&[])).await;
    let (caller, record) = keyed(&gateway, ServiceTier::Flex).await;
    for stream in [false, true] {
        let reply = caller.messages(&hello(CLAUDE, "Hi", stream)).await;
        assert_eq!((reply.status, reply.header("x-outcrop-tier")), (200, Some("default")));
        let loss = reply.header("x-outcrop-loss").unwrap();
        assert!(loss.contains("service_tier=not taken by this model"), "{loss}");
    }
    assert_eq!(all_asked(&gateway), [None, None]);
    let rows = gateway.rows_of(&record.key_id, 2).await;
    assert!(rows.iter().all(|row| row.tier_requested == ServiceTier::Flex));
    assert!(rows.iter().all(|row| row.tier_served == ServiceTier::Default));
}

#[tokio::test]
async fn the_key_decides_then_the_request_then_the_default() {
    let gateway = Gateway::with(with(&["--default-service-tier=flex"])).await;
    let (priority, _) = keyed(&gateway, ServiceTier::Priority).await;
    let (default, _) = keyed(&gateway, ServiceTier::Default).await;
    for stream in [false, true] {
        for (caller, tier, served) in [
            (&priority, "flex", "priority"),
            (&default, "priority", "standard"),
            (&gateway.caller(), "priority", "priority"),
            (&gateway.caller(), "auto", "flex"),
        ] {
            let reply = caller.messages(&wishing(QWEN, tier, stream)).await;
            assert_eq!(reported(&reply, stream), served, "{tier}");
        }
    }
}

#[tokio::test]
async fn the_tier_that_served_counts_and_not_the_one_that_was_asked_for() {
    let gateway = Gateway::with(reserving(&[])).await;
    for (model, tier) in [(QWEN, "priority"), (CLAUDE, "reserved")] {
        for stream in [false, true] {
            let mut request = wishing(model, tier, stream);
            request["messages"][0]["content"] = json!("sim:served=flex");
            let reply = gateway.caller().messages(&request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            if model == QWEN {
                assert_eq!(reported(&reply, stream), "flex");
            } else {
                assert_eq!(reply.header("x-outcrop-tier"), Some("flex"));
            }
        }
    }
    for row in gateway.rows(4).await {
        assert_eq!(row.tier_served, ServiceTier::Flex);
        assert_ne!(row.tier_requested, ServiceTier::Flex);
    }
}

fn converse(more: &Value) -> Vec<u8> {
    let mut body = json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

fn invoke() -> Vec<u8> {
    let body = json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 50,
        "messages": [{ "role": "user", "content": "Hi" }] });
    body.to_string().into_bytes()
}

#[tokio::test]
async fn bedrocks_own_operations_get_the_keys_tier_and_fall_back_as_well() {
    for (operation, stream) in
        [("converse", ""), ("converse-stream", ""), ("invoke", ""), ("invoke-with-response-stream", "")]
    {
        let gateway = Gateway::with(with(&[])).await;
        let (caller, record) = keyed(&gateway, ServiceTier::Reserved).await;
        let (model, body) = match operation {
            "converse" | "converse-stream" => (QWEN, converse(&json!({ "serviceTier": { "type": "flex" } }))),
            _ => (SONNET, invoke()),
        };
        for _ in 0..2 {
            let reply = caller.post(&format!("/model/{model}/{operation}{stream}"), &body).await;
            assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
        }
        assert_eq!(all_asked(&gateway), [Some("reserved".to_owned()), None, None], "{operation}");
        for row in gateway.rows_of(&record.key_id, 2).await {
            let tiers = (row.tier_requested, row.tier_served);
            assert_eq!(tiers, (ServiceTier::Reserved, ServiceTier::Default), "{operation}");
        }
    }
}

#[tokio::test]
async fn a_tier_that_a_caller_of_bedrocks_own_operations_wrote_is_its_own() {
    let gateway = Gateway::with(with(&["--default-service-tier=priority"])).await;
    let flex = gateway.caller().header("x-amzn-bedrock-service-tier", "flex");
    for operation in ["invoke", "invoke-with-response-stream"] {
        let refused = flex.post(&format!("/model/{SONNET}/{operation}"), &invoke()).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 400);
        assert_eq!(message, "The provided service tier is not supported for this model.");
    }
    // A Messages body for a model that is spoken to through Converse: its header is a member there.
    let translated = flex.post(&format!("/model/{QWEN}/invoke"), &invoke()).await;
    assert_eq!(translated.json()["usage"]["service_tier"], "flex");
    for operation in ["converse", "converse-stream"] {
        let path = format!("/model/{QWEN}/{operation}");
        for (own, status) in [("flex", 200), ("reserved", 400), ("default", 200)] {
            let body = converse(&json!({ "serviceTier": { "type": own } }));
            assert_eq!(gateway.caller().post(&path, &body).await.status, status, "{own}");
            assert_eq!(gateway.sim.requests().last().unwrap().body, body, "byte for byte");
        }
        let reply = gateway.caller().post(&path, &converse(&json!({}))).await;
        assert!(reply.text().contains("\"serviceTier\":{\"type\":\"priority\"}"), "{}", reply.text());
    }
    assert_eq!(gateway.sim.requests().len(), 2 + 1 + 8, "nothing was repeated");
    let served: Vec<_> = gateway.rows(11).await.into_iter().filter(|row| row.http_status == 200).collect();
    for (tier, count) in [(ServiceTier::Flex, 3), (ServiceTier::Default, 2), (ServiceTier::Priority, 2)] {
        assert_eq!(served.iter().filter(|row| row.tier_served == tier).count(), count, "{tier}");
    }
}
