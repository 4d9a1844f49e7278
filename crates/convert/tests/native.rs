//! The native lane: golden cases, and what must hold of every body.
//!
//! A case is a directory of `fixtures/native`: `in.json` is what the caller sent, `out.json` what leaves. Bodies stand
//! there as texts, because every byte counts. `UPDATE=1 cargo test` writes the expectations anew.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use catalog::{Catalog, Resolution, Scope};
use outcrop_convert::native::{self, Fetched, Options, Relay, Ttl, beta};
use outcrop_convert::usage::Usage;
use outcrop_convert::{Loss, Names};
use serde_json::{Value, json};

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/native").join(kind);
    let mut all: Vec<_> = fs::read_dir(root).expect("fixtures").map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

fn check(case: &Path, got: &Value) {
    let file = case.join("out.json");
    if std::env::var_os("UPDATE").is_some() {
        let text = serde_json::to_string_pretty(got).unwrap() + "\n";
        fs::write(&file, text).unwrap();
    }
    let wanted: Value = serde_json::from_str(&fs::read_to_string(&file).expect("out.json")).unwrap();
    assert_eq!(got, &wanted, "{}", case.display());
}

fn read(case: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(case.join("in.json")).expect("in.json")).expect("JSON")
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn ttl(value: &Value) -> Option<Ttl> {
    match value.as_str() {
        Some("5m") => Some(Ttl::FiveMinutes),
        Some("1h") => Some(Ttl::OneHour),
        _ => None,
    }
}

fn media(value: &Value) -> Vec<Fetched> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |media: &Value| Fetched {
        url: text(&media["url"]),
        media_type: text(&media["media_type"]),
        data: text(&media["data"]),
    };
    value.as_array().into_iter().flatten().map(one).collect()
}

/// Runs one request case; `twice` asserts that the second run gives the same bytes.
fn convert(input: &Value) -> Value {
    let model = input["model"].as_str().expect("model");
    let resolved = Catalog::builtin().resolve(model, Scope::Global, "us-east-1", true).expect("resolves");
    let headers = strings(&input["beta_headers"]);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let options = &input["options"];
    let (mapping, blocklist) = (beta::default_mapping(), strings(&options["blocklist"]));
    let allowlist = strings(&options["allowlist"]);
    let drop_fields = strings(&options["drop_fields"]);
    let fetched = media(&options["fetched"]);
    let options = Options {
        beta_headers: &headers,
        betas: beta::Policy {
            mapping: &mapping,
            blocklist: &blocklist,
            allowlist: &allowlist,
            pass_unknown: options["pass_unknown"] == true,
            certain_only: options["certain_only"] == true,
        },
        wants_1m: resolved.wants_1m,
        forced_ttl: ttl(&options["forced_ttl"]),
        default_ttl: ttl(&options["default_ttl"]),
        caching_off: options["caching_off"] == true,
        no_thinking: options["no_thinking"] == true,
        counting: options["counting"] == true,
        drop_fields: &drop_fields,
        fetched: &fetched,
    };
    let body = input["request_text"].as_str().expect("request_text");
    let doc = match native::parse(body) {
        Ok(doc) => doc,
        Err(fault) => {
            return json!({"fault": {"path": fault.path, "message": fault.message, "offset": fault.offset}});
        }
    };
    if input["addressed"] == true {
        return addressed(&doc, &resolved, &options);
    }
    match native::request(&doc, resolved.model, &options) {
        Err(refusal) => json!({"refusal": {"path": refusal.path, "message": refusal.message}}),
        Ok(converted) => {
            let again = native::request(&doc, resolved.model, &options).expect("the same again");
            assert_eq!(again.value, converted.value, "the same request gives the same bytes");
            let body = String::from_utf8(converted.value).expect("UTF-8");
            let sent: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            assert_eq!(sent["anthropic_version"], "bedrock-2023-05-31");
            let mut outcome = json!({"body_text": body, "losses": told(&converted.losses)});
            if let Some(ttl) = converted.cache_ttl {
                outcome["cache_ttl"] = json!(if ttl == Ttl::OneHour { "1h" } else { "5m" });
            }
            named(outcome, converted.names)
        }
    }
}

fn told(losses: &[Loss]) -> Vec<String> {
    losses.iter().map(|loss| format!("{} = {}", loss.path, loss.reason)).collect()
}

