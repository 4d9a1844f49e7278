//! Counting: the upstream's figure where it counts, a marked estimate elsewhere, and never a run.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bedrock_sim::Fault;
use outcrop_tests::{CLAUDE, Caller, Gateway, Options, QWEN, Reply, hello};
use serde_json::{Value, json};

/// Profiles only: Bedrock does not count for it.
const CLAUDE_5: &str = "claude-opus-5";

fn asking(model: &str) -> Value {
    json!({
        "model": model,
        "system": "You are terse.",
        "messages": [{ "role": "user", "content": "How many tokens is this?" }],
    })
}

async fn count(gateway: &Gateway, body: &Value) -> Reply {
    gateway.caller().messages_at("/v1/messages/count_tokens?beta=true", body).await
}

fn tokens(reply: &Reply, how: &str) -> u64 {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-outcrop-token-count"), Some(how), "{}", reply.text());
    reply.json()["input_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn a_claude_is_counted_by_the_upstream_under_its_base_id_and_nothing_is_run() {
    let gateway = Gateway::start().await;
    let names = [
        CLAUDE,
        "us.anthropic.claude-sonnet-4-6",
        "eu.anthropic.claude-sonnet-4-6",
        "global.anthropic.claude-sonnet-4-6",
        "anthropic.claude-sonnet-4-6",
        "claude-sonnet-4-6[1m]",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6",
    ];
    for name in names {
        assert!(tokens(&count(&gateway, &asking(name)).await, "exact") > 0, "{name}");
    }
    for request in gateway.sim.requests() {
        assert_eq!(request.path, "/model/anthropic.claude-sonnet-4-6/count-tokens");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert!(body["input"]["invokeModel"]["body"].is_string(), "{body}");
    }
    assert_eq!(gateway.sim.requests().len(), names.len());
    assert_eq!(gateway.sim.served().answers, 0);
    let alias = gateway.caller().messages_at("/anthropic/v1/messages/count_tokens", &asking(CLAUDE)).await;
    tokens(&alias, "exact");
}

#[tokio::test]
async fn tools_images_calls_and_thinking_are_all_counted() {
    let gateway = Gateway::start().await;
    let plain = tokens(&count(&gateway, &asking(CLAUDE)).await, "exact");
    let tool = |n: usize| {
        json!({ "name": format!("tool_{n}"), "description": "d".repeat(200),
                "input_schema": { "type": "object", "properties": { "a": { "type": "string" } } } })
    };
    let mut tooled = asking(CLAUDE);
    tooled["tools"] = (0..100).map(tool).collect();
    assert!(tokens(&count(&gateway, &tooled).await, "exact") > plain + 5000);

    let mut told = tooled.clone();
    told["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 });
    told["messages"] = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_1", "name": "tool_1", "input": { "a": "x".repeat(4000) } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": "y".repeat(4000) }] },
    ]);
    let reply = count(&gateway, &told).await;
    assert!(tokens(&reply, "exact") > tokens(&count(&gateway, &tooled).await, "exact") + 1500);
}

#[tokio::test]
async fn an_empty_list_of_tools_is_fine_for_every_model() {
    let gateway = Gateway::start().await;
    for (model, how) in [(CLAUDE, "exact"), (CLAUDE_5, "estimated"), (QWEN, "estimated")] {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "foo" }], "tools": [] });
        assert!(tokens(&count(&gateway, &body).await, how) > 0, "{model}");
    }
}

