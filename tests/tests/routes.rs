//! The ways to Claude beside InvokeModel, from one to the next where one fails, and the way around a model's gaps.

use bedrock_sim::{Captured, Fault};
use outcrop_tests::{CLAUDE, Gateway, Options, Reply, events, hello};
use serde_json::{Value, json};
use store::RowStatus;

const ROUTES: [&str; 3] = ["invoke", "messages", "mantle"];

/// Each route is tried once.
fn by(routes: &str) -> Options {
    Options::with(&[
        &format!("--bedrock-routes={{\"*claude*\":{routes}}}"),
        &format!("--bedrock-max-attempts={}", routes.split(',').count()),
        "--debug-headers=true",
    ])
}

fn paths(requests: &[Captured]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

/// The text of an answer, streamed or whole.
fn text(reply: &Reply, stream: bool) -> String {
    if !stream {
        return reply.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    }
    let all = events(&reply.text());
    assert!(all.last().is_some_and(|(name, _)| name == "message_stop"), "{}", reply.text());
    all.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect()
}

#[tokio::test]
async fn every_route_answers_alike_streamed_and_whole() {
    for route in ROUTES {
        let gateway = Gateway::with(by(&format!("[\"{route}\"]"))).await;
        for stream in [false, true] {
            let caller =
                gateway.caller().header("anthropic-beta", "claude-code-20250219,context-1m-2025-08-07");
            let reply = caller.messages(&hello(CLAUDE, "Reply with exactly: pong", stream)).await;
            assert_eq!(reply.status, 200, "{route} {stream}: {}", reply.text());
            assert_eq!(text(&reply, stream), "pong", "{route} {stream}");
            assert_eq!(reply.header("x-outcrop-route"), Some(route));
            assert!(reply.text().contains("\"model\":\"claude-sonnet-4-6\""), "the caller's name for it");
            assert!(!reply.text().contains("amazon-bedrock"), "{}", reply.text());
        }
        let served = gateway.sim.served();
        let rows = gateway.rows(2).await;
        let input: u64 = rows.iter().map(|row| row.input_tokens).sum();
        let output: u64 = rows.iter().map(|row| row.output_tokens).sum();
        assert_eq!((input, output), (served.input_tokens, served.output_tokens), "{route}");
        assert!(rows.iter().all(|row| row.status == RowStatus::Ok && row.lane == "native" && !row.estimated));
        for request in gateway.sim.requests() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let addressed = route != "invoke";
            assert_eq!(request.header("anthropic-version"), addressed.then_some("2023-06-01"), "{route}");
            assert_eq!(
                request.header("anthropic-beta"),
                addressed.then_some("context-1m-2025-08-07"),
                "{route}"
            );
            let model = match route {
                "messages" => json!("global.anthropic.claude-sonnet-4-6"),
                "mantle" => json!("anthropic.claude-sonnet-4-6"),
                _ => Value::Null,
            };
            assert_eq!(body["model"], model, "{route}");
        }
    }
}

#[tokio::test]
async fn a_route_that_fails_falls_to_the_next_and_is_passed_over_for_a_while() {
    for stream in [false, true] {
        let gateway = Gateway::with(by("[\"mantle\",\"messages\",\"invoke\"]")).await;
        gateway.sim.script("anthropic/mantle", vec![Fault::error(403, "AccessDeniedException", "no")]);
        gateway.sim.script("anthropic/messages", vec![Fault::unavailable()]);
        for (served_by, attempts) in [("invoke", "3"), ("invoke", "1")] {
            let reply = gateway.caller().messages(&hello(CLAUDE, "Reply with exactly: pong", stream)).await;
            assert_eq!(text(&reply, stream), "pong", "{}", reply.text());
            assert_eq!(reply.header("x-outcrop-route"), Some(served_by));
            assert_eq!(reply.header("x-outcrop-attempts"), Some(attempts));
        }
        let operation = if stream { "invoke-with-response-stream" } else { "invoke" };
        let invoked = format!("/model/global.anthropic.claude-sonnet-4-6/{operation}");
        let requests = gateway.sim.requests();
        let expected = ["/mantle/anthropic/v1/messages", "/anthropic/v1/messages", &invoked, &invoked];
        assert_eq!(paths(&requests), expected);
        assert_eq!(gateway.rows(2).await.len(), 2, "one row a request, however many routes it took");
    }
}

