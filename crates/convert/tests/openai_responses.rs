//! The Responses API, both ways: golden cases of `fixtures/openai/responses`, and the laws that hold over any answer.
//!
//! * `request/<what it shows>/in.json` (`request`; perhaps `options`, and `turns` that were stored) and `out.json`.
//! * `answer/<what it shows>/in.json` (`request`, and what the upstream gave: `message`, or `events` and perhaps the
//!   gateway's own `error`), `out.json` (the response) and `out.sse` (the events).
//!
//! `UPDATE=1 cargo test` writes what comes out; read the diff.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use outcrop_convert::fold::fold;
use outcrop_convert::openai::responses::{
    Asked, History, Options, Recall, Reply, Stream, Turn, answer, compact, parse, request, response, turn,
    wants,
};
use outcrop_convert::unfold::unfold;
use outcrop_convert::{converse, native};
use proptest::prelude::*;
use protocol::anthropic::response::Message;
use protocol::anthropic::{Delta, Event};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::pretty;

#[derive(Deserialize)]
struct RequestCase {
    request: Box<RawValue>,
    #[serde(default)]
    options: CaseOptions,
    #[serde(default)]
    turns: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CaseOptions {
    state: bool,
    /// The least tokens before a marker.
    automatic_caching: Option<u32>,
}

impl Default for CaseOptions {
    fn default() -> Self {
        Self { state: true, automatic_caching: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    request: Box<RawValue>,
    message: Option<Message>,
    #[serde(default)]
    events: Vec<Event<'static>>,
    error: Option<Box<RawValue>>,
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/openai/responses").join(kind);
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "{} holds cases", root.display());
    cases
}

fn read<T: for<'de> Deserialize<'de>>(case: &Path) -> T {
    let text = fs::read_to_string(case.join("in.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

/// Compares, or writes with `UPDATE=1`.
fn check(case: &Path, file: &str, actual: &str, failed: &mut Vec<String>) {
    let path = case.join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        failed.push(format!("{}: expected {expected}, got {actual}", path.display()));
    }
}

fn reply() -> Reply {
    Reply { id: "resp_0123456789".into(), model: "the-name-the-caller-used".into(), created: 1_764_000_000 }
}

fn asked(request_text: &str) -> Asked {
    let options = Options { automatic_caching: false, ..Options::default() };
    request(request_text, &options).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// The body as it would be sent and what is told beside it, or what was said instead.
fn outcome(case: &RequestCase) -> String {
    let turns: Vec<_> = case.turns.iter().map(|turn| Turn::read(turn.get()).unwrap()).collect();
    let options = Options {
        default_max_tokens: 4096,
        automatic_caching: case.options.automatic_caching.is_some(),
        cache_minimum_tokens: case.options.automatic_caching.unwrap_or(0),
        state: case.options.state,
        history: History { turns: &turns, others: &[] },
    };
    let asked = match request(case.request.get(), &options) {
        Err(refusal) => {
            return json!({"refusal": {"path": refusal.path, "message": refusal.message}}).to_string();
        }
        Ok(asked) => asked,
    };
    let losses: Vec<_> = asked.losses.iter().map(|loss| format!("{}: {}", loss.path, loss.reason)).collect();
    let paths: Vec<_> = asked.paths.iter().map(|(here, there)| format!("{here} < {there}")).collect();
    let tools: Vec<_> = asked
        .recall
        .tools
        .iter()
        .map(|(name, called)| {
            let space = called.namespace.as_deref().map_or(String::new(), |space| format!("{space} / "));
            format!("{name}: {space}{}{}", called.name, if called.custom { " (text)" } else { "" })
        })
        .collect();
    let body = std::str::from_utf8(&asked.body).unwrap();
    format!(
        r#"{{"body":{body},"losses":{},"paths":{},"tools":{},"stream":{},"store":{}}}"#,
        json!(losses),
        json!(paths),
        json!(tools),
        asked.stream,
        asked.store
    )
}

#[test]
fn requests_are_converted_as_the_fixtures_say() {
    let mut failed = Vec::new();
    for case in cases("request") {
        let read: RequestCase = read(&case);
        let first = outcome(&read);
        assert_eq!(first, outcome(&read), "{}: the same request gives the same bytes", case.display());
        check(&case, "out.json", &pretty(&first), &mut failed);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_requests_become_is_a_messages_body() {
    for case in cases("request") {
        let out: Value = serde_json::from_str(&outcome(&read(&case))).unwrap();
        if let Some(body) = out.get("body") {
            protocol::anthropic::parse(&body.to_string()).unwrap();
        }
    }
}

/// The events of an answer, and what the gateway says of its failure.
fn streamed(recall: &Recall, events: &[Event<'_>], error: Option<&RawValue>) -> String {
    let mut stream = Stream::new(recall.clone(), reply());
    let mut out = Vec::new();
    for event in events {
        stream.on_event(event, &mut out);
    }
    if let Some(error) = error {
        stream.on_error(error.get(), &mut out);
    }
    stream.on_end(&mut out);
    assert!(stream.finished());
    let out = String::from_utf8(out).unwrap();
    let last: Value = data(&out).pop().unwrap();
    assert_eq!(
        serde_json::to_value(stream.response()).unwrap(),
        last["response"],
        "the last event tells it all"
    );
    out
}

fn data(sse: &str) -> Vec<Value> {
    let lines = sse.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        assert!(!data.contains(['\n', '\r']), "data is one line: {data}");
        let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", value["type"].as_str().unwrap()));
        value
    });
    lines.collect()
}

fn events_of(message: Message) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    unfold(message, &mut |event: Event<'_>| events.push(event.into_owned()));
    events
}

#[test]
fn answers_are_converted_as_the_fixtures_say() {
    let mut failed = Vec::new();
    for case in cases("answer") {
        let AnswerCase { request, message, events, error } = read(&case);
        let recall = asked(request.get()).recall;
        let message = message.or_else(|| fold(events.iter().cloned()).ok());
        let events =
            if events.is_empty() { message.clone().map(events_of).unwrap_or_default() } else { events };
        let sse = streamed(&recall, &events, error.as_deref());
        follow(&sse);
        check(&case, "out.sse", &sse, &mut failed);
        let Some(message) = message else { continue };
        let reply = reply();
        let whole = String::from_utf8(response(&message, &recall, &reply)).unwrap();
        assert_eq!(last_response(&sse), serde_json::from_str::<Value>(&whole).unwrap(), "{}", case.display());
        check(&case, "out.json", &pretty(&whole), &mut failed);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn an_end_that_is_held_back_is_the_same_and_says_whether_the_turn_was_kept() {
    let mut complete = 0;
    for case in cases("answer") {
        let AnswerCase { request, message, events, error } = read(&case);
        let recall = asked(request.get()).recall;
        let events = if events.is_empty() { message.map(events_of).unwrap_or_default() } else { events };
        let expected = data(&streamed(&recall, &events, error.as_deref()));
        for kept in [true, false] {
            let mut stream = Stream::new(recall.clone(), reply()).holding_its_end();
            let mut out = Vec::new();
            for event in &events {
                stream.on_event(event, &mut out);
            }
            if let Some(error) = &error {
                stream.on_error(error.get(), &mut out);
            }
            stream.on_end(&mut out);
            let outcome = serde_json::to_value(stream.response()).unwrap();
            let before = out.len();
            stream.conclude(kept, &mut out);
            stream.conclude(kept, &mut out);
            complete += usize::from(out.len() > before);
            let mut told = data(&String::from_utf8(out).unwrap());
            let last = told.last_mut().unwrap();
            if last["type"] != "response.failed" {
                assert_eq!(last["response"]["store"], json!(kept));
                last["response"]["store"] = outcome["store"].clone();
                assert_eq!(last["response"], outcome, "known before it is told");
            }
            assert_eq!(told, expected, "{}", case.display());
        }
    }
    assert!(complete > 20);
}

fn last_response(sse: &str) -> Value {
    data(sse).pop().unwrap()["response"].take()
}

/// Follows a stream as a client does, and holds it to its grammar after every event. Gives the items that it gathered.
fn follow(sse: &str) -> Vec<Value> {
    let (mut items, mut done): (Vec<Value>, Vec<bool>) = (Vec::new(), Vec::new());
    let events = data(sse);
    let last = events.len() - 1;
    for (number, event) in events.iter().enumerate() {
        let kind = event["type"].as_str().unwrap();
        assert_eq!(event["sequence_number"], json!(number), "{kind}");
        let terminal = matches!(kind, "response.completed" | "response.incomplete" | "response.failed");
        assert_eq!(terminal, number == last, "{kind} at {number} of {last}");
        match (number, kind) {
            (0, "response.created") | (1, "response.in_progress") => {
                assert_eq!(event["response"]["status"], "in_progress");
                continue;
            }
            (0 | 1, _) => panic!("{kind} at {number}"),
            (_, "error") => {
                assert_eq!(number + 1, last);
                assert!(event.get("error").is_none(), "SDKs raise on it and lose what follows");
                continue;
            }
            (_, "response.output_item.added") => {
                assert_eq!(event["output_index"], json!(items.len()));
                assert!(event["item"].get("status").is_none_or(|status| status == "in_progress"));
                items.push(event["item"].clone());
                done.push(false);
                continue;
            }
            _ if terminal => {
                ended(event, &items, &done);
                continue;
            }
            _ => {}
        }
        let at = usize::try_from(event["output_index"].as_u64().unwrap()).unwrap();
        assert!(!done[at], "{kind} after the item was done");
        gather(&mut items[at], &mut done[at], kind, event);
    }
    items
}

fn ended(event: &Value, items: &[Value], done: &[bool]) {
    let output = event["response"]["output"].as_array().unwrap();
    assert_eq!(output.len(), items.len());
    let failed = event["type"] == "response.failed";
    assert_eq!(failed, event["response"]["error"].is_object());
    assert!(event["response"]["usage"]["output_tokens_details"]["reasoning_tokens"].is_u64());
    assert!(event["response"]["usage"]["input_tokens_details"]["cached_tokens"].is_u64());
    for ((told, gathered), done) in output.iter().zip(items).zip(done) {
        assert!(*done || failed);
        assert_eq!(told["id"], gathered["id"]);
        if *done {
            assert_eq!(told, gathered);
        }
    }
}

/// What an event adds to its item.
fn gather(item: &mut Value, done: &mut bool, kind: &str, event: &Value) {
    let add = |place: &mut Value| {
        *place = json!(format!("{}{}", place.as_str().unwrap(), event["delta"].as_str().unwrap()));
    };
    let part = |item: &Value, list: &str, index: &str| {
        assert!(event[index].as_u64().unwrap() <= item[list].as_array().unwrap().len() as u64);
        usize::try_from(event[index].as_u64().unwrap()).unwrap()
    };
    if kind != "response.output_item.done" {
        assert_eq!(event["item_id"], item["id"], "{kind}");
    }
    match kind {
        "response.content_part.added" => item["content"].as_array_mut().unwrap().push(event["part"].clone()),
        "response.output_text.delta" => {
            let at = part(item, "content", "content_index");
            add(&mut item["content"][at]["text"]);
        }
        "response.output_text.annotation.added" => {
            let at = part(item, "content", "content_index");
            let annotations = item["content"][at]["annotations"].as_array_mut().unwrap();
            assert_eq!(event["annotation_index"], json!(annotations.len()));
            annotations.push(event["annotation"].clone());
        }
        "response.output_text.done" => {
            assert_eq!(item["content"][part(item, "content", "content_index")]["text"], event["text"]);
        }
        "response.content_part.done" => {
            assert_eq!(item["content"][part(item, "content", "content_index")], event["part"]);
        }
        "response.reasoning_summary_part.added" => {
            item["summary"].as_array_mut().unwrap().push(event["part"].clone());
        }
        "response.reasoning_summary_text.delta" => {
            let at = part(item, "summary", "summary_index");
            add(&mut item["summary"][at]["text"]);
        }
        "response.reasoning_summary_text.done" => {
            assert_eq!(item["summary"][part(item, "summary", "summary_index")]["text"], event["text"]);
        }
        "response.reasoning_summary_part.done" => {
            assert_eq!(item["summary"][part(item, "summary", "summary_index")], event["part"]);
        }
        "response.function_call_arguments.delta" => add(&mut item["arguments"]),
        "response.function_call_arguments.done" => assert_eq!(item["arguments"], event["arguments"]),
        "response.custom_tool_call_input.delta" => add(&mut item["input"]),
        "response.custom_tool_call_input.done" => assert_eq!(item["input"], event["input"]),
        "response.output_item.done" => {
            let told = &event["item"];
            for (name, value) in item.as_object().unwrap() {
                assert!(
                    name == "status" || told[name] == *value,
                    "{name}: {value} was gathered, {told} is told"
                );
            }
            *item = told.clone();
            *done = true;
        }
        other => panic!("{other}"),
    }
}

/// Requests that give each kind of answer something to restore.
fn tools() -> Recall {
    let tools = json!([
        {"type": "function", "name": "get", "parameters": {"type": "object"}},
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}, {"type": "custom", "name": "note"}]},
    ]);
    let request = json!({"model": "m", "input": "x", "tools": tools, "reasoning": {"summary": "auto"}});
    asked(&request.to_string()).recall
}

fn block() -> impl Strategy<Value = Value> {
    let text = "[a-zé🦀\"\\\\\n ]{0,12}";
    let web = json!([{"type": "web_search_result_location", "cited_text": "c", "url": "https://a.example", "title": null, "encrypted_index": ""}]);
    prop_oneof![
        4 => text.prop_map(|text| json!({"type": "text", "text": text})),
        1 => text.prop_map(move |text| json!({"type": "text", "text": text, "citations": web})),
        2 => (text, "[a-z]{0,4}").prop_map(|(text, signature)| json!({"type": "thinking", "thinking": text, "signature": signature})),
        1 => Just(json!({"type": "redacted_thinking", "data": "AAEC"})),
        2 => text.prop_map(|text| json!({"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"a": text}})),
        1 => Just(json!({"type": "tool_use", "id": "toolu_2", "name": "agents__spawn", "input": {}})),
        2 => text.prop_map(|text| json!({"type": "tool_use", "id": "toolu_3", "name": "patch", "input": {"input": text}})),
        1 => text.prop_map(|text| json!({"type": "tool_use", "id": "toolu_4", "name": "agents__note", "input": {"other": text}})),
        1 => Just(json!({"type": "tomorrow", "x": 1})),
    ]
}

prop_compose! {
    fn message()(
        content in prop::collection::vec(block(), 0..6),
        stop in prop::sample::select(vec!["end_turn", "tool_use", "max_tokens", "refusal", "later"]),
        input in 0_u64..100, read in 0_u64..100, output in 0_u64..100,
    ) -> Message {
        serde_json::from_value(json!({
            "id": "msg_1", "model": "m", "content": content, "stop_reason": stop,
            "usage": {"input_tokens": input, "cache_read_input_tokens": read, "output_tokens": output, "service_tier": "standard"},
        })).unwrap()
    }
}

/// The same events with every text cut into pieces of `length` characters.
fn cut(events: &[Event<'static>], length: usize) -> Vec<Event<'static>> {
    let pieces = |text: &str| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(length).map(|piece| piece.iter().collect()).collect()
    };
    let mut out = Vec::new();
    for event in events {
        let Event::ContentBlockDelta { index, delta } = event else {
            out.push(event.clone());
            continue;
        };
        let deltas: Vec<Delta<'static>> = match delta {
            Delta::TextDelta { text } => {
                pieces(text).into_iter().map(|text| Delta::TextDelta { text: text.into() }).collect()
            }
            Delta::ThinkingDelta { thinking } => pieces(thinking)
                .into_iter()
                .map(|text| Delta::ThinkingDelta { thinking: text.into() })
                .collect(),
            Delta::InputJsonDelta { partial_json } => pieces(partial_json)
                .into_iter()
                .map(|text| Delta::InputJsonDelta { partial_json: text.into() })
                .collect(),
            Delta::SignatureDelta { .. } | Delta::CitationsDelta { .. } | Delta::Unknown(_) => {
                vec![delta.clone()]
            }
        };
        out.extend(deltas.into_iter().map(|delta| Event::ContentBlockDelta { index: *index, delta }));
    }
    out
}

proptest! {
    #[test]
    fn a_stream_tells_what_the_whole_answer_tells_wherever_it_is_cut(message in message(), length in 1..9_usize) {
        let recall = tools();
        let reply = reply();
        let whole = serde_json::to_value(answer(&message, &recall, &reply)).unwrap();
        let events = events_of(message);
        for events in [&events, &cut(&events, length)] {
            let sse = streamed(&recall, events, None);
            prop_assert_eq!(json!(follow(&sse)), whole["output"].clone());
            prop_assert_eq!(last_response(&sse), whole.clone());
        }
    }

    #[test]
    fn the_grammar_holds_after_any_prefix(message in message(), length in 1..9_usize, end in 0..60_usize) {
        let recall = tools();
        let events = cut(&events_of(message), length);
        let sse = streamed(&recall, &events[..end.min(events.len())], None);
        follow(&sse);
    }

    #[test]
    fn what_an_answer_gave_comes_back_as_it_was(message in message()) {
        let recall = tools();
        let reply = reply();
        let output = serde_json::to_value(answer(&message, &recall, &reply)).unwrap()["output"].take();
        let mut input = vec![json!({"role": "user", "content": "go"})];
        input.extend(output.as_array().unwrap().iter().cloned());
        let again = asked(&json!({"model": "m", "input": input, "tools": serde_json::from_str::<Value>(recall.echo.tools.get()).unwrap()}).to_string());
        prop_assert!(again.losses.is_empty(), "{:?}", again.losses);
        let body: Value = serde_json::from_slice(&again.body).unwrap();
        let back = body["messages"].get(1).map_or(json!([]), |turn| turn["content"].clone());
        prop_assert_eq!(said(&back), said(&serde_json::to_value(&message.content).unwrap()));
    }
}

/// Blocks but for what is told otherwise: texts in a row are one text, and what takes text takes it by one name.
fn said(blocks: &Value) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for block in blocks.as_array().unwrap() {
        let mut block = block.clone();
        match block["type"].as_str().unwrap() {
            "text" => {
                let text = block["text"].as_str().unwrap().to_owned();
                match out.last_mut().filter(|last| last["type"] == "text") {
                    Some(last) => last["text"] = json!(format!("{}{text}", last["text"].as_str().unwrap())),
                    None => out.push(json!({"type": "text", "text": text})),
                }
                continue;
            }
            "tomorrow" => continue,
            "thinking" if block["signature"] == "" => {
                block.as_object_mut().unwrap().remove("signature");
            }
            "tool_use" if block["name"] == "agents__note" => {
                if let Some(text) = block["input"].get("input") {
                    block["input"] = serde_json::from_str(text.as_str().unwrap()).unwrap();
                }
            }
            _ => {}
        }
        out.push(block);
    }
    out.retain(|block| block["type"] != "text" || block["text"] != "");
    out
}

#[test]
fn a_stored_turn_goes_before_what_follows_it() {
    let first = asked(r#"{"model":"m","input":"Where is it?","tools":[{"type":"function","name":"get"}]}"#);
    let message = json!({"id": "msg_1", "model": "m", "stop_reason": "tool_use", "content": [
        {"type": "thinking", "thinking": "Let me look.", "signature": "c2ln"},
        {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"b": 1, "a": 2}},
    ]});
    let message: Message = serde_json::from_value(message).unwrap();
    let reply = reply();
    let answer = String::from_utf8(response(&message, &first.recall, &reply)).unwrap();
    let stored = String::from_utf8(turn::stored(&first.input, &answer).unwrap()).unwrap();
    let turns = [Turn::read(&stored).unwrap()];
    assert_eq!(turns[0].response(), answer);
    let options = Options {
        automatic_caching: false,
        history: History { turns: &turns, others: &turns },
        ..Options::default()
    };
    let follow = r#"{"model":"m","previous_response_id":"resp_0123456789","input":[{"type":"function_call_output","call_id":"toolu_1","output":"here"}]}"#;
    let body: Value = serde_json::from_slice(&request(follow, &options).unwrap().body).unwrap();
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "Where is it?"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Let me look.", "signature": "c2ln"},
                {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"b": 1, "a": 2}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "here"}]},
        ])
    );
    let by_reference = r#"{"model":"m","input":[{"role":"user","content":"Where is it?"},{"type":"item_reference","id":"rs_0123456789_0"},{"id":"fc_0123456789_1"},{"type":"function_call_output","call_id":"toolu_1","output":"here"}]}"#;
    let again = request(by_reference, &options).unwrap();
    let again: Value = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(again["messages"], body["messages"]);
}

#[test]
fn an_item_may_be_referred_to_once_and_any_number_of_items_costs_no_more_than_reading_them() {
    const ITEMS: usize = 20_000;
    let message =
        |at: usize| json!({"type": "message", "id": format!("msg_x_i{at}"), "role": "user", "content": "hi"});
    let input = Value::Array((0..ITEMS).map(message).collect()).to_string();
    let stored = turn::stored(&input, r#"{"id":"resp_x","model":"m","output":[]}"#).unwrap();
    let stored = String::from_utf8(stored).unwrap();
    let turns = [Turn::read(&stored).unwrap()];
    let history = History { turns: &[], others: &turns };
    let options = Options { automatic_caching: false, history, ..Options::default() };
    let reference = |at: usize| json!({"type": "item_reference", "id": format!("msg_x_i{at}")});
    let mut body = json!({"model": "m", "input": (0..ITEMS).rev().map(reference).collect::<Vec<_>>()});
    let made: Value = serde_json::from_slice(&request(&body.to_string(), &options).unwrap().body).unwrap();
    assert_eq!(made["messages"][0]["content"].as_array().unwrap().len(), ITEMS);
    body["input"].as_array_mut().unwrap().insert(2, reference(ITEMS - 1));
    let refused = request(&body.to_string(), &options).unwrap_err();
    assert_eq!(refused.path, "input.2.id");
    assert!(refused.message.starts_with("Duplicate item found with id 'msg_x_i19999'"), "{refused}");
}

const MANY: usize = 50_000;

/// Whatever looks through all of these once for each of them takes hours.
#[test]
fn many_tools_of_a_namespace_and_a_long_list_of_those_allowed_are_read_as_few_are() {
    let tool = |at: usize| json!({"type": "function", "name": format!("f{at}")});
    let tools: Vec<_> = (0..MANY).map(tool).collect();
    let mut allowed: Vec<_> =
        (0..MANY).map(|at| json!({"type": "function", "namespace": "a", "name": format!("f{at}")})).collect();
    allowed.extend(vec![json!({"type": "namespace", "name": "b"}); MANY]);
    let body = json!({
        "model": "m", "input": "hi",
        "tools": [
            {"type": "namespace", "name": "a", "tools": tools},
            {"type": "namespace", "name": "b", "tools": tools},
            {"type": "custom", "name": "c"},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": allowed},
    });
    let made: Value = serde_json::from_slice(&asked(&body.to_string()).body).unwrap();
    let tools = made["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 2 * MANY);
    assert_eq!((&tools[0]["name"], &tools[2 * MANY - 1]["name"]), (&json!("a__f0"), &json!("b__f49999")));
}

#[test]
fn many_items_of_many_responses_are_wanted_each_once() {
    let reference = |at: usize| json!({"type": "item_reference", "id": format!("msg_{}_0", at % MANY)});
    let input: Vec<_> = (0..2 * MANY).map(reference).collect();
    let text = json!({"model": "m", "input": input}).to_string();
    let others = wants(&parse(&text).unwrap()).others;
    assert_eq!((others.len(), others[0].as_str(), others[MANY - 1].as_str()), (MANY, "resp_0", "resp_49999"));
}

#[test]
fn more_losses_than_anybody_reads_are_not_listed() {
    let items = vec![json!({"type": "web_search_call", "id": "ws_1", "status": "completed"}); MANY];
    let input = [items, vec![json!({"role": "user", "content": "hi"})]].concat();
    assert_eq!(asked(&json!({"model": "m", "input": input}).to_string()).losses.len(), 64);
}

#[test]
fn a_conversation_is_replaced_by_its_summary_and_goes_on_from_it() {
    let text = r#"{"model":"m","reasoning":{"effort":"high"},"tools":[{"type":"function","name":"get"}],"input":[{"role":"developer","content":"Be kind."},{"role":"user","content":"a"},{"type":"function_call","call_id":"c","name":"get","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"},{"role":"assistant","content":"b"},{"role":"user","content":"next"}]}"#;
    let parsed = parse(text).unwrap();
    let options = Options { automatic_caching: false, ..Options::default() };
    let compacting = compact::request(&parsed, &options, &reply()).unwrap();
    let body: Value = serde_json::from_slice(&compacting.asked.body).unwrap();
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
    assert_eq!((body.get("thinking"), body.get("stream"), compacting.asked.store), (None, None, false));
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5, "without what nobody has answered, and with the question");
    let answer = json!({"id": "msg_1", "model": "m", "content": [{"type": "text", "text": "They met."}], "usage": {"input_tokens": 9}});
    let answer: Message = serde_json::from_value(answer).unwrap();
    let compacted = serde_json::to_value(compacting.response(&answer, &reply()).unwrap()).unwrap();
    assert_eq!(compacted["object"], "response.compaction");
    let kinds: Vec<_> =
        compacted["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "compaction", "message"]);
    assert!(compacted["output"].as_array().unwrap().iter().all(|item| item["id"].is_string()));
    let again = asked(&json!({"model": "m", "input": compacted["output"]}).to_string());
    let body: Value = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(body["system"][0]["text"], "Be kind.");
    let said = body["messages"][0]["content"].as_array().unwrap();
    assert!(said[0]["text"].as_str().unwrap().ends_with("They met."));
    assert_eq!(said[1]["text"], "next");
    let silent: Message =
        serde_json::from_value(json!({"id": "msg_1", "model": "m", "content": []})).unwrap();
    assert_eq!(compacting.response(&silent, &reply()).unwrap_err(), compact::Unfit::Silent);
}

#[test]
fn half_a_summary_is_none() {
    let parsed = parse(r#"{"model":"m","input":"a"}"#).unwrap();
    let compacting = compact::request(&parsed, &Options::default(), &reply()).unwrap();
    for (reason, unfit) in [
        ("max_tokens", compact::Unfit::CutOff),
        ("model_context_window_exceeded", compact::Unfit::WindowFull),
        ("refusal", compact::Unfit::Refused),
    ] {
        let answer = json!({"id": "msg_1", "model": "m", "content": [{"type": "text", "text": "They m"}], "stop_reason": reason});
        let answer: Message = serde_json::from_value(answer).unwrap();
        assert_eq!(compacting.response(&answer, &reply()).unwrap_err(), unfit);
    }
}

#[test]
fn what_an_answer_is_refused_for_a_summary_is_refused_for_too() {
    let options = Options { state: false, ..Options::default() };
    let parsed = parse(r#"{"model":"m","previous_response_id":"resp_1","input":"a"}"#).unwrap();
    let refused = compact::request(&parsed, &options, &reply()).unwrap_err();
    assert_eq!(refused.path, "previous_response_id");
}

#[test]
fn what_codex_sends_goes_through_both_lanes() {
    for case in ["codex_begins_a_turn", "codex_goes_on_after_a_call"] {
        let case = cases("request").into_iter().find(|path| path.ends_with(case)).unwrap();
        let request: RequestCase = read(&case);
        let body = String::from_utf8(asked(request.request.get()).body).unwrap();
        let catalog = catalog::Catalog::builtin();
        for model in ["openai.gpt-oss-120b-1:0", "qwen.qwen3-coder-480b-a35b-v1:0", "amazon.nova-pro-v1:0"] {
            let parsed = protocol::anthropic::parse(&body).unwrap();
            let options = converse::request::Options::default();
            let converted = converse::request::request(&parsed, catalog.find(model).unwrap(), &options);
            assert!(converted.is_ok(), "{model}: {converted:?}");
        }
        for model in ["claude-sonnet-4-6", "claude-opus-5-5"] {
            let doc = native::parse(&body).unwrap();
            let converted = native::request(&doc, catalog.find(model).unwrap(), &native::Options::default());
            assert!(converted.is_ok(), "{model}: {converted:?}");
        }
    }
}
