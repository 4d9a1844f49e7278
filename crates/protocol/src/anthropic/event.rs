//! The events of a streamed answer: <https://platform.claude.com/docs/en/build-with-claude/streaming>.
//!
//! The text of a delta is borrowed where it can be, and what comes once a stream is boxed: deltas are what a stream
//! consists of, and they are handed on by value.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::response::{Block, Citation, ErrorDetail, Json, Message, StopReason, Usage, tag};
use crate::sse;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The message, without content.
    MessageStart {
        /// No content, no stop reason yet.
        message: Box<Message>,
    },
    /// A block begins.
    ContentBlockStart {
        /// The block's place in the message, from 0 without gaps.
        index: u32,
        /// The block, empty but for what never comes in deltas.
        content_block: Block,
    },
    /// More of a block.
    ContentBlockDelta {
        /// The block's place.
        index: u32,
        /// What to add.
        delta: Delta<'a>,
    },
    /// A block is complete.
    ContentBlockStop {
        /// The block's place.
        index: u32,
    },
    /// How the message ended.
    MessageDelta {
        /// Stop reason and the like.
        delta: MessageDelta,
        /// Cumulative.
        #[serde(default)]
        usage: Box<Usage>,
    },
    /// The end: nothing follows.
    MessageStop,
    /// Keeps the connection alive.
    Ping,
    /// The end, by failure.
    Error {
        /// What went wrong.
        error: ErrorDetail,
        /// The id of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// An event that this build does not know, whole.
    #[serde(untagged)]
    Unknown(Json),
}

/// What a `content_block_delta` adds to its block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta<'a> {
    /// To the text of a text block.
    TextDelta {
        /// A piece of the text.
        text: Cow<'a, str>,
    },
    /// To the input of a tool call.
    InputJsonDelta {
        /// A piece of JSON text, cut anywhere.
        partial_json: Cow<'a, str>,
    },
    /// To the text of a thinking block.
    ThinkingDelta {
        /// A piece of the text.
        thinking: Cow<'a, str>,
    },
    /// The signature of a thinking block, whole: clients assign it and do not append.
    SignatureDelta {
        /// The signature.
        signature: Cow<'a, str>,
    },
    /// One more citation of a text block.
    CitationsDelta {
        /// The citation.
        citation: Citation,
    },
    /// A delta that this build does not know, whole.
    #[serde(untagged)]
    Unknown(Json),
}

/// How a message ended, as far as it is known by now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDelta {
    /// Why it ended. Always sent.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// The stop sequence that matched. Always sent, `null` included.
    #[serde(default)]
    pub stop_sequence: Option<String>,
    /// Details of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<Json>,
    /// The container that code ran in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Json>,
}

