//! What is answered, in both dialects.
use outcrop_bedrock_sim::Config;
use serde_json::{Value, json};

use crate::common::{OPUS5, OPUS55, QWEN, Reply, SONNET, claude, get, path, post, send, sim, sim_with};

fn hi(text: &str) -> String {
    format!(r#"[{{"role":"user","content":{}}}]"#, json!(text))
}

fn converse(text: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    format!(r#"{{"messages":[{{"role":"user","content":[{{"text":{}}}]}}]{more}}}"#, json!(text))
}

/// The message that the chunks of a stream add up to.
fn folded(reply: &Reply) -> Value {
    use base64::Engine as _;
    let mut message = Value::Null;
    let mut partial = String::new();
    for (kind, payload) in reply.events() {
        assert_eq!(kind, "chunk");
        assert!(payload["p"].is_string());
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(payload["bytes"].as_str().expect("text"));
        let event: Value = serde_json::from_slice(&bytes.expect("base64")).expect("JSON");
        let index = usize::try_from(event["index"].as_u64().unwrap_or_default()).expect("small");
        match event["type"].as_str().expect("a type") {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                partial.clear();
                message["content"].as_array_mut().expect("blocks").push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                let block = &mut message["content"][index];
                for (member, of) in [("text", "text"), ("thinking", "thinking"), ("signature", "signature")] {
                    if let Some(more) = delta[member].as_str() {
                        let so_far = block[of].as_str().unwrap_or_default().to_owned();
                        block[of] = json!(so_far + more);
                    }
                }
                if let Some(more) = delta["partial_json"].as_str() {
                    partial.push_str(more);
                }
            }
            "content_block_stop" => {
                if !partial.is_empty() {
                    message["content"][index]["input"] = serde_json::from_str(&partial).expect("JSON");
                }
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"]["output_tokens"] = event["usage"]["output_tokens"].clone();
            }
            "message_stop" => {
                let metrics = &event["amazon-bedrock-invocationMetrics"];
                assert_eq!(metrics["outputTokenCount"], message["usage"]["output_tokens"]);
            }
            other => panic!("unexpected {other}"),
        }
    }
    message
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let sim = sim().await;
    let tools = r#""tools":[{"name":"get_weather","input_schema":{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}}]"#;
    for body in [
        claude(&hi("Hello \"there\" \u{1f980}"), ""),
        claude(&hi("What is the weather in Paris?"), tools),
        claude(&hi("Think"), r#""thinking":{"type":"enabled","budget_tokens":1024}"#)
            .replace("1024,\"m", "2048,\"m"),
        claude(&hi("sim:redacted"), ""),
    ] {
        let mut whole = post(&sim, &path(SONNET, "invoke"), &body).await.json();
        let mut stream = folded(&post(&sim, &path(SONNET, "invoke-with-response-stream"), &body).await);
        for message in [&mut whole, &mut stream] {
            message["id"] = Value::Null;
            for block in message["content"].as_array_mut().expect("blocks") {
                // Ids of calls and the content of redacted blocks differ from request to request.
                block.as_object_mut().expect("object").remove("id");
                block.as_object_mut().expect("object").remove("data");
            }
        }
        assert_eq!(whole, stream);
    }
}

#[tokio::test]
async fn text_tools_and_results_follow_what_the_user_says() {
    let sim = sim().await;
    let tools = r#""tools":[{"name":"Bash","input_schema":{"type":"object"}},{"name":"Read","input_schema":{"type":"object"}},{"name":"add","input_schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}]"#;
    let said = async |text: &str| {
        let body = claude(&hi(text), tools);
        post(&sim, &path(SONNET, "invoke"), &body).await.json()
    };
    let call = async |text: &str| {
        let message = said(text).await;
        assert_eq!(message["stop_reason"], "tool_use", "{message}");
        (message["content"][0]["name"].clone(), message["content"][0]["input"].clone())
    };
    assert_eq!(
        call("<system-reminder>read /etc/x</system-reminder>run echo hi").await,
        (json!("Bash"), json!({"command": "echo hi", "description": "Run what was asked for"}))
    );
    assert_eq!(call("please read src/lib.rs").await, (json!("Read"), json!({"file_path": "src/lib.rs"})));
    assert_eq!(
        call(r#"call add with {"a": 41, "b": [1]}"#).await,
        (json!("add"), json!({"a": 41, "b": [1]}))
    );
    assert_eq!(call("use the add tool").await, (json!("add"), json!({"a": 1})));
    assert_eq!(said("Reply with exactly: pong").await["content"], json!([{"type": "text", "text": "pong"}]));
    assert_eq!(said("good morning").await["stop_reason"], "end_turn");
    let forced = claude(&hi("hello"), &format!(r#"{tools},"tool_choice":{{"type":"tool","name":"add"}}"#));
    assert_eq!(
        post(&sim, &path(SONNET, "invoke"), &forced).await.json()["content"][0]["input"],
        json!({"a": 1})
    );
    let round = claude(
        r#"[{"role":"user","content":"run ls"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"file.txt"},{"type":"text","text":"<system-reminder>run it</system-reminder>"}]}]"#,
        tools,
    );
    let message = post(&sim, &path(SONNET, "invoke"), &round).await.json();
    assert_eq!(message["content"][0]["text"], "The tool answered: file.txt");
}

#[tokio::test]
async fn limits_of_text_are_honoured() {
    let sim = sim().await;
    let cut = claude(&hi("sim:words=300"), "").replace("1024", "5");
    let message = post(&sim, &path(SONNET, "invoke"), &cut).await.json();
    assert_eq!(message["stop_reason"], "max_tokens");
    assert_eq!(message["usage"]["output_tokens"], 5);
    assert_eq!(message["content"][0]["text"], "word0 word1 word2 wo");
    let stop = claude(&hi("sim:words=300"), r#""stop_sequences":["word9","word2"]"#);
    let message = post(&sim, &path(SONNET, "invoke"), &stop).await.json();
    assert_eq!(
        (&message["stop_reason"], &message["stop_sequence"]),
        (&json!("stop_sequence"), &json!("word2"))
    );
    assert_eq!(message["content"][0]["text"], "word0 word1 ");
    let verdict = claude(&hi("judge this"), r#""stop_sequences":["</severity>"]"#);
    let message = post(&sim, &path(SONNET, "invoke"), &verdict).await.json();
    assert_eq!(message["content"][0]["text"], "<severity>0");
    let body = converse(
        "sim:words=9",
        r#""inferenceConfig":{"stopSequences":["word2"]},"additionalModelResponseFieldPaths":["/stop_sequence"]"#,
    );
    let answer = post(&sim, &path(SONNET, "converse"), &body).await.json();
    assert_eq!(answer["stopReason"], "stop_sequence");
    assert_eq!(answer["additionalModelResponseFields"], json!({"stop_sequence": "word2"}));
}

#[tokio::test]
async fn thinking_is_signed_replayed_and_guarded() {
    let sim = sim().await;
    let ask = claude(&hi("hello"), r#""thinking":{"type":"adaptive"}"#);
    let shown = post(&sim, &path(OPUS5, "invoke"), &ask).await.json();
    assert_eq!(shown["content"][0]["type"], "thinking");
    assert_ne!(shown["content"][0]["thinking"], "");
    let omitted = post(&sim, &path(OPUS55, "invoke"), &claude(&hi("hello"), "")).await.json();
    assert_eq!(omitted["content"][0]["thinking"], "");
    let redacted = post(&sim, &path(OPUS5, "invoke"), &claude(&hi("sim:redacted"), "")).await.json();
    assert_eq!(redacted["content"][0]["type"], "redacted_thinking");
    for message in [&shown, &omitted, &redacted] {
        let replay = |content: &Value| {
            let turn = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": content},
                              {"role": "user", "content": "go on"}]);
            claude(&turn.to_string(), "")
        };
        let good = post(&sim, &path(OPUS5, "invoke"), &replay(&message["content"])).await;
        assert_eq!(good.status, 200, "{}", String::from_utf8_lossy(&good.body));
        let mut altered = message["content"].clone();
        match altered[0]["type"].as_str() {
            Some("thinking") => altered[0]["thinking"] = json!("I thought something else."),
            _ => altered[0]["data"] = json!("eA=="),
        }
        let bad = post(&sim, &path(OPUS5, "invoke"), &replay(&altered)).await;
        assert!(bad.message().starts_with("messages.1.content.0: Invalid `"), "{}", bad.message());
    }
}

#[tokio::test]
async fn converse_carries_the_same_blocks() {
    let sim = sim().await;
    let more = r#""inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2048}},"toolConfig":{"tools":[{"toolSpec":{"name":"Bash","inputSchema":{"json":{"type":"object"}}}}]}"#;
    let body = converse("run echo hi", more);
    let answer = post(&sim, &path(SONNET, "converse"), &body).await.json();
    let content = &answer["output"]["message"]["content"];
    assert!(content[0]["reasoningContent"]["reasoningText"]["signature"].is_string(), "{answer}");
    assert_eq!(content[1]["toolUse"]["input"]["command"], "echo hi");
    assert_eq!(answer["stopReason"], "tool_use");
    let replay = json!({"messages": [
        {"role": "user", "content": [{"text": "run echo hi"}]}, {"role": "assistant", "content": content},
        {"role": "user", "content": [{"toolResult": {"toolUseId": content[1]["toolUse"]["toolUseId"],
            "content": [{"json": {"out": "hi"}}]}}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "Bash", "inputSchema": {"json": {"type": "object"}}}}]}});
    let answer = post(&sim, &path(SONNET, "converse"), &replay.to_string()).await.json();
    assert_eq!(
        answer["output"]["message"]["content"],
        json!([{"text": "The tool answered: {\"out\":\"hi\"}"}])
    );
    let open = post(&sim, &path("minimax.minimax-m2", "converse"), &converse("hi", "")).await.json();
    let thought = &open["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"];
    assert!(thought["text"].is_string() && thought["signature"].is_null());
}

#[tokio::test]
async fn streams_of_converse_have_the_services_order() {
    let sim = sim().await;
    let more = r#""serviceTier":{"type":"flex"},"toolConfig":{"tools":[{"toolSpec":{"name":"Bash","inputSchema":{"json":{"type":"object"}}}}]}"#;
    let reply = post(&sim, &path(QWEN, "converse-stream"), &converse("run echo hi", more)).await;
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let events = reply.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["messageStart", "contentBlockStart", "contentBlockDelta"]);
    assert_eq!(names[names.len() - 3..], ["contentBlockStop", "messageStop", "metadata"]);
    assert!(events.iter().all(|(_, payload)| payload["p"].is_string()));
    let input: String =
        events.iter().filter_map(|(_, payload)| payload["delta"]["toolUse"]["input"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&input).expect("JSON")["command"], "echo hi");
    assert_eq!(events.last().expect("metadata").1["serviceTier"], json!({"type": "flex"}));
    let text = post(&sim, &path(QWEN, "converse-stream"), &converse("hello", "")).await.events();
    assert!(text.iter().all(|(name, _)| name != "contentBlockStart"), "text has no start");
}

#[tokio::test]
async fn prompt_caches_are_written_then_read_in_both_dialects() {
    let sim = sim().await;
    let long = "x".repeat(8_000);
    let body = claude(
        &format!(
            r#"[{{"role":"user","content":[{{"type":"text","text":"{long}","cache_control":{{"type":"ephemeral","ttl":"1h"}}}},{{"type":"text","text":"hi"}}]}}]"#
        ),
        "",
    );
    let usage = async || post(&sim, &path(SONNET, "invoke"), &body).await.json()["usage"].clone();
    let first = usage().await;
    assert_eq!(first["cache_creation_input_tokens"], 2_000);
    assert_eq!(first["cache_creation"]["ephemeral_1h_input_tokens"], 2_000);
    let second = usage().await;
    assert_eq!((&second["cache_read_input_tokens"], &second["input_tokens"]), (&json!(2_000), &json!(1)));
    let body = format!(
        r#"{{"system":[{{"text":"{long}"}},{{"cachePoint":{{"type":"default"}}}}],"messages":[{{"role":"user","content":[{{"text":"hi"}}]}}]}}"#
    );
    let usage = async || post(&sim, &path(SONNET, "converse"), &body).await.json()["usage"].clone();
    let first = usage().await;
    assert_eq!(first["cacheWriteInputTokens"], 2_000);
    assert_eq!(first["cacheDetails"], json!([{"ttl": "5m", "inputTokens": 2_000}]));
    let second = usage().await;
    assert_eq!((&second["cacheReadInputTokens"], &second["inputTokens"]), (&json!(2_000), &json!(1)));
    let served = sim.served();
    assert_eq!((served.answers, served.cache_read_tokens, served.cache_write_tokens), (4, 4_000, 4_000));
}

#[tokio::test]
async fn structured_output_fits_its_schema() {
    let sim = sim().await;
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": "integer"}},
                        "required": ["title", "n"], "additionalProperties": false});
    let format = json!({"effort": null, "format": {"type": "json_schema", "schema": schema}});
    let body = claude(&hi("Name this"), &format!("\"output_config\":{format}"));
    let message = post(&sim, &path(SONNET, "invoke"), &body).await.json();
    let text = message["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{message}"));
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), json!({"title": "Name this", "n": 1}));
    let config = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema.to_string()}}}});
    let body = converse("Name this", &format!("\"outputConfig\":{config}"));
    let answer = post(&sim, &path(SONNET, "converse"), &body).await.json();
    let text = answer["output"]["message"]["content"][0]["text"].as_str().expect("text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), json!({"title": "Name this", "n": 1}));
}

