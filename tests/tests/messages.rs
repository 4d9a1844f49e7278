//! The main job, in both lanes, over real TCP.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use outcrop_tests::{CLAUDE, Gateway, LANES, Options, QWEN, events, hello};
use serde_json::{Value, json};

/// The text of a whole answer.
fn text(message: &Value) -> String {
    let blocks = message["content"].as_array().unwrap();
    blocks.iter().filter_map(|block| block["text"].as_str()).collect()
}

/// Checks the grammar of a finished stream and folds its text.
fn folded(stream: &[(String, Value)]) -> String {
    let names: Vec<&str> =
        stream.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "ping").collect();
    assert_eq!(names.first(), Some(&"message_start"));
    assert_eq!(names.last(), Some(&"message_stop"));
    assert_eq!(names.iter().filter(|name| **name == "message_start").count(), 1);
    let mut open = Vec::new();
    let mut text = String::new();
    let mut stop_reason = Value::Null;
    for (name, data) in stream {
        match name.as_str() {
            "content_block_start" => open.push(data["index"].clone()),
            "content_block_delta" => {
                assert!(open.contains(&data["index"]), "{data}");
                text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            }
            "content_block_stop" => open.retain(|index| *index != data["index"]),
            "message_delta" => stop_reason = data["delta"]["stop_reason"].clone(),
            _ => {}
        }
    }
    assert!(open.is_empty() && !stop_reason.is_null());
    text
}