fn named(mut got: Value, names: Names) -> Value {
    if let Some(name) = names.structured_output {
        got["structured_output"] = name.into();
    }
    got
}

/// The same for the Messages API of Bedrock.
fn addressed(doc: &native::Doc<'_>, resolved: &Resolution, options: &Options<'_>) -> Value {
    match native::addressed(doc, resolved.model, options, &resolved.upstream_id) {
        Err(refusal) => json!({"refusal": {"path": refusal.path, "message": refusal.message}}),
        Ok(converted) => {
            let body = String::from_utf8(converted.value.body).expect("UTF-8");
            let _: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            let betas = converted.value.betas;
            let got = json!({"body_text": body, "betas": betas, "losses": told(&converted.losses)});
            named(got, converted.names)
        }
    }
}

#[test]
fn every_request_leaves_as_its_case_says() {
    for case in cases("request") {
        check(&case, &convert(&read(&case)));
    }
}

/// What the request of an answer was sent with.
fn names(input: &Value) -> Names {
    Names { structured_output: input["structured_output"].as_str().map(str::to_owned), ..Names::default() }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input": usage.input,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write_5m": usage.cache_write_5m,
        "cache_write_1h": usage.cache_write_1h,
        "reasoning": usage.reasoning,
        "reported": usage.reported,
    })
}

fn chunk(event: &str) -> Vec<u8> {
    let bytes = base64_simd::STANDARD.encode_to_string(event);
    format!("{{\"bytes\":\"{bytes}\",\"p\":\"abcdefghijk\"}}").into_bytes()
}

#[test]
fn every_stream_is_relayed_as_its_case_says() {
    for case in cases("stream") {
        let input = read(&case);
        let model = input["model"].as_str().unwrap();
        let mut relay = Relay::new(model).with_hour_writes(input["hour"] == true).with_names(names(&input));
        let (mut out, mut fault) = (Vec::new(), None);
        for event in strings(&input["events"]) {
            assert!(!relay.finished(), "nothing comes behind the end");
            if let Err(error) = relay.on_chunk(&chunk(&event), &mut out) {
                fault = Some(error.message);
                break;
            }
        }
        let sse = String::from_utf8(out).unwrap();
        let lines: Vec<_> = sse.split('\n').collect();
        let got = json!({
            "sse": lines,
            "usage": usage(&relay.usage()),
            "finished": relay.finished(),
            "fault": fault,
        });
        check(&case, &got);
    }
}

#[test]
fn every_whole_answer_is_relayed_as_its_case_says() {
    for case in cases("message") {
        let input = read(&case);
        let body = input["body_text"].as_str().unwrap();
        let (model, hour) = (input["model"].as_str().unwrap(), input["hour"] == true);
        let message = native::message(body.as_bytes(), model, hour, &names(&input));
        let got = match message {
            Ok(message) => {
                json!({"body_text": String::from_utf8(message.body).unwrap(), "usage": usage(&message.usage)})
            }
            Err(fault) => json!({"fault": fault.message}),
        };
        check(&case, &got);
    }
}

fn row(name: &str) -> &'static catalog::Model {
    Catalog::builtin().find(name).expect(name)
}

const MODELS: &[&str] = &[
    "claude-3-haiku-20240307",
    "claude-3-7-sonnet",
    "claude-opus-4-1",
    "claude-haiku-4-5",
    "claude-opus-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-opus-5-5",
];

#[test]
fn a_body_ten_thousand_levels_deep_is_answered() {
    for open in ["[", "{\"a\":", "[{\"a\":[", "{\"a\":[{\"b\":"] {
        let fault = native::parse(&open.repeat(10_000)).expect_err("too deep");
        assert_eq!(fault.message, "Invalid JSON: nested deeper than 128 levels");
    }
    let deepest = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert!(native::parse(&deepest).is_ok());
}

#[test]
fn many_edits_of_one_list_are_done_and_their_losses_bounded() {
    let system = r#"{"role":"system","content":[{"type":"x"},{"type":"text","text":"s"}]},"#.repeat(50_000);
    let tool = |at| format!(r#"{{"name":"t{at}","strict":true}}"#);
    let tools = (0..20_000).map(tool).collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{{"max_tokens":9,"messages":[{{"role":"user","content":"a"}},{system}{{"role":"user","content":"b"}}],"tools":[{tools}]}}"#
    );
    let doc = native::parse(&body).expect("valid");
    let model = catalog::Model { strict_tools: false, ..row("claude-sonnet-4-6").clone() };
    let converted = native::request(&doc, &model, &Options::default()).expect("converted");
    assert!(converted.losses.len() <= 64);
    let sent: Value = serde_json::from_slice(&converted.value).expect("JSON");
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(sent["messages"][0]["content"].as_array().map(Vec::len), Some(50_001));
    assert_eq!(sent["tools"][19_999], json!({"name": "t19999"}));
}

