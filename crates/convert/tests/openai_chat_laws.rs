//! Laws of chat completions: what is streamed is what is told whole, wherever it is cut; a stream is well-formed after any
//! prefix; a tool loop goes round without losing a block; any body is converted or refused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

#[path = "support/gather.rs"]
mod gather;

use std::fs;
use std::path::Path;

use catalog::{Catalog, Lane};
use gather::{data, gathered};
use outcrop_convert::converse::request as to_converse;
use outcrop_convert::native;
use outcrop_convert::openai::chat::{self, Form, Options, Reply, Stream, response::completion};
use outcrop_convert::unfold::unfold;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::anthropic::response::Message;
use protocol::anthropic::{Delta, Event};
use serde_json::{Value, json};

fn reply(form: Form) -> Reply {
    Reply { id: "chatcmpl-1".into(), model: "m".into(), created: 1, form }
}

fn form() -> Form {
    Form { custom: vec!["patch".into()], functions: false, include_usage: true }
}

fn message(content: &[Value], stop: &str) -> Message {
    let usage = json!({"input_tokens": 9, "output_tokens": 5, "cache_read_input_tokens": 3, "service_tier": "priority"});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": usage});
    serde_json::from_str(&message.to_string()).unwrap()
}

/// The events of a message, their texts cut into pieces of so many characters.
fn events(message: Message, length: usize) -> Vec<Event<'static>> {
    let pieces = |text: &str| -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        characters.chunks(length).map(|piece| piece.iter().collect()).collect()
    };
    let mut out = Vec::new();
    unfold(message, &mut |event| {
        let event = event.into_owned();
        let Event::ContentBlockDelta { index, delta } = &event else { return out.push(event) };
        let cut: Vec<Delta<'static>> = match delta {
            Delta::TextDelta { text } => {
                pieces(text).into_iter().map(|text| Delta::TextDelta { text: text.into() }).collect()
            }
            Delta::ThinkingDelta { thinking } => {
                let piece = |thinking: String| Delta::ThinkingDelta { thinking: thinking.into() };
                pieces(thinking).into_iter().map(piece).collect()
            }
            Delta::InputJsonDelta { partial_json } => {
                let piece =
                    |partial_json: String| Delta::InputJsonDelta { partial_json: partial_json.into() };
                pieces(partial_json).into_iter().map(piece).collect()
            }
            Delta::SignatureDelta { .. } | Delta::CitationsDelta { .. } | Delta::Unknown(_) => {
                vec![delta.clone()]
            }
        };
        out.extend(cut.into_iter().map(|delta| Event::ContentBlockDelta { index: *index, delta }));
    });
    out
}

