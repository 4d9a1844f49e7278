//! `POST /v1/responses` over both lanes: answers, streams, tool loops, refusals, and what is booked.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, MASTER, Options, QWEN, Reply, response_events};
use serde_json::{Value, json};
use store::RowStatus;
use tokio::io::AsyncReadExt as _;

const PATH: &str = "/v1/responses";

fn ask(model: &str, text: &str, stream: bool) -> Value {
    json!({ "model": model, "max_output_tokens": 300, "input": text, "stream": stream, "store": false })
}

fn openai(gateway: &Gateway) -> Caller {
    Caller::bearer(gateway.addr, MASTER)
}

async fn respond(gateway: &Gateway, body: &Value) -> Reply {
    openai(gateway).openai(PATH, body).await
}

/// The response as it stands in the end, of an answer of either kind.
fn response(reply: &Reply, stream: bool) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    if !stream {
        return reply.json();
    }
    let events = response_events(&reply.text());
    let last = events.last().unwrap();
    assert!(matches!(last["type"].as_str(), Some("response.completed" | "response.incomplete")), "{last}");
    last["response"].clone()
}

fn text(response: &Value) -> String {
    let outputs = response["output"].as_array().unwrap();
    let parts = outputs.iter().filter_map(|item| item["content"].as_array()).flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test]
async fn both_lanes_answer_whole_and_streamed_alike_and_are_booked() {
    let gateway = Gateway::start().await;
    for (n, model) in LANES.iter().enumerate() {
        let mut said = Vec::new();
        for stream in [false, true] {
            let reply = respond(&gateway, &ask(model, "sim:words=30", stream)).await;
            assert!(reply.complete);
            let body = response(&reply, stream);
            assert_eq!((&body["object"], &body["model"]), (&json!("response"), &json!(model)));
            assert_eq!((&body["status"], &body["store"]), (&json!("completed"), &json!(false)));
            assert!(body["id"].as_str().unwrap().starts_with("resp_"));
            let details = (&body["usage"]["input_tokens_details"], &body["usage"]["output_tokens_details"]);
            assert!(details.0["cached_tokens"].is_u64() && details.1["reasoning_tokens"].is_u64(), "{body}");
            said.push((text(&body), body["usage"]["output_tokens"].clone()));
        }
        assert_eq!(said[0], said[1]);
        let rows = gateway.rows(2 * n + 2).await;
        let own: Vec<_> = rows.iter().filter(|row| row.requested_model == *model).collect();
        assert!(own.iter().all(|row| row.surface == "responses" && row.status == RowStatus::Ok));
        assert_eq!(own.iter().filter(|row| row.stream && row.ttft_ms.is_some()).count(), 1);
        assert_eq!(json!(own[0].output_tokens), said[0].1);
    }
}

#[tokio::test]
async fn a_function_and_a_freeform_tool_are_called_and_answered() {
    let gateway = Gateway::start().await;
    for model in LANES {
        for stream in [false, true] {
            let mut body = ask(model, r#"call get_weather with {"city":"Bern"}"#, stream);
            body["tools"] = json!([{ "type": "function", "name": "get_weather",
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } }]);
            let first = response(&respond(&gateway, &body).await, stream);
            let call =
                first["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call");
            let call = call.unwrap_or_else(|| panic!("{first}")).clone();
            assert_eq!(call["name"], "get_weather");
            let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
            assert_eq!(arguments, json!({ "city": "Bern" }));
            let result =
                json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "rain" });
            body["input"] = json!([{ "role": "user", "content": "the weather" }, call, result]);
            let second = response(&respond(&gateway, &body).await, stream);
            assert_eq!(second["status"], "completed");
        }
    }
}

