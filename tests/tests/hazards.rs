//! What is known to go wrong in gateways, seen from both ends. `fixtures/rules.md` says which fault is shown where.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bedrock_sim::Fault;
use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, Options, QWEN, events, hello};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// Sees images, in the Converse lane.
const NOVA: &str = "amazon.nova-pro-v1:0";
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// What went upstream last.
fn sent(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap()
}

fn with(model: &str, change: &Value) -> Value {
    let mut request = hello(model, "Hi", false);
    for (name, value) in change.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn tool() -> Value {
    json!([{ "name": "look", "description": "Looks.",
             "input_schema": { "type": "object", "properties": { "at": { "type": "string" } } } }])
}

#[tokio::test]
async fn what_no_model_takes_is_a_400_in_the_vendors_words() {
    let gateway = Gateway::start().await;
    let thinking = json!({ "type": "enabled", "budget_tokens": 2000 });
    let forced = json!({ "max_tokens": 4000, "thinking": thinking, "tools": tool(), "tool_choice": { "type": "any" } });
    let same = json!([{ "name": "look", "input_schema": { "type": "object" } }, { "name": "look", "input_schema": { "type": "object" } }]);
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "look", "input": {} });
    let result = json!({ "type": "tool_result", "tool_use_id": "toolu_1", "content": "x" });
    let history = |results: Value| {
        json!([{ "role": "user", "content": "Look." }, { "role": "assistant", "content": [call] },
               { "role": "user", "content": results }])
    };
    let strange = json!([{ "type": "tool_result", "tool_use_id": "toolu_9", "content": "x" }]);
    let cases = [
        (vec![CLAUDE], forced, "Thinking may not be enabled when tool_choice forces tool use"),
        (LANES.to_vec(), json!({ "stop_sequences": ["END", " \n"] }), "must contain non-whitespace"),
        (LANES.to_vec(), json!({ "tools": same }), "Tool names must be unique"),
        (LANES.to_vec(), json!({ "tools": tool(), "messages": history(json!("no result")) }), "toolu_1"),
        (LANES.to_vec(), json!({ "tools": tool(), "messages": history(strange) }), "toolu_9"),
        (LANES.to_vec(), json!({ "tools": tool(), "messages": history(json!([result, result])) }), "toolu_1"),
    ];
    for (models, change, words) in cases {
        for model in models {
            for stream in [false, true] {
                let mut request = with(model, &change);
                request["stream"] = json!(stream);
                let reply = gateway.caller().messages(&request).await;
                assert_eq!(reply.status, 400, "{model} {change}: {}", reply.text());
                let (kind, message) = reply.error();
                assert_eq!(kind, "invalid_request_error");
                assert!(message.contains(words), "{model} {change}: {message}");
            }
        }
    }
}