fn streamed(form: Form, events: &[Event<'_>]) -> (Stream, Vec<u8>) {
    let mut stream = Stream::new(reply(form));
    let mut out = Vec::new();
    for event in events {
        stream.on_event(event, &mut out);
    }
    (stream, out)
}

fn whole(message: &Message, form: Form) -> Value {
    let reply = reply(form);
    let whole = serde_json::to_value(completion(message, &reply)).unwrap();
    json!({"message": whole["choices"][0]["message"], "finish_reason": whole["choices"][0]["finish_reason"],
        "usage": whole["usage"], "service_tier": whole["service_tier"]})
}

fn thought() -> impl Strategy<Value = Value> {
    let words = "[ -~é😀\n\"\\\\]{0,30}";
    prop_oneof![
        (words, "[a-z]{1,9}").prop_map(
            |(text, signature)| json!({"type": "thinking", "thinking": text, "signature": signature})
        ),
        "[a-z]{1,9}".prop_map(|data| json!({"type": "redacted_thinking", "data": data})),
    ]
}

fn text() -> impl Strategy<Value = Value> {
    "[ -~é😀\n\"\\\\]{1,30}".prop_map(|text| json!({"type": "text", "text": text}))
}

fn call() -> impl Strategy<Value = Value> {
    let words = "[ -~é😀\n\"\\\\]{0,20}";
    let input = prop_oneof![
        words.prop_map(|text| json!({"input": text})),
        (words, words).prop_map(|(key, value)| json!({key: value, "z": 1})),
        Just(json!({})),
    ];
    let name = prop_oneof![Just("get"), Just("patch")];
    (name, input)
        .prop_map(|(name, input)| json!({"type": "tool_use", "id": "", "name": name, "input": input}))
}

/// Blocks with the ids of their calls filled in.
fn named(mut blocks: Vec<Value>) -> Vec<Value> {
    for (index, block) in blocks.iter_mut().enumerate() {
        if block["type"] == "tool_use" {
            block["id"] = json!(format!("toolu_{index}"));
        }
    }
    blocks
}

fn blocks() -> impl Strategy<Value = Vec<Value>> {
    let unsigned =
        "[ -~]{0,9}".prop_map(|text| json!({"type": "thinking", "thinking": text, "signature": ""}));
    vec(prop_oneof![thought(), text(), call(), unsigned], 0..7).prop_map(named)
}

/// An answer as Claude gives it in a tool loop: thoughts, a text, then calls with thoughts between them.
fn loop_answer() -> impl Strategy<Value = Vec<Value>> {
    (vec(thought(), 0..3), text(), vec(prop_oneof![thought(), call()], 0..5))
        .prop_map(|(before, text, after)| named(before.into_iter().chain([text]).chain(after).collect()))
}

const STOPS: &[&str] = &["end_turn", "max_tokens", "tool_use", "refusal", "stop_sequence", "later"];

/// The history that follows from an answer which a client echoes, and the results of its calls.
fn second_turn(answer: &Value, custom: bool) -> String {
    let mut messages = vec![json!({"role": "user", "content": "go"}), answer.clone()];
    for call in answer["tool_calls"].as_array().into_iter().flatten() {
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "done"}));
    }
    let mut tools = vec![json!({"type": "function", "function": {"name": "get"}})];
    if custom {
        tools.push(json!({"type": "custom", "custom": {"name": "patch"}}));
    }
    json!({"model": "m", "messages": messages, "tools": tools}).to_string()
}

