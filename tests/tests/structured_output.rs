//! An answer that fits a schema, from models that take none: by a tool that the caller never sees.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use outcrop_tests::{CLAUDE, Gateway, Options, QWEN, events, hello};
use serde_json::{Value, json};

/// Native lane, no output format of its own.
const OPUS: &str = "claude-opus-5";
/// The same, and no call can be forced.
const ALWAYS_THINKING: &str = "claude-opus-5-5";

/// Keywords that a strict tool would not take are in it.
fn asking(model: &str, text: &str, stream: bool) -> Value {
    let mut body = hello(model, text, stream);
    body["output_config"] = json!({ "format": { "type": "json_schema", "schema": {
        "type": "object",
        "properties": {
            "name": { "type": "string", "minLength": 2 },
            "inhabitants": { "type": "integer", "minimum": 1 },
        },
        "required": ["name", "inhabitants"],
        "additionalProperties": false,
    } } });
    body
}

fn weather() -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!({ "name": "get_weather", "description": "d", "input_schema": schema })
}

/// Blocks and stop reason of a stream, each block as its kind and all its text or input.
fn folded(stream: &[(String, Value)]) -> (Vec<(String, String)>, Value) {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut stop_reason = Value::Null;
    for (name, data) in stream {
        let index = usize::try_from(data["index"].as_u64().unwrap_or_default()).unwrap();
        match name.as_str() {
            "content_block_start" => {
                assert_eq!(index, blocks.len());
                blocks.push((data["content_block"]["type"].as_str().unwrap().to_owned(), String::new()));
            }
            "content_block_delta" => {
                let (kind, member) = match blocks[index].0.as_str() {
                    "text" => ("text_delta", "text"),
                    _ => ("input_json_delta", "partial_json"),
                };
                assert_eq!(data["delta"]["type"], kind, "{data}");
                blocks[index].1.push_str(data["delta"][member].as_str().unwrap());
            }
            "message_delta" => stop_reason = data["delta"]["stop_reason"].clone(),
            _ => {}
        }
    }
    assert_eq!(stream.last().unwrap().0, "message_stop");
    (blocks, stop_reason)
}

#[tokio::test]
async fn a_format_that_the_model_does_not_take_is_answered_as_text_that_fits_it() {
    let gateway = Gateway::start().await;
    for model in [OPUS, QWEN] {
        let whole = gateway.caller().messages(&asking(model, "Which city?", false)).await;
        assert_eq!(whole.status, 200, "{}", whole.text());
        let message = whole.json();
        assert_eq!(message["content"].as_array().unwrap().len(), 1, "{message}");
        assert_eq!(
            (&message["content"][0]["type"], &message["stop_reason"]),
            (&json!("text"), &json!("end_turn"))
        );
        let text = message["content"][0]["text"].as_str().unwrap();
        let answer: Value = serde_json::from_str(text).unwrap();
        assert!(answer["name"].is_string() && answer["inhabitants"].is_u64(), "{answer}");

        let stream = gateway.caller().messages(&asking(model, "Which city?", true)).await;
        let (blocks, stop_reason) = folded(&events(&stream.text()));
        assert_eq!((blocks, stop_reason), (vec![("text".to_owned(), text.to_owned())], json!("end_turn")));
    }
    let sent: Value = serde_json::from_slice(&gateway.sim.requests()[0].body).unwrap();
    let schema = &asking(OPUS, "", false)["output_config"]["format"]["schema"];
    assert_eq!(&sent["tools"][0]["input_schema"], schema, "the schema is the caller's");
    assert_eq!(sent["tool_choice"], json!({ "type": "tool", "name": "structured_output" }));
}

