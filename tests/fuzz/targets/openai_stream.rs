//! Any sequence of Messages events as an OpenAI stream: well-formed SSE after any prefix, the role first, `[DONE]` behind a
//! complete answer alone, and nothing behind the end.
#![no_main]

use std::sync::OnceLock;

use convert::openai::chat::{Form, Reply, Stream, response};
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::{Input, cases};
use protocol::anthropic::Event;
use protocol::anthropic::response::Message;
use serde_json::Value;

struct Material {
    events: Vec<String>,
    messages: Vec<String>,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let read = |case: String| serde_json::from_str::<Value>(&case).expect("a case");
        let mut events = Vec::new();
        for case in cases("openai/chat/stream") {
            let case = read(case);
            events.extend(case["events"].as_array().expect("events").iter().map(ToString::to_string));
        }
        for case in cases("native/stream") {
            let case = read(case);
            let all = case["events"].as_array().expect("events");
            events.extend(all.iter().map(|event| event.as_str().expect("text").to_owned()));
        }
        let messages = cases("openai/chat/answer").into_iter().map(|case| read(case)["message"].to_string());
        Material { events, messages: messages.collect() }
    })
}

fn reply(switches: u8) -> Reply {
    let custom = if switches & 1 == 0 { Vec::new() } else { vec!["patch".to_owned(), "get".to_owned()] };
    let form = Form { custom, functions: switches & 2 != 0, include_usage: switches & 4 != 0 };
    Reply { id: "chatcmpl-1".into(), model: "the caller's \"name\"\n".into(), created: 1, form }
}

/// The chunks so far: one role, first; one reason, last.
#[derive(Default)]
struct Grammar {
    role: bool,
    reason: bool,
    over: bool,
}

impl Grammar {
    fn on(&mut self, sse: &[u8]) {
        let text = std::str::from_utf8(sse).expect("UTF-8");
        for event in text.split_terminator("\n\n") {
            assert!(!self.over, "nothing follows the end: {event}");
            let data = event.strip_prefix("data: ").expect("an event has data");
            assert!(!data.contains(['\n', '\r']), "one line an event");
            if data == "[DONE]" {
                assert!(self.reason, "an answer has a reason");
                self.over = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            if chunk.get("error").is_some() {
                self.over = true;
                continue;
            }
            let Some(choice) = chunk["choices"].get(0) else {
                assert!(self.reason && chunk["usage"].is_object(), "{data}");
                continue;
            };
            assert!(!self.reason, "nothing follows the reason: {data}");
            let role = choice["delta"].get("role").is_some();
            assert_eq!(role, !std::mem::replace(&mut self.role, true), "{data}");
            self.reason = choice["finish_reason"].is_string();
        }
        assert!(text.is_empty() || text.ends_with("\n\n"), "every event ends");
    }
}

fuzz_target!(|data: &[u8]| {
    let Material { events, messages } = material();
    let mut input = Input::new(data);
    let switches = input.byte();
    if switches >= 224 {
        let at = input.below(messages.len());
        let bytes = input.spliced(messages[at].as_bytes());
        if let Ok(message) = serde_json::from_slice::<Message>(&bytes) {
            serde_json::from_slice::<Value>(&response(&message, &reply(switches)))
                .expect("an answer is JSON");
        }
        return;
    }
    let mut stream = Stream::new(reply(switches));
    let (mut out, mut seen, mut grammar) = (Vec::new(), 0, Grammar::default());
    while !input.is_empty() {
        let (kind, at) = (input.byte(), input.below(events.len()));
        let text =
            if kind % 4 == 0 { input.spliced(events[at].as_bytes()) } else { events[at].clone().into() };
        if kind == 255 {
            stream.on_error("{\"error\":\r\n{}}", &mut out);
        } else if let Ok(text) = std::str::from_utf8(&text)
            && let Ok(event) = Event::parse(text)
        {
            stream.on_event(&event, &mut out);
        }
        grammar.on(&out[seen..]);
        seen = out.len();
    }
    stream.on_end(&mut out);
    grammar.on(&out[seen..]);
    assert!(grammar.over && stream.finished(), "every stream has an end");
});
