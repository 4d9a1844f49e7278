//! Any sequence of events through both lanes' answers: what the caller gets is well-formed SSE after any prefix, the
//! grammar of a Messages stream holds, and nothing follows the end.
#![no_main]

use std::sync::OnceLock;

use convert::Names;
use convert::converse::{Reply, Stream, response};
use convert::native::{self, Relay};
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::{Input, cases};
use protocol::anthropic::Event;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// The events of the golden cases.
struct Material {
    /// Name and payload.
    converse: Vec<(String, String)>,
    native: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    events: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    event: Option<String>,
    payload: Option<Box<RawValue>>,
}

const TYPES: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "somethingNew",
];

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let mut all = Material { converse: Vec::new(), native: Vec::new() };
        for case in cases("converse/stream") {
            let case: Case = serde_json::from_str(&case).expect("a case");
            let steps = case.events.into_iter();
            all.converse.extend(steps.filter_map(|step| Some((step.event?, step.payload?.get().to_owned()))));
        }
        for case in cases("native/stream") {
            let case: Value = serde_json::from_str(&case).expect("a case");
            let events = case["events"].as_array().expect("events");
            all.native.extend(events.iter().map(|event| event.as_str().expect("text").to_owned()));
        }
        all
    })
}

/// A line off the front.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n').expect("a line ends");
    let (line, behind) = rest.split_at(end);
    *rest = &behind[1..];
    assert!(!line.contains(&b'\r'), "a line end inside a line");
    line
}

/// Name and data of every event; what is no well-formed SSE fails.
fn events(mut sse: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while !sse.is_empty() {
        let name = line(&mut sse).strip_prefix(b"event: ").expect("an event has a name");
        let data = line(&mut sse).strip_prefix(b"data: ").expect("an event has data");
        assert!(line(&mut sse).is_empty(), "an event ends with an empty line");
        found.push((name, data));
    }
    found
}

/// One start, blocks numbered from 0 that are open when their deltas come, one end.
#[derive(Default)]
struct Grammar {
    started: bool,
    open: Vec<bool>,
    told: bool,
    over: bool,
}

impl Grammar {
    fn on(&mut self, name: &[u8], data: &[u8]) {
        let text = std::str::from_utf8(data).expect("UTF-8");
        let event = Event::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(event.name().as_bytes(), name);
        assert!(!self.over, "nothing follows the end: {text}");
        match event {
            Event::MessageStart { .. } => assert!(!std::mem::replace(&mut self.started, true), "one start"),
            Event::ContentBlockStart { index, .. } => {
                assert!(self.started && !self.told && index as usize == self.open.len(), "{text}");
                self.open.push(true);
            }
            Event::ContentBlockDelta { index, .. } => assert!(self.open[index as usize], "{text}"),
            Event::ContentBlockStop { index } => {
                assert!(std::mem::replace(&mut self.open[index as usize], false), "{text}");
            }
            Event::MessageDelta { delta, .. } => {
                assert!(self.started && !self.told && !self.open.contains(&true), "{text}");
                assert!(delta.stop_reason.is_some(), "a stop reason");
                self.told = true;
            }
            Event::MessageStop => {
                assert!(self.told, "{text}");
                self.over = true;
            }
            Event::Error { .. } => self.over = true,
            Event::Ping | Event::Unknown(_) => panic!("out of place: {text}"),
        }
    }
}

fn names() -> Names {
    Names {
        tools: vec![("short_1".into(), "the.caller's/name".into())],
        structured_output: Some("structured_output".into()),
    }
}

fn converse_lane(mut input: Input<'_>) {
    let pool = &material().converse;
    let reply = Reply { id: "msg_1".into(), model: "m".into() };
    let mut stream = Stream::new(names(), reply.clone());
    let (mut out, mut grammar) = (Vec::new(), Grammar::default());
    let mut seen = 0;
    let mut check = |out: &Vec<u8>| {
        events(&out[seen..]).into_iter().for_each(|(name, data)| grammar.on(name, data));
        seen = out.len();
    };
    while !input.is_empty() {
        let (kind, at) = (input.byte(), input.below(pool.len()));
        let (event, payload) = &pool[at];
        let outcome = match kind % 8 {
            0 => stream.on_event(TYPES[at % TYPES.len()], payload.as_bytes(), &mut out),
            1 => stream.on_event(event, &input.spliced(payload.as_bytes()), &mut out),
            2 => {
                let length = usize::from(input.byte());
                stream.on_event(TYPES[at % TYPES.len()], input.take(length), &mut out)
            }
            3 if kind > 192 => {
                stream.on_error("overloaded_error", "Overloaded\r\n\r\ndata: x", &mut out);
                Ok(())
            }
            _ => stream.on_event(event, payload.as_bytes(), &mut out),
        };
        if let Err(fault) = outcome {
            stream.on_error("api_error", &fault.message, &mut out);
        }
        check(&out);
    }
    let _ = stream.on_end(&mut out);
    check(&out);
    assert!(grammar.over, "every stream has an end");
    assert!(stream.finished());
}

/// With names, the input of one tool is the answer's text, and one event may become several.
fn native_lane(mut input: Input<'_>, names: Names) {
    let pool = &material().native;
    let plain = names == Names::default();
    let mut relay = Relay::new("the caller's \"name\"\n").with_names(names);
    let mut out = Vec::new();
    let mut owed = 0_usize;
    while !input.is_empty() && !relay.finished() {
        let (kind, at) = (input.byte(), input.below(pool.len()));
        let event = match kind % 4 {
            0 => {
                let length = usize::from(input.byte());
                input.take(length).to_vec()
            }
            1 => input.spliced(pool[at].as_bytes()),
            _ => pool[at].clone().into_bytes(),
        };
        let before = out.len();
        let relayed = if kind > 250 {
            relay.on_chunk(&event, &mut out)
        } else {
            let frame =
                format!("{{\"bytes\":\"{}\",\"p\":\"ab\"}}", base64_simd::STANDARD.encode_to_string(&event));
            relay.on_chunk(frame.as_bytes(), &mut out)
        };
        let got = events(&out[before..]);
        if plain {
            // The event that says why the answer ended waits for the next one.
            let left = (owed + usize::from(relayed.is_ok())).checked_sub(got.len());
            owed = left.expect("one event for one frame, and none for a fault");
            assert!(owed <= 1, "one event waits");
        }
        if serde_json::from_slice::<IgnoredAny>(&event).is_ok() {
            for (_, data) in got {
                serde_json::from_slice::<IgnoredAny>(data).expect("JSON stays JSON");
            }
        }
    }
    let _ = relay.usage();
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.byte() % 5 {
        0 => native_lane(input, Names::default()),
        2 => native_lane(input, names()),
        1 => {
            // A whole answer of any bytes has an outcome too.
            let body = input.rest();
            let reply = Reply { id: "msg_1".into(), model: "m".into() };
            let _ = response::answer(body, &names(), &reply);
            let _ = native::message(body, "m", true, &names());
        }
        _ => converse_lane(input),
    }
});
