//! Any request of the Responses API and any answer to it: nothing panics, what leaves is a Messages body that reads, the
//! same request gives the same bytes, and events are numbered, one line each, and end once.
#![no_main]

use std::sync::OnceLock;

use convert::openai::responses::{
    Asked, History, Options, Reply, Stream, Turn, compact, parse, request, turn, wants,
};
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::{Input, cases};
use protocol::anthropic::Event;
use serde_json::Value;

struct Material {
    requests: Vec<String>,
    /// Events, one a line.
    answers: Vec<String>,
    turns: Vec<String>,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let read = |case: String| -> Value { serde_json::from_str(&case).expect("a case") };
        let requests: Vec<Value> = cases("openai/responses/request").into_iter().map(read).collect();
        let answers = cases("openai/responses/answer").into_iter().map(read).map(|case| {
            if let Some(message) = case.get("message") {
                let mut lines = String::new();
                let message = serde_json::from_value(message.clone()).expect("a message");
                convert::unfold::unfold(message, &mut |event: Event<'_>| {
                    lines += &serde_json::to_string(&event).expect("writes");
                    lines.push('\n');
                });
                return lines;
            }
            let events = case["events"].as_array().expect("events");
            events.iter().map(|event| format!("{event}\n")).collect()
        });
        Material {
            turns: requests
                .iter()
                .flat_map(|case| case.get("turns").and_then(Value::as_array).into_iter().flatten())
                .map(Value::to_string)
                .collect(),
            requests: requests.iter().map(|case| case["request"].to_string()).collect(),
            answers: answers.collect(),
        }
    })
}

fn reply() -> Reply {
    Reply { id: "resp_0".to_owned(), model: "m".to_owned(), created: 1 }
}

fn asked(text: &str, options: &Options<'_>) -> Option<Asked> {
    let parsed = parse(text).ok()?;
    let _ = wants(&parsed);
    if let Ok(compacting) = compact::request(&parsed, options, &reply()) {
        protocol::anthropic::parse(std::str::from_utf8(&compacting.asked.body).expect("UTF-8"))
            .expect("a body");
    }
    let asked = request(text, options).ok()?;
    let body = std::str::from_utf8(&asked.body).expect("UTF-8");
    protocol::anthropic::parse(body).expect("what leaves is a Messages body");
    let again = request(text, options).expect("the same again");
    assert_eq!(again.body, asked.body, "the same request gives the same bytes");
    Some(asked)
}

fn answer(asked: &Asked, events: &str) {
    let mut stream = Stream::new(asked.recall.clone(), reply());
    let mut out = Vec::new();
    for line in events.lines() {
        match Event::parse(line) {
            Ok(event) => stream.on_event(&event, &mut out),
            Err(_) => stream.on_error(line, &mut out),
        }
    }
    stream.on_end(&mut out);
    assert!(stream.finished());
    let told = std::str::from_utf8(&out).expect("UTF-8");
    let mut ends = 0;
    for (number, event) in told.split_terminator("\n\n").enumerate() {
        let data = event.split_once("\ndata: ").expect("a line of data").1;
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert!(!event[event.find('\n').expect("two lines") + 1..].contains('\n'), "data is one line");
        assert_eq!(data["sequence_number"], number);
        ends += usize::from(matches!(
            data["type"].as_str(),
            Some("response.completed" | "response.incomplete" | "response.failed")
        ));
    }
    assert_eq!(ends, 1);
    let response = serde_json::to_string(&stream.response()).expect("writes");
    let said: Value = serde_json::from_str(&response).expect("JSON");
    // Nobody goes on from a response that failed.
    if asked.store && said["status"] == "failed" {
        assert!(turn::stored(&asked.input, &response).is_none());
    } else if asked.store {
        let stored = turn::stored(&asked.input, &response).expect("a turn");
        let stored = String::from_utf8(stored).expect("UTF-8");
        Turn::read(&stored).expect("what was stored is read").items().expect("and its items are");
    }
}

fuzz_target!(|data: &[u8]| {
    let Material { requests, answers, turns } = material();
    let mut input = Input::new(data);
    let switches = input.byte();
    let at = input.below(requests.len());
    let text = input.spliced(requests[at].as_bytes());
    let turns: Vec<_> = turns.iter().filter_map(|turn| Turn::read(turn)).collect();
    let options = Options {
        automatic_caching: switches & 1 != 0,
        state: switches & 2 == 0,
        history: History { turns: &turns, others: &turns },
        ..Options::default()
    };
    let Ok(text) = std::str::from_utf8(&text) else { return };
    let Some(asked) = asked(text, &options) else { return };
    let at = input.below(answers.len());
    let events = input.spliced(answers[at].as_bytes());
    if let Ok(events) = std::str::from_utf8(&events) {
        answer(&asked, events);
    }
});