#[test]
fn the_brief_of_a_request_counts_what_the_policy_needs() {
    let body = json!({
        "model": "claude-\u{e9}", "stream": true, "max_tokens": 100.0, "service_tier": "auto",
        "thinking": {"type": "adaptive"}, "output_config": {"format": {"type": "json_schema"}},
        "tools": [{"name": "t", "cache_control": {"type": "ephemeral"}}],
        "system": [{"type": "text", "text": "s".repeat(3000), "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A".repeat(90_000)}},
            {"type": "tool_result", "tool_use_id": "x", "content": [
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            ]},
        ]}],
    });
    let text = body.to_string();
    let doc = native::parse(&text).expect("valid");
    let ask = native::peek(&doc).expect("has a model");
    assert_eq!((&*ask.model, ask.stream, ask.max_tokens), ("claude-\u{e9}", true, Some(100)));
    assert_eq!((ask.messages, ask.tools, ask.images, ask.documents), (1, 1, 3, 1));
    assert_eq!((ask.cache_markers, ask.cache_1h), (2, true));
    assert_eq!(ask.urls, ["https://example.com/a"]);
    assert!(ask.thinking && ask.structured_output);
    assert_eq!(ask.service_tier.as_deref(), Some("auto"));
    // 3000 characters of prose and three images, and not 90 000 bytes of base64.
    assert!((5800..7000).contains(&ask.input_estimate), "{}", ask.input_estimate);
}

