//! What a chat completion asks for beside its text: tiers, thinking, caching, limits of its own; and what decides where it
//! goes.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bedrock_sim::Captured;
use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, MASTER, Options, QWEN, Reply, chunks};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 300, "messages": [{ "role": "user", "content": text }] })
}

fn openai(gateway: &Gateway) -> Caller {
    Caller::bearer(gateway.addr, MASTER).header("x-outcrop-debug", "1")
}

async fn chat(gateway: &Gateway, body: &Value) -> Reply {
    let reply = openai(gateway).openai(PATH, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

fn last(gateway: &Gateway) -> Captured {
    gateway.sim.requests().pop().unwrap()
}

fn sent(gateway: &Gateway) -> Value {
    serde_json::from_slice(&last(gateway).body).unwrap()
}

#[tokio::test]
async fn a_tier_is_a_wish_and_the_one_that_served_is_told() {
    let gateway = Gateway::start().await;
    for (wish, told) in
        [("flex", "flex"), ("priority", "priority"), ("auto", "default"), ("scale", "default")]
    {
        let mut body = ask(QWEN, "Hi");
        body["service_tier"] = json!(wish);
        let reply = chat(&gateway, &body).await;
        assert_eq!(
            (reply.header("x-outcrop-tier"), &reply.json()["service_tier"]),
            (Some(told), &json!(told))
        );
        assert_eq!(sent(&gateway)["serviceTier"]["type"].as_str().unwrap_or("default"), told);
    }
    let mut body = ask(CLAUDE, "Hi");
    body["service_tier"] = json!("flex");
    let reply = chat(&gateway, &body).await;
    assert!(last(&gateway).header("x-amzn-bedrock-service-tier").is_none(), "Claude has no flex tier");
    assert!(reply.header("x-outcrop-loss").unwrap().contains("service_tier="));
}

#[tokio::test]
async fn who_names_no_limit_gets_the_operators() {
    let gateway = Gateway::with(Options::with(&["--default-max-tokens=777"])).await;
    for (model, place) in [(CLAUDE, "/max_tokens"), (QWEN, "/inferenceConfig/maxTokens")] {
        let mut body = ask(model, "Hi");
        body.as_object_mut().unwrap().remove("max_tokens");
        chat(&gateway, &body).await;
        assert_eq!(sent(&gateway).pointer(place), Some(&json!(777)));
        body["max_completion_tokens"] = json!(20);
        chat(&gateway, &body).await;
        assert_eq!(sent(&gateway).pointer(place), Some(&json!(20)));
    }
}

#[tokio::test]
async fn long_prompts_are_cached_for_callers_who_cannot_ask_for_it() {
    let long = "The house rules are these. ".repeat(1000);
    let body = |model: &str, system: &str| json!({ "model": model, "messages": [{ "role": "system", "content": system }, { "role": "user", "content": "Hi" }] });
    for (setting, short_is_marked, long_is_marked) in [
        ("--prompt-cache-auto=openai", false, true),
        ("--prompt-cache-auto=off", false, false),
        ("--prompt-cache-min-tokens=1", true, true),
        ("--prompt-caching-enabled=false", false, false),
    ] {
        let gateway = Gateway::with(Options::with(&[setting])).await;
        for (system, marked) in [("Be brief, always.", short_is_marked), (&*long, long_is_marked)] {
            let reply = chat(&gateway, &body(CLAUDE, system)).await;
            assert_eq!(last(&gateway).body.windows(13).any(|w| w == b"cache_control"), marked, "{setting}");
            assert_eq!(reply.header("x-outcrop-loss"), Some(""));
        }
        let reply = chat(&gateway, &body(CLAUDE, &long)).await.json();
        let cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        assert_eq!(cached > 1000, long_is_marked, "{setting}: {reply}");
        let reply = chat(&gateway, &body("deepseek.r1-v1:0", &long)).await;
        assert_eq!(
            reply.header("x-outcrop-loss"),
            Some(""),
            "a model that caches nothing is spared the markers"
        );
    }
}

#[tokio::test]
async fn a_key_without_caching_has_no_markers_of_ours_either() {
    let gateway = Gateway::with(Options::with_keys(&["--prompt-cache-min-tokens=1"])).await;
    let (key, _) = gateway.key_with(|record| record.cache_ttl = Some(store::CacheTtl::None)).await;
    let caller = Caller::bearer(gateway.addr, &key).header("x-outcrop-debug", "1");
    let reply = caller.openai(PATH, &ask(CLAUDE, "Hi")).await;
    assert_eq!((reply.status, reply.header("x-outcrop-loss")), (200, Some("")));
    assert!(!last(&gateway).body.windows(13).any(|w| w == b"cache_control"));
}

#[tokio::test]
async fn thinking_and_its_signature_survive_a_tool_loop() {
    let gateway = Gateway::start().await;
    let tool = json!([{ "type": "function", "function": { "name": "get_weather",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }]);
    for stream in [false, true] {
        let mut body = ask(CLAUDE, r#"call get_weather with {"city":"Bern"}"#);
        body["max_tokens"] = json!(4000);
        body["tools"] = tool.clone();
        body["reasoning_effort"] = json!("high");
        body["stream"] = json!(stream);
        let reply = chat(&gateway, &body).await;
        let message = if stream {
            folded(&chunks(&reply.text()))
        } else {
            reply.json()["choices"][0]["message"].clone()
        };
        assert!(!message["reasoning_content"].as_str().unwrap().is_empty(), "{message}");
        let details = &message["reasoning_details"][0];
        assert_eq!(details["type"], "reasoning.text", "{message}");
        let signature = details["signature"].as_str().unwrap().to_owned();
        let id = message["tool_calls"][0]["id"].clone();
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(message);
        messages.push(json!({ "role": "tool", "tool_call_id": id, "content": "rain" }));
        chat(&gateway, &body).await;
        let turn = &sent(&gateway)["messages"][1]["content"];
        assert_eq!((&turn[0]["type"], &turn[0]["signature"]), (&json!("thinking"), &json!(signature)));
        assert_eq!(turn.as_array().unwrap().last().unwrap()["type"], "tool_use");
    }
}

/// The message that a stream spells.
fn folded(stream: &[Value]) -> Value {
    let deltas = || stream.iter().map(|chunk| &chunk["choices"][0]["delta"]);
    let text = |name: &str| deltas().filter_map(|delta| delta[name].as_str()).collect::<String>();
    let calls = || deltas().filter_map(|delta| delta["tool_calls"][0].as_object());
    let first = calls().next().unwrap();
    let arguments: String = calls().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    let details = || deltas().filter_map(|delta| delta["reasoning_details"][0].as_object());
    let of = |name: &str| details().filter_map(|detail| detail.get(name)?.as_str()).collect::<String>();
    json!({
        "role": "assistant",
        "content": text("content"),
        "reasoning_content": text("reasoning_content"),
        "reasoning_details": [{ "type": "reasoning.text", "text": of("text"), "signature": of("signature"), "index": 0 }],
        "tool_calls": [{ "id": first["id"], "type": "function",
            "function": { "name": first["function"]["name"], "arguments": arguments } }],
    })
}

#[tokio::test]
async fn a_session_is_the_key_of_its_prompt_cache_where_no_header_names_one() {
    let gateway = Gateway::start().await;
    let mut body = ask(QWEN, "Hi");
    body["user"] = json!("alice");
    chat(&gateway, &body).await;
    body["prompt_cache_key"] = json!("thread-7");
    assert_eq!(chat(&gateway, &body).await.header("x-outcrop-loss"), Some(""), "it is used");
    openai(&gateway).header("session-id", "mine").openai(PATH, &body).await;
    let mut sessions: Vec<_> = gateway.rows(3).await.into_iter().filter_map(|row| row.session).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, ["alice", "mine", "thread-7"]);
}

#[tokio::test]
async fn debug_headers_tell_the_way_and_losses_by_the_callers_names() {
    let gateway = Gateway::start().await;
    for (model, lane) in LANES.into_iter().zip(["native", "converse"]) {
        for stream in [false, true] {
            let mut body = ask(model, "Hi");
            body["stream"] = json!(stream);
            body["frequency_penalty"] = json!(0.5);
            body["max_tokens"] = json!(900_000);
            body.as_object_mut().unwrap().remove("max_tokens");
            body["max_completion_tokens"] = json!(900_000);
            let reply = chat(&gateway, &body).await;
            assert_eq!(reply.header("x-outcrop-lane"), Some(lane));
            let losses = reply.header("x-outcrop-loss").unwrap();
            assert!(losses.contains("frequency_penalty="), "{losses}");
            assert!(losses.contains("max_completion_tokens="), "{losses}");
            assert!(!losses.contains(" max_tokens="), "{losses}");
        }
    }
}

#[tokio::test]
async fn pictures_behind_urls_are_fetched_where_that_is_allowed() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdacd\xf8\xcfP\x0f\0\x03\x86\x01\x80Z4}k\0\0\0\0IEND\xaeB`\x82";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut tcp = tokio::io::BufReader::new(tcp);
            let mut line = String::new();
            while tcp.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                line.clear();
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PNG.len());
            let _ = tcp.write_all(&[head.as_bytes(), PNG].concat()).await;
        }
    });
    let hosts = format!("--image-url-fetch-allow-hosts={addr}");
    let settings: Vec<&str> = vec!["--enable-image-url-fetch=true", &hosts];
    let gateway = Gateway::with(Options::with(&settings)).await;
    for model in [CLAUDE, "amazon.nova-pro-v1:0"] {
        let url = format!("http://{addr}/a.png");
        let body = json!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "look" }, { "type": "image_url", "image_url": { "url": url } }] }] });
        chat(&gateway, &body).await;
        assert!(last(&gateway).body.windows(8).any(|w| w == b"iVBORw0K"), "{}", sent(&gateway));
    }
}