#[tokio::test]
async fn what_one_model_takes_in_another_way_is_served() {
    let gateway = Gateway::start().await;
    let budget = json!({ "type": "enabled", "budget_tokens": 2000 });
    let blank = json!({
        "system": [{ "type": "text", "text": "\n\n" }],
        "tools": tool(),
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "" }, { "type": "text", "text": "Look." }] },
            { "role": "assistant", "content": [{ "type": "text", "text": " " },
                { "type": "tool_use", "id": "toolu_1", "name": "look", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": [
                { "type": "text", "text": "" }] }, { "type": "text", "text": "\t" }] },
            { "role": "assistant", "content": "  " },
            { "role": "user", "content": "" },
        ],
    });
    let cases = [
        // A model that thinks adaptively alone gets a budget.
        ("claude-opus-4-8", json!({ "max_tokens": 4000, "thinking": budget })),
        (CLAUDE, blank.clone()),
        (QWEN, blank),
        (CLAUDE, json!({ "tool_choice": { "type": "any", "disable_parallel_tool_use": true } })),
        (QWEN, json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } })),
        (CLAUDE, json!({ "tools": tool(), "tool_choice": { "type": "none" } })),
        (QWEN, json!({ "tools": tool(), "tool_choice": { "type": "none" } })),
        (CLAUDE, json!({ "context_management": { "edits": [] }, "speed": "fast", "tags": ["a"] })),
    ];
    for (model, change) in cases {
        for stream in [false, true] {
            let mut request = with(model, &change);
            request["stream"] = json!(stream);
            let reply = gateway.caller().messages(&request).await;
            assert_eq!(reply.status, 200, "{model} {change}: {}", reply.text());
            assert!(!reply.text().contains("event: error"), "{model} {change}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn the_stop_sequence_that_matched_is_told() {
    let gateway = Gateway::start().await;
    for (model, told) in [(CLAUDE, json!("STOP")), (NOVA, Value::Null)] {
        let mut request = hello(model, "Reply with exactly: one two STOP three", false);
        request["stop_sequences"] = json!(["NEVER", "STOP"]);
        let whole = gateway.caller().messages(&request).await.json();
        // Converse models say that a sequence matched, and only some say which when they are asked.
        assert_eq!(
            (&whole["stop_reason"], &whole["stop_sequence"]),
            (&json!("stop_sequence"), &told),
            "{model}"
        );
        request["stream"] = json!(true);
        let stream = events(&gateway.caller().messages(&request).await.text());
        let delta = &stream.iter().find(|(name, _)| name == "message_delta").unwrap().1["delta"];
        assert_eq!(
            (&delta["stop_reason"], &delta["stop_sequence"]),
            (&json!("stop_sequence"), &told),
            "{model}"
        );
    }
}

#[tokio::test]
async fn a_body_is_read_in_every_coding() {
    /// A small request for Claude, made with `gzip`, zlib, `brotli` and `zstd`.
    const CODED: [(&str, &str); 4] = [
        (
            "gzip",
            "H4sIAAAAAAAAAwXBQQqAMAwEwL/suQUF8ZAX+AcRKXURsU3AVBDEvzvzotrGAkEu6d4Y3VTZ4hBHBNT0rM1OqkP6rguodE87HTK/uKwQgtt5ISCbNmqDYDrwLd8Pc0sPH1oAAAA=",
        ),
        (
            "deflate",
            "eJwFwUEKgDAMBMC/7LkFBfGQF/gHESl1EbFNwFQQxL8786LaxgJBLuneGN1U2eIQRwTU9KzNTqpD+q4LqHRPOx0yv7isEILbeSEgmzZqg2A68C3fD05zHbU=",
        ),
        (
            "br",
            "iyyAeyJtb2RlbCI6ImNsYXVkZS1zb25uZXQtNC02IiwibWF4X3Rva2VucyI6MTAwLCJtZXNzYWdlcyI6W3sicm9sZSI6InVzZXIiLCJjb250ZW50IjoiSGkifV19Aw==",
        ),
        (
            "zstd",
            "KLUv/SBahQIAogUTGICpOpgWEWKKMOI/lwPCFA0oFtRR4GBGRwfh8EHg8+IXE5mYXZvPV8lsDM56w1H9MjGmOCsekVtInGXiQAGUPWJqeWpHIZ/VUy4bAQA=",
        ),
    ];
    let gateway = Gateway::with(Options::with(&["--max-body-bytes=1000000"])).await;
    for (coding, body) in CODED {
        let caller = gateway.caller().header("content-encoding", coding);
        let reply = caller.post("/v1/messages", &STANDARD.decode(body).unwrap()).await;
        assert_eq!(reply.status, 200, "{coding}: {}", reply.text());
        assert_eq!(sent(&gateway)["messages"][0]["content"], "Hi", "{coding}");
        assert!(gateway.sim.requests().last().unwrap().header("content-encoding").is_none(), "{coding}");
    }
    // Forty megabytes of white space, from `brotli`.
    let bomb = "y///P/glQOKxQCD3/o///3/wSwDEYRGA7v0f////4JcAiMMCAN37P/7//8EvARCHBQC693/5//+HXwIgDgsAdO//AA==";
    let caller = gateway.caller().header("content-encoding", "br");
    let reply = caller.post("/v1/messages", &STANDARD.decode(bomb).unwrap()).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (413, "request_too_large"));
}

#[tokio::test]
async fn bodies_up_to_thirty_two_megabytes_are_served_by_default() {
    let gateway = Gateway::start().await;
    let most = 32 * 1024 * 1024;
    // Bedrock's own limit lies below ours, and its answer is passed on.
    for (size, status, upstream) in
        [(2_097_153, 200, 1), (24_000_000, 200, 2), (most, 413, 3), (most + 1, 413, 3)]
    {
        let mut body = hello(CLAUDE, "Hi", false).to_string().into_bytes();
        body.resize(size, b' ');
        let reply = gateway.caller().post("/v1/messages", &body).await;
        assert_eq!(reply.status, status, "{size}: {}", reply.text());
        let served = gateway.sim.served();
        assert_eq!(served.answers + served.refusals, upstream, "{size}");
        if status == 413 {
            assert_eq!(reply.error().0, "request_too_large", "{size}");
        }
    }
}

#[tokio::test]
async fn nothing_is_compressed_on_either_side_of_a_stream() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let caller = gateway.caller().header("accept-encoding", "gzip, br, zstd");
        let reply = caller.messages(&hello(model, "Hi", true)).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, None));
        assert_eq!(events(&reply.text()).last().unwrap().0, "message_stop");
        let asked = gateway.sim.requests().last().unwrap().header("accept-encoding").map(str::to_owned);
        assert!(asked.is_none_or(|asked| asked == "identity"), "what is not asked for cannot come garbled");
    }
}

