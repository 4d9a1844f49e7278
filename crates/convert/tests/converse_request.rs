//! Golden cases of the Messages → Converse direction, and the laws that hold over any request.
//!
//! A case is a directory `fixtures/converse/request/<what it shows>/` with `in.json` (`model`, `request`, perhaps
//! `options`) and `out.json` (`body`, `losses`, `names`; or `refusal`). `UPDATE=1 cargo test` writes `out.json`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use catalog::{Catalog, Model};
use outcrop_convert::Converted;
use outcrop_convert::converse::request::{self as to_converse, Options, Ttl};
use proptest::prelude::*;
use protocol::anthropic::request::{Fault, Request, parse_for_count};
use protocol::converse::request::ServiceTier;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::pretty;

#[derive(Deserialize)]
struct Case<'a> {
    model: String,
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(default)]
    options: CaseOptions,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseOptions {
    prompt_caching: Option<bool>,
    cache_ttl: Option<String>,
    default_cache_ttl: Option<String>,
    service_tier: Option<String>,
    #[serde(default)]
    request_metadata: Vec<(String, String)>,
}

impl CaseOptions {
    fn options(self) -> Options {
        let ttl = |name: String| if name == "1h" { Ttl::OneHour } else { Ttl::FiveMinutes };
        Options {
            prompt_caching: self.prompt_caching.unwrap_or(true),
            cache_ttl: self.cache_ttl.map(ttl),
            default_cache_ttl: self.default_cache_ttl.map(ttl),
            service_tier: self.service_tier.map(|name| match name.as_str() {
                "flex" => ServiceTier::Flex,
                "priority" => ServiceTier::Priority,
                other => panic!("unknown tier {other}"),
            }),
            request_metadata: self.request_metadata,
            ..Options::default()
        }
    }
}

fn row(model: &str) -> &'static Model {
    Catalog::builtin().find(model).unwrap_or_else(|| panic!("no row for {model}"))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/converse/request")
}

fn cases() -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// The body as it would be sent, or what was said instead.
fn outcome(text: &str) -> String {
    let case: Case<'_> = serde_json::from_str(text).unwrap();
    let options = case.options.options();
    match parse_for_count(case.request.get()) {
        Err(Fault { path, message }) => json!({"fault": {"path": path, "message": message}}).to_string(),
        Ok(request) => match to_converse::request(&request, row(&case.model), &options) {
            Err(refusal) => {
                json!({"refusal": {"path": refusal.path, "message": refusal.message}}).to_string()
            }
            Ok(converted) => described(&converted),
        },
    }
}

fn described(converted: &Converted<protocol::converse::request::Request<'_>>) -> String {
    let body = serde_json::to_string(&converted.value).unwrap();
    let losses: Vec<_> =
        converted.losses.iter().map(|loss| format!("{}: {}", loss.path, loss.reason)).collect();
    let mut names = serde_json::Map::new();
    for (upstream, caller) in &converted.names.tools {
        names.insert(upstream.clone(), json!(caller));
    }
    if let Some(name) = &converted.names.structured_output {
        names.insert("(structured output)".to_owned(), json!(name));
    }
    let ttl = match converted.cache_ttl {
        Some(Ttl::OneHour) => r#","cache_ttl":"1h""#,
        Some(Ttl::FiveMinutes) => r#","cache_ttl":"5m""#,
        None => "",
    };
    format!(r#"{{"body":{body},"losses":{},"names":{}{ttl}}}"#, json!(losses), Value::Object(names))
}

#[test]
fn every_case_gives_what_its_directory_says() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(case.join("in.json")).unwrap();
        let found = pretty(&outcome(&text));
        let expected = fs::read_to_string(case.join("out.json")).unwrap_or_default();
        if update {
            fs::write(case.join("out.json"), &found).unwrap();
        } else if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}+++ found\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} case(s) differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn converting_the_same_request_twice_gives_the_same_bytes() {
    for case in cases() {
        let text = fs::read_to_string(case.join("in.json")).unwrap();
        assert_eq!(outcome(&text), outcome(&text), "{}", case.display());
    }
}

