//! Bad input: each gets a clear error in the caller's dialect, and nothing crashes or leaks.

use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, Options, hello};
use serde_json::json;

#[tokio::test]
async fn keys_that_do_not_admit_read_alike_and_are_never_retried() {
    let options = Options::with_keys(&["--key-cache-ttl-seconds=0"]);
    let gateway = Gateway::with(options).await;
    let (key, mut record) = gateway.key(&["*claude*"]).await;
    let good = Caller::new(gateway.addr, &key);
    assert_eq!(good.messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    record.is_active = false;
    gateway.store.update_key(&record).await.unwrap();
    let bearer = good.clone().anonymous().header("authorization", "Bearer ' OR '1'='1");
    for caller in [good, Caller::new(gateway.addr, "sk-oc-unknown"), bearer] {
        let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.error(), ("authentication_error".to_owned(), "Invalid API key".to_owned()));
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    let missing = gateway.caller().anonymous().messages(&hello(CLAUDE, "Hi", false)).await;
    assert!(missing.error().1.starts_with("Missing API key"));
}

#[tokio::test]
async fn a_model_outside_the_keys_list_is_forbidden_under_every_name() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key(&["*claude*"]).await;
    let caller = Caller::new(gateway.addr, &key);
    for model in ["amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0", "qwen.qwen3-32b-v1:0"] {
        let reply = caller.messages(&hello(model, "Hi", false)).await;
        assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"), "{model}");
    }
    let listed = caller.get("/v1/models?limit=1000").await.text();
    assert!(listed.contains("claude") && !listed.contains("nova"));
}

#[tokio::test]
async fn fields_at_fault_are_named() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let cases = [
            (json!({ "max_tokens": null }), "max_tokens: "),
            (json!({ "max_tokens": 0 }), "max_tokens: "),
            (json!({ "max_tokens": "many" }), "max_tokens: "),
            (json!({ "messages": null }), "messages: "),
            (json!({ "messages": [{ "role": "wizard", "content": "Hi" }] }), "messages.0.role"),
            (
                json!({ "messages": [{ "role": "user", "content": [{ "type": "text" }] }] }),
                "messages.0.content.0",
            ),
            (json!({ "model": null }), "model: "),
            (json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }), "tools.0"),
        ];
        for (change, expected) in cases {
            let mut request = hello(model, "Hi", false);
            for (name, value) in change.as_object().unwrap() {
                request[name] = value.clone();
                if value.is_null() {
                    request.as_object_mut().unwrap().remove(name);
                }
            }
            let reply = gateway.caller().messages(&request).await;
            assert_eq!(reply.status, 400, "{model} {change}: {}", reply.text());
            let (kind, message) = reply.error();
            assert_eq!(kind, "invalid_request_error");
            assert!(message.contains(expected), "{model} {change}: {message}");
        }
    }
}

#[tokio::test]
async fn a_wrong_order_of_roles_is_a_400_that_says_so() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let mut request = hello(model, "Hi", false);
        request["messages"] = json!([
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {} }] },
            { "role": "user", "content": "No result follows" },
        ]);
        let reply = gateway.caller().messages(&request).await;
        assert_eq!(reply.status, 400, "{model}: {}", reply.text());
        assert!(reply.error().1.contains("toolu_1"), "{model}: {}", reply.text());
    }
}

#[tokio::test]
async fn an_unknown_model_is_refused_by_bedrock_or_by_us() {
    let gateway = Gateway::start().await;
    let passed_on = gateway.caller().messages(&hello("no.such-model", "Hi", false)).await;
    assert_eq!(passed_on.status, 400, "{}", passed_on.text());
    assert_eq!(passed_on.error().1, "The provided model identifier is invalid.");
    let strict = Gateway::with(Options::with(&["--allow-unknown-models=false"])).await;
    let refused = strict.caller().messages(&hello("no.such-model", "Hi", true)).await;
    assert_eq!((refused.status, refused.error().0.as_str()), (404, "not_found_error"));
    assert!(strict.sim.requests().is_empty());
}