#[tokio::test]
async fn a_route_is_tried_again_when_its_time_is_up() {
    let mut options = by("[\"messages\",\"invoke\"]");
    options.settings.push("--target-cooldown-seconds=0".to_owned());
    let gateway = Gateway::with(options).await;
    gateway.sim.script("anthropic/messages", vec![Fault::throttle()]);
    for route in ["invoke", "messages"] {
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.header("x-outcrop-route"), Some(route));
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_wrong_on_every_route() {
    let gateway = Gateway::with(by("[\"messages\",\"invoke\"]")).await;
    let wording = "messages.0: a certain wording";
    gateway.sim.script("anthropic/messages", vec![Fault::error(400, "ValidationException", wording)]);
    let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!((reply.status, reply.error().1.as_str()), (400, wording));
    assert_eq!(gateway.sim.requests().len(), 1);
}

#[tokio::test]
async fn where_all_routes_fail_the_caller_hears_what_an_open_one_said() {
    let gateway = Gateway::with(by("[\"messages\",\"mantle\"]")).await;
    gateway.sim.script("anthropic/messages", vec![Fault::throttle()]);
    gateway.sim.script("anthropic/mantle", vec![Fault::error(403, "AccessDeniedException", "no")]);
    let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (429, "rate_limit_error"), "{}", reply.text());
}

#[tokio::test]
async fn a_stream_that_breaks_is_not_begun_again_on_another_route() {
    let gateway = Gateway::with(by("[\"messages\",\"invoke\"]")).await;
    let said = "sim:midstream=internalServerException@4 hello there";
    let reply = gateway.caller().messages(&hello(CLAUDE, said, true)).await;
    let all = events(&reply.text());
    assert_eq!(all.last().unwrap().0, "error");
    assert_eq!(all.iter().filter(|(name, _)| name == "message_start").count(), 1);
    assert_eq!(gateway.sim.requests().len(), 1);
}

#[tokio::test]
async fn a_field_that_one_route_refuses_is_learnt_for_that_route_alone() {
    let gateway = Gateway::with(by("[\"messages\",\"invoke\"]")).await;
    let refusal = Fault::error(400, "ValidationException", "novelty: Extra inputs are not permitted");
    gateway.sim.script("anthropic/messages", vec![refusal]);
    let mut body = hello(CLAUDE, "Reply with exactly: pong", false);
    body["novelty"] = json!(1);
    let sent = |request: &Captured| String::from_utf8_lossy(&request.body).contains("novelty");
    // The simulator knows no such field either; only whether it was sent matters.
    gateway.caller().messages(&body).await;
    let requests = gateway.sim.requests();
    assert_eq!(requests.iter().map(sent).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_model_that_does_not_stream_tools_is_asked_for_the_whole_and_answers_in_events() {
    let gateway = Gateway::start().await;
    let mut body = hello("meta.llama3-3-70b-instruct-v1:0", "use the weigh tool", true);
    body["tools"] = json!([{ "name": "weigh", "input_schema": { "type": "object", "properties": {} } }]);
    let reply = gateway.caller().messages(&body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"), "{}", reply.text());
    let all = events(&reply.text());
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("message_start", "message_stop"));
    assert!(all.iter().any(|(_, data)| data["content_block"]["name"] == "weigh"), "{}", reply.text());
    assert!(all.iter().any(|(_, data)| data["delta"]["stop_reason"] == "tool_use"));
    assert!(paths(&gateway.sim.requests())[0].ends_with("/converse"));
    let row = &gateway.rows(1).await[0];
    assert!(row.stream && !row.estimated && row.output_tokens > 0 && row.ttft_ms.is_some());

    body.as_object_mut().unwrap().remove("tools");
    gateway.caller().messages(&body).await;
    assert!(paths(&gateway.sim.requests())[1].ends_with("/converse-stream"), "it streams everything else");
}

#[tokio::test]
async fn flags_are_made_anew_for_the_route_that_a_request_falls_to() {
    for routes in [["messages", "invoke"], ["invoke", "messages"]] {
        for stream in [false, true] {
            let gateway = Gateway::with(by(&json!(routes).to_string())).await;
            gateway.sim.script("", vec![Fault::unavailable()]);
            let caller = gateway.caller().header("anthropic-beta", "context-1m-2025-08-07");
            let reply = caller.messages(&hello(CLAUDE, "Reply with exactly: pong", stream)).await;
            assert_eq!(
                (text(&reply, stream).as_str(), reply.header("x-outcrop-route")),
                ("pong", Some(routes[1]))
            );
            let requests = gateway.sim.requests();
            assert_eq!(requests.len(), 2);
            for (request, route) in requests.iter().zip(routes) {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let (header, member) = (request.header("anthropic-beta"), &body["anthropic_beta"]);
                if route == "invoke" {
                    assert_eq!((header, member), (None, &json!(["context-1m-2025-08-07"])));
                } else {
                    assert_eq!((header, member), (Some("context-1m-2025-08-07"), &Value::Null));
                }
            }
        }
    }
}
