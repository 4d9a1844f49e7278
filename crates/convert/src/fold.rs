//! A stream of Messages events becomes the message that it spells, as a client would gather it.
//!
//! For those who asked upstream for a stream and owe their caller a whole answer, and for the law that a converted
//! stream says what the converted whole answer says.

use std::fmt;

use protocol::anthropic::response::{Block, ErrorDetail, Json, Message, Usage};
use protocol::anthropic::{Delta, Event};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// Why a stream spells no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The stream ended with an `error` event.
    Failed(ErrorDetail),
    /// The stream ended before `message_stop`.
    Unfinished,
    /// An event came where it cannot be.
    OutOfPlace(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{}: {}", error.kind, error.message),
            Self::Unfinished => f.write_str("the stream ended before message_stop"),
            Self::OutOfPlace(what) => write!(f, "{what} out of place"),
        }
    }
}

impl std::error::Error for Error {}

/// The message of a complete stream.
pub fn fold<'a>(events: impl IntoIterator<Item = Event<'a>>) -> Result<Message, Error> {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event)?;
    }
    fold.finish()
}

/// A message in the making.
#[derive(Debug, Default)]
pub struct Fold {
    message: Option<Message>,
    /// Per block: whether it is open, and the JSON text of its input so far.
    blocks: Vec<(bool, String)>,
    over: bool,
}

impl Fold {
    /// Takes in an event. Pings, and events and deltas that this build does not know, change nothing.
    pub fn push(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Ping | Event::Unknown(_) => Ok(()),
            Event::Error { error, .. } => Err(Error::Failed(error)),
            _ if self.over => Err(Error::OutOfPlace("an event after message_stop")),
            Event::MessageStart { message } => {
                if self.message.is_some() {
                    return Err(Error::OutOfPlace("a second message_start"));
                }
                self.blocks = message.content.iter().map(|_| (false, String::new())).collect();
                self.message = Some(*message);
                Ok(())
            }
            Event::ContentBlockStart { index, content_block } => {
                let content =
                    &mut self.message.as_mut().ok_or(Error::OutOfPlace("content_block_start"))?.content;
                if index as usize != content.len() {
                    return Err(Error::OutOfPlace("the index of a content_block_start"));
                }
                content.push(content_block);
                self.blocks.push((true, String::new()));
                Ok(())
            }
            Event::ContentBlockDelta { index, delta } => self.delta(index, delta),
            Event::ContentBlockStop { index } => self.block_stop(index),
            Event::MessageDelta { delta, usage } => {
                let message = self.message.as_mut().ok_or(Error::OutOfPlace("message_delta"))?;
                message.stop_reason = delta.stop_reason.or(message.stop_reason.take());
                message.stop_sequence = delta.stop_sequence.or(message.stop_sequence.take());
                message.stop_details = delta.stop_details.or(message.stop_details.take());
                message.container = delta.container.or(message.container.take());
                merge(&mut message.usage, *usage);
                Ok(())
            }
            Event::MessageStop => {
                if self.message.is_none() || self.blocks.iter().any(|(open, _)| *open) {
                    return Err(Error::OutOfPlace("message_stop"));
                }
                self.over = true;
                Ok(())
            }
        }
    }

    /// The message, if the stream was complete.
    pub fn finish(self) -> Result<Message, Error> {
        self.message.filter(|_| self.over).ok_or(Error::Unfinished)
    }

    fn delta(&mut self, index: u32, delta: Delta<'_>) -> Result<(), Error> {
        let out_of_place = Error::OutOfPlace("a content_block_delta");
        let open = self.blocks.get_mut(index as usize).filter(|(open, _)| *open);
        let block = self.message.as_mut().and_then(|message| message.content.get_mut(index as usize));
        let (Some((_, json)), Some(block)) = (open, block) else { return Err(out_of_place) };
        match (delta, block) {
            (Delta::TextDelta { text }, Block::Text(block)) => block.text.push_str(&text),
            (Delta::CitationsDelta { citation }, Block::Text(block)) => {
                block.citations.get_or_insert_default().push(citation);
            }
            (Delta::ThinkingDelta { thinking }, Block::Thinking(block)) => block.thinking.push_str(&thinking),
            (Delta::SignatureDelta { signature }, Block::Thinking(block)) => {
                block.signature = signature.into_owned();
            }
            (
                Delta::InputJsonDelta { partial_json },
                Block::ToolUse(_) | Block::ServerToolUse(_) | Block::Unknown(_),
            ) => json.push_str(&partial_json),
            (Delta::Unknown(_), _) | (_, Block::Unknown(_)) => {}
            (
                Delta::TextDelta { .. }
                | Delta::CitationsDelta { .. }
                | Delta::ThinkingDelta { .. }
                | Delta::SignatureDelta { .. }
                | Delta::InputJsonDelta { .. },
                _,
            ) => return Err(out_of_place),
        }
        Ok(())
    }

    fn block_stop(&mut self, index: u32) -> Result<(), Error> {
        let open = self.blocks.get_mut(index as usize).filter(|(open, _)| *open);
        let block = self.message.as_mut().and_then(|message| message.content.get_mut(index as usize));
        let (Some((open, json)), Some(block)) = (open, block) else {
            return Err(Error::OutOfPlace("a content_block_stop"));
        };
        *open = false;
        let json = std::mem::take(json);
        if json.is_empty() {
            return Ok(());
        }
        match block {
            Block::ToolUse(call) | Block::ServerToolUse(call) => call.input = input(&json),
            Block::Unknown(call) => {
                if let Some(filled) = with_input(call, &input(&json)) {
                    *call = filled;
                }
            }
            Block::Text(_) | Block::Thinking(_) | Block::RedactedThinking(_) => {}
        }
        Ok(())
    }
}