#[tokio::test]
async fn what_nobody_counts_is_estimated_without_a_call() {
    let gateway = Gateway::start().await;
    for model in [CLAUDE_5, QWEN, "global.anthropic.claude-opus-5"] {
        let small = tokens(&count(&gateway, &asking(model)).await, "estimated");
        let mut large = asking(model);
        large["messages"][0]["content"] = "Words of prose, and more of them. ".repeat(300).into();
        let large = tokens(&count(&gateway, &large).await, "estimated");
        // 10 200 bytes of prose are some 2 200 tokens.
        assert!(small > 0 && (2200..7000).contains(&large), "{model}: {small}, {large}");
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn an_upstream_that_does_not_count_this_model_gets_it_estimated() {
    let gateway = Gateway::start().await;
    let refusal = "The provided model doesn't support counting tokens.";
    gateway.sim.script("", vec![Fault::error(400, "ValidationException", refusal)]);
    tokens(&count(&gateway, &asking(CLAUDE)).await, "estimated");
}

#[tokio::test]
async fn a_refusal_of_the_upstream_is_never_hidden_by_an_estimate() {
    let gateway = Gateway::start().await;
    for (status, kind, said) in [
        (403, "AccessDeniedException", "permission_error"),
        (404, "ResourceNotFoundException", "not_found_error"),
        (400, "ValidationException", "invalid_request_error"),
    ] {
        gateway.sim.script("", vec![Fault::error(status, kind, "no, by arn:aws:iam::123456789012:role/x")]);
        let reply = count(&gateway, &asking(CLAUDE)).await;
        assert_eq!((reply.status, reply.error().0.as_str()), (status, said));
        assert_eq!(reply.error().1, "no, by [arn]");
        assert_eq!(reply.header("x-outcrop-token-count"), None);
    }
}

#[tokio::test]
async fn a_field_that_the_upstream_refuses_by_name_is_left_out_of_the_next_count() {
    let gateway = Gateway::start().await;
    let refusal = "metadata: Extra inputs are not permitted";
    gateway.sim.script("", vec![Fault::error(400, "ValidationException", refusal)]);
    let mut body = asking(CLAUDE);
    body["metadata"] = json!({ "user_id": "u" });
    tokens(&count(&gateway, &body).await, "exact");
    assert_eq!(gateway.sim.requests().len(), 2);
}

#[tokio::test]
async fn twenty_five_counts_at_once_are_all_answered() {
    let gateway = Gateway::start().await;
    let counts: Vec<_> = (0..25)
        .map(|n| {
            let caller = gateway.caller();
            let mut body = asking(if n % 2 == 0 { CLAUDE } else { QWEN });
            body["messages"][0]["content"] = "x".repeat(n * 40 + 1).into();
            tokio::spawn(
                async move { caller.messages_at("/v1/messages/count_tokens?beta=true", &body).await },
            )
        })
        .collect();
    for (n, reply) in counts.into_iter().enumerate() {
        assert!(tokens(&reply.await.unwrap(), if n % 2 == 0 { "exact" } else { "estimated" }) > 0);
    }
}

#[tokio::test]
async fn a_count_needs_a_key_a_model_and_messages_as_a_call_does() {
    let gateway = Gateway::start().await;
    let body = asking(CLAUDE).to_string();
    let anonymous = gateway.caller().anonymous();
    let path = "/v1/messages/count_tokens";
    assert_eq!(
        anonymous.header("anthropic-version", "2023-06-01").post(path, body.as_bytes()).await.status,
        401
    );
    for (model, without) in [(CLAUDE, "model"), (CLAUDE, "messages"), (QWEN, "messages")] {
        let mut body = asking(model);
        body.as_object_mut().unwrap().remove(without);
        let reply = count(&gateway, &body).await;
        assert_eq!((reply.status, reply.error().1), (400, format!("{without}: Field required")));
    }
    assert_eq!(gateway.caller().request("GET", path, b"").await.status, 405);
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn counting_books_nothing() {
    let gateway = Gateway::start().await;
    for model in [CLAUDE, QWEN] {
        count(&gateway, &asking(model)).await;
    }
    gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
    let rows = gateway.rows(1).await;
    assert_eq!(rows.len(), 1, "the message alone");
    assert_eq!(rows[0].surface, "messages");
}

#[tokio::test]
async fn a_model_that_the_key_may_not_use_is_not_counted() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key(&["qwen.*"]).await;
    let caller = Caller::new(gateway.addr, &key);
    for name in [CLAUDE, CLAUDE_5, "us.anthropic.claude-sonnet-4-6"] {
        let reply = caller.messages_at("/v1/messages/count_tokens", &asking(name)).await;
        assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"), "{name}");
    }
    tokens(&caller.messages_at("/v1/messages/count_tokens", &asking(QWEN)).await, "estimated");
    assert!(gateway.sim.requests().is_empty());
}

/// A body that uses one kind of content.
fn holding(model: &str, kind: &str, source: &Value) -> Value {
    let mut body = asking(model);
    body["messages"][0]["content"] =
        json!([{ "type": "text", "text": "What is this?" }, { "type": kind, "source": source }]);
    body
}

#[tokio::test]
async fn what_is_switched_off_is_not_counted_and_the_switch_is_named() {
    let off = ["--enable-tool-use=false", "--enable-vision=false", "--enable-document-support=false"];
    let gateway = Gateway::with(Options::with(&off)).await;
    let data = json!({ "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" });
    for model in [CLAUDE, CLAUDE_5, QWEN] {
        let mut tooled = asking(model);
        tooled["tools"] = json!([{ "name": "t", "input_schema": { "type": "object" } }]);
        for (body, switch) in [
            (tooled, "ENABLE_TOOL_USE"),
            (holding(model, "image", &data), "ENABLE_VISION"),
            (holding(model, "document", &data), "ENABLE_DOCUMENT_SUPPORT"),
        ] {
            let reply = count(&gateway, &body).await;
            let (kind, message) = reply.error();
            assert_eq!((reply.status, kind.as_str()), (400, "invalid_request_error"));
            assert!(message.contains(switch), "{message}");
        }
    }
    assert!(gateway.sim.requests().is_empty());
    tokens(&count(&gateway, &asking(CLAUDE)).await, "exact");
}