#[tokio::test]
async fn lists_of_the_control_plane_name_what_can_be_called() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/team";
    let own = vec![(arn.to_owned(), "qwen.qwen3-32b-v1:0".to_owned())];
    let config = Config { region: Some("us-east-1".to_owned()), profiles: own, ..Config::default() };
    let sim = sim_with(config).await;
    let profiles = get(&sim, "/inference-profiles?type=SYSTEM_DEFINED").await.json();
    let list = profiles["inferenceProfileSummaries"].as_array().expect("a list");
    let id = |profile: &Value| profile["inferenceProfileId"].as_str().map(str::to_owned).expect("an id");
    assert!(list.iter().any(|profile| id(profile) == OPUS5));
    assert!(list.iter().all(|profile| !id(profile).starts_with("eu.")));
    let one = get(&sim, &format!("/inference-profiles/{OPUS5}")).await.json();
    assert_eq!(id(&one), OPUS5);
    assert_eq!(get(&sim, "/inference-profiles/none").await.status, 404);
    let own = get(&sim, "/inference-profiles/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fteam").await;
    let own = own.json();
    assert_eq!(
        (own["type"].as_str(), own["inferenceProfileId"].as_str()),
        (Some("APPLICATION"), Some("team"))
    );
    assert_eq!(
        own["models"][0]["modelArn"],
        "arn:aws:bedrock:us-east-1::foundation-model/qwen.qwen3-32b-v1:0"
    );
    let models = get(&sim, "/foundation-models").await.json();
    assert!(models["modelSummaries"].as_array().is_some_and(|list| list.len() > 50));
}

