//! The events of ConverseStream:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html>.
//!
//! Events of text and reasoning borrow from their payload. Bedrock pads payloads with a member `p` of random
//! length; like every other unknown member it is ignored.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};

use super::response::{AdditionalFields, Citation, ServiceTier, StopReason, Str, Usage};

/// One event.
#[derive(Clone, Debug)]
pub enum StreamEvent<'a> {
    /// `messageStart`: the message begins. Its role is always `assistant`.
    MessageStart,
    /// `contentBlockStart`: comes for tool calls, and from some models, empty, for text.
    ContentBlockStart {
        /// The upstream's index: may skip, and may stay 0 throughout.
        index: u32,
        /// What begins.
        start: Start,
    },
    /// `contentBlockDelta`
    ContentBlockDelta {
        /// The upstream's index.
        index: u32,
        /// What is added.
        delta: Delta<'a>,
    },
    /// `contentBlockStop`: some models leave it out.
    ContentBlockStop {
        /// The upstream's index.
        index: u32,
    },
    /// `messageStop`: the content is complete.
    MessageStop {
        /// Why it ended.
        stop_reason: StopReason,
        /// What was asked for by `additionalModelResponseFieldPaths`.
        additional: Option<AdditionalFields>,
    },
    /// `metadata`: the last event.
    Metadata {
        /// What was used.
        usage: Option<Usage>,
        /// The tier that served.
        service_tier: Option<ServiceTier>,
    },
    /// An event that this build does not know.
    Unknown,
}

/// What begins with a `contentBlockStart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A tool call.
    ToolUse(ToolUseStart),
    /// `{}`: the deltas will tell.
    Empty,
    /// A block that Outcrop never asks for, or does not know; named by its member.
    Unknown(String),
}

/// The start of a tool call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUseStart {
    /// The call's id.
    pub tool_use_id: String,
    /// The tool's name, as it was sent up.
    pub name: String,
    /// `server_tool_use` for a tool that Bedrock runs itself.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
}

/// What a `contentBlockDelta` adds.
#[derive(Clone, Debug)]
pub enum Delta<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A piece of a tool call's input: JSON text, cut anywhere.
    ToolUse(Cow<'a, str>),
    /// Reasoning.
    Reasoning(ReasoningDelta<'a>),
    /// A citation of the text.
    Citation(Box<Citation>),
    /// A delta that Outcrop never asks for, or does not know; named by its member.
    Unknown(String),
}

/// More of a reasoning block: a union, read leniently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReasoningDelta<'a> {
    /// Text.
    #[serde(borrow)]
    pub text: Option<Str<'a>>,
    /// The signature, or a part of it.
    #[serde(borrow)]
    pub signature: Option<Str<'a>>,
    /// Encrypted reasoning, or a part of it: each part is base64 by itself.
    #[serde(borrow)]
    pub redacted_content: Option<Str<'a>>,
}

impl<'a> StreamEvent<'a> {
    /// Reads the payload of an event of type `event_type` (the frame's `:event-type` header).
    pub fn parse(event_type: &str, payload: &'a [u8]) -> Result<Self, serde_json::Error> {
        Ok(match event_type {
            "contentBlockDelta" => {
                let BlockDelta { content_block_index, delta } = serde_json::from_slice(payload)?;
                Self::ContentBlockDelta { index: content_block_index, delta }
            }
            "contentBlockStart" => {
                let BlockStart { content_block_index, start } = owned(payload)?;
                Self::ContentBlockStart { index: content_block_index, start }
            }
            "contentBlockStop" => {
                Self::ContentBlockStop { index: owned::<BlockStop>(payload)?.content_block_index }
            }
            "messageStart" => Self::MessageStart,
            "messageStop" => {
                let Stop { stop_reason, additional_model_response_fields: additional } = owned(payload)?;
                Self::MessageStop { stop_reason, additional }
            }
            "metadata" => {
                let Metadata { usage, service_tier } = owned(payload)?;
                Self::Metadata { usage, service_tier }
            }
            _ => Self::Unknown,
        })
    }
}

