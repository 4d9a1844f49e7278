//! Settings about beta flags, prompt caching and switches, seen from both ends.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use outcrop_tests::{CLAUDE, Gateway, LANES, Options, QWEN, hello};
use serde_json::{Value, json};

async fn gateway(settings: &[&str]) -> Gateway {
    Gateway::with(Options::with(settings)).await
}

/// What went upstream last.
fn sent(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap()
}

/// The flags that reach Claude for these of the caller.
async fn flags(gateway: &Gateway, asked: &str) -> Vec<String> {
    let caller = gateway.caller().header("anthropic-beta", asked);
    let reply = caller.messages(&hello(CLAUDE, "Hello", false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let flags = sent(gateway)["anthropic_beta"].clone();
    flags.as_array().into_iter().flatten().map(|flag| flag.as_str().unwrap().to_owned()).collect()
}

fn markers(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(markers).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match name.as_str() {
                "cache_control" | "cachePoint" => vec![value],
                _ => markers(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

const ADVANCED: &str = "advanced-tool-use-2025-11-20";
const SEARCH: &str = "tool-search-tool-2025-10-19";

#[tokio::test]
async fn flags_are_mapped_by_default_dropped_when_unknown_and_sent_once() {
    let gateway = gateway(&[]).await;
    let asked = format!("{ADVANCED}, {SEARCH},never-heard-of-2031-01-01, {ADVANCED}");
    assert_eq!(flags(&gateway, &asked).await, [SEARCH]);
    assert!(flags(&gateway, "never-heard-of-2031-01-01").await.is_empty());
    assert!(sent(&gateway).get("anthropic_beta").is_none(), "an empty list is left out");
}

#[tokio::test]
async fn the_operators_mapping_takes_the_place_of_the_default_one() {
    let mapping = format!(
        r#"--beta-header-mapping={{"mine-2030-01-01": "{SEARCH}", "both-2030-01-01": ["{SEARCH}", "interleaved-thinking-2025-05-14"]}}"#
    );
    let gateway = gateway(&[&mapping]).await;
    assert_eq!(flags(&gateway, "mine-2030-01-01").await, [SEARCH]);
    assert!(flags(&gateway, ADVANCED).await.is_empty());
    assert_eq!(flags(&gateway, "both-2030-01-01").await.first().map(String::as_str), Some(SEARCH));
}

#[tokio::test]
async fn a_mapping_applies_to_the_supported_models_alone() {
    let gateway = gateway(&["--beta-header-supported-models=*opus*,*.nova-*"]).await;
    assert!(flags(&gateway, ADVANCED).await.is_empty());
    let gateway = self::gateway(&["--beta-header-supported-models=*SONNET*"]).await;
    assert_eq!(flags(&gateway, ADVANCED).await, [SEARCH]);
}

#[tokio::test]
async fn a_blocked_flag_never_leaves_mapped_or_not() {
    let gateway = gateway(&[&format!("--beta-headers-blocklist=other-2030-01-01, {SEARCH}")]).await;
    assert!(flags(&gateway, SEARCH).await.is_empty());
    assert!(flags(&gateway, ADVANCED).await.is_empty());
    let caller = gateway.caller().header("anthropic-beta", SEARCH).header("x-outcrop-debug", "1");
    let reply = caller.messages(&hello(CLAUDE, "Hello", false)).await;
    let losses = reply.header("x-outcrop-loss").unwrap().to_owned();
    assert!(losses.contains(&format!("anthropic-beta.{SEARCH}=blocked beta flag")), "{losses}");
}

#[tokio::test]
async fn unknown_flags_pass_when_they_may_and_a_refused_one_is_learnt() {
    let gateway = gateway(&["--beta-unknown=pass"]).await;
    // The simulator refuses it as Bedrock does, and the call is made again with what is certain.
    assert!(flags(&gateway, "never-heard-of-2031-01-01").await.is_empty());
    let requests = gateway.sim.requests();
    assert_eq!(requests.len(), 2);
    assert!(String::from_utf8_lossy(&requests[0].body).contains("never-heard-of-2031-01-01"));
}

fn marked(model: &str) -> Value {
    json!({
        "model": model,
        "max_tokens": 100,
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }],
        "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "Hello", "cache_control": { "type": "ephemeral", "ttl": "5m" } },
        ] }],
    })
}

/// A model of the Converse lane that caches prompts.
const NOVA: &str = "amazon.nova-pro-v1:0";

#[tokio::test]
async fn caching_switched_off_takes_every_marker_out() {
    for name in ["--prompt-caching-enabled=true", "--prompt-caching-enabled=false"] {
        let gateway = gateway(&[name]).await;
        for model in [CLAUDE, NOVA] {
            assert_eq!(gateway.caller().messages(&marked(model)).await.status, 200);
            let sent = sent(&gateway);
            assert_eq!(markers(&sent).is_empty(), name.ends_with("false"), "{model}: {sent}");
        }
    }
}

