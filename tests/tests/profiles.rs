//! Application inference profiles: an ARN that hides its model behaves as the model does, on every surface.

use bedrock_sim::{Captured, Fault};
use outcrop_tests::{Caller, Gateway, LANES, Options, QWEN, Reply, events, hello};
use serde_json::{Value, json};

const SONNET: &str = "us.anthropic.claude-sonnet-4-6";
const NOVA: &str = "us.amazon.nova-pro-v1:0";

/// The profile that has a model behind it.
fn arn(id: &str) -> String {
    let name: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/{name}")
}

fn with(settings: &[&str]) -> Options {
    let profiles = [SONNET, NOVA, QWEN].map(|id| (arn(id), id.to_owned())).to_vec();
    Options { profiles, ..Options::with_keys(settings) }
}

async fn gateway(settings: &[&str]) -> Gateway {
    Gateway::with(with(settings)).await
}

/// What the control plane was asked.
fn asked(gateway: &Gateway) -> usize {
    gateway.sim.requests().iter().filter(|request| request.method == "GET").count()
}

/// What the runtime was sent.
fn sent(gateway: &Gateway) -> Vec<Captured> {
    gateway.sim.requests().into_iter().filter(|request| request.method == "POST").collect()
}

fn escaped(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

/// A conversation with signed thinking, a tool call, cache markers of both TTLs.
fn conversation(model: &str, stream: bool) -> Value {
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    let mut body = hello(model, "", stream);
    body["max_tokens"] = 4000.into();
    if model == SONNET || model == arn(SONNET) {
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": 1500 });
    }
    body["system"] =
        json!([{ "type": "text", "text": "You are terse. ".repeat(600), "cache_control": hour }]);
    body["tools"] = json!([{ "name": "get_weather", "input_schema": { "type": "object" },
        "cache_control": { "type": "ephemeral", "ttl": "1h" } }]);
    body["messages"] = json!([
        { "role": "user", "content": "How is the weather?" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "Ask.", "signature": bedrock_sim::signature("Ask.") },
            { "type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": { "z": 1, "a": 0.7 } },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": "Sun",
              "cache_control": { "type": "ephemeral" } },
        ] },
    ]);
    body
}

#[tokio::test]
async fn a_profile_behaves_as_its_model_does_in_either_lane() {
    let gateway = gateway(&[]).await;
    let caller = gateway.caller().header("anthropic-beta", "advanced-tool-use-2025-11-20");
    for (id, operation) in [(SONNET, "invoke"), (QWEN, "converse"), (NOVA, "converse")] {
        for stream in [false, true] {
            let plain = caller.messages(&conversation(id, stream)).await;
            let hidden = caller.messages(&conversation(&arn(id), stream)).await;
            assert_eq!((plain.status, hidden.status), (200, 200), "{} {}", plain.text(), hidden.text());
            let requests = sent(&gateway);
            let [.., by_id, by_arn] = &requests[..] else { panic!("two were sent") };
            assert_eq!(by_arn.body, by_id.body, "{id}: not one byte differs");
            assert_eq!(by_arn.path, by_id.path.replace(&escaped(id), &escaped(&arn(id))));
            assert!(by_arn.path.contains(&format!("/{operation}")), "{}", by_arn.path);
        }
    }
    assert_eq!(asked(&gateway), 3, "once each");
    let rows = gateway.rows(12).await;
    for pair in rows.chunks(2) {
        assert_eq!(pair[0].base_model, pair[1].base_model);
        assert_eq!(pair[0].lane, pair[1].lane);
    }
    assert!(rows.iter().any(|row| row.resolved_model == arn(SONNET)), "the ARN is what was called");
}

