//! Laws of converted answers, over the fixtures, over generated streams that keep the rules of ConverseStream, and
//! over generated streams that keep none.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints spare test functions, and not what those call"
)]

use std::fs;
use std::path::Path;

use outcrop_convert::Names;
use outcrop_convert::converse::{Reply, Stream, response};
use outcrop_convert::fold::fold;
use outcrop_convert::native::{self, Relay};
use outcrop_convert::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::anthropic::response::{Block, Message};
use protocol::anthropic::{Delta, Event};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// An upstream event: type and payload.
type Upstream = (String, String);

fn reply() -> Reply {
    Reply { id: "msg_1".into(), model: "m".into() }
}

fn names() -> Names {
    Names {
        tools: vec![("short_1".into(), "the.caller's/name".into())],
        structured_output: Some("structured".into()),
    }
}

/// How a stream ends after its events.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Closed,
    Failed,
}

/// The bytes that a caller gets. A fault ends the stream as the proxy would end it.
fn converted(names: Names, events: &[Upstream], ending: Ending) -> (String, Usage) {
    let mut stream = Stream::new(names, reply());
    let mut out = Vec::new();
    for (event_type, payload) in events {
        if let Err(fault) = stream.on_event(event_type, payload.as_bytes(), &mut out) {
            stream.on_error("api_error", &fault.message, &mut out);
        }
    }
    match ending {
        Ending::Closed => drop(stream.on_end(&mut out)),
        Ending::Failed => stream.on_error("overloaded_error", "Overloaded", &mut out),
    }
    assert!(stream.finished());
    let length = out.len();
    drop(stream.on_end(&mut out));
    stream.on_error("api_error", "late", &mut out);
    stream
        .on_event("contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"late"}}"#, &mut out)
        .unwrap();
    assert_eq!(out.len(), length, "nothing follows the end");
    (String::from_utf8(out).unwrap(), stream.usage())
}

/// Reads SSE bytes strictly: a name line, a data line, an empty line; the name is the type.
fn read(sse: &str) -> Vec<Event<'_>> {
    let body = sse.strip_suffix("\n\n").unwrap_or_else(|| panic!("no end: {sse}"));
    body.split("\n\n")
        .map(|text| {
            let (name, data) = text.strip_prefix("event: ").and_then(|it| it.split_once("\ndata: ")).unwrap();
            assert!(!data.contains('\n'), "{data}");
            let event = Event::parse(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            assert_eq!(event.name(), name);
            assert!(!matches!(event, Event::Unknown(_)), "{data}");
            event
        })
        .collect()
}

/// The grammar of a Messages stream: one start, numbered blocks whose deltas fit them, an end or an error.
fn well_formed(events: &[Event<'_>]) -> Result<(), String> {
    let mut started = false;
    let mut ended = false;
    let mut over = false;
    let mut blocks: Vec<(&'static str, bool)> = Vec::new();
    for event in events {
        let err = |why: &str| Err(format!("{why}: {event:?}"));
        if over {
            return err("after the end");
        }
        match event {
            Event::Error { .. } => over = true,
            Event::MessageStart { .. } if !started => started = true,
            _ if !started => return err("before message_start"),
            Event::ContentBlockStart { .. } | Event::ContentBlockDelta { .. } if ended => {
                return err("after message_delta");
            }
            Event::ContentBlockStart { index, content_block } => {
                if *index as usize != blocks.len() {
                    return err("index");
                }
                blocks.push((kind(content_block), true));
            }
            Event::ContentBlockDelta { index, delta } => {
                if blocks.get(*index as usize) != Some(&(fits(delta), true)) {
                    return err("delta");
                }
            }
            Event::ContentBlockStop { index } => match blocks.get_mut(*index as usize) {
                Some((_, open @ true)) => *open = false,
                _ => return err("stop"),
            },
            Event::MessageDelta { delta, .. } => {
                if ended || delta.stop_reason.is_none() || blocks.iter().any(|(_, open)| *open) {
                    return err("message_delta");
                }
                ended = true;
            }
            Event::MessageStop if ended => over = true,
            _ => return err("out of place"),
        }
    }
    if over { Ok(()) } else { Err("no end".into()) }
}

fn kind(block: &Block) -> &'static str {
    match block {
        Block::Text(_) => "text",
        Block::Thinking(_) => "thinking",
        Block::RedactedThinking(_) => "redacted",
        Block::ToolUse(_) | Block::ServerToolUse(_) => "tool",
        Block::Unknown(_) => "unknown",
    }
}

fn fits(delta: &Delta<'_>) -> &'static str {
    match delta {
        Delta::TextDelta { .. } | Delta::CitationsDelta { .. } => "text",
        Delta::ThinkingDelta { .. } | Delta::SignatureDelta { .. } => "thinking",
        Delta::InputJsonDelta { .. } => "tool",
        Delta::Unknown(_) => "unknown",
    }
}

/// A block, and how it comes in a stream.
#[derive(Clone, Debug)]
struct Generated {
    content: Content,
    /// How long the pieces are.
    pieces: usize,
    /// How many indices are skipped before it.
    skip: u32,
    /// Whether its `contentBlockStop` comes.
    stops: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Text(String),
    Cited(String, u32),
    Thinking(String, String),
    Redacted(Vec<u8>),
    /// Name and input.
    Call(&'static str, String),
}

fn content() -> impl Strategy<Value = Content> {
    let words = "[ -~é漢😀\n\"\\\\]{0,40}";
    prop_oneof![
        words.prop_map(Content::Text),
        ("[a-zé]{1,20}", 0..4_u32).prop_map(|(text, cites)| Content::Cited(text, cites)),
        (words, "[A-Za-z0-9+/]{0,20}").prop_map(|(text, signature)| Content::Thinking(text, signature)),
        vec(any::<u8>(), 1..30).prop_map(Content::Redacted),
        (prop_oneof![Just("short_1"), Just("plain"), Just("structured")], vec((words, words), 0..4))
            .prop_map(|(name, members)| {
                let members: Vec<_> = members
                    .iter()
                    .enumerate()
                    .map(|(at, (key, value))| format!("{}: {}", json!(format!("{at}{key}")), json!(value)))
                    .collect();
                Content::Call(name, format!("{{{}}}", members.join(",")))
            }),
    ]
}

fn blocks() -> impl Strategy<Value = Vec<Generated>> {
    vec(
        (content(), 1..8_usize, 0..3_u32, any::<bool>())
            .prop_map(|(content, pieces, skip, stops)| Generated { content, pieces, skip, stops }),
        0..6,
    )
}

fn citation(at: u32) -> serde_json::Value {
    json!({"title": "T", "sourceContent": [{"text": "c"}], "location": {"documentChar": {"documentIndex": at, "start": 0, "end": 1}}})
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// The block in a whole answer.
fn whole(at: usize, content: &Content) -> String {
    match content {
        Content::Text(text) => json!({"text": text}).to_string(),
        Content::Cited(text, cites) => json!({"citationsContent": {
            "content": [{"text": text}], "citations": (0..*cites).map(citation).collect::<Vec<_>>()}})
        .to_string(),
        Content::Thinking(text, signature) => {
            json!({"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}).to_string()
        }
        Content::Redacted(bytes) => {
            json!({"reasoningContent": {"redactedContent": base64(bytes)}}).to_string()
        }
        Content::Call(name, input) => {
            format!(r#"{{"toolUse":{{"toolUseId":"call_{at}","name":"{name}","input":{input}}}}}"#)
        }
    }
}

fn cut(text: &str, length: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(length).map(|piece| piece.iter().collect()).collect()
}

/// The events of the block in a stream.
fn streamed(at: usize, index: u32, block: &Generated) -> Vec<Upstream> {
    let delta = |delta: serde_json::Value| {
        (
            "contentBlockDelta".to_owned(),
            json!({"contentBlockIndex": index, "delta": delta, "p": "abc"}).to_string(),
        )
    };
    let pieces = |text: &str| cut(text, block.pieces);
    let reasoning = |member: &str, text: &str| {
        pieces(text)
            .into_iter()
            .map(|piece| delta(json!({"reasoningContent": {member: piece}})))
            .collect::<Vec<_>>()
    };
    let mut events = Vec::new();
    match &block.content {
        Content::Text(text) => {
            events.extend(pieces(text).into_iter().map(|piece| delta(json!({"text": piece}))));
        }
        Content::Cited(text, cites) => {
            events.extend(pieces(text).into_iter().map(|piece| delta(json!({"text": piece}))));
            events.extend((0..*cites).map(|at| delta(json!({"citation": citation(at)}))));
        }
        Content::Thinking(text, signature) => {
            events.extend(reasoning("text", text));
            events.extend(reasoning("signature", signature));
        }
        Content::Redacted(bytes) => {
            let parts = bytes.chunks(block.pieces);
            events.extend(
                parts.map(|part| delta(json!({"reasoningContent": {"redactedContent": base64(part)}}))),
            );
        }
        Content::Call(name, input) => {
            let start = json!({"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": format!("call_{at}"), "name": name}}});
            events.push(("contentBlockStart".to_owned(), start.to_string()));
            events.extend(pieces(input).into_iter().map(|piece| delta(json!({"toolUse": {"input": piece}}))));
        }
    }
    if block.stops {
        events.push(("contentBlockStop".to_owned(), json!({"contentBlockIndex": index}).to_string()));
    }
    events
}

/// The whole answer, and the same answer streamed; calls that follow each other are interleaved by `picks`.
fn answer(blocks: &[Generated], picks: &[usize]) -> (String, Vec<Upstream>) {
    let mut events = vec![("messageStart".to_owned(), r#"{"role":"assistant"}"#.to_owned())];
    let mut index = 0;
    // Calls that have begun, and what is still to come of them.
    let mut calls: Vec<std::vec::IntoIter<Upstream>> = Vec::new();
    let mut picks = picks.iter().cycle();
    for (at, block) in blocks.iter().enumerate() {
        index += block.skip;
        let mut own = streamed(at, index, block).into_iter();
        index += 1;
        if matches!(block.content, Content::Call(..)) {
            events.extend(own.next());
            calls.push(own);
            for _ in 0..*picks.next().unwrap_or(&0) {
                let call = *picks.next().unwrap_or(&0) % calls.len();
                events.extend(calls[call].next());
            }
        } else {
            events.extend(calls.drain(..).flatten());
            events.extend(own);
        }
    }
    events.extend(calls.drain(..).flatten());
    let usage = r#"{"inputTokens":9,"outputTokens":5,"totalTokens":14,"cacheWriteInputTokens":3}"#;
    events.push(("messageStop".to_owned(), r#"{"stopReason":"end_turn"}"#.to_owned()));
    events.push(("metadata".to_owned(), format!(r#"{{"usage":{usage},"metrics":{{"latencyMs":1}}}}"#)));
    let content: Vec<_> = blocks.iter().enumerate().map(|(at, block)| whole(at, &block.content)).collect();
    let body = format!(
        r#"{{"output":{{"message":{{"role":"assistant","content":[{}]}}}},"stopReason":"end_turn","usage":{usage}}}"#,
        content.join(",")
    );
    (body, events)
}

/// A block of the native lane: whole, and as the events that spell it.
fn native_block(index: usize, block: &Generated) -> (String, Vec<String>) {
    let event = |kind: &str, member: &str, value: serde_json::Value| {
        format!(r#"{{"type":"content_block_{kind}","index":{index},"{member}":{value}}}"#)
    };
    let deltas = |kind: &str, member: &str, text: &str| {
        let delta = |piece| event("delta", "delta", json!({"type": kind, member: piece}));
        cut(text, block.pieces).into_iter().map(delta).collect::<Vec<_>>()
    };
    let (whole, start, deltas) = match &block.content {
        Content::Text(text) | Content::Cited(text, _) => {
            let of = |text: &str| json!({"type": "text", "text": text});
            (of(text).to_string(), of(""), deltas("text_delta", "text", text))
        }
        Content::Thinking(text, signature) => {
            let of = |text, signature| json!({"type": "thinking", "thinking": text, "signature": signature});
            let mut all = deltas("thinking_delta", "thinking", text);
            all.push(event("delta", "delta", json!({"type": "signature_delta", "signature": signature})));
            (of(text, signature).to_string(), of(&String::new(), &String::new()), all)
        }
        Content::Redacted(bytes) => {
            let block = json!({"type": "redacted_thinking", "data": base64(bytes)});
            (block.to_string(), block, Vec::new())
        }
        Content::Call(name, input) => {
            let start =
                json!({"type": "tool_use", "id": format!("toolu_{index}"), "name": name, "input": {}});
            let whole = start.to_string().replace(r#""input":{}"#, &format!(r#""input":{input}"#));
            let nothing = json!({"type": "input_json_delta", "partial_json": ""});
            let mut all = vec![event("delta", "delta", nothing)];
            all.extend(deltas("input_json_delta", "partial_json", input));
            (whole, start, all)
        }
    };
    let stop = format!(r#"{{"type":"content_block_stop","index":{index}}}"#);
    (whole, [vec![event("start", "content_block", start)], deltas, vec![stop]].concat())
}

/// Whole and streamed, calls interleaved by `picks`; beside them the events that must reach the caller as they are.
fn native_answer(blocks: &[Generated], picks: &[usize]) -> (String, Vec<String>, Vec<String>) {
    let is_call = |block: &Generated| matches!(block.content, Content::Call(..));
    let head = r#""id":"msg_bdrk_1","type":"message","role":"assistant","model":"upstream""#;
    let stop = if blocks.iter().any(is_call) { "tool_use" } else { "end_turn" };
    let start = format!(
        r#"{{{head},"content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":9,"output_tokens":1}}}}"#
    );
    let mut events = vec![format!(r#"{{"type":"message_start","message":{start}}}"#)];
    let (mut content, mut kept) = (Vec::new(), Vec::new());
    let mut calls: Vec<std::vec::IntoIter<String>> = Vec::new();
    let mut picks = picks.iter().cycle();
    for (index, block) in blocks.iter().enumerate() {
        let (whole, own) = native_block(index, block);
        content.push(whole);
        if !matches!(block.content, Content::Call("structured", _)) {
            kept.extend(own.clone());
        }
        let mut own = own.into_iter();
        if is_call(block) {
            events.extend(own.next());
            calls.push(own);
            for _ in 0..*picks.next().unwrap_or(&0) {
                let call = *picks.next().unwrap_or(&0) % calls.len();
                events.extend(calls[call].next());
            }
        } else {
            events.extend(own);
        }
    }
    events.extend(calls.into_iter().flatten());
    events.push(format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop}","stop_sequence":null}},"usage":{{"output_tokens":5}}}}"#
    ));
    events.push(r#"{"type":"message_stop"}"#.to_owned());
    let body = format!(
        r#"{{{head},"content":[{}],"stop_reason":"{stop}","stop_sequence":null,"usage":{{"input_tokens":9,"output_tokens":5}}}}"#,
        content.join(",")
    );
    (body, events, kept)
}

fn relayed(events: &[String]) -> String {
    let mut relay = Relay::new("m").with_names(names());
    let mut out = Vec::new();
    for event in events {
        assert!(!relay.finished());
        relay.on_event(event.as_bytes(), &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

/// Anything that might come, in any order: three indices, no discipline.
fn chaos() -> impl Strategy<Value = Vec<Upstream>> {
    let index = 0..3_u32;
    let delta = |delta: serde_json::Value, index: u32| {
        ("contentBlockDelta".to_owned(), json!({"contentBlockIndex": index, "delta": delta}).to_string())
    };
    let event = prop_oneof![
        4 => ("[a-z]{0,3}", index.clone()).prop_map(move |(text, at)| delta(json!({"text": text}), at)),
        3 => ("[0-9]{0,3}", index.clone()).prop_map(move |(input, at)| delta(json!({"toolUse": {"input": input}}), at)),
        2 => ("[a-z]{0,2}", index.clone()).prop_map(move |(text, at)| delta(json!({"reasoningContent": {"text": text}}), at)),
        1 => index.clone().prop_map(move |at| delta(json!({"reasoningContent": {"signature": "c2ln"}}), at)),
        1 => index.clone().prop_map(move |at| delta(json!({"reasoningContent": {"redactedContent": "AA=="}}), at)),
        1 => index.clone().prop_map(move |at| delta(json!({"citation": citation(0)}), at)),
        1 => index.clone().prop_map(move |at| delta(json!({"image": {}}), at)),
        3 => (index.clone(), prop_oneof![Just("plain"), Just("structured")]).prop_map(|(at, name)| (
            "contentBlockStart".to_owned(),
            json!({"contentBlockIndex": at, "start": {"toolUse": {"toolUseId": "call", "name": name}}}).to_string(),
        )),
        1 => index.clone().prop_map(|at| ("contentBlockStart".to_owned(), json!({"contentBlockIndex": at, "start": {}}).to_string())),
        2 => index.prop_map(|at| ("contentBlockStop".to_owned(), json!({"contentBlockIndex": at}).to_string())),
        1 => Just(("messageStart".to_owned(), "{}".to_owned())),
        1 => Just(("messageStop".to_owned(), r#"{"stopReason":"end_turn"}"#.to_owned())),
        1 => Just(("metadata".to_owned(), r#"{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}"#.to_owned())),
        1 => Just(("tomorrow".to_owned(), "{}".to_owned())),
    ];
    vec(event, 0..40)
}

proptest! {
    #[test]
    fn folding_the_converted_stream_equals_converting_the_whole_answer(blocks in blocks(), picks in vec(0..6_usize, 1..12)) {
        let (body, events) = answer(&blocks, &picks);
        let message = response(body.as_bytes(), &names(), &reply()).unwrap();
        let (sse, usage) = converted(names(), &events, Ending::Closed);
        let events = read(&sse);
        prop_assert_eq!(well_formed(&events), Ok(()));
        prop_assert_eq!(usage, Usage::from_anthropic(&message.usage));
        prop_assert_eq!(fold(events).unwrap(), message);
    }

    #[test]
    fn folding_the_relayed_stream_equals_relaying_the_whole_answer(blocks in blocks(), picks in vec(0..6_usize, 1..12)) {
        let (body, events, kept) = native_answer(&blocks, &picks);
        let whole = native::message(body.as_bytes(), "m", false, &names()).unwrap().body;
        let message: Message = serde_json::from_slice(&whole).unwrap();
        let sse = relayed(&events);
        let out = read(&sse);
        prop_assert_eq!(well_formed(&out), Ok(()));
        prop_assert_eq!(fold(out).unwrap(), message);
        // What belongs to other blocks is not touched, whatever stands between.
        let mut from = vec![0; blocks.len()];
        for event in &kept {
            let index: serde_json::Value = serde_json::from_str(event).unwrap();
            let from = &mut from[usize::try_from(index["index"].as_u64().unwrap()).unwrap()];
            let at = sse[*from..].find(&format!("data: {event}\n"));
            prop_assert!(at.is_some(), "{} is missing", event);
            *from += at.unwrap() + 1;
        }
        for length in 0..events.len() {
            let sse = relayed(&events[..length]);
            let said = if sse.is_empty() { Err("no end".to_owned()) } else { well_formed(&read(&sse)) };
            prop_assert_eq!(said, Err("no end".to_owned()), "after {} events", length);
        }
    }

    #[test]
    fn no_byte_of_text_or_tool_input_is_lost(blocks in blocks(), picks in vec(0..6_usize, 1..12)) {
        let (_, events) = answer(&blocks, &picks);
        let (sse, _) = converted(names(), &events, Ending::Closed);
        let mut expected: Vec<String> = blocks.iter().filter_map(|block| match &block.content {
            Content::Text(text) | Content::Cited(text, _) | Content::Thinking(text, _) => Some(text.clone()),
            Content::Call(_, input) => Some(input.clone()),
            Content::Redacted(_) => None,
        }).collect();
        expected.retain(|it| !it.is_empty());
        let events = read(&sse);
        let mut actual: Vec<String> = Vec::new();
        for event in &events {
            match event {
                Event::ContentBlockStart { .. } => actual.push(String::new()),
                Event::ContentBlockDelta { index, delta } => match delta {
                    Delta::TextDelta { text: piece } | Delta::ThinkingDelta { thinking: piece } | Delta::InputJsonDelta { partial_json: piece } => {
                        actual[*index as usize].push_str(piece);
                    }
                    Delta::SignatureDelta { .. } | Delta::CitationsDelta { .. } | Delta::Unknown(_) => {}
                },
                _ => {}
            }
        }
        actual.retain(|it| !it.is_empty());
        prop_assert_eq!(actual, expected);
    }

    #[test]
    fn the_grammar_holds_whatever_comes_and_text_is_kept(events in chaos()) {
        for ending in [Ending::Closed, Ending::Failed] {
            let (sse, _) = converted(Names::default(), &events, ending);
            let out = read(&sse);
            prop_assert_eq!(well_formed(&out), Ok(()));
            let text: String = out.iter().filter_map(|event| match event {
                Event::ContentBlockDelta { delta: Delta::TextDelta { text }, .. } => Some(&**text),
                _ => None,
            }).collect();
            // Up to where the stream was over, by its end or by a fault.
            let sent: String = events.iter().filter_map(|(_, payload)| {
                let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
                payload.pointer("/delta/text").and_then(|it| it.as_str()).map(str::to_owned)
            }).collect();
            prop_assert!(sent.starts_with(&text), "{} is no part of {}", text, sent);
            let complete = !events.iter().any(|(event_type, payload)| event_type == "messageStop" || payload.contains("toolUse"));
            prop_assert!(!complete || text == sent);
        }
    }

    #[test]
    fn converting_twice_gives_the_same_bytes(blocks in blocks(), picks in vec(0..6_usize, 1..12)) {
        let (body, events) = answer(&blocks, &picks);
        prop_assert_eq!(converted(names(), &events, Ending::Closed), converted(names(), &events, Ending::Closed));
        let once = |_| serde_json::to_string(&response(body.as_bytes(), &names(), &reply()).unwrap()).unwrap();
        prop_assert_eq!(once(1), once(2));
    }
}

proptest! {
    // A case is a stream for every prefix of it.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_grammar_holds_after_any_prefix_however_it_ends(blocks in blocks(), picks in vec(0..6_usize, 1..12)) {
        let (_, events) = answer(&blocks, &picks);
        for length in 0..=events.len() {
            for ending in [Ending::Closed, Ending::Failed] {
                let (sse, _) = converted(names(), &events[..length], ending);
                prop_assert_eq!(well_formed(&read(&sse)), Ok(()), "after {} events, {:?}", length, ending);
            }
        }
    }
}

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    names: CaseNames,
    body: Option<Box<RawValue>>,
    #[serde(default)]
    events: Vec<CaseEvent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CaseNames {
    tools: Vec<(String, String)>,
    structured_output: Option<String>,
}

#[derive(Deserialize)]
struct CaseEvent {
    event: Option<String>,
    payload: Option<Box<RawValue>>,
}

fn case(kind: &str, name: &str) -> Case {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/converse");
    let text = fs::read_to_string(root.join(kind).join(name).join("in.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn case_names(kind: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/converse").join(kind);
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl Case {
    fn names(&self) -> Names {
        Names { tools: self.names.tools.clone(), structured_output: self.names.structured_output.clone() }
    }

    fn upstream(&self) -> Vec<Upstream> {
        let steps = self.events.iter();
        steps
            .filter_map(|step| Some((step.event.clone()?, step.payload.as_ref()?.get().to_owned())))
            .collect()
    }
}

#[test]
fn fixtures_folded_equal_their_whole_twins() {
    for name in case_names("response") {
        let whole = case("response", &name);
        let body = whole.body.as_ref().unwrap().get();
        let message: Message = response(body.as_bytes(), &whole.names(), &reply()).unwrap();
        let streamed = case("stream", &name);
        let (sse, usage) = converted(streamed.names(), &streamed.upstream(), Ending::Closed);
        // As it is written: the wire has no word of its own for every reason to stop.
        let [folded, whole] =
            [&fold(read(&sse)).unwrap(), &message].map(|message| serde_json::to_value(message).unwrap());
        assert_eq!(folded, whole, "{name:?}");
        assert_eq!(usage, Usage::from_anthropic(&message.usage), "{name:?}");
    }
}

#[test]
fn fixtures_are_well_formed_after_any_prefix() {
    for name in case_names("stream") {
        let case = case("stream", &name);
        let events = case.upstream();
        for length in 0..=events.len() {
            for ending in [Ending::Closed, Ending::Failed] {
                let (sse, _) = converted(case.names(), &events[..length], ending);
                assert_eq!(well_formed(&read(&sse)), Ok(()), "{name:?} after {length} events, {ending:?}");
            }
        }
    }
}