#[tokio::test]
async fn a_whole_answer_comes_in_anthropics_shape_from_either_lane() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let reply = gateway.caller().messages(&hello(model, "Hello there", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let message = reply.json();
        assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
        assert_eq!(message["model"], model, "the name is the caller's");
        assert!(message["id"].as_str().unwrap().starts_with("msg_"));
        assert_eq!(message["stop_reason"], "end_turn");
        assert!(!text(&message).is_empty());
        assert!(message["usage"]["input_tokens"].as_u64().unwrap() > 0);
        assert!(message["usage"]["output_tokens"].as_u64().unwrap() > 0);
        assert!(!reply.text().contains("amazon-bedrock"));
        assert!(reply.header("request-id").unwrap().starts_with("req_"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_answer() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let whole = gateway.caller().messages(&hello(model, "Tell me something", false)).await;
        let reply = gateway.caller().messages(&hello(model, "Tell me something", true)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.complete);
        assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        let stream = events(&reply.text());
        assert_eq!(folded(&stream), text(&whole.json()));
        assert_eq!(stream[0].1["message"]["model"], model);
        assert!(!reply.text().contains("amazon-bedrock") && !reply.text().contains("[DONE]"));
    }
}

#[tokio::test]
async fn a_tool_round_trip_works_in_either_lane() {
    let gateway = Gateway::start().await;
    let tools = json!([{
        "name": "get_weather",
        "description": "Weather of a place",
        "input_schema": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] },
    }]);
    for model in LANES {
        let ask = "call get_weather with {\"city\":\"Bern\"}";
        let mut request = hello(model, ask, false);
        request["tools"] = tools.clone();
        let first = gateway.caller().messages(&request).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let message = first.json();
        assert_eq!(message["stop_reason"], "tool_use");
        let call =
            message["content"].as_array().unwrap().iter().find(|b| b["type"] == "tool_use").unwrap().clone();
        assert_eq!((&call["name"], &call["input"]), (&json!("get_weather"), &json!({ "city": "Bern" })));
        request["messages"] = json!([
            { "role": "user", "content": ask },
            { "role": "assistant", "content": message["content"] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": call["id"], "content": "sunny, 21 degrees" } ] },
        ]);
        let second = gateway.caller().messages(&request).await;
        assert_eq!(second.status, 200, "{}", second.text());
        assert!(text(&second.json()).contains("sunny, 21 degrees"));
    }
}

#[tokio::test]
async fn images_system_prompts_and_stop_sequences_are_carried() {
    const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let gateway = Gateway::start().await;
    for model in [CLAUDE, "amazon.nova-lite-v1:0"] {
        let mut request = hello(model, "x", false);
        request["system"] =
            json!([{ "type": "text", "text": "Be brief." }, { "type": "text", "text": "Be kind." }]);
        request["stop_sequences"] = json!(["STOP"]);
        request["messages"][0]["content"] = json!([
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": PIXEL } },
            { "type": "text", "text": "What is in this picture?" },
        ]);
        let reply = gateway.caller().messages(&request).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let sent: Value = serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap();
        assert!(sent.to_string().contains(PIXEL) && sent.to_string().contains("Be kind."), "{sent}");
        assert!(sent.to_string().contains("STOP"), "{sent}");
    }
}

#[tokio::test]
async fn thinking_comes_back_signed_and_is_taken_back() {
    let gateway = Gateway::start().await;
    let mut request = hello("claude-opus-4-5", "Think about it", false);
    request["max_tokens"] = json!(4000);
    request["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 });
    let first = gateway.caller().messages(&request).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let content = first.json()["content"].clone();
    assert_eq!(content[0]["type"], "thinking");
    assert!(!content[0]["signature"].as_str().unwrap().is_empty());
    request["messages"] = json!([
        { "role": "user", "content": "Think about it" },
        { "role": "assistant", "content": content },
        { "role": "user", "content": "And now?" },
    ]);
    let second = gateway.caller().messages(&request).await;
    assert_eq!(second.status, 200, "the simulator checks the signature: {}", second.text());
}

#[tokio::test]
async fn in_the_native_lane_the_callers_bytes_travel() {
    let gateway = Gateway::start().await;
    // Odd spacing, key order, escapes and number forms: none of it may change.
    let messages =
        r#""messages" : [ {"content":[{"text":"caf\u00e9 \/ 1.0", "type":"text"}],"role":"user"} ]"#;
    let tail = r#""metadata":{"user_id":"u-1"},   "max_tokens":3.0e2"#.replace("3.0e2", "300");
    let body = format!(r#"{{ "stream":false, "model":"{CLAUDE}",{messages},{tail}}}"#);
    let reply = gateway.caller().post("/v1/messages", body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = gateway.sim.requests().last().unwrap().clone();
    let sent_text = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(sent_text.contains(messages) && sent_text.contains(&tail), "{sent_text}");
    assert!(!sent_text.contains("\"model\"") && !sent_text.contains("\"stream\""), "{sent_text}");
    assert!(sent_text.contains("bedrock-2023-05-31"), "{sent_text}");
    assert_eq!(sent.path, "/model/global.anthropic.claude-sonnet-4-6/invoke");
}

#[tokio::test]
async fn nothing_of_the_callers_headers_goes_upstream() {
    let gateway = Gateway::start().await;
    let caller = gateway
        .caller()
        .header("cookie", "canary-cookie")
        .header("x-forwarded-for", "canary-forwarded")
        .header("x-amz-security-token", "canary-token")
        .header("x-request-id", "canary-id")
        .header("authorization", "Basic canary-basic");
    for model in LANES {
        let reply = caller.messages(&hello(model, "Hi", true)).await;
        assert_eq!(reply.status, 200);
        assert!(!format!("{:?}", reply.headers).contains("canary"));
    }
    for request in gateway.sim.requests() {
        assert!(!format!("{:?}", request.headers).contains("canary"), "{:?}", request.headers);
    }
}

#[tokio::test]
async fn events_leave_one_by_one_as_they_come() {
    use tokio::io::AsyncReadExt as _;
    let gateway = Gateway::with(Options { delay: Duration::from_millis(60), ..Options::default() }).await;
    for model in LANES {
        let body = hello(model, "sim:words=6", true).to_string();
        let mut reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
        let mut reads = 0;
        let mut buffer = vec![0; 65_536];
        while reply.read(&mut buffer).await.unwrap() > 0 {
            reads += 1;
        }
        // Collected into one write it would be two or three reads.
        assert!(reads >= 6, "{model}: {reads} reads");
    }
}

#[tokio::test]
async fn silence_is_filled_with_pings_before_and_amid_the_answer() {
    let gateway = Gateway::with(Options::with(&["--ping-interval-seconds=1"])).await;
    for model in LANES {
        for stall in ["sim:stall=1300ms", "sim:stall=1300ms@headers", "sim:stall=1300ms@3"] {
            let reply = gateway.caller().messages(&hello(model, stall, true)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let stream = events(&reply.text());
            assert!(stream.iter().any(|(name, _)| name == "ping"), "{model} {stall}: {}", reply.text());
            folded(&stream);
        }
    }
}

#[tokio::test]
async fn usage_of_every_request_is_booked_as_the_upstream_reported_it() {
    let gateway = Gateway::start().await;
    for model in LANES {
        for stream in [false, true] {
            gateway.caller().messages(&hello(model, "Count me", stream)).await;
        }
    }
    let rows = gateway.rows(4).await;
    assert_eq!(rows.len(), 4);
    let served = gateway.sim.served();
    assert_eq!(rows.iter().map(|row| row.input_tokens).sum::<u64>(), served.input_tokens);
    assert_eq!(rows.iter().map(|row| row.output_tokens).sum::<u64>(), served.output_tokens);
    for row in &rows {
        assert_eq!((row.http_status, row.estimated), (200, false));
        assert!(row.upstream_request_id.is_some() && row.attempts == 1);
        assert!(!row.is_unpriced(), "{}", row.base_model);
    }
    assert_eq!(rows.iter().filter(|row| row.lane == "native").count(), 2);
    assert_eq!(rows.iter().filter(|row| row.stream).count(), 2);
}

#[tokio::test]
async fn models_are_listed_in_the_shape_of_whoever_asks() {
    let gateway = Gateway::start().await;
    let anthropic = gateway.caller().get("/v1/models?limit=3").await.json();
    assert_eq!(anthropic["data"].as_array().unwrap().len(), 3);
    assert_eq!(anthropic["has_more"], true);
    let last = anthropic["last_id"].as_str().unwrap();
    let next = gateway.caller().get(&format!("/v1/models?limit=1000&after_id={last}")).await.json();
    let ids: Vec<&str> = next["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&CLAUDE) && ids.contains(&QWEN) && !ids.contains(&last));
    assert_eq!(next["has_more"], false);

    let bearer =
        gateway.caller().anonymous().header("authorization", &format!("Bearer {}", outcrop_tests::MASTER));
    let openai = bearer.get("/v1/models").await.json();
    assert_eq!(openai["object"], "list");
    assert!(openai["data"][0]["created"].as_i64().unwrap() > 1_600_000_000);

    let one = gateway.caller().get("/v1/models/claude-sonnet-4-5-20250929").await.json();
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("claude-sonnet-4-5-20250929")));
    let encoded = gateway.caller().get("/v1/models/qwen.qwen3-coder-480b-a35b-v1%3A0").await;
    assert_eq!(encoded.status, 200);
    let unknown = gateway.caller().get("/v1/models/gpt-17").await;
    assert_eq!((unknown.status, unknown.error().0.as_str()), (404, "not_found_error"));
}

#[tokio::test]
async fn health_and_readiness_say_what_was_observed() {
    let gateway = Gateway::start().await;
    let caller = gateway.caller().anonymous();
    assert_eq!(caller.get("/health/live").await.json()["status"], "alive");
    assert_eq!(caller.get("/health/ready").await.json()["status"], "ready");
    let before = caller.get("/health").await.json();
    assert_eq!(before["services"]["bedrock"]["status"], "idle");
    gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
    let after = caller.get("/health").await.json();
    assert_eq!(after["services"]["bedrock"]["status"], "healthy");
    assert_eq!(
        (&after["status"], &after["services"]["store"]["kind"]),
        (&json!("healthy"), &json!("memory"))
    );
    for (method, path) in [("HEAD", "/"), ("GET", "/"), ("HEAD", "/api/hello"), ("OPTIONS", "/v1/messages")] {
        let reply = caller.request(method, path, b"").await;
        assert!(matches!(reply.status, 200 | 204), "{method} {path}");
        assert!(reply.complete, "{method} {path}");
    }
    assert_eq!(caller.post("/api/event_logging/batch", b"{}").await.status, 200);
}

#[tokio::test]
async fn a_wanted_debug_header_tells_what_happened() {
    let gateway = Gateway::start().await;
    let mut request = hello(QWEN, "Hi", false);
    request["tags"] = json!(["a"]);
    let reply = gateway.caller().header("x-outcrop-debug", "1").messages(&request).await;
    assert_eq!(reply.header("x-outcrop-lane"), Some("converse"));
    assert_eq!(reply.header("x-outcrop-model"), Some(QWEN));
    assert_eq!(reply.header("x-outcrop-attempts"), Some("1"));
    assert!(reply.header("x-outcrop-loss").unwrap().contains("tags="), "{:?}", reply.headers);
    let silent = gateway.caller().messages(&request).await;
    assert_eq!(silent.header("x-outcrop-lane"), None);
}

#[tokio::test]
async fn a_body_that_is_not_in_its_coding_is_refused() {
    let gateway = Gateway::start().await;
    let caller = gateway.caller().header("content-encoding", "gzip");
    let broken = caller.post("/v1/messages", b"not gzip").await;
    assert_eq!((broken.status, broken.error().0.as_str()), (400, "invalid_request_error"));
    let unknown = gateway.caller().header("content-encoding", "lzma").post("/v1/messages", b"x").await;
    assert_eq!(unknown.status, 415);
}