/// A member that is borrowed from the text it was read from, unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Event<'a> {
    /// Reads the `data` of an event. The type counts, not the name in the `event:` line.
    pub fn parse(data: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Start {
            message: Box<Message>,
        }
        #[derive(Deserialize)]
        struct BlockStart {
            index: u32,
            content_block: Block,
        }
        #[derive(Deserialize)]
        struct BlockDelta<'a> {
            index: u32,
            #[serde(borrow)]
            delta: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct BlockStop {
            index: u32,
        }
        #[derive(Deserialize)]
        struct End {
            delta: MessageDelta,
            #[serde(default)]
            usage: Box<Usage>,
        }
        #[derive(Deserialize)]
        struct Failure {
            error: ErrorDetail,
            #[serde(default)]
            request_id: Option<String>,
        }
        Ok(match tag(data)?.as_ref() {
            "message_start" => Self::MessageStart { message: serde_json::from_str::<Start>(data)?.message },
            "content_block_start" => {
                let BlockStart { index, content_block } = serde_json::from_str(data)?;
                Self::ContentBlockStart { index, content_block }
            }
            "content_block_delta" => {
                let BlockDelta { index, delta } = serde_json::from_str(data)?;
                Self::ContentBlockDelta { index, delta: Delta::parse(delta.get())? }
            }
            "content_block_stop" => {
                Self::ContentBlockStop { index: serde_json::from_str::<BlockStop>(data)?.index }
            }
            "message_delta" => {
                let End { delta, usage } = serde_json::from_str(data)?;
                Self::MessageDelta { delta, usage }
            }
            "message_stop" => Self::MessageStop,
            "ping" => Self::Ping,
            "error" => {
                let Failure { error, request_id } = serde_json::from_str(data)?;
                Self::Error { error, request_id }
            }
            _ => Self::Unknown(Json::parse(data.to_owned())?),
        })
    }

    /// The name for the `event:` line.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error { .. } => "error",
            Self::Unknown(event) => return tag(event.get()).unwrap_or_default(),
        })
    }

    /// Appends the event as SSE.
    ///
    /// Deltas are spelled out by hand: a stream consists of them, and a write for every token of their JSON costs
    /// more than reading them did.
    pub fn write_sse(&self, out: &mut Vec<u8>) {
        if let Self::ContentBlockDelta { index, delta } = self
            && let Some((kind, text)) = delta.piece()
        {
            out.extend_from_slice(
                b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
            );
            sse::write_json(out, index);
            out.extend_from_slice(kind);
            sse::write_json(out, text);
            out.extend_from_slice(b"}}\n\n");
        } else {
            sse::write_event(out, &self.name(), self);
        }
    }

    /// The event without its borrows.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::MessageStart { message } => Event::MessageStart { message },
            Self::ContentBlockStart { index, content_block } => {
                Event::ContentBlockStart { index, content_block }
            }
            Self::ContentBlockDelta { index, delta } => {
                Event::ContentBlockDelta { index, delta: delta.into_owned() }
            }
            Self::ContentBlockStop { index } => Event::ContentBlockStop { index },
            Self::MessageDelta { delta, usage } => Event::MessageDelta { delta, usage },
            Self::MessageStop => Event::MessageStop,
            Self::Ping => Event::Ping,
            Self::Error { error, request_id } => Event::Error { error, request_id },
            Self::Unknown(event) => Event::Unknown(event),
        }
    }
}

impl<'de> Deserialize<'de> for Event<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Box::<RawValue>::deserialize(deserializer)?;
        Event::parse(data.get()).map(Event::into_owned).map_err(D::Error::custom)
    }
}

