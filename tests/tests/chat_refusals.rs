//! What callers of chat completions hear when something is wrong, in the form that OpenAI's clients act upon.

use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, MASTER, Options, QWEN};
use serde_json::{Value, json};
use store::RowStatus;

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 300, "messages": [{ "role": "user", "content": text }] })
}

fn openai(gateway: &Gateway) -> Caller {
    Caller::bearer(gateway.addr, MASTER)
}

#[tokio::test]
async fn refusals_of_ours_have_the_codes_that_clients_know() {
    let gateway = Gateway::with(Options::with_keys(&["--allow-unknown-models=false"])).await;
    let (key, _) = gateway.key(&["*claude*"]).await;
    let own = Caller::bearer(gateway.addr, &key);
    let wrong = Caller::bearer(gateway.addr, "sk-wrong");
    for (caller, model, status, code) in [
        (&wrong, CLAUDE, 401, "invalid_api_key"),
        (&own, QWEN, 403, "model_not_allowed"),
        (&own, "gpt-17", 404, "model_not_found"),
    ] {
        let reply = caller.openai(PATH, &ask(model, "Hi")).await;
        let error = reply.openai_error();
        assert_eq!((error.status, error.code.as_deref()), (status, Some(code)), "{}", error.message);
        assert_eq!(error.kind, "invalid_request_error");
        assert_eq!(error.param.as_deref(), (status != 401).then_some("model"));
        let never = reply.header("x-should-retry") == Some("false");
        assert_eq!(never, status != 404);
    }
    let missing = Caller::bearer(gateway.addr, "").openai(PATH, &ask(CLAUDE, "Hi")).await.openai_error();
    assert_eq!((missing.status, missing.code.as_deref()), (401, Some("invalid_api_key")));
    let method = own.get(PATH).await;
    assert_eq!((method.openai_error().status, method.header("allow")), (405, Some("POST")));
    let nowhere = own.get("/openai/v1/nothing").await.openai_error();
    assert_eq!((nowhere.status, nowhere.code.as_deref()), (404, Some("not_found")));
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_bedrock_does_not_know_is_a_model_that_is_not_found() {
    let gateway = Gateway::start().await;
    for stream in [false, true] {
        let mut body = ask("no.such-model", "Hi");
        body["stream"] = json!(stream);
        let error = openai(&gateway).openai(PATH, &body).await.openai_error();
        assert_eq!((error.status, error.code.as_deref()), (404, Some("model_not_found")));
        assert_eq!(error.param.as_deref(), Some("model"));
    }
}

#[tokio::test]
async fn a_field_at_fault_is_named_as_the_caller_wrote_it() {
    let gateway = Gateway::start().await;
    let image = json!([{ "type": "text", "text": "look" },
        { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }]);
    for model in LANES {
        let with = |name: &str, value: Value| {
            let mut body = ask(model, "Hi");
            body[name] = value;
            body
        };
        let messages =
            json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": image }]);
        for (body, param) in [
            (with("n", json!(2)), "n"),
            (with("logprobs", json!(true)), "logprobs"),
            (with("audio", json!({ "voice": "alloy", "format": "wav" })), "audio"),
            (with("max_tokens", json!("many")), "max_tokens"),
            // Refused by the lane, behind every gate: the system message is no message there.
            (with("messages", messages), "messages.1.content.1"),
        ] {
            let error = openai(&gateway).openai(PATH, &body).await.openai_error();
            assert_eq!(
                (error.status, error.param.as_deref()),
                (400, Some(param)),
                "{model}: {}",
                error.message
            );
            assert_eq!((error.kind.as_str(), error.code), ("invalid_request_error", None));
        }
    }
    for path in [PATH, "/v1/responses"] {
        for body in [&b"{\"model\":"[..], b"[]"] {
            let reply = openai(&gateway).post(path, body).await.openai_error();
            assert_eq!((reply.status, reply.kind.as_str()), (400, "invalid_request_error"));
            assert_eq!(reply.param, None, "{path}");
        }
    }
}

#[tokio::test]
async fn a_field_that_claude_finds_at_fault_is_named_as_the_caller_wrote_it() {
    let gateway = Gateway::start().await;
    let function = |name: &str| json!({ "name": name, "parameters": { "type": "object", "properties": {} } });
    let (good, bad) = (function("get"), function("no name"));
    let flat = |function: &Value| {
        let mut tool = function.clone();
        tool["type"] = json!("function");
        json!([tool])
    };
    let chat = |members: Value| (PATH, "messages", members);
    let responses = |members: Value| ("/v1/responses", "input", members);
    let prefill = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "So" }]);
    for ((path, input, members), param) in [
        (chat(json!({ "tools": [{ "type": "function", "function": bad }] })), Some("tools.0.function.name")),
        (responses(json!({ "tools": flat(&bad) })), Some("tools.0.name")),
        (
            chat(json!({ "tools": [{ "type": "function", "function": good }],
                "tool_choice": { "type": "function", "function": { "name": "set" } } })),
            Some("tool_choice"),
        ),
        (
            responses(json!({ "tools": flat(&good), "tool_choice": { "type": "function", "name": "set" } })),
            Some("tool_choice"),
        ),
        (
            chat(json!({ "thinking": { "type": "enabled", "budget_tokens": 7 } })),
            Some("thinking.budget_tokens"),
        ),
        (chat(json!({ "messages": prefill })), None),
    ] {
        let mut body = json!({ "model": CLAUDE });
        body[input] = json!([{ "role": "user", "content": "Hi" }]);
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        let error = openai(&gateway).openai(path, &body).await.openai_error();
        assert_eq!((error.status, error.param.as_deref()), (400, param), "{body}: {}", error.message);
    }
}