#[tokio::test]
async fn markers_under_a_profile_are_written_to_the_cache_and_read_from_it() {
    let gateway = gateway(&[]).await;
    let usage = |reply: &Reply| reply.json()["usage"].clone();
    let body = conversation(&arn(SONNET), false);
    let first = usage(&gateway.caller().messages(&body).await);
    assert!(first["cache_creation_input_tokens"].as_u64().unwrap() > 1000, "{first}");
    let second = usage(&gateway.caller().messages(&body).await);
    assert!(second["cache_read_input_tokens"].as_u64().unwrap() > 1000, "{second}");
}

#[tokio::test]
async fn a_call_through_a_profile_costs_what_its_model_costs() {
    let global = "global.anthropic.claude-sonnet-4-6";
    let profiles = [SONNET, global].map(|id| (arn(id), id.to_owned())).to_vec();
    let gateway = Gateway::with(Options { profiles, ..Options::default() }).await;
    for id in [SONNET, global] {
        for name in [id, &arn(id)] {
            assert_eq!(gateway.caller().messages(&hello(name, "Hi", false)).await.status, 200);
        }
    }
    let rows = gateway.rows(4).await;
    let cost = |model: &str| rows.iter().find(|row| row.requested_model == model).unwrap().cost_pico_usd;
    assert!(cost(SONNET) > cost(global) && cost(global).is_some(), "a region has its price");
    assert_eq!((cost(&arn(SONNET)), cost(&arn(global))), (cost(SONNET), cost(global)));
}

#[tokio::test]
async fn a_crowd_at_a_cold_start_asks_once() {
    let gateway = gateway(&[]).await;
    let crowd: Vec<_> = (0..25)
        .map(|n| {
            let caller = gateway.caller();
            let id = if n % 2 == 0 { SONNET } else { QWEN };
            tokio::spawn(async move { caller.messages(&hello(&arn(id), "Hi", true)).await })
        })
        .collect();
    for reply in crowd {
        assert_eq!(events(&reply.await.unwrap().text()).last().unwrap().0, "message_stop");
    }
    assert_eq!(asked(&gateway), 2);
    for model in LANES {
        assert_eq!(gateway.caller().messages(&hello(model, "Hi", false)).await.status, 200);
    }
    assert_eq!(asked(&gateway), 2, "nobody is asked about names that hide nothing");
}

#[tokio::test]
async fn an_answer_is_remembered_for_as_long_as_the_setting_says() {
    let gateway = gateway(&["--inference-profile-cache-ttl-seconds=0"]).await;
    for _ in 0..3 {
        assert_eq!(gateway.caller().messages(&hello(&arn(QWEN), "Hi", false)).await.status, 200);
    }
    assert_eq!(asked(&gateway), 3);
}

#[tokio::test]
async fn a_denial_says_how_to_go_on_and_is_cached() {
    let gateway = gateway(&["--inference-profile-cache-ttl-seconds=0"]).await;
    let denial = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: bedrock:GetInferenceProfile";
    gateway.sim.script("/inference-profiles/*", vec![Fault::error(403, "AccessDeniedException", denial)]);
    for stream in [false, true] {
        let reply = gateway.caller().messages(&hello(&arn(SONNET), "Hi", stream)).await;
        let (kind, message) = reply.error();
        assert_eq!((reply.status, kind.as_str()), (502, "api_error"), "{message}");
        for part in ["::application-inference-profile/", "GetInferenceProfile", "DEFAULT_MODEL_MAPPING"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("123456789012"), "{message}");
    }
    let body = hello(&arn(SONNET), "Hi", false);
    let count = gateway.caller().messages_at("/v1/messages/count_tokens", &body).await;
    assert_eq!(count.status, 502, "no estimate hides it");
    assert_eq!((asked(&gateway), sent(&gateway).len()), (1, 0));
}

#[tokio::test]
async fn other_failures_of_the_control_plane_are_the_gateways_and_not_the_callers() {
    for fault in [Fault::error(500, "InternalServerException", "oops"), Fault::throttle(), Fault::Html] {
        let gateway = gateway(&["--bedrock-retry-base-ms=1"]).await;
        gateway.sim.script("/inference-profiles/*", vec![fault.clone(), fault]);
        let reply = gateway.caller().messages(&hello(&arn(SONNET), "Hi", false)).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        assert_eq!((asked(&gateway), sent(&gateway).len()), (2, 0));
    }
}