#[test]
fn the_brief_of_a_request_without_a_model_is_refused() {
    for (body, path) in [("{}", "model"), (r#"{"model":5}"#, "model"), ("[]", ""), ("null", "")] {
        let doc = native::parse(body).expect("valid");
        assert_eq!(native::peek(&doc).expect_err(body).path, path);
    }
}

#[test]
fn paths_lead_to_values() {
    let doc = native::parse(r#"{"a":[{"b":1},{"c\n":{"d":[[],2]}}]}"#).expect("valid");
    let c = doc.root().get("a").unwrap().items().nth(1).unwrap().get("c\n").unwrap();
    assert_eq!(c.get("d").unwrap().items().nth(1).unwrap().path(), "a.1.c\n.d.1");
    assert_eq!(doc.root().path(), "");
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    fn synthetic() -> Names {
        Names { structured_output: Some("structured_output".to_owned()), ..Names::default() }
    }

    /// White space between tokens.
    fn space() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[ \t\n\r]{0,3}").unwrap()
    }

    fn string() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            proptest::string::string_regex("[ -!#-\\[\\]-~é日😀]{0,40}").unwrap(),
            Just("\\n".to_owned()),
            Just("\\u00e9\\ud83d\\ude00".to_owned()),
            Just("\\\"\\\\\\/".to_owned()),
        ];
        prop::collection::vec(parts, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat()))
    }

    fn number() -> impl Strategy<Value = String> {
        proptest::string::string_regex("-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?").unwrap()
    }

    /// A JSON text, spelled in any of the ways that the grammar allows.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            string(),
            number(),
            Just("true".to_owned()),
            Just("false".to_owned()),
            Just("null".to_owned())
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let item = (space(), inner.clone(), space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
            let member = (space(), string(), space(), space(), inner, space())
                .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
            prop_oneof![
                (space(), prop::collection::vec(item, 0..5)).prop_map(|(space, items)| {
                    if items.is_empty() { format!("[{space}]") } else { format!("[{}]", items.join(",")) }
                }),
                (space(), prop::collection::vec(member, 0..5)).prop_map(|(space, members)| {
                    if members.is_empty() {
                        format!("{{{space}}}")
                    } else {
                        format!("{{{}}}", members.join(","))
                    }
                }),
            ]
        })
    }

    /// The scanner says what `serde_json` says, but for what is meant to differ.
    fn agree(text: &str) -> Result<(), TestCaseError> {
        let theirs = serde_json::from_str::<Value>(text);
        let ours = native::parse(text);
        match (&ours, &theirs) {
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().contains("number out of range"), "{text:?}: {error}");
            }
            (Err(fault), Ok(_)) => prop_assert_eq!(&fault.message, "Duplicate key", "{:?}", text),
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_scanner_takes_what_serde_takes(text in json_text(), before in space(), behind in space()) {
            let text = format!("{before}{text}{behind}");
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            agree(&text)?;
        }

        #[test]
        fn the_scanner_refuses_what_serde_refuses(
            text in json_text(), at in any::<prop::sample::Index>(), cut in 0usize..3,
            put in proptest::string::string_regex("[\\[\\]{}:,\"\\\\u0-9eE+.tfn\t\u{1} -]{0,2}").unwrap(),
        ) {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            let head: String = chars[..at].iter().collect();
            let tail: String = chars[(at + cut).min(chars.len())..].iter().collect();
            agree(&format!("{head}{put}{tail}"))?;
        }

        #[test]
        fn no_text_makes_the_lane_panic(text in ".{0,200}", model in 0..MODELS.len()) {
            for body in [text.clone(), format!("{{\"max_tokens\":1,\"messages\":{text}}}")] {
                if let Ok(doc) = native::parse(&body) {
                    let _ = native::peek(&doc);
                    let _ = native::request(&doc, row(MODELS[model]), &Options::default());
                }
            }
            let mut relay = Relay::new(&text).with_names(synthetic());
            let _ = relay.on_chunk(text.as_bytes(), &mut Vec::new());
            let _ = relay.on_event(text.as_bytes(), &mut Vec::new());
            let _ = native::message(text.as_bytes(), "m", false, &synthetic());
        }

        #[test]
        fn any_values_in_known_places_leave_as_json(
            values in prop::collection::vec(json_text(), 16), model in 0..MODELS.len(), hour in any::<bool>(),
            format in any::<bool>(),
        ) {
            let names = [
                "thinking", "output_config", "system", "tools", "tool_choice", "context_management", "safeguards",
                "container", "output_format", "anthropic_beta", "betas", "temperature", "service_tier", "mcp_servers",
            ];
            let mut body = String::from("{\"max_tokens\":5000,\"messages\":[{\"role\":\"user\",\"content\":");
            body += &values[0];
            body += "},{\"role\":\"system\",\"content\":";
            body += &values[1];
            body += "},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]";
            for (name, value) in names.iter().zip(&values[2..]) {
                body.extend([",\"", name, "\":"]);
                if format && *name == "output_config" {
                    body.extend(["{\"format\":{\"type\":\"json_schema\",\"schema\":{\"a\":", value, "}}}"]);
                } else {
                    body += value;
                }
            }
            body.push('}');
            let doc = native::parse(&body).expect("valid");
            let forced_ttl = hour.then_some(Ttl::OneHour);
            let drop_fields = ["tools.0.custom.a".to_owned(), "thinking.adaptive.b".to_owned()];
            let options = Options { forced_ttl, drop_fields: &drop_fields, ..Options::default() };
            if let Ok(converted) = native::request(&doc, row(MODELS[model]), &options) {
                let sent: Value = serde_json::from_slice(&converted.value)
                    .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&converted.value)));
                prop_assert_eq!(&sent["anthropic_version"], "bedrock-2023-05-31");
                let again = native::request(&doc, row(MODELS[model]), &options).expect("again");
                prop_assert_eq!(again.value, converted.value);
            }
        }

        #[test]
        fn what_is_not_edited_is_byte_identical(
            members in prop::collection::vec((space(), space(), json_text(), space()), 1..6),
            places in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            end in space(), model in 0..MODELS.len(),
        ) {
            let mut kept: Vec<String> = members
                .iter()
                .enumerate()
                .map(|(at, (a, b, value, c))| format!("\"field {at}\"{a}:{b}{value}{c}"))
                .collect();
            kept.push("\"max_tokens\" : 16\t".to_owned());
            kept.push("\"messages\": [ {\"role\":\"user\" , \"content\" :\"\\u0041\"} ]".to_owned());
            let mut sent = kept.clone();
            // Never last: a last member takes the white space before its comma with it.
            sent.insert(places.0.index(kept.len()), "\"model\":\"claude\"".to_owned());
            sent.insert(places.1.index(kept.len()), "\"stream\":true".to_owned());
            let body = format!("{{{}{end}}}{end}", sent.join(","));
            let doc = native::parse(&body).expect("valid");
            let converted = native::request(&doc, row(MODELS[model]), &Options::default()).expect("converted");
            let wanted =
                format!("{{{}{end},\"anthropic_version\":\"bedrock-2023-05-31\"}}{end}", kept.join(","));
            prop_assert_eq!(String::from_utf8(converted.value).unwrap(), wanted);
        }

        #[test]
        fn events_are_relayed_byte_for_byte(
            value in json_text(), name in prop_oneof!["[a-z_]{1,20}", "content_block_(start|delta|stop|x)"],
        ) {
            prop_assume!(!name.starts_with("message_"));
            let event = format!("{{\"type\":\"{name}\",\"x\":{value}}}");
            let spaces = event.replace(['\n', '\r'], " ");
            for names in [Names::default(), synthetic()] {
                let mut out = Vec::new();
                Relay::new("m").with_names(names).on_chunk(&chunk(&event), &mut out).expect("relayed");
                prop_assert_eq!(String::from_utf8(out).unwrap(), format!("event: {name}\ndata: {spaces}\n\n"));
            }
        }
    }
}