#[tokio::test]
async fn each_fragment_of_a_tools_input_leaves_as_it_comes() {
    let gateway = Gateway::with(Options { delay: Duration::from_millis(40), ..Options::default() }).await;
    for model in LANES {
        let at = "C:\\temp \"x\"\né日 ".repeat(12);
        let mut request = hello(model, &format!("call look with {}", json!({ "at": at })), true);
        request["tools"] = tool();
        let mut reply = gateway.caller().send("POST", "/v1/messages", request.to_string().as_bytes()).await;
        let (mut raw, mut reads, mut buffer) = (Vec::new(), 0, vec![0; 65_536]);
        loop {
            let read = reply.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            reads += 1;
            raw.extend_from_slice(&buffer[..read]);
        }
        let text = String::from_utf8_lossy(&raw).into_owned();
        let fragments: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| data.contains("input_json_delta"))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        // Collected into one write, they would come in two or three reads.
        assert!(fragments.len() > 3 && reads > fragments.len(), "{model}: {} in {reads}", fragments.len());
        let input: String =
            fragments.iter().map(|data| data["delta"]["partial_json"].as_str().unwrap()).collect();
        assert_eq!(
            serde_json::from_str::<Value>(&input).unwrap(),
            json!({ "at": at }),
            "decoded once, it is whole"
        );
    }
}

#[tokio::test]
async fn a_wait_that_the_upstream_asks_for_is_passed_on() {
    let gateway = Gateway::start().await;
    for stream in [false, true] {
        gateway.sim.script("", vec![Fault::throttle().retry_after(77)]);
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", stream)).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("77")), "{}", reply.text());
    }
    assert_eq!(gateway.sim.requests().len(), 2, "nobody waits that long in a request");
}

