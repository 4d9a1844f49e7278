//! Converse answers, whole and streamed, against the directories of `fixtures/converse`.
//!
//! A case is a directory: `in.json` and what comes out. `UPDATE=1 cargo test` writes what comes out; read the diff.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints spare test functions, and not what those call"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use outcrop_convert::converse::stream::Stream;
use outcrop_convert::converse::{Reply, response};
use outcrop_convert::fold::fold;
use outcrop_convert::unfold::unfold;
use outcrop_convert::{Loss, Names};
use protocol::anthropic::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    names: NamesIn,
    body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Streamed {
    #[serde(default)]
    names: NamesIn,
    events: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamesIn {
    tools: Vec<(String, String)>,
    structured_output: Option<String>,
}

/// An event of the upstream's, or its failure: type and message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    event: Option<String>,
    payload: Option<Box<RawValue>>,
    error: Option<(String, String)>,
}

#[derive(Serialize)]
struct LossOut<'a> {
    path: &'a str,
    reason: &'a str,
}

impl From<NamesIn> for Names {
    fn from(names: NamesIn) -> Self {
        Self { tools: names.tools, structured_output: names.structured_output }
    }
}

fn reply() -> Reply {
    Reply { id: "msg_0123456789abcdefghijABCD".into(), model: "the-name-the-caller-used".into() }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/converse").join(kind);
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "{} holds cases", root.display());
    cases
}

fn read<T: for<'de> Deserialize<'de>>(case: &Path) -> T {
    let text = fs::read_to_string(case.join("in.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

/// Compares, or writes with `UPDATE=1`. An expectation of `None` is a file that must not be there.
fn check(case: &Path, file: &str, actual: Option<&str>, failed: &mut Vec<String>) {
    let path = case.join(file);
    if std::env::var_os("UPDATE").is_some() {
        match actual {
            Some(text) => fs::write(&path, text).unwrap(),
            None if path.exists() => fs::remove_file(&path).unwrap(),
            None => {}
        }
    }
    let expected = fs::read_to_string(&path).ok();
    if expected.as_deref() != actual {
        failed.push(format!("{}: expected {expected:#?}, got {actual:#?}", path.display()));
    }
}

fn losses(losses: &[Loss]) -> Option<String> {
    let out: Vec<_> = losses.iter().map(|loss| LossOut { path: &loss.path, reason: loss.reason }).collect();
    (!out.is_empty()).then(|| serde_json::to_string_pretty(&out).unwrap() + "\n")
}

#[test]
fn whole_answers_are_converted_as_the_fixtures_say() {
    let mut failed = Vec::new();
    for case in cases("response") {
        let Whole { names, body } = read(&case);
        let answer = response::answer(body.get().as_bytes(), &names.into(), &reply()).unwrap();
        let message = serde_json::to_string_pretty(&answer.message).unwrap() + "\n";
        check(&case, "out.json", Some(&message), &mut failed);
        check(&case, "losses.json", losses(&answer.losses).as_deref(), &mut failed);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn streams_are_converted_as_the_fixtures_say() {
    let mut failed = Vec::new();
    for case in cases("stream") {
        let Streamed { names, events } = read(&case);
        let mut stream = Stream::new(names.into(), reply());
        let mut out = Vec::new();
        for step in events {
            if let (Some(event), Some(payload)) = (step.event, step.payload)
                && let Err(fault) = stream.on_event(&event, payload.get().as_bytes(), &mut out)
            {
                stream.on_error("api_error", &fault.message, &mut out);
            }
            if let Some((kind, message)) = step.error {
                stream.on_error(&kind, &message, &mut out);
            }
        }
        let complete = stream.on_end(&mut out).is_ok() && stream.machine().stop_reason().is_some();
        let out = String::from_utf8(out).unwrap();
        assert!(stream.finished());
        assert_eq!(complete, out.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", case.display());
        assert_eq!(!complete, out.contains("event: error\n"), "{}", case.display());
        assert!(!out.contains("[DONE]") && !out.contains("secret"), "{}", case.display());
        check(&case, "out.sse", Some(&out), &mut failed);
        check(&case, "losses.json", losses(stream.machine().losses()).as_deref(), &mut failed);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_whole_answer_that_is_unfolded_folds_back_to_itself() {
    for case in cases("response") {
        let Whole { names, body } = read(&case);
        let message = response(body.get().as_bytes(), &names.into(), &reply()).unwrap();
        let mut out = Vec::new();
        unfold(message.clone(), &mut |event: Event<'_>| event.write_sse(&mut out));
        let out = String::from_utf8(out).unwrap();
        let data = out.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<_> = data.map(|data| Event::parse(data).unwrap()).collect();
        assert!(matches!(events.last(), Some(Event::MessageStop)), "{}", case.display());
        // As it is written: the wire has no word of its own for every reason to stop.
        let [folded, message] =
            [fold(events).unwrap(), message].map(|message| serde_json::to_value(message).unwrap());
        assert_eq!(folded, message, "{}", case.display());
    }
}

#[test]
fn every_whole_answer_has_a_streamed_twin() {
    let names = |kind| -> BTreeSet<_> {
        cases(kind).into_iter().map(|case| case.file_name().unwrap().to_owned()).collect()
    };
    let missing: Vec<_> = names("response").difference(&names("stream")).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_answer_is_complete_as_soon_as_stop_and_figures_are_there_in_either_order() {
    let stop = ("messageStop", r#"{"stopReason":"end_turn"}"#);
    let metadata = ("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}"#);
    for order in [[stop, metadata], [metadata, stop]] {
        let mut stream = Stream::new(Names::default(), reply());
        let mut out = Vec::new();
        for (event, payload) in order {
            assert!(!stream.finished());
            stream.on_event(event, payload.as_bytes(), &mut out).unwrap();
        }
        assert!(stream.finished());
    }
}
