//! Chat completions against the directories of `fixtures/openai/chat`.
//!
//! * `request/<what it shows>/`: `in.json` (`request`, perhaps `options`) and `out.json` (`body`, `losses`, `form`; or
//!   `refusal`).
//! * `answer/<what it shows>/`: `in.json` (`message`, perhaps `form`), `out.json`, the whole answer, and `out.sse`, the
//!   same answer streamed.
//! * `stream/<what it shows>/`: `in.json` (`events`, perhaps `form`) and `out.sse`.
//!
//! `UPDATE=1 cargo test` writes what comes out; read the diff.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use outcrop_convert::openai::chat::{self, Asked, Form, Options, Reply, Stream};
use outcrop_convert::unfold::unfold;
use outcrop_convert::{Refusal, native};
use protocol::anthropic::response::Message;
use protocol::anthropic::{self, Event};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::pretty;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase<'a> {
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(default)]
    options: CaseOptions,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseOptions {
    automatic_caching: bool,
    cache_minimum_tokens: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseForm {
    custom: Vec<String>,
    functions: bool,
    include_usage: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    message: Message,
    #[serde(default)]
    form: CaseForm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamCase {
    events: Vec<Box<RawValue>>,
    #[serde(default)]
    form: CaseForm,
    /// What the proxy says of a failure of the upstream's, after the events.
    error: Option<Box<RawValue>>,
}

fn reply(form: CaseForm) -> Reply {
    let CaseForm { custom, functions, include_usage } = form;
    Reply {
        id: "chatcmpl-0123456789abcdefghijABCD".into(),
        model: "the-name-the-caller-used".into(),
        created: 1_790_000_000,
        form: Form { custom, functions, include_usage },
    }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/openai/chat").join(kind);
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn text(case: &Path) -> String {
    fs::read_to_string(case.join("in.json")).unwrap()
}

fn read<'a, T: Deserialize<'a>>(case: &Path, text: &'a str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

/// Compares, or writes with `UPDATE=1`.
fn check(case: &Path, file: &str, found: &str, wrong: &mut Vec<String>) {
    let path = case.join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        wrong.push(format!("{}\n--- expected\n{expected}+++ found\n{found}", path.display()));
    }
}

fn converted(case: &Path, text: &str) -> Result<Asked, Refusal> {
    let case: RequestCase<'_> = read(case, text);
    let options = Options {
        default_max_tokens: 4096,
        automatic_caching: case.options.automatic_caching,
        cache_minimum_tokens: case.options.cache_minimum_tokens.unwrap_or(1024),
    };
    chat::request(case.request.get(), &options)
}

fn outcome(result: &Result<Asked, Refusal>) -> String {
    match result {
        Err(refusal) => json!({"refusal": {"path": refusal.path, "message": refusal.message}}).to_string(),
        Ok(asked) => {
            let body = std::str::from_utf8(&asked.body).unwrap();
            let losses: Vec<_> =
                asked.losses.iter().map(|loss| format!("{}: {}", loss.path, loss.reason)).collect();
            let Form { custom, functions, include_usage } = &asked.form;
            let mut form = serde_json::Map::new();
            if !custom.is_empty() {
                form.insert("custom".to_owned(), json!(custom));
            }
            for (name, said) in [("functions", *functions), ("include_usage", *include_usage)] {
                if said {
                    form.insert(name.to_owned(), json!(true));
                }
            }
            format!(r#"{{"body":{body},"losses":{},"form":{}}}"#, json!(losses), Value::Object(form))
        }
    }
}

#[test]
fn every_request_gives_what_its_directory_says() {
    let mut wrong = Vec::new();
    for case in cases("request") {
        let text = text(&case);
        let result = converted(&case, &text);
        assert_eq!(
            result,
            converted(&case, &text),
            "the same request gives the same bytes: {}",
            case.display()
        );
        check(&case, "out.json", &pretty(&outcome(&result)), &mut wrong);
    }
    assert!(wrong.is_empty(), "{} case(s) differ\n{}", wrong.len(), wrong.join("\n"));
}

/// The value at a path of dots.
fn at<'v>(root: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(root, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

#[test]
fn every_body_is_a_messages_request_and_every_place_in_it_comes_from_one_of_the_callers() {
    for case in cases("request") {
        let text = text(&case);
        let Ok(asked) = converted(&case, &text) else { continue };
        let body = std::str::from_utf8(&asked.body).unwrap();
        anthropic::parse(body).unwrap_or_else(|fault| panic!("{}: {fault}", case.display()));
        native::peek(&native::parse(body).unwrap()).unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let request = serde_json::from_str::<Value>(&text).unwrap()["request"].take();
        let blocks =
            |messages: &str| ["messages.", "system.", "tools."].iter().any(|it| messages.starts_with(it));
        for (messages, caller) in asked.paths.iter().filter(|(messages, _)| blocks(messages)) {
            assert!(at(&body, messages).is_some(), "{}: {messages} is not in the body", case.display());
            let optional = caller.ends_with(".parameters");
            assert!(at(&request, caller).is_some() || optional, "{}: {caller} is not in it", case.display());
        }
        for (index, message) in body["messages"].as_array().unwrap().iter().enumerate() {
            for place in 0..message["content"].as_array().unwrap().len() {
                let place = format!("messages.{index}.content.{place}");
                assert!(
                    asked.paths.iter().any(|(messages, _)| messages == place),
                    "{}: {place}",
                    case.display()
                );
            }
        }
    }
}

fn streamed(stream: &mut Stream, events: &[Event<'_>]) -> String {
    let mut out = Vec::new();
    for event in events {
        stream.on_event(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn every_answer_is_told_whole_and_streamed_as_its_directory_says() {
    let mut wrong = Vec::new();
    for case in cases("answer") {
        let text = text(&case);
        let AnswerCase { message, form } = read(&case, &text);
        let reply = reply(form);
        let whole = String::from_utf8(chat::response(&message, &reply)).unwrap();
        check(&case, "out.json", &pretty(&whole), &mut wrong);
        let mut events = Vec::new();
        unfold(message, &mut |event| events.push(event.into_owned()));
        let mut stream = Stream::new(reply);
        let out = streamed(&mut stream, &events);
        assert!(stream.finished() && out.ends_with("data: [DONE]\n\n"), "{}", case.display());
        check(&case, "out.sse", &out, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} file(s) differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn streams_are_told_as_their_directories_say() {
    let mut wrong = Vec::new();
    for case in cases("stream") {
        let text = text(&case);
        let StreamCase { events, form, error } = read(&case, &text);
        let events: Vec<_> = events.iter().map(|event| Event::parse(event.get()).unwrap()).collect();
        let mut stream = Stream::new(reply(form));
        let mut out = streamed(&mut stream, &events).into_bytes();
        if let Some(error) = error {
            stream.on_error(error.get(), &mut out);
        }
        let complete = stream.finished() && out.ends_with(b"data: [DONE]\n\n");
        stream.on_end(&mut out);
        assert!(stream.finished());
        assert_eq!(complete, out.ends_with(b"data: [DONE]\n\n"), "{}", case.display());
        check(&case, "out.sse", std::str::from_utf8(&out).unwrap(), &mut wrong);
    }
    assert!(wrong.is_empty(), "{} file(s) differ\n{}", wrong.len(), wrong.join("\n"));
}