/// What the protocol says, and what it does not take.
const WORDS: &[&str] = &[
    "type",
    "text",
    "role",
    "content",
    "user",
    "assistant",
    "system",
    "tool_use",
    "tool_result",
    "image",
    "document",
    "source",
    "base64",
    "data",
    "media_type",
    "id",
    "name",
    "input",
    "tool_use_id",
    "thinking",
    "signature",
    "cache_control",
    "ephemeral",
    "ttl",
    "1h",
    "tools",
    "input_schema",
    "tool_choice",
    "any",
    "messages",
    "",
    " ",
    "a.b/c",
    "\u{e9}\u{301}",
    "search_result",
    "title",
    "tool_reference",
    "tool_name",
    "output_config",
    "format",
    "json_schema",
    "schema",
    "effort",
    "high",
    "required",
];

/// Values of any shape, with the words of the protocol among their keys and strings.
fn any_json() -> impl Strategy<Value = Value> {
    let words = proptest::sample::select(WORDS);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2.0..2.0_f64).prop_map(Value::from),
        words.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// Blocks that mostly fit their schemas.
fn any_block() -> impl Strategy<Value = Value> {
    let text = "[ -~\u{e9}\n]{0,12}";
    prop_oneof![
        text.prop_map(|text| json!({"type": "text", "text": text})),
        (text, any_json()).prop_map(|(id, input)| json!({"type": "tool_use", "id": id, "name": "t", "input": {"k": input}})),
        (text, text).prop_map(|(id, text)| json!({"type": "tool_result", "tool_use_id": id, "content": text})),
        (text, text).prop_map(|(text, signature)| json!({"type": "thinking", "thinking": text, "signature": signature})),
        text.prop_map(|data| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})),
        (text, text).prop_map(|(data, title)| json!({"type": "document", "title": title, "source": {"type": "text", "media_type": "text/plain", "data": data}})),
        any_json(),
    ]
}

fn any_request() -> impl Strategy<Value = Value> {
    let role = proptest::sample::select(vec!["user", "assistant", "system"]);
    let message = (role, prop::collection::vec(any_block(), 0..4));
    (prop::collection::vec(message, 0..6), any_json(), any_json(), any_json(), any_json()).prop_map(
        |(messages, tools, system, thinking, extra)| {
            let messages: Vec<_> = messages
                .into_iter()
                .map(|(role, content)| json!({"role": role, "content": content}))
                .collect();
            let mut body = json!({"model": "m", "max_tokens": 9, "messages": messages, "extra": extra});
            for (key, value) in [("tools", tools), ("system", system), ("thinking", thinking)] {
                // Half of them would fail to parse and end the case there.
                if value.is_array() || (key == "thinking" && value.is_object()) {
                    body[key] = value;
                }
            }
            body
        },
    )
}

const MODELS: &[&str] = &[
    "qwen.qwen3-coder-480b-a35b-v1:0",
    "amazon.nova-2-lite-v1:0",
    "mistral.mistral-large-3-675b-instruct",
    "openai.gpt-oss-120b-1:0",
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "meta.llama3-1-8b-instruct-v1:0",
];

fn convert(text: &str, model: &str) -> Option<String> {
    let request: Request<'_> = parse_for_count(text).ok()?;
    let options = Options::default();
    let converted = to_converse::request(&request, row(model), &options).ok()?;
    Some(serde_json::to_string(&converted.value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_converted_or_refused_without_a_panic(value in any_json()) {
        for model in MODELS {
            convert(&value.to_string(), model);
        }
    }

    #[test]
    fn any_request_gives_the_same_valid_json_twice(value in any_request()) {
        let text = value.to_string();
        for model in MODELS {
            let once = convert(&text, model);
            prop_assert_eq!(&once, &convert(&text, model));
            if let Some(body) = once {
                prop_assert!(serde_json::from_str::<Value>(&body).is_ok());
            }
        }
    }

    #[test]
    fn no_byte_of_text_is_lost(texts in prop::collection::vec("[!-~\u{e9}\u{1f30a}\n\"\\\\]{1,40}x", 1..6)) {
        let content: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let text = json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string();
        for model in MODELS {
            let body: Value = serde_json::from_str(&convert(&text, model).unwrap()).unwrap();
            let blocks = body["messages"][0]["content"].as_array().unwrap();
            let found: Vec<_> = blocks.iter().map(|block| block["text"].as_str().unwrap()).collect();
            prop_assert_eq!(&found, &texts);
        }
    }

    #[test]
    fn tool_input_arrives_byte_for_byte(input in any_json(), spaces in " {0,3}") {
        let input = format!("{{{spaces}\"z\":{spaces}{input}, \"a\" : 1.50 }}");
        let text = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"go"}},
            {{"role":"assistant","content":[{{"type":"tool_use","id":"t1","name":"run","input":{input}}}]}},
            {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t1","content":"done"}}]}}]}}"#
        );
        for model in ["qwen.qwen3-coder-480b-a35b-v1:0", "amazon.nova-2-lite-v1:0"] {
            let body = convert(&text, model).unwrap();
            prop_assert!(body.contains(&format!("\"input\":{input}")), "{}", body);
        }
    }
}