#[tokio::test]
async fn a_marker_on_a_short_prompt_costs_nothing() {
    let gateway = Gateway::start().await;
    let marker = json!({ "type": "ephemeral", "ttl": "1h" });
    let change = json!({ "system": [{ "type": "text", "text": "Be brief.", "cache_control": marker }] });
    for model in [CLAUDE, NOVA, QWEN] {
        let reply = gateway.caller().messages(&with(model, &change)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let usage = &reply.json()["usage"];
        assert_eq!(usage["cache_creation_input_tokens"].as_u64().unwrap_or(0), 0, "{model}: {usage}");
    }
    for row in gateway.rows(3).await {
        assert_eq!((row.cache_write_5m_tokens, row.cache_write_1h_tokens, row.cache_read_tokens), (0, 0, 0));
    }
}

#[tokio::test]
async fn images_are_counted_from_the_body_that_would_be_sent() {
    let gateway = Gateway::start().await;
    let path = "/v1/messages/count_tokens";
    let mut request = json!({ "model": CLAUDE, "messages": [{ "role": "user", "content": "What is it?" }] });
    let plain = gateway.caller().messages_at(path, &request).await.json()["input_tokens"].as_u64().unwrap();
    let source = json!({ "type": "base64", "media_type": "image/png", "data": PIXEL });
    request["messages"][0]["content"] =
        json!([{ "type": "image", "source": source }, { "type": "text", "text": "What is it?" }]);
    let pictured = gateway.caller().messages_at(path, &request).await;
    assert_eq!(pictured.header("x-outcrop-token-count"), Some("exact"));
    assert!(pictured.json()["input_tokens"].as_u64().unwrap() > plain);
    let inner =
        sent(&gateway)["input"]["invokeModel"]["body"].as_str().map(|body| STANDARD.decode(body)).unwrap();
    let inner: Value = serde_json::from_slice(&inner.unwrap()).unwrap();
    assert_eq!(inner["messages"], request["messages"]);
    assert!(inner["max_tokens"].is_u64() && inner["anthropic_version"].is_string(), "{inner}");
}

#[tokio::test]
async fn counting_for_a_forbidden_model_is_forbidden() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key(&["*claude*"]).await;
    let caller = Caller::new(gateway.addr, &key);
    for model in [NOVA, QWEN] {
        let reply = caller.messages_at("/v1/messages/count_tokens", &hello(model, "Hi", false)).await;
        assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"), "{model}");
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn a_window_in_the_name_is_understood_by_keys_routing_and_body() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (sonnet, _) = gateway.key(&["anthropic.claude-sonnet-4-5-*"]).await;
    let (haiku, _) = gateway.key(&["*haiku*"]).await;
    for name in [
        "claude-sonnet-4-5[1m]",
        "claude-sonnet-4-5[1M][1m]",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0[1m]",
    ] {
        let reply = Caller::new(gateway.addr, &sonnet).messages(&hello(name, "Hi", false)).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.json()["model"], name);
        let request = gateway.sim.requests().last().unwrap().clone();
        assert!(!request.path.contains("1m") && !request.path.contains('['), "{}", request.path);
        assert_eq!(sent(&gateway)["anthropic_beta"], json!(["context-1m-2025-08-07"]), "{name}");
        let refused = Caller::new(gateway.addr, &haiku).messages(&hello(name, "Hi", false)).await;
        assert_eq!(refused.status, 403, "{name}: {}", refused.text());
    }
}

#[tokio::test]
async fn flags_in_many_header_lines_are_one_list() {
    let gateway = Gateway::start().await;
    let caller = gateway
        .caller()
        .header("anthropic-beta", "claude-code-20250219, oauth-2025-04-20,prompt-caching-scope-2026-01-05")
        .header("anthropic-beta", "context-management-2025-06-27")
        .header("Anthropic-Beta", " mcp-servers-2025-12-04,fast-mode-2026-02-01 , files-api-2025-04-14, ,")
        .header("anthropic-beta", "context-management-2025-06-27,tool-search-tool-2025-10-19");
    let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let flags = sent(&gateway)["anthropic_beta"].clone();
    assert_eq!(flags, json!(["context-management-2025-06-27", "tool-search-tool-2025-10-19"]));
    assert_eq!(gateway.sim.requests().len(), 1, "and none of them was refused");
}

#[tokio::test]
async fn an_invoked_body_keeps_images_calls_and_results() {
    let gateway = Gateway::start().await;
    let source = json!({ "type": "base64", "media_type": "image/png", "data": PIXEL });
    let body = json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 300, "tools": tool(),
        "messages": [
            { "role": "user", "content": [{ "type": "image", "source": source }, { "type": "text", "text": "Look." }] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_1", "name": "look", "input": { "at": "x" } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": "a cat" }] },
        ],
    });
    for model in ["us.anthropic.claude-sonnet-4-6", NOVA] {
        let path = format!("/model/{}/invoke", model.replace(':', "%3A"));
        let reply = gateway.caller().post(&path, body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        assert!(reply.text().contains("a cat"), "the result is answered: {}", reply.text());
        let sent = sent(&gateway).to_string();
        for part in [PIXEL, "toolu_1", "\"at\":\"x\"", "a cat"] {
            assert!(sent.contains(part), "{model} lost {part}: {sent}");
        }
    }
}

#[tokio::test]
async fn ids_and_internal_headers_of_the_caller_count_for_nothing() {
    let gateway = Gateway::start().await;
    let caller = gateway
        .caller()
        .header("x-request-id", "canary-1")
        .header("x-request-id", "canary-2")
        .header("request-id", "canary-3")
        .header("x-outcrop-model", "canary-4")
        .header("x-outcrop-lane", "canary-5");
    let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!format!("{reply:?}").contains("canary"), "{:?}", reply.headers);
    let row = &gateway.rows(1).await[0];
    assert_eq!(Some(row.request_id.as_str()), reply.header("request-id"));
    assert!(!format!("{:?}", gateway.sim.requests()).contains("canary"));
}