#[test]
fn fetched_media_is_embedded_and_everything_else_stays_byte_for_byte() {
    let body = |source: &str| {
        format!(
            r#"{{ "model":"m" ,"messages":[{{"role":"user","content":[{{"type":"image","source":{source}, "x":1e2}},
            {{"type":"tool_use","input":{{"type":"image","source":{{"type":"url","url":"u"}}}}}}]}}]}}"#
        )
    };
    let media = |media_type: &str| {
        vec![Fetched { url: "u".to_owned(), media_type: media_type.to_owned(), data: "QQ==".to_owned() }]
    };
    let text = body(r#"{"url":"\u0075","type":"url"}"#);
    let doc = native::parse(&text).unwrap();
    let embedded = native::embedded(&doc, &media("image/png")).unwrap();
    let wanted = body(r#"{"type":"base64","media_type":"image/png","data":"QQ=="}"#);
    assert_eq!(String::from_utf8(embedded).unwrap(), wanted);
    let refusal = native::embedded(&doc, &media("application/pdf")).unwrap_err();
    assert_eq!(refusal.path, "messages.0.content.0.source");
    assert_eq!(native::embedded(&doc, &[]).unwrap(), text.as_bytes(), "what was not fetched stays");
}

#[test]
fn a_conversation_that_grows_keeps_its_prefix() {
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "t", "input": {"b": 1.0, "a": 2}});
    let result = |id: &str| {
        let content = json!([{"type": "text", "text": id}, {"type": "tool_reference", "tool_name": "t"}]);
        json!({"type": "tool_result", "tool_use_id": id, "content": content})
    };
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "Hm.", "signature": signature});
    let turns = [
        json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " "}]}]),
        json!([{"role": "assistant", "content": [thought("c2ln"), call("x")]}, {"role": "user", "content": [result("x")]}]),
        json!([{"role": "assistant", "content": [thought(""), {"type": "text", "text": "b"}]},
               {"role": "user", "content": "c"}, {"role": "system", "content": "mind"}]),
        json!([{"role": "assistant", "content": [call("y")]}, {"role": "user", "content": [result("y")]}]),
        json!([{"role": "assistant", "content": ""}, {"role": "user", "content": "\n"}]),
    ];
    for model in MODELS {
        let (mut messages, mut before) = (Vec::new(), String::new());
        for turn in &turns {
            messages.extend(turn.as_array().unwrap().iter().map(Value::to_string));
            let body = format!(
                r#"{{"model":"m","tools":[{{"name":"t","input_schema":{{"type":"object"}}}}],"system":"s","messages":[{}],"max_tokens":9}}"#,
                messages.join(",")
            );
            let doc = native::parse(&body).unwrap();
            let sent = native::request(&doc, row(model), &Options::default()).unwrap().value;
            let sent = String::from_utf8(sent).unwrap();
            let (prompt, _) = sent.split_once("],\"max_tokens\"").unwrap();
            assert!(prompt.starts_with(&before), "{model}:\n{before}\n{prompt}");
            before = prompt.to_owned();
        }
    }
}