#[test]
fn the_system_prompt_opens_the_first_user_turn_where_the_model_takes_none() {
    let rules = Model { system: false, ..row("mistral.mistral-large-3-675b-instruct").clone() };
    let text = r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"hi"}]}"#;
    let options = Options::default();
    let request = parse_for_count(text).unwrap();
    let converted = to_converse::request(&request, &rules, &options).unwrap();
    assert_eq!(
        serde_json::to_string(&converted.value).unwrap(),
        r#"{"messages":[{"role":"user","content":[{"text":"Be brief."},{"text":"hi"}]}]}"#
    );
}

#[test]
fn more_losses_than_anybody_reads_are_not_listed() {
    let content = vec![json!({"type": "text", "text": "hi", "mood": "good"}); 1000];
    let text = json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string();
    let request = parse_for_count(&text).unwrap();
    let rules = row("qwen.qwen3-coder-480b-a35b-v1:0");
    let options = Options::default();
    let converted = to_converse::request(&request, rules, &options).unwrap();
    assert_eq!(converted.losses.len(), 64);
}

/// A conversation in the middle of which everything happens that conversion has to name, merge, move or leave out.
fn turns(documents: bool) -> Vec<Value> {
    let pdf = json!({"type": "document", "title": "John's report.pdf", "source":
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQKJeLj"}});
    let media = |text: &str| {
        let mut blocks = vec![json!({"type": "text", "text": text})];
        blocks.extend(documents.then(|| pdf.clone()));
        blocks
    };
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "mcp.server/tool", "input": {"b": 1.0, "a": 2}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": id}]});
    let thought = json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"});
    vec![
        json!([{"role": "user", "content": media("a")}]),
        json!([{"role": "assistant", "content": [thought, call("call_1|fc_1")]},
               {"role": "user", "content": [{"type": "text", "text": "so"}, result("call_1|fc_1")]}]),
        json!([{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "system", "content": "mind"}]),
        json!([{"role": "assistant", "content": [{"type": "text", "text": " "}, call("y")]},
               {"role": "user", "content": [result("y")]}, {"role": "user", "content": media("d")}]),
        json!([{"role": "assistant", "content": [thought, {"type": "text", "text": "e"}]}, {"role": "user", "content": "f"}]),
    ]
}

#[test]
fn a_conversation_that_grows_keeps_its_prefix() {
    let models = [
        "qwen.qwen3-coder-480b-a35b-v1:0",
        "amazon.nova-pro-v1:0",
        "openai.gpt-oss-120b-1:0",
        "mistral.pixtral-large-2502-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ];
    for model in models {
        let mut messages = Vec::new();
        let mut before = String::new();
        for turn in turns(row(model).documents) {
            messages.extend(turn.as_array().unwrap().clone());
            let request = json!({"model": "m", "max_tokens": 100, "messages": messages, "system": "s",
                "tools": [{"name": "mcp.server/tool", "description": "d", "input_schema": {"type": "object"}}]});
            let text = request.to_string();
            let request = parse_for_count(&text).unwrap();
            let options = Options::default();
            let converted = to_converse::request(&request, row(model), &options).unwrap();
            let body = serde_json::to_string(&converted.value).unwrap();
            // Tools, system, messages: what a prompt cache reads, in the order in which it reads it.
            let (prompt, _) = body.split_once("],\"inferenceConfig\"").unwrap();
            assert!(prompt.starts_with(&before), "{model}:\n{before}\n{prompt}");
            assert!(prompt.starts_with("{\"toolConfig\":") && prompt.contains(",\"system\":"), "{prompt}");
            before = prompt.to_owned();
        }
    }
}