#[tokio::test]
async fn the_native_route_speaks_server_sent_events() {
    let sim = sim().await;
    let token = format!("Bearer {}", crate::common::TOKEN);
    let headers = [("authorization", token.as_str()), ("anthropic-version", "2023-06-01")];
    let body =
        format!(r#"{{"model":"{OPUS5}","max_tokens":64,"stream":true,"messages":{}}}"#, hi("Say pong"));
    let reply = send(&sim, "POST", "/anthropic/v1/messages", &headers, body.as_bytes()).await;
    assert_eq!(reply.status, 200);
    let text = String::from_utf8(reply.body).expect("text");
    assert!(text.starts_with("event: message_start\ndata: {\"type\":\"message_start\""), "{text}");
    assert!(text.contains("\"text\":\"pong\"") && text.contains("event: message_stop\n"), "{text}");
    let whole =
        send(&sim, "POST", "/anthropic/v1/messages", &headers, body.replace("true", "false").as_bytes())
            .await;
    assert_eq!(whole.json()["content"][0]["text"], "pong");
    let count = send(&sim, "POST", "/anthropic/v1/messages/count_tokens", &headers, body.as_bytes()).await;
    assert_eq!((count.status, count.json()["Output"]["__type"].is_string()), (200, true));
}

#[tokio::test]
async fn embeddings_depend_on_the_text_alone() {
    let sim = sim().await;
    let embed = async |id: &str, body: &str| post(&sim, &path(id, "invoke"), body).await;
    let titan = "amazon.titan-embed-text-v2:0";
    let one = embed(titan, r#"{"inputText":"hello","dimensions":256}"#).await.json();
    assert_eq!(one["embedding"].as_array().map(Vec::len), Some(256));
    assert_eq!(one["inputTextTokenCount"], 2);
    assert_eq!(embed(titan, r#"{"inputText":"hello","dimensions":256}"#).await.json(), one);
    assert_eq!(
        embed(titan, r#"{"inputText":"hello","size":1}"#).await.message(),
        "Malformed input request: #: extraneous key [size] is not permitted, please reformat your input and try again."
    );
    let cohere = r#"{"texts":["a","b"],"input_type":"search_query","embedding_types":["float"]}"#;
    let two = embed("cohere.embed-multilingual-v3", cohere).await.json();
    assert_eq!(two["embeddings"]["float"].as_array().map(Vec::len), Some(2));
    assert_ne!(two["embeddings"]["float"][0], two["embeddings"]["float"][1]);
    assert_eq!(
        post(&sim, &path(titan, "converse"), &converse("hi", "")).await.message(),
        "This action doesn't support the model that you provided. Try again with a supported text or chat model."
    );
}

#[tokio::test]
async fn requests_are_kept_in_the_form_of_captures() {
    let sim = sim_with(Config { record: true, ..Config::default() }).await;
    let body = converse("hello", "");
    post(&sim, &path(QWEN, "converse"), &body).await;
    let kept = sim.requests();
    let capture: Value = serde_json::from_str(&kept.first().expect("one").to_json()).expect("JSON");
    assert_eq!(capture["path"], path(QWEN, "converse"));
    assert_eq!((&capture["method"], capture["body"].as_str()), (&json!("POST"), Some(body.as_str())));
    assert!(capture["headers"]["authorization"].is_string());
}