proptest! {
    #[test]
    fn chunks_gather_to_the_whole_answer_wherever_they_are_cut(
        content in blocks(), stop in proptest::sample::select(STOPS), length in 1..9_usize, legacy in any::<bool>(),
    ) {
        let message = message(&content, stop);
        let form = if legacy { Form { functions: true, include_usage: true, custom: Vec::new() } } else { form() };
        let expected = whole(&message, form.clone());
        let (stream, out) = streamed(form.clone(), &events(message.clone(), length));
        prop_assert!(stream.finished());
        let chunks = data(&out);
        prop_assert_eq!(chunks.last().map(String::as_str), Some("[DONE]"));
        if legacy {
            // A function's name and arguments are two texts in one object: gathered below as a client does.
            let texts: String = chunks[..chunks.len() - 1].iter().filter_map(|chunk| {
                let chunk: Value = serde_json::from_str(chunk).unwrap();
                Some(chunk["choices"].get(0)?["delta"]["function_call"]["arguments"].as_str()?.to_owned())
            }).collect();
            let told = expected["message"]["function_call"]["arguments"].as_str().unwrap_or_default();
            prop_assert_eq!(texts, told);
        } else {
            let mut expected = expected;
            let mut found = gathered(&chunks);
            for side in [&mut expected, &mut found] {
                side["message"].as_object_mut().unwrap().retain(|key, value| !(value.is_null() && key != "content"));
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_stream_is_well_formed_after_any_prefix_and_nothing_follows_its_end(
        content in blocks(), stop in proptest::sample::select(STOPS), cut in 0..60_usize, fails in any::<bool>(),
    ) {
        let all = events(message(&content, stop), 3);
        let prefix = &all[..cut.min(all.len())];
        let (mut stream, mut out) = streamed(form(), prefix);
        let complete = stream.finished();
        prop_assert_eq!(complete, prefix.len() == all.len());
        if fails {
            stream.on_error(r#"{"error":{"message":"x","type":"server_error","param":null,"code":null}}"#, &mut out);
        } else {
            stream.on_end(&mut out);
        }
        prop_assert!(stream.finished());
        let length = out.len();
        for event in &all {
            stream.on_event(event, &mut out);
        }
        stream.on_end(&mut out);
        prop_assert_eq!(out.len(), length);
        let told = data(&out);
        let (last, before) = told.split_last().unwrap();
        prop_assert_eq!(complete, last == "[DONE]");
        prop_assert_eq!(!complete, last.starts_with("{\"error\":"));
        for (index, chunk) in before.iter().enumerate() {
            let chunk: Value = serde_json::from_str(chunk).unwrap();
            let delta = chunk["choices"].get(0).map(|choice| &choice["delta"]);
            prop_assert_eq!(delta.is_some_and(|delta| delta["role"] == "assistant"), index == 0);
        }
    }

    #[test]
    fn a_tool_loop_keeps_every_block_in_its_place(content in loop_answer(), length in 1..9_usize, streams in any::<bool>()) {
        let message = message(&content, "tool_use");
        // A client echoes what it was told, whole or gathered.
        let answer = if streams {
            gathered(&data(&streamed(form(), &events(message.clone(), length)).1))["message"].clone()
        } else {
            whole(&message, form())["message"].clone()
        };
        let asked = chat::request(&second_turn(&answer, true), &Options::default()).unwrap();
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let mut expected: Vec<Value> = content;
        for block in &mut expected {
            // A custom tool that was called without its form is echoed as the text that the caller got.
            if block["name"] == "patch" && block["input"].get("input").is_none() {
                let text = if block["input"] == json!({}) { String::new() } else { block["input"].to_string() };
                block["input"] = json!({"input": text});
            } else if block["name"] == "patch" {
                block["input"] = json!({"input": block["input"]["input"]});
            }
        }
        expected.retain(|block| !(block["thinking"] == "" && block["signature"] == ""));
        prop_assert_eq!(&body["messages"][1]["content"], &Value::from(expected));
        prop_assert!(asked.losses.is_empty(), "{:?}", asked.losses);
    }

    #[test]
    fn signed_thinking_and_calls_of_any_answer_come_back_in_their_order(content in blocks()) {
        let message = message(&content, "tool_use");
        let form = Form::default();
        let answer = whole(&message, form)["message"].clone();
        prop_assume!(content.iter().any(|block| block["type"] != "thinking" || block["thinking"] != "" || block["signature"] != ""));
        let asked = chat::request(&second_turn(&answer, false), &Options::default()).unwrap();
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let of = |blocks: &[Value], kinds: &[&str]| -> Vec<Value> {
            let wanted = |block: &&Value| kinds.contains(&block["type"].as_str().unwrap());
            let mut found: Vec<Value> = blocks.iter().filter(wanted).cloned().collect();
            found.retain(|block| !(block["thinking"] == "" && block["signature"] == ""));
            for block in &mut found {
                if block["signature"] == "" {
                    block.as_object_mut().unwrap().remove("signature");
                }
            }
            found
        };
        let back = body["messages"][1]["content"].as_array().unwrap();
        for kinds in [&["thinking", "redacted_thinking"][..], &["tool_use"]] {
            prop_assert_eq!(of(back, kinds), of(&content, kinds));
        }
    }

    #[test]
    fn arguments_travel_byte_for_byte_both_ways(members in vec(("[a-z]{1,4}", "[ -~é\n\"\\\\]{0,12}"), 0..4), space in " {0,2}") {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("{space}{}:{space}{}", json!(key), json!(value))).collect();
        let arguments = format!("{{{}{space}}}", members.join(","));
        let text = json!({"model": "m", "messages": [{"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]}]});
        let asked = chat::request(&text.to_string(), &Options::default()).unwrap();
        let body = String::from_utf8(asked.body).unwrap();
        prop_assert!(body.contains(&format!("\"input\":{arguments}")), "{}", body);
    }

    #[test]
    fn any_json_is_converted_or_refused_without_a_panic(value in any_body()) {
        let text = value.to_string();
        let first = chat::request(&text, &Options::default());
        prop_assert_eq!(&first, &chat::request(&text, &Options::default()));
        if let Ok(asked) = first {
            protocol::anthropic::parse(std::str::from_utf8(&asked.body).unwrap()).unwrap();
        }
    }
}

const WORDS: &[&str] = &[
    "type",
    "text",
    "role",
    "content",
    "user",
    "assistant",
    "system",
    "tool",
    "function",
    "image_url",
    "url",
    "file",
    "file_data",
    "tool_calls",
    "tool_call_id",
    "id",
    "name",
    "arguments",
    "{}",
    "custom",
    "input",
    "reasoning_details",
    "reasoning.text",
    "signature",
    "index",
    "cache_control",
    "ephemeral",
    "refusal",
    "",
    " ",
    "data:image/png;base64,AAAA",
];

fn any_json() -> impl Strategy<Value = Value> {
    let words = proptest::sample::select(WORDS);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((words.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// Bodies that mostly fit the schema.
fn any_body() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        "[ -~]{0,9}".prop_map(|text| json!({"type": "text", "text": text})),
        Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}})),
        any_json(),
    ];
    let content = prop_oneof![
        Just(Value::Null),
        "[ -~]{0,9}".prop_map(Value::from),
        vec(part, 0..3).prop_map(Value::from)
    ];
    let role =
        proptest::sample::select(&["system", "developer", "user", "assistant", "tool", "function"][..]);
    let call = ("c[0-2]", "[ -~]{0,9}")
        .prop_map(|(id, arguments)| json!({"id": id, "function": {"name": "f", "arguments": arguments}}));
    let message = (role, content, vec(call, 0..3), "c?[0-2]").prop_map(|(role, content, calls, id)| {
        let mut message = json!({"role": role, "content": content});
        match role {
            "assistant" => message["tool_calls"] = Value::from(calls),
            "tool" => message["tool_call_id"] = json!(id),
            _ => {}
        }
        message
    });
    (vec(message, 0..8), any_json(), any_json()).prop_map(|(messages, choice, tools)| {
        let mut body = json!({"model": "m", "messages": messages});
        if choice.is_object() {
            body["tool_choice"] = choice;
        }
        if tools.is_array() {
            body["tools"] = tools;
        }
        body
    })
}

/// The requests of the golden cases.
fn requests() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/openai/chat/request");
    let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let case: Value =
                serde_json::from_str(&fs::read_to_string(path.join("in.json")).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), case["request"].clone())
        })
        .collect()
}