#[tokio::test]
async fn the_default_ttl_is_given_to_markers_that_name_none() {
    let gateway = gateway(&["--default-cache-ttl=1h"]).await;
    let reply = gateway.caller().messages(&marked(CLAUDE)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = sent(&gateway);
    assert_eq!(sent["system"][0]["cache_control"]["ttl"], "1h");
    assert_eq!(sent["messages"][0]["content"][0]["cache_control"]["ttl"], "5m", "the caller's own stays");
}

fn tool() -> Value {
    json!([{ "name": "look", "input_schema": { "type": "object", "properties": {} } }])
}

/// The smallest picture and the smallest document.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const PDF: &str = "JVBERi0xLjQKJSVFT0YK";

fn media(model: &str, kind: &str, media_type: &str, data: &str) -> Value {
    let source = json!({ "type": "base64", "media_type": media_type, "data": data });
    let mut body = hello(model, "", false);
    body["messages"] = json!([{ "role": "user", "content": [
        { "type": "text", "text": "What is this?" },
        { "type": kind, "source": source },
    ] }]);
    body
}

#[tokio::test]
async fn what_is_switched_off_is_refused_by_the_name_of_its_switch() {
    let settings = ["--enable-tool-use=false", "--enable-vision=false", "--enable-document-support=false"];
    let gateway = gateway(&settings).await;
    for model in LANES {
        let mut with_tools = hello(model, "Hello", false);
        with_tools["tools"] = tool();
        let mut with_calls = hello(model, "", false);
        with_calls["messages"] = json!([
            { "role": "user", "content": "Look." },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "look", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "x" }] },
        ]);
        for (body, switch) in [
            (with_tools, "ENABLE_TOOL_USE=false"),
            (with_calls, "ENABLE_TOOL_USE=false"),
            (media(model, "image", "image/png", PNG), "ENABLE_VISION=false"),
            (media(model, "document", "application/pdf", PDF), "ENABLE_DOCUMENT_SUPPORT=false"),
        ] {
            let reply = gateway.caller().messages(&body).await;
            assert_eq!(reply.status, 400, "{}", reply.text());
            let (kind, message) = reply.error();
            assert_eq!(kind, "invalid_request_error");
            assert!(message.contains(switch), "{message}");
        }
        let mut empty = hello(model, "Hello", false);
        empty["tools"] = json!([]);
        assert_eq!(gateway.caller().messages(&empty).await.status, 200, "no tools are no use of tools");
    }
    assert_eq!(gateway.sim.requests().len(), 2, "nothing that is refused goes upstream");
}

#[tokio::test]
async fn everything_is_on_by_default() {
    let gateway = gateway(&[]).await;
    let mut with_tools = hello(QWEN, "Hello", false);
    with_tools["tools"] = tool();
    let bodies = [
        with_tools,
        media(CLAUDE, "image", "image/png", PNG),
        media(CLAUDE, "document", "application/pdf", PDF),
    ];
    for body in bodies {
        let reply = gateway.caller().messages(&body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Thinks in the Converse lane.
const NOVA_2: &str = "amazon.nova-2-lite-v1:0";

#[tokio::test]
async fn thinking_switched_off_is_left_out_and_said_so() {
    for (setting, thinks) in
        [("--enable-extended-thinking=true", true), ("--enable-extended-thinking=false", false)]
    {
        let gateway = gateway(&[setting]).await;
        for (model, member) in
            [(CLAUDE, "/thinking"), (NOVA_2, "/additionalModelRequestFields/reasoningConfig")]
        {
            let mut body = hello(model, "Hello", false);
            body["max_tokens"] = json!(4000);
            body["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 });
            let reply = gateway.caller().header("x-outcrop-debug", "1").messages(&body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(sent(&gateway).pointer(member).is_some(), thinks, "{}", sent(&gateway));
            let said = reply.header("x-outcrop-loss").unwrap().contains("thinking=thinking is switched off");
            assert_eq!(said, !thinks, "{:?}", reply.header("x-outcrop-loss"));
        }
    }
}

#[tokio::test]
async fn clearing_of_thinking_leaves_together_with_it() {
    let gateway = gateway(&["--enable-extended-thinking=false"]).await;
    let mut body = hello(CLAUDE, "Hello", false);
    body["max_tokens"] = json!(4000);
    body["thinking"] = json!({ "type": "adaptive" });
    body["context_management"] = json!({ "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] });
    let reply = gateway.caller().messages(&body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(sent(&gateway).get("context_management").is_none());
}