#[tokio::test]
async fn thinking_and_its_signature_survive_a_tool_loop_sealed() {
    let gateway = Gateway::start().await;
    for stream in [false, true] {
        let mut body = ask(CLAUDE, r#"call get_weather with {"city":"Bern"}"#, stream);
        body["max_output_tokens"] = json!(4000);
        body["reasoning"] = json!({ "effort": "high", "summary": "auto" });
        body["include"] = json!(["reasoning.encrypted_content"]);
        body["tools"] = json!([{ "type": "function", "name": "get_weather",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } }]);
        let first = response(&respond(&gateway, &body).await, stream);
        let mut input = vec![json!({ "role": "user", "content": "the weather" })];
        input.extend(first["output"].as_array().unwrap().iter().cloned());
        assert_eq!(input[1]["type"], "reasoning", "{first}");
        assert!(input[1]["encrypted_content"].is_string() && input[1]["summary"][0]["text"].is_string());
        let call = input.last().unwrap()["call_id"].clone();
        input.push(json!({ "type": "function_call_output", "call_id": call, "output": "rain" }));
        body["input"] = json!(input);
        response(&respond(&gateway, &body).await, stream);
        let sent: Value = serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap();
        let turn = &sent["messages"][1]["content"];
        assert_eq!(turn[0]["type"], "thinking", "{turn}");
        assert!(!turn[0]["signature"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn tools_that_nobody_here_runs_leave_where_the_caller_can_do_without() {
    let gateway = Gateway::start().await;
    let mut body = ask(CLAUDE, "Hi", false);
    body["tools"] = json!([{ "type": "web_search" }]);
    let reply = openai(&gateway).header("x-outcrop-debug", "1").openai(PATH, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.header("x-outcrop-loss").unwrap().contains("tools.0="), "{:?}", reply.headers);
    body["tool_choice"] = json!("required");
    let error = respond(&gateway, &body).await.openai_error();
    assert_eq!(error.status, 400, "{}", error.message);
}

#[tokio::test]
async fn what_is_not_run_behind_and_what_is_malformed_is_refused_by_name() {
    let gateway = Gateway::start().await;
    for (name, value) in
        [("background", json!(true)), ("max_output_tokens", json!("many")), ("input", json!([]))]
    {
        let mut body = ask(CLAUDE, "Hi", false);
        body[name] = value;
        let error = respond(&gateway, &body).await.openai_error();
        assert_eq!((error.status, error.param.as_deref()), (400, Some(name)), "{}", error.message);
        assert_eq!(error.kind, "invalid_request_error");
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn a_stream_that_breaks_ends_as_failed_with_what_was_used() {
    let gateway = Gateway::start().await;
    for (n, model) in LANES.iter().enumerate() {
        let mut body = ask(model, "sim:midstream=throttlingException@4", true);
        body["store"] = json!(true);
        let reply = respond(&gateway, &body).await;
        assert!(reply.complete);
        let events = response_events(&reply.text());
        let last = events.last().unwrap();
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.failed"), &json!("failed"))
        );
        assert_eq!(last["response"]["error"]["code"], "rate_limit_exceeded");
        assert_eq!(last["response"]["store"], false, "what failed is not kept");
        let row = gateway.rows(n + 1).await.pop().unwrap();
        assert_eq!((row.status, row.surface.as_str()), (RowStatus::UpstreamError, "responses"));
    }
}

#[tokio::test]
async fn what_the_model_wrote_amiss_fails_and_is_booked_but_not_kept() {
    let gateway = Gateway::start().await;
    let reasons = ["malformed_model_output", "malformed_tool_use"];
    for (reason, stream) in reasons.into_iter().flat_map(|reason| [(reason, false), (reason, true)]) {
        let mut body = ask(QWEN, &format!("sim:stop={reason}"), stream);
        body["store"] = true.into();
        let reply = respond(&gateway, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let failed = if stream {
            let last = response_events(&reply.text()).pop().unwrap();
            assert_eq!(last["type"], "response.failed");
            last["response"].clone()
        } else {
            reply.json()
        };
        assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("server_error")));
        assert!(failed["usage"]["output_tokens"].as_u64().unwrap() > 0 && !text(&failed).is_empty());
        let kept = openai(&gateway).get(&format!("{PATH}/{}", failed["id"].as_str().unwrap())).await;
        assert_eq!(kept.status, 404, "{}", kept.text());
    }
    assert!(gateway.rows(4).await.iter().all(|row| row.output_tokens > 0));
}

#[tokio::test]
async fn silence_is_filled_and_leaving_stops_the_model() {
    let gateway = Gateway::with(Options {
        delay: Duration::from_millis(30),
        ..Options::with(&["--ping-interval-seconds=1"])
    })
    .await;
    gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_millis(1500))]);
    let text = respond(&gateway, &ask(QWEN, "Hi", true)).await.text();
    assert!(text.starts_with(": ping\nevent: response.created\n"), "{text}");
    let body = ask(CLAUDE, "sim:words=500", true).to_string();
    let mut reply = openai(&gateway).send("POST", PATH, body.as_bytes()).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("response.output_text.delta") {
        let mut buffer = [0; 4096];
        let read = reply.read(&mut buffer).await.unwrap();
        seen.extend_from_slice(&buffer[..read]);
    }
    drop(reply);
    let row = gateway.rows(2).await.into_iter().find(|row| row.requested_model == CLAUDE).unwrap();
    assert_eq!((row.status, row.http_status), (RowStatus::ClientClosed, 499));
    assert!(row.estimated && row.output_tokens > 0 && row.output_tokens < 400, "{row:?}");
}

#[tokio::test]
async fn limits_and_budgets_refuse_in_openais_form() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key_with(|record| record.budget_daily = Some(1)).await;
    let reply = Caller::bearer(gateway.addr, &key).openai(PATH, &ask(CLAUDE, "Hi", true)).await;
    let error = reply.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (429, Some("insufficient_quota")));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    let (key, _) = gateway.key(&["*qwen*"]).await;
    let error =
        Caller::bearer(gateway.addr, &key).openai(PATH, &ask(CLAUDE, "Hi", true)).await.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (403, Some("model_not_allowed")));
}

#[tokio::test]
async fn what_codex_sends_is_answered() {
    let gateway = Gateway::start().await;
    let message = |role: &str, kind: &str, text: &str| json!({ "type": "message", "role": role, "content": [{ "type": kind, "text": text }] });
    for model in LANES {
        let body = json!({
            "model": model, "stream": true, "store": false, "include": ["reasoning.encrypted_content"],
            "reasoning": { "summary": "auto" }, "prompt_cache_key": "thread-1", "client_metadata": { "a": "b" },
            "tool_choice": "auto", "parallel_tool_calls": false,
            "input": [
                message("developer", "input_text", "You are careful."),
                message("user", "input_text", "run echo hi"),
            ],
            "tools": [
                { "type": "namespace", "name": "files", "description": "Files", "tools": [
                    { "type": "function", "name": "read", "strict": false,
                      "parameters": { "type": "object", "properties": { "path": { "type": "string" } } } } ] },
                { "type": "custom", "name": "apply_patch", "format": { "type": "text" } },
                { "type": "web_search", "external_web_access": false },
            ],
        });
        let caller = openai(&gateway).header("session-id", "s1").header("originator", "codex_exec");
        let reply = caller.openai("/openai/v1/responses", &body).await;
        let ended = response(&reply, true);
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    let rows = gateway.rows(2).await;
    assert!(rows.iter().all(|row| row.session.as_deref() == Some("s1")));
}
