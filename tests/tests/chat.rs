//! `POST /v1/chat/completions` over both lanes: answers, streams, and what is booked.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, MASTER, Options, QWEN, Reply, chunks};
use serde_json::{Value, json};
use store::RowStatus;
use tokio::io::AsyncReadExt as _;

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 300, "messages": [{ "role": "user", "content": text }] })
}

fn streamed(model: &str, text: &str) -> Value {
    let mut body = ask(model, text);
    body["stream"] = json!(true);
    body
}

fn openai(gateway: &Gateway) -> Caller {
    Caller::bearer(gateway.addr, MASTER)
}

async fn chat(gateway: &Gateway, body: &Value) -> Reply {
    openai(gateway).openai(PATH, body).await
}

/// The text of all deltas.
fn said(stream: &[Value]) -> String {
    stream.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn both_lanes_answer_in_openais_form_and_are_booked_as_chat() {
    let gateway = Gateway::start().await;
    for (n, model) in LANES.iter().enumerate() {
        let reply = chat(&gateway, &ask(model, "Hello")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.header("x-request-id").unwrap().starts_with("req_"));
        assert_eq!(reply.header("x-ratelimit-limit-requests"), Some("10000"));
        let body = reply.json();
        assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!(model)));
        assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
        assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
        let choice = &body["choices"][0];
        assert_eq!(
            (&choice["message"]["role"], &choice["finish_reason"]),
            (&json!("assistant"), &json!("stop"))
        );
        assert!(!choice["message"]["content"].as_str().unwrap().is_empty());
        let row = gateway.rows(n + 1).await.pop().unwrap();
        assert_eq!((row.surface.as_str(), row.status, row.stream), ("chat", RowStatus::Ok, false));
        let usage = &body["usage"];
        let read = row.input_tokens + row.cache_read_tokens + row.cache_write_5m_tokens;
        assert_eq!(
            (&usage["prompt_tokens"], &usage["completion_tokens"]),
            (&json!(read), &json!(row.output_tokens))
        );
    }
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says_and_ends_with_done() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let whole = chat(&gateway, &ask(model, "sim:words=40")).await.json();
        let plain = chat(&gateway, &streamed(model, "sim:words=40")).await;
        assert_eq!(plain.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert!(plain.complete);
        let stream = chunks(&plain.text());
        assert_eq!(stream[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(said(&stream), whole["choices"][0]["message"]["content"].as_str().unwrap());
        let last = stream.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
        assert!(stream.iter().all(|chunk| chunk["id"] == last["id"] && chunk["model"] == model));
        let mut body = streamed(model, "sim:words=40");
        body["stream_options"] = json!({ "include_usage": true });
        let counted = chunks(&chat(&gateway, &body).await.text());
        let last = counted.last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert_eq!(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
    }
    let rows = gateway.rows(6).await;
    let streams: Vec<_> = rows.iter().filter(|row| row.stream).collect();
    assert_eq!(streams.len(), 4);
    assert!(streams.iter().all(|row| row.status == RowStatus::Ok && !row.estimated && row.ttft_ms.is_some()));
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_is_read() {
    let gateway = Gateway::start().await;
    let name = "get_weather";
    for model in LANES {
        for stream in [false, true] {
            let mut body = ask(model, &format!(r#"call {name} with {{"city":"Bern"}}"#));
            body["stream"] = json!(stream);
            body["tools"] = json!([{ "type": "function", "function": { "name": name,
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }]);
            let reply = chat(&gateway, &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let (call, reason) =
                if stream { call_of(&chunks(&reply.text())) } else { whole_call(&reply.json()) };
            assert_eq!(reason, "tool_calls", "{}", reply.text());
            assert_eq!(call["function"]["name"], name);
            let arguments: Value =
                serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            assert_eq!(arguments, json!({ "city": "Bern" }));
            let id = call["id"].clone();
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
            messages.push(json!({ "role": "tool", "tool_call_id": id, "content": "rain" }));
            let answer = chat(&gateway, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_name_that_converse_refuses_is_the_callers_own_in_the_answer() {
    let gateway = Gateway::start().await;
    let name = format!("get_weather_{}", "x".repeat(60));
    for model in LANES {
        for stream in [false, true] {
            let mut body = ask(model, "the weather");
            body["stream"] = json!(stream);
            body["tools"] = json!([{ "type": "function", "function": { "name": name } }]);
            body["tool_choice"] = json!({ "type": "function", "function": { "name": name } });
            let reply = chat(&gateway, &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let (call, _) = if stream { call_of(&chunks(&reply.text())) } else { whole_call(&reply.json()) };
            assert_eq!(call["function"]["name"], *name);
        }
    }
}

#[tokio::test]
async fn what_openais_reasoning_models_take_beside_an_effort_is_served() {
    let gateway = Gateway::start().await;
    let tools = json!([{ "type": "function", "function": { "name": "look" } }]);
    let cases = [
        (json!({ "temperature": 0.2 }), "temperature="),
        (json!({ "top_p": 0.5 }), "top_p="),
        (json!({ "top_k": 5 }), "top_k="),
        (json!({ "tools": tools, "tool_choice": "required" }), "reasoning_effort="),
        (json!({ "stop": "\n" }), "stop="),
    ];
    for model in [CLAUDE, "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5"] {
        for (members, lost) in &cases {
            let mut body = ask(model, "Hi");
            body["max_completion_tokens"] = json!(8000);
            body["reasoning_effort"] = json!("low");
            for (name, value) in members.as_object().unwrap() {
                body[name] = value.clone();
            }
            let reply = openai(&gateway).header("x-outcrop-debug", "1").openai(PATH, &body).await;
            assert_eq!(reply.status, 200, "{model} {members}: {}", reply.text());
            let losses = reply.header("x-outcrop-loss").unwrap();
            assert!(losses.contains(lost), "{model} {members}: {losses}");
        }
    }
}

fn whole_call(body: &Value) -> (Value, String) {
    let choice = &body["choices"][0];
    (choice["message"]["tool_calls"][0].clone(), choice["finish_reason"].as_str().unwrap().to_owned())
}

/// The call of a stream, put together.
fn call_of(stream: &[Value]) -> (Value, String) {
    let pieces: Vec<&Value> = stream
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|p| !p.is_null())
        .collect();
    assert!(pieces.iter().all(|piece| piece["index"] == 0));
    let arguments: String =
        pieces.iter().filter_map(|piece| piece["function"]["arguments"].as_str()).collect();
    let named: Vec<_> = pieces.iter().filter(|piece| !piece["id"].is_null()).collect();
    assert_eq!(named.len(), 1, "id and name come once");
    let function = json!({ "name": named[0]["function"]["name"], "arguments": arguments });
    let call = json!({ "id": named[0]["id"], "type": "function", "function": function });
    let reason = stream.iter().rev().find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str());
    (call, reason.unwrap().to_owned())
}

#[tokio::test]
async fn structured_output_is_text_whatever_the_model_has_for_it() {
    let gateway = Gateway::start().await;
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } },
        "required": ["n"], "additionalProperties": false });
    for model in [CLAUDE, QWEN, "claude-opus-5"] {
        for stream in [false, true] {
            let mut body = ask(model, "a number");
            body["stream"] = json!(stream);
            body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "number", "schema": schema, "strict": true } });
            let reply = chat(&gateway, &body).await;
            assert_eq!(reply.status, 200, "{model} {}", reply.text());
            let (text, reason) = if stream {
                let stream = chunks(&reply.text());
                let reason =
                    stream.iter().rev().find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str());
                (said(&stream), reason.unwrap().to_owned())
            } else {
                let choice = reply.json()["choices"][0].clone();
                let text = choice["message"]["content"].as_str().unwrap_or_default().to_owned();
                (text, choice["finish_reason"].as_str().unwrap().to_owned())
            };
            let parsed: Result<Value, _> = serde_json::from_str(&text);
            assert!(parsed.is_ok_and(|value| value.is_object()), "{model} {stream} {text:?}");
            assert_eq!(reason, "stop");
        }
    }
}

#[tokio::test]
async fn silence_is_filled_with_comments_of_a_single_line_end() {
    let gateway = Gateway::with(Options::with(&["--ping-interval-seconds=1"])).await;
    for model in LANES {
        gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_millis(1500))]);
        let text = chat(&gateway, &streamed(model, "Hi")).await.text();
        assert!(text.starts_with(": ping\ndata: "), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_without_done() {
    let gateway = Gateway::start().await;
    for (n, model) in LANES.iter().enumerate() {
        let text = chat(&gateway, &streamed(model, "sim:midstream=throttlingException@4")).await.text();
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "rate_limit_exceeded", "{text}");
        assert!(!text.contains("[DONE]"));
        let row = gateway.rows(n + 1).await.pop().unwrap();
        assert_eq!((row.status, row.surface.as_str()), (RowStatus::UpstreamError, "chat"));
        let cut = chat(&gateway, &streamed(model, "sim:truncate@4")).await.text();
        assert!(cut.contains(r#""error":{"#) && !cut.contains("[DONE]"), "{cut}");
        gateway.rows(n + 2).await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_model_and_is_booked_as_gone() {
    let gateway = Gateway::with(Options { delay: Duration::from_millis(30), ..Options::default() }).await;
    for (n, model) in LANES.iter().enumerate() {
        let body = streamed(model, "sim:words=500").to_string();
        let mut reply = openai(&gateway).send("POST", PATH, body.as_bytes()).await;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(r#""content":"w"#)
            && String::from_utf8_lossy(&seen).matches("data: ").count() < 4
        {
            let mut buffer = [0; 4096];
            let read = reply.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..read]);
        }
        drop(reply);
        let rows = gateway.rows(n + 1).await;
        let row = rows.iter().find(|row| row.requested_model == *model).unwrap();
        assert_eq!((row.status, row.http_status), (RowStatus::ClientClosed, 499));
        assert!(row.estimated && row.input_tokens > 0 && row.output_tokens > 0, "{row:?}");
        assert!(row.output_tokens < 400, "the upstream was stopped: {row:?}");
    }
}

#[tokio::test]
async fn what_still_streams_at_the_end_of_the_drain_is_told_so() {
    let mut gateway = Gateway::with(Options {
        delay: Duration::from_millis(50),
        ..Options::with(&["--drain-timeout-seconds=0.3"])
    })
    .await;
    let (caller, body) = (openai(&gateway), streamed(CLAUDE, "sim:words=10000"));
    let streaming = tokio::spawn(async move { caller.openai(PATH, &body).await });
    while gateway.sim.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.terminate();
    let reply = streaming.await.unwrap();
    assert!(reply.complete && reply.text().contains(r#""code":"overloaded""#), "{}", reply.text());
    gateway.ended().await;
}