fn owned<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(payload)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart {
    #[serde(default)]
    content_block_index: u32,
    #[serde(default = "Start::empty")]
    start: Start,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta<'a> {
    #[serde(default)]
    content_block_index: u32,
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    stop_reason: StopReason,
    #[serde(default)]
    additional_model_response_fields: Option<AdditionalFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    service_tier: Option<ServiceTier>,
}

impl Start {
    fn empty() -> Self {
        Self::Empty
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Start;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the start of a content block")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Start, A::Error> {
                let mut start = Start::Empty;
                while let Some(Str(name)) = members.next_key::<Str<'de>>()? {
                    if name == "toolUse" {
                        start = Start::ToolUse(members.next_value()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                        if start == Start::Empty {
                            start = Start::Unknown(name.into_owned());
                        }
                    }
                }
                Ok(start)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Delta<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the delta of a content block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct ToolInput<'a> {
            #[serde(borrow)]
            input: Cow<'a, str>,
        }
        let mut delta = None;
        let mut unknown = String::new();
        while let Some(Str(name)) = members.next_key::<Str<'de>>()? {
            match name.as_ref() {
                "text" => delta = Some(Delta::Text(members.next_value::<Str<'de>>()?.0)),
                "toolUse" => delta = Some(Delta::ToolUse(members.next_value::<ToolInput<'de>>()?.input)),
                "reasoningContent" => delta = Some(Delta::Reasoning(members.next_value()?)),
                "citation" => delta = Some(Delta::Citation(members.next_value()?)),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    unknown = name.into_owned();
                }
            }
        }
        Ok(delta.unwrap_or(Delta::Unknown(unknown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(event_type: &str, payload: &'a str) -> StreamEvent<'a> {
        StreamEvent::parse(event_type, payload.as_bytes()).unwrap()
    }

    #[test]
    fn a_text_delta_is_borrowed_and_its_padding_ignored() {
        let event =
            parse("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"text":"hé"},"p":"abcdef"}"#);
        assert!(matches!(
            event,
            StreamEvent::ContentBlockDelta { index: 3, delta: Delta::Text(Cow::Borrowed("hé")) }
        ));
        let tool =
            parse("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"12"}}}"#);
        assert!(matches!(
            tool,
            StreamEvent::ContentBlockDelta { delta: Delta::ToolUse(Cow::Borrowed("12")), .. }
        ));
    }

    #[test]
    fn an_empty_start_and_an_unknown_start_are_values() {
        for payload in [r#"{"contentBlockIndex":0,"start":{},"p":"a"}"#, r#"{"contentBlockIndex":0}"#] {
            let event = parse("contentBlockStart", payload);
            assert!(matches!(event, StreamEvent::ContentBlockStart { index: 0, start: Start::Empty }));
        }
        let image =
            parse("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"image":{"format":"png"}}}"#);
        let StreamEvent::ContentBlockStart { start: Start::Unknown(name), .. } = image else {
            panic!("{image:?}")
        };
        assert_eq!(name, "image");
    }

    #[test]
    fn unknown_events_and_deltas_are_values() {
        assert!(matches!(parse("tomorrow", "not even JSON"), StreamEvent::Unknown));
        let delta = parse("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"smell":{"x":[]}}}"#);
        let StreamEvent::ContentBlockDelta { delta: Delta::Unknown(name), .. } = delta else {
            panic!("{delta:?}")
        };
        assert_eq!(name, "smell");
    }

    #[test]
    fn a_malformed_known_event_is_an_error() {
        for (event_type, payload) in [
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":7}}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":0}"#),
            ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"name":"n"}}}"#),
            ("messageStop", "{}"),
            ("contentBlockDelta", "{"),
        ] {
            assert!(StreamEvent::parse(event_type, payload.as_bytes()).is_err(), "{payload}");
        }
    }
}
