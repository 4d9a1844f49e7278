//! Guardrails, latency and labels: one set of headers for both lanes.

use outcrop_tests::{CLAUDE, Gateway, Options, QWEN, hello};
use serde_json::{Value, json};

const WISHES: [(&str, &str); 4] = [
    ("x-amzn-bedrock-guardrailidentifier", "abc123"),
    ("x-amzn-bedrock-guardrailversion", "1"),
    ("x-amzn-bedrock-trace", "ENABLED"),
    ("x-amzn-bedrock-request-metadata", r#"{"team":"rocks"}"#),
];

#[tokio::test]
async fn wishes_are_headers_for_invoke_model_and_members_for_converse() {
    let gateway = Gateway::start().await;
    let caller = WISHES.iter().fold(gateway.caller(), |caller, (name, value)| caller.header(name, value));
    for stream in [false, true] {
        for model in [CLAUDE, QWEN] {
            let reply = caller.messages(&hello(model, "Hi", stream)).await;
            assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        }
    }
    let requests = gateway.sim.requests();
    for request in &requests {
        let native = request.path.contains("/invoke");
        for (name, value) in WISHES {
            assert_eq!(request.header(name), native.then_some(value), "{}", request.path);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if native {
            assert!(body.get("guardrailConfig").is_none());
            continue;
        }
        let guardrail =
            json!({ "guardrailIdentifier": "abc123", "guardrailVersion": "1", "trace": "enabled" });
        assert_eq!(body["guardrailConfig"], guardrail);
        assert_eq!(body["requestMetadata"], json!({ "team": "rocks" }));
    }
}

#[tokio::test]
async fn a_guardrail_is_not_lost_on_a_route_that_may_not_know_it() {
    let gateway = Gateway::with(Options::with(&["--bedrock-routes={\"*\":[\"messages\",\"invoke\"]}"])).await;
    let caller = WISHES.iter().fold(gateway.caller(), |caller, (name, value)| caller.header(name, value));
    caller.messages(&hello(CLAUDE, "Hi", false)).await;
    assert!(gateway.sim.requests()[0].path.ends_with("/invoke"));
}

#[tokio::test]
async fn labels_that_are_no_labels_are_refused_by_name() {
    let gateway = Gateway::start().await;
    let caller = gateway.caller().header("x-amzn-bedrock-request-metadata", "[1]");
    let reply = caller.messages(&hello(QWEN, "Hi", false)).await;
    assert_eq!(reply.status, 400);
    assert!(reply.error().1.starts_with("x-amzn-bedrock-request-metadata: "), "{}", reply.text());
}