#[tokio::test]
async fn limits_say_which_one_it_was_and_how_long_to_wait() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key_with(|record| record.rate_limit = Some(1)).await;
    let caller = Caller::bearer(gateway.addr, &key);
    let first = caller.openai(PATH, &ask(QWEN, "Hi")).await;
    assert_eq!(first.header("x-ratelimit-remaining-requests"), Some("0"));
    let reply = caller.openai(PATH, &ask(QWEN, "Hi")).await;
    let error = reply.openai_error();
    assert_eq!((error.status, error.kind.as_str()), (429, "requests"));
    assert_eq!(error.code.as_deref(), Some("rate_limit_exceeded"));
    assert!(reply.header("retry-after").is_some() && reply.header("retry-after-ms").is_some());
    assert!(reply.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
    let (key, _) = gateway.key_with(|record| record.tpm_limit = Some(50)).await;
    let caller = Caller::bearer(gateway.addr, &key);
    assert_eq!(caller.openai(PATH, &ask(QWEN, "Hi")).await.status, 200, "it runs when the bucket is full");
    let error = caller.openai(PATH, &ask(QWEN, "Hi")).await.openai_error();
    assert_eq!((error.status, error.kind.as_str()), (429, "tokens"));
}

#[tokio::test]
async fn a_spent_budget_is_insufficient_quota_and_not_worth_another_try() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key_with(|record| record.budget_daily = Some(1)).await;
    let caller = Caller::bearer(gateway.addr, &key);
    for stream in [false, true] {
        let mut body = ask(CLAUDE, "Hi");
        body["stream"] = json!(stream);
        let reply = caller.openai(PATH, &body).await;
        let error = reply.openai_error();
        assert_eq!((error.status, error.kind.as_str()), (429, "insufficient_quota"));
        assert_eq!(error.code.as_deref(), Some("insufficient_quota"));
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn failures_of_the_upstream_keep_their_meaning() {
    let gateway =
        Gateway::with(Options::with(&["--bedrock-max-attempts=1", "--target-cooldown-seconds=0"])).await;
    for (n, (text, status, kind, code)) in [
        ("sim:throttle=9", 429, "requests", Some("rate_limit_exceeded")),
        ("sim:error=503", 503, "server_error", Some("overloaded")),
        ("sim:error=500", 500, "server_error", None),
    ]
    .into_iter()
    .enumerate()
    {
        for (lane, model) in LANES.iter().enumerate() {
            let error = openai(&gateway).openai(PATH, &ask(model, text)).await.openai_error();
            assert_eq!((error.status, error.kind.as_str()), (status, kind), "{}", error.message);
            assert_eq!(error.code.as_deref(), code);
            let row = gateway.rows(2 * n + lane + 1).await.pop().unwrap();
            assert_eq!((row.status, row.surface.as_str()), (RowStatus::UpstreamError, "chat"));
        }
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_has_the_code_that_clients_compact_for() {
    let gateway = Gateway::start().await;
    let error = openai(&gateway).openai(PATH, &ask(QWEN, &"word ".repeat(400_000))).await.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (400, Some("context_length_exceeded")));
    assert!(error.message.starts_with("prompt is too long: "), "{}", error.message);
}