#[tokio::test]
async fn every_route_to_claude_gives_the_answer_its_form() {
    for route in ["invoke", "messages", "mantle"] {
        let routes = format!(r#"--bedrock-routes={{"*":["{route}"]}}"#);
        let gateway = Gateway::with(Options::with(&[&routes])).await;
        for model in [CLAUDE, OPUS] {
            let whole = gateway.caller().messages(&asking(model, "Which city?", false)).await;
            let text = whole.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned();
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{route}: {}", whole.text());
            let stream = gateway.caller().messages(&asking(model, "Which city?", true)).await;
            let wanted = (vec![("text".to_owned(), text)], json!("end_turn"));
            assert_eq!(folded(&events(&stream.text())), wanted, "{route}");
        }
    }
}

#[tokio::test]
async fn thinking_gives_way_to_a_format_and_the_caller_is_told() {
    let gateway = Gateway::start().await;
    let mut body = asking(OPUS, "Which city?", false);
    body["thinking"] = json!({ "type": "adaptive" });
    let reply = gateway.caller().header("x-outcrop-debug", "1").messages(&body).await;
    assert_eq!(reply.header("x-outcrop-loss"), Some("thinking=not together with the output format"));
    assert_eq!(reply.json()["content"][0]["type"], "text", "{}", reply.text());
}

#[tokio::test]
async fn a_call_of_the_callers_own_tool_beside_the_answer_stays_a_call() {
    let gateway = Gateway::start().await;
    let words = r#"call structured_output with {"name":"Bern","inhabitants":1} call get_weather with {"city":"Bern"}"#;
    for stream in [false, true] {
        let mut body = asking(OPUS, words, stream);
        body["tools"] = json!([weather()]);
        let reply = gateway.caller().messages(&body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let own = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
        let wanted =
            vec![own("text", r#"{"name":"Bern","inhabitants":1}"#), own("tool_use", r#"{"city":"Bern"}"#)];
        if stream {
            assert_eq!(folded(&events(&reply.text())), (wanted, json!("tool_use")));
            continue;
        }
        let message = reply.json();
        let said = |block: &Value| {
            let text = block["text"].as_str().map(str::to_owned);
            (block["type"].as_str().unwrap().to_owned(), text.unwrap_or_else(|| block["input"].to_string()))
        };
        let blocks: Vec<_> = message["content"].as_array().unwrap().iter().map(said).collect();
        assert_eq!((blocks, &message["stop_reason"]), (wanted, &json!("tool_use")));
    }
}

#[tokio::test]
async fn where_no_call_can_be_forced_the_format_is_an_offer_and_text_passes() {
    let gateway = Gateway::start().await;
    let caller = gateway.caller().header("x-outcrop-debug", "1");
    let reply = caller.messages(&asking(ALWAYS_THINKING, "Reply with exactly: Bern", false)).await;
    assert_eq!(reply.header("x-outcrop-loss"), Some("output_config.format=not taken by this model"));
    let message = reply.json();
    let text = message["content"].as_array().unwrap().last().unwrap();
    assert_eq!((&text["text"], &message["stop_reason"]), (&json!("Bern"), &json!("end_turn")));
}

#[tokio::test]
async fn a_format_that_becomes_a_tool_is_counted() {
    let gateway = Gateway::start().await;
    for (model, how) in [("claude-opus-4-8", "exact"), (OPUS, "estimated")] {
        let mut counts = Vec::new();
        for mut body in [hello(model, "Hi", false), asking(model, "Hi", false)] {
            body.as_object_mut().unwrap().remove("max_tokens");
            let reply = gateway.caller().messages_at("/v1/messages/count_tokens", &body).await;
            assert_eq!(reply.header("x-outcrop-token-count"), Some(how), "{}", reply.text());
            counts.push(reply.json()["input_tokens"].as_u64().unwrap());
        }
        assert!(counts[1] > counts[0] + 20, "{model}: {counts:?}");
    }
}

#[tokio::test]
async fn a_format_that_cannot_become_a_tool_is_named() {
    let gateway = Gateway::start().await;
    let mut body = asking(OPUS, "Hi", false);
    body["output_config"]["format"]["schema"] = json!({ "type": "array", "items": {} });
    let reply = gateway.caller().messages(&body).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error().1, "output_config.format.schema.type: Input should be 'object'");
    assert!(gateway.sim.requests().is_empty());
}