#[tokio::test]
async fn a_profile_that_is_not_there_is_the_callers_mistake() {
    let gateway = gateway(&[]).await;
    let gone = arn("nobody");
    for _ in 0..2 {
        let reply = gateway.caller().messages(&hello(&gone, "Hi", false)).await;
        let (kind, message) = reply.error();
        assert_eq!((reply.status, kind.as_str()), (400, "invalid_request_error"), "{message}");
        let shown = "arn:aws:bedrock:us-east-1::application-inference-profile/nobody";
        assert!(message.contains(shown) && !message.contains("123456789012"), "{message}");
    }
    assert_eq!((asked(&gateway), sent(&gateway).len()), (1, 0));
}

#[tokio::test]
async fn a_mapping_by_hand_needs_no_look_up_by_whatever_name_a_caller_comes() {
    let row = json!({ "target": arn(SONNET), "base_model": "anthropic.claude-sonnet-4-6" });
    let mapping = json!({ "team": row, "blind": arn(QWEN) });
    let gateway = gateway(&[&format!("--default-model-mapping={mapping}")]).await;
    for name in ["team", "team[1m]", &arn(SONNET)] {
        let reply = gateway.caller().messages(&hello(name, "Hi", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(sent(&gateway).last().unwrap().path, format!("/model/{}/invoke", escaped(&arn(SONNET))));
    }
    assert_eq!(asked(&gateway), 0);
    let reply = gateway.caller().messages(&hello("blind", "Hi", false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(asked(&gateway), 1, "a name for an ARN that nobody explained");
}

#[tokio::test]
async fn a_keys_lists_are_checked_against_the_model_behind() {
    let gateway = gateway(&["--allow-unknown-models=false"]).await;
    let (key, _) = gateway.key(&["anthropic.claude-*"]).await;
    let caller = Caller::new(gateway.addr, &key);
    let allowed = caller.messages(&hello(&arn(SONNET), "Hi", false)).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    let before = sent(&gateway).len();
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let reply = caller.messages_at(path, &hello(&arn(QWEN), "Hi", false)).await;
        assert_eq!((reply.status, reply.error().0.as_str()), (403, "permission_error"));
    }
    let path = format!("/model/{}/converse", escaped(&arn(QWEN)));
    assert_eq!(caller.post(&path, br#"{"messages":[]}"#).await.status, 403);
    for listed in ["/v1/models/", "/inference-profiles/"] {
        let hidden = format!("{listed}{}", escaped(&arn(QWEN)));
        assert_eq!(caller.get(&hidden).await.status, 404);
        assert_eq!(caller.get(&format!("{listed}{}", escaped(&arn(SONNET)))).await.status, 200);
    }
    assert_eq!(sent(&gateway).len(), before);
}

#[tokio::test]
async fn a_profile_is_counted_under_the_id_behind_it() {
    let gateway = gateway(&[]).await;
    let count = |model: String| {
        let caller = gateway.caller();
        async move { caller.messages_at("/v1/messages/count_tokens", &hello(&model, "Hi there", false)).await }
    };
    let (exact, estimated) = (count(arn(SONNET)).await, count(arn(QWEN)).await);
    assert_eq!(exact.header("x-outcrop-token-count"), Some("exact"), "{}", exact.text());
    assert_eq!(exact.body, count(SONNET.to_owned()).await.body);
    assert_eq!(estimated.header("x-outcrop-token-count"), Some("estimated"), "{}", estimated.text());
    assert!(
        sent(&gateway)
            .iter()
            .all(|request| request.path == "/model/anthropic.claude-sonnet-4-6/count-tokens")
    );
}

#[tokio::test]
async fn bedrocks_own_operations_know_the_model_behind_too() {
    let gateway = gateway(&[]).await;
    let body = r#"{ "anthropic_version":"bedrock-2023-05-31" ,"max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#;
    // Raw, as Claude Code writes it: a slash that is escaped and colons that are not.
    let raw = |id: &str, operation: &str| format!("/model/{}/{operation}", arn(id).replace('/', "%2F"));
    let reply = gateway.caller().post(&raw(SONNET, "invoke"), body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let last = sent(&gateway).pop().unwrap();
    assert_eq!(last.path, format!("/model/{}/invoke", escaped(&arn(SONNET))));
    assert_eq!(last.body, body.as_bytes());
    // A Messages body for a model that only Converse can speak to is translated, as under its plain id.
    let reply = gateway.caller().post(&raw(QWEN, "invoke"), body.as_bytes()).await;
    assert_eq!((reply.status, reply.json()["type"].as_str()), (200, Some("message")));
    assert_eq!(sent(&gateway).pop().unwrap().path, format!("/model/{}/converse", escaped(&arn(QWEN))));
    let gone = gateway.caller().post(&raw("nobody", "invoke"), body.as_bytes()).await;
    assert_eq!((gone.status, gone.header("x-amzn-errortype")), (400, Some("ValidationException")));
}

#[tokio::test]
async fn the_routes_to_a_profile_are_those_of_the_model_behind_it() {
    for (routes, path) in [(r#"["messages"]"#, "/anthropic/v1/messages"), (r#"["mantle"]"#, "/invoke")] {
        let gateway = gateway(&[&format!("--bedrock-routes={{\"*claude*\":{routes}}}")]).await;
        let reply = gateway.caller().messages(&hello(&arn(SONNET), "Hi", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let last = sent(&gateway).pop().unwrap();
        assert!(last.path.ends_with(path), "{}: mantle knows no profiles", last.path);
    }
}

#[tokio::test]
async fn a_profile_is_described_by_the_model_behind_it() {
    let gateway = gateway(&[]).await;
    let hidden = gateway.caller().get(&format!("/v1/models/{}", escaped(&arn(SONNET)))).await.json();
    let plain = gateway.caller().get(&format!("/v1/models/{SONNET}")).await.json();
    assert_eq!(hidden["id"], arn(SONNET));
    for part in ["display_name", "created_at", "max_input_tokens", "max_tokens"] {
        assert!(!hidden[part].is_null() && hidden[part] == plain[part], "{part}: {hidden}");
    }
    let profile =
        gateway.caller().get(&format!("/inference-profiles/{}", escaped(&arn(SONNET)))).await.json();
    assert_eq!(
        (&profile["inferenceProfileArn"], &profile["type"]),
        (&json!(arn(SONNET)), &json!("APPLICATION"))
    );
    let model = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6";
    assert_eq!(profile["models"][0]["modelArn"], model);
    assert_eq!(asked(&gateway), 1);
    for listed in ["/v1/models/", "/inference-profiles/"] {
        let gone = gateway.caller().get(&format!("{listed}{}", escaped(&arn("nobody")))).await;
        assert_eq!(gone.status, 404, "a profile that is not there has no description");
    }
}

#[tokio::test]
async fn the_control_plane_has_an_address_of_its_own() {
    let elsewhere = bedrock_sim::Sim::start(bedrock_sim::Config {
        bearer_tokens: vec!["ABSKblackboxtests".to_owned()],
        record: true,
        profiles: vec![(arn(SONNET), QWEN.to_owned())],
        ..bedrock_sim::Config::default()
    });
    let elsewhere = elsewhere.await.unwrap();
    let gateway = gateway(&[&format!("--bedrock-control-endpoint-url={}", elsewhere.url())]).await;
    gateway.caller().messages(&hello(&arn(SONNET), "Hi", false)).await;
    assert_eq!((asked(&gateway), elsewhere.requests().len()), (0, 1));
    assert!(sent(&gateway)[0].path.ends_with("/converse"), "that control plane says Qwen");
}