impl<'a> Delta<'a> {
    /// Reads the `delta` of a `content_block_delta`.
    pub fn parse(object: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Text<'a> {
            #[serde(borrow)]
            text: Borrowed<'a>,
        }
        #[derive(Deserialize)]
        struct InputJson<'a> {
            #[serde(borrow)]
            partial_json: Borrowed<'a>,
        }
        #[derive(Deserialize)]
        struct Thinking<'a> {
            #[serde(borrow)]
            thinking: Borrowed<'a>,
        }
        #[derive(Deserialize)]
        struct Signature<'a> {
            #[serde(borrow)]
            signature: Borrowed<'a>,
        }
        #[derive(Deserialize)]
        struct Citations {
            citation: Citation,
        }
        Ok(match tag(object)?.as_ref() {
            "text_delta" => Self::TextDelta { text: serde_json::from_str::<Text<'_>>(object)?.text.0 },
            "input_json_delta" => {
                let InputJson { partial_json } = serde_json::from_str(object)?;
                Self::InputJsonDelta { partial_json: partial_json.0 }
            }
            "thinking_delta" => {
                Self::ThinkingDelta { thinking: serde_json::from_str::<Thinking<'_>>(object)?.thinking.0 }
            }
            "signature_delta" => {
                Self::SignatureDelta { signature: serde_json::from_str::<Signature<'_>>(object)?.signature.0 }
            }
            "citations_delta" => {
                Self::CitationsDelta { citation: serde_json::from_str::<Citations>(object)?.citation }
            }
            _ => Self::Unknown(Json::parse(object.to_owned())?),
        })
    }

    /// The JSON between the index and the text, and the text, of a delta that has nothing else.
    fn piece(&self) -> Option<(&'static [u8], &str)> {
        match self {
            Self::TextDelta { text } => Some((br#","delta":{"type":"text_delta","text":"#, text)),
            Self::InputJsonDelta { partial_json } => {
                Some((br#","delta":{"type":"input_json_delta","partial_json":"#, partial_json))
            }
            Self::ThinkingDelta { thinking } => {
                Some((br#","delta":{"type":"thinking_delta","thinking":"#, thinking))
            }
            Self::SignatureDelta { .. } | Self::CitationsDelta { .. } | Self::Unknown(_) => None,
        }
    }

    /// The delta without its borrows.
    pub fn into_owned(self) -> Delta<'static> {
        match self {
            Self::TextDelta { text } => Delta::TextDelta { text: Cow::Owned(text.into_owned()) },
            Self::InputJsonDelta { partial_json } => {
                Delta::InputJsonDelta { partial_json: Cow::Owned(partial_json.into_owned()) }
            }
            Self::ThinkingDelta { thinking } => {
                Delta::ThinkingDelta { thinking: Cow::Owned(thinking.into_owned()) }
            }
            Self::SignatureDelta { signature } => {
                Delta::SignatureDelta { signature: Cow::Owned(signature.into_owned()) }
            }
            Self::CitationsDelta { citation } => Delta::CitationsDelta { citation },
            Self::Unknown(delta) => Delta::Unknown(delta),
        }
    }
}

impl<'de> Deserialize<'de> for Delta<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Box::<RawValue>::deserialize(deserializer)?;
        Delta::parse(object.get()).map(Delta::into_owned).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Anthropic's documentation shows, one event a line.
    const DOCUMENTED: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}
{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
{"type":"ping"}
{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello \"you\"\n"}}
{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"c","document_index":0,"document_title":null,"start_char_index":1,"end_char_index":2}}}
{"type":"content_block_stop","index":0}
{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"get","input":{}}}
{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a"}}
{"type":"content_block_start","index":2,"content_block":{"type":"thinking","thinking":"","signature":""}}
{"type":"content_block_delta","index":2,"delta":{"type":"thinking_delta","thinking":"hm"}}
{"type":"content_block_delta","index":2,"delta":{"type":"signature_delta","signature":"c2ln"}}
{"type":"content_block_start","index":3,"content_block":{"type":"redacted_thinking","data":"AAEC"}}
{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}
{"type":"message_stop"}
{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

    #[test]
    fn documented_events_are_written_as_they_were_read() {
        for line in DOCUMENTED.lines() {
            let event = Event::parse(line).unwrap();
            assert!(!matches!(event, Event::Unknown(_)), "{line}");
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!(serde_json::from_str::<Event<'static>>(line).unwrap(), event);
            let mut sse = Vec::new();
            event.write_sse(&mut sse);
            assert_eq!(String::from_utf8(sse).unwrap(), format!("event: {}\ndata: {line}\n\n", event.name()));
            assert!(line.starts_with(&format!("{{\"type\":\"{}\"", event.name())));
        }
    }

    #[test]
    fn what_is_not_known_is_kept_whole() {
        for line in [
            r#"{"type":"tomorrow","z":1.50,"a":[ ]}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"x"}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"mcp_tool_use","z":1,"a":2.0}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"compaction","stop_sequence":null},"usage":{"output_tokens":1}}"#,
        ] {
            let event = Event::parse(line).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
        }
    }

    #[test]
    fn a_malformed_known_block_is_an_error_and_not_unknown() {
        for line in [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text"}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"text":"no type"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}"#,
        ] {
            assert!(Event::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_text_of_a_delta_is_borrowed_unless_it_has_escapes() {
        let plain = r#"{"type":"text_delta","text":"plain"}"#;
        assert!(matches!(Delta::parse(plain), Ok(Delta::TextDelta { text: Cow::Borrowed("plain") })));
        let escaped = r#"{"type":"text_delta","text":"\n"}"#;
        assert!(matches!(Delta::parse(escaped), Ok(Delta::TextDelta { text: Cow::Owned(_) })));
    }

    #[test]
    fn null_usage_members_are_read_as_absent() {
        let line = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"container":null},"usage":{"input_tokens":null,"output_tokens":2,"cache_creation":null}}"#;
        let Event::MessageDelta { delta, usage } = Event::parse(line).unwrap() else { panic!("{line}") };
        assert_eq!((delta.container, usage.input_tokens, usage.output_tokens), (None, None, Some(2)));
    }
}