#[tokio::test]
async fn json_that_cannot_be_read_says_where() {
    let gateway = Gateway::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = format!(r#"{{"model":"{CLAUDE}","max_tokens":5,"messages":{deep}}}"#);
    let surrogate =
        format!(r#"{{"model":"{CLAUDE}","max_tokens":5,"messages":[{{"role":"user","content":"\ud83d"}}]}}"#);
    let twice = format!(r#"{{"model":"{CLAUDE}","max_tokens":5,"model":"x","messages":[]}}"#);
    let cases: [(&[u8], &str); 8] = [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[1]", "object"),
        (b"{\"model\": \"x\", \"messages\": [1,]}", "messages"),
        (deep.as_bytes(), "messages.0.0"),
        (surrogate.as_bytes(), "messages.0.content"),
        (twice.as_bytes(), "model"),
        (b"{\"model\":\"\xff\"}", "UTF-8"),
    ];
    for (body, expected) in cases {
        let reply = gateway.caller().post("/v1/messages", body).await;
        let shown = String::from_utf8_lossy(body).chars().take(60).collect::<String>();
        assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
        assert!(reply.error().1.contains(expected), "{shown}: {}", reply.text());
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_one_below_is_served() {
    let gateway = Gateway::start().await;
    let huge = vec![b' '; 40 * 1024 * 1024];
    let reply = gateway.caller().post("/v1/messages", &huge).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (413, "request_too_large"));
    let mut body = hello(CLAUDE, "Hi", false).to_string().into_bytes();
    body.extend(vec![b' '; 3 * 1024 * 1024]);
    assert_eq!(gateway.caller().post("/v1/messages", &body).await.status, 200);
}

#[tokio::test]
async fn routes_methods_and_media_types_are_answered_in_the_dialect() {
    let gateway = Gateway::start().await;
    let nope = gateway.caller().get("/v1/nope").await;
    assert_eq!((nope.status, nope.error().0.as_str()), (404, "not_found_error"));
    let method = gateway.caller().get("/v1/messages").await;
    assert_eq!((method.status, method.header("allow")), (405, Some("POST")));
    let media = gateway.caller().header("content-type", "text/plain").post("/v1/messages", b"hello").await;
    assert_eq!((media.status, media.error().0.as_str()), (415, "invalid_request_error"));
    let openai = gateway.caller().anonymous().get("/v1/nope").await;
    assert_eq!(openai.json()["error"]["code"], "not_found");
    let batches = gateway.caller().post("/v1/messages/batches", b"{}").await;
    assert_eq!((batches.status, batches.header("x-should-retry")), (501, Some("false")));
    for path in ["//v1/messages", "/v1/../v1/messages", "/V1/messages", "/v1/messages;x"] {
        let reply = gateway.caller().messages_at(path, &hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 404, "{path}");
    }
    let query = gateway.caller().messages_at("/v1/messages?beta=true", &hello(CLAUDE, "Hi", false)).await;
    assert_eq!(query.status, 200);
}

#[tokio::test]
async fn a_guesser_is_slowed_down() {
    let gateway = Gateway::with(Options::with(&["--auth-failure-limit=3"])).await;
    let guesser = Caller::new(gateway.addr, "guess");
    for _ in 0..3 {
        assert_eq!(guesser.messages(&hello(CLAUDE, "Hi", false)).await.status, 401);
    }
    let reply = guesser.messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (429, "rate_limit_error"));
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn a_thread_is_refused_in_the_way_that_lets_the_sdks_go_on_without() {
    let gateway = Gateway::start().await;
    let mut request = hello(CLAUDE, "Hi", false);
    request["thread"] = json!({ "type": "create" });
    let reply = gateway.caller().messages(&request).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["details"]["error_code"], "thread_unsupported_request");
}