/// The input of a call. A call that was cut off keeps its text, under a name that no tool takes for an argument.
fn input(text: &str) -> Json {
    Json::parse(text.to_owned()).unwrap_or_else(|_| partial(text))
}

/// Text that should have been a call's input.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial<'a> {
    #[serde(borrow)]
    partial_json: std::borrow::Cow<'a, str>,
}

/// An object that keeps text which is no input.
pub(crate) fn partial(text: &str) -> Json {
    let partial = serde_json::to_string(&Partial { partial_json: text.into() });
    partial.and_then(Json::parse).unwrap_or_else(|_| Json::empty_object())
}

/// The text that [`partial`] kept, where an input is such an object.
pub(crate) fn kept(input: &Json) -> Option<String> {
    let text = input.get();
    if !text.contains("\"partial_json\"") {
        return None;
    }
    let partial = serde_json::from_str::<Partial<'_>>(text).ok()?;
    // Text that is JSON was never kept this way: a tool may have such an argument.
    let cut = serde_json::from_str::<serde::de::IgnoredAny>(&partial.partial_json).is_err();
    cut.then(|| partial.partial_json.into_owned())
}

/// A block that this build does not know, with its input filled in: its other members as they were, in their order.
fn with_input(block: &Json, input: &Json) -> Option<Json> {
    let mut members: Members = serde_json::from_str(block.get()).ok()?;
    let raw = RawValue::from_string(input.get().to_owned()).ok()?;
    match members.0.iter_mut().find(|(name, _)| name == "input") {
        Some((_, value)) => *value = raw,
        None => members.0.push(("input".to_owned(), raw)),
    }
    serde_json::to_string(&members).and_then(Json::parse).ok()
}

/// The members of an object, in order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Takes in a later report: figures are cumulative, so of each the larger counts; of the rest, the later.
pub(crate) fn merge(usage: &mut Usage, later: Usage) {
    usage.input_tokens = usage.input_tokens.max(later.input_tokens);
    usage.cache_creation_input_tokens =
        usage.cache_creation_input_tokens.max(later.cache_creation_input_tokens);
    usage.cache_read_input_tokens = usage.cache_read_input_tokens.max(later.cache_read_input_tokens);
    usage.output_tokens = usage.output_tokens.max(later.output_tokens);
    usage.cache_creation = later.cache_creation.or(usage.cache_creation);
    usage.output_tokens_details = later.output_tokens_details.or(usage.output_tokens_details);
    usage.server_tool_use = later.server_tool_use.or(usage.server_tool_use.take());
    usage.service_tier = later.service_tier.or(usage.service_tier.take());
    usage.inference_geo = later.inference_geo.or(usage.inference_geo.take());
    usage.speed = later.speed.or(usage.speed.take());
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":2230,"output_tokens":1}}}"#;

    fn folded(lines: &[&str]) -> Result<Message, Error> {
        fold([START].iter().chain(lines).map(|line| Event::parse(line).unwrap()))
    }

    #[test]
    fn input_of_an_unknown_kind_of_call_is_gathered_and_its_members_keep_their_order() {
        let message = folded(&[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"mcp_tool_use","server_name":"s","input":{},"id":"1"}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"b\": 1.0,"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\"a\":2}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_stop"}"#,
        ]);
        let expected = r#"{"type":"mcp_tool_use","server_name":"s","input":{"b": 1.0,"a":2},"id":"1"}"#;
        assert!(matches!(&message.unwrap().content[0], Block::Unknown(block) if block.get() == expected));
    }

    #[test]
    fn a_call_that_was_cut_off_keeps_its_text() {
        let message = folded(&[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"1","name":"n","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"path\": \"/a"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":12284,"output_tokens":9}}"#,
            r#"{"type":"message_stop"}"#,
        ])
        .unwrap();
        let Block::ToolUse(call) = &message.content[0] else { panic!("{message:?}") };
        assert_eq!(call.input.get(), r#"{"partial_json":"{\"path\": \"/a"}"#);
        assert_eq!(message.usage.input_tokens, Some(12284), "the larger figure, not the sum");
    }

    #[test]
    fn a_stream_that_breaks_off_or_fails_spells_no_message() {
        assert_eq!(folded(&[]), Err(Error::Unfinished));
        let failed =
            folded(&[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#]);
        assert!(matches!(failed, Err(Error::Failed(error)) if error.kind == "overloaded_error"));
    }

    #[test]
    fn events_out_of_place_are_errors() {
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
        for lines in [
            vec![START],
            vec![r#"{"type":"content_block_stop","index":0}"#],
            vec![start, start],
            vec![start, r#"{"type":"message_stop"}"#],
            vec![
                start,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}"#,
            ],
            vec![r#"{"type":"message_stop"}"#, start],
        ] {
            assert!(matches!(folded(&lines), Err(Error::OutOfPlace(_))), "{lines:?}");
        }
    }
}