#[test]
fn what_a_lane_refuses_is_said_in_the_callers_words() {
    let catalog = Catalog::builtin();
    let mut refused = Vec::new();
    for (name, request) in requests() {
        let Ok(asked) = chat::request(&request.to_string(), &Options::default()) else { continue };
        let body = std::str::from_utf8(&asked.body).unwrap();
        for model in [
            "claude-sonnet-4-6",
            "anthropic.claude-opus-5-5",
            "qwen.qwen3-coder-480b-a35b-v1:0",
            "amazon.nova-pro-v1:0",
        ] {
            let Some(rules) = catalog.find(model) else { continue };
            let refusal = match rules.lane {
                Lane::Native => {
                    let doc = native::parse(body).unwrap();
                    native::request(&doc, rules, &native::Options::default()).err()
                }
                Lane::Converse => {
                    let parsed = protocol::anthropic::parse(body).unwrap();
                    to_converse::request(&parsed, rules, &to_converse::Options::default()).err()
                }
            };
            if let Some(refusal) = refusal {
                let path = asked.paths.caller(&refusal.path);
                let steps = path.split('.').try_fold(&request, |value, step| match step.parse::<usize>() {
                    Ok(index) => value.get(index),
                    Err(_) => value.get(step),
                });
                assert!(steps.is_some(), "{name}, {model}: {path} ({refusal}) is not in the request");
                refused.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(
        refused.iter().any(|it| it == "a_result_of_an_unknown_call_is_left_to_the_lane: messages.2"),
        "{refused:?}"
    );
}

#[test]
fn a_conversation_that_grows_keeps_its_prefix() {
    let turns = [
        vec![json!({"role": "system", "content": "s"}), json!({"role": "user", "content": "a"})],
        vec![
            json!({"role": "assistant", "content": null, "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s", "index": 0}],
                "tool_calls": [{"function": {"name": "f", "arguments": "{\"b\":1,\"a\":2}"}}]}),
            json!({"role": "tool", "content": "r"}),
        ],
        vec![
            json!({"role": "assistant", "content": "b"}),
            json!({"role": "developer", "content": "d"}),
            json!({"role": "user", "content": "c"}),
        ],
        vec![
            json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}),
            json!({"role": "tool", "content": "r"}),
        ],
    ];
    let options = Options { automatic_caching: false, ..Options::default() };
    let (mut messages, mut before) = (Vec::new(), String::new());
    for turn in turns {
        messages.extend(turn);
        let text = json!({"model": "m", "messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]});
        let body = String::from_utf8(chat::request(&text.to_string(), &options).unwrap().body).unwrap();
        let prompt = body.strip_suffix("]}").unwrap().to_owned();
        assert!(prompt.starts_with(&before), "{before}\n{prompt}");
        before = prompt;
    }
}
