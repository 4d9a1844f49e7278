//! The events of a streamed response:
//! <https://developers.openai.com/api/reference/resources/responses/streaming-events>.
//!
//! Clients read the JSON and not the `event:` line, so that every event says its `type`, and its `sequence_number`.

use serde::Serialize;

use super::response::{Annotation, OutputItem, OutputPart, Response, SummaryPart};
use crate::sse;

/// One event, but for its number.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
#[expect(missing_docs, reason = "the members are the vendor's; those of the response say what they are")]
pub enum Event<'a> {
    /// The response has begun.
    #[serde(rename = "response.created")]
    Created { response: &'a Response<'a> },
    /// The model is at work.
    #[serde(rename = "response.in_progress")]
    InProgress { response: &'a Response<'a> },
    /// All is there.
    #[serde(rename = "response.completed")]
    Completed { response: &'a Response<'a> },
    /// It was cut off.
    #[serde(rename = "response.incomplete")]
    Incomplete { response: &'a Response<'a> },
    /// It ended by failure.
    #[serde(rename = "response.failed")]
    Failed { response: &'a Response<'a> },
    /// An item begins.
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: usize, item: &'a OutputItem },
    /// An item is complete.
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: usize, item: &'a OutputItem },
    /// A part of a message begins.
    #[serde(rename = "response.content_part.added")]
    PartAdded { item_id: &'a str, output_index: usize, content_index: usize, part: &'a OutputPart },
    /// A part of a message is complete.
    #[serde(rename = "response.content_part.done")]
    PartDone { item_id: &'a str, output_index: usize, content_index: usize, part: &'a OutputPart },
    /// More text.
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
        logprobs: [(); 0],
    },
    /// The text is complete.
    #[serde(rename = "response.output_text.done")]
    TextDone { item_id: &'a str, output_index: usize, content_index: usize, text: &'a str, logprobs: [(); 0] },
    /// Where a stretch of the text comes from.
    #[serde(rename = "response.output_text.annotation.added")]
    AnnotationAdded {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        annotation_index: usize,
        annotation: &'a Annotation,
    },
    /// More arguments of a function.
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta { item_id: &'a str, output_index: usize, delta: &'a str },
    /// The arguments are complete.
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone { item_id: &'a str, output_index: usize, arguments: &'a str },
    /// More input of a tool that takes text.
    #[serde(rename = "response.custom_tool_call_input.delta")]
    InputDelta { item_id: &'a str, output_index: usize, delta: &'a str },
    /// The input is complete.
    #[serde(rename = "response.custom_tool_call_input.done")]
    InputDone { item_id: &'a str, output_index: usize, input: &'a str },
    /// A part of a summary begins.
    #[serde(rename = "response.reasoning_summary_part.added")]
    SummaryAdded { item_id: &'a str, output_index: usize, summary_index: usize, part: &'a SummaryPart },
    /// A part of a summary is complete.
    #[serde(rename = "response.reasoning_summary_part.done")]
    SummaryDone { item_id: &'a str, output_index: usize, summary_index: usize, part: &'a SummaryPart },
    /// More of a summary.
    #[serde(rename = "response.reasoning_summary_text.delta")]
    SummaryTextDelta { item_id: &'a str, output_index: usize, summary_index: usize, delta: &'a str },
    /// The text of a summary is complete.
    #[serde(rename = "response.reasoning_summary_text.done")]
    SummaryTextDone { item_id: &'a str, output_index: usize, summary_index: usize, text: &'a str },
    /// Something went wrong.
    #[serde(rename = "error")]
    Error { code: Option<&'a str>, message: &'a str, param: Option<&'a str> },
}

impl Event<'_> {
    /// The name for the `event:` line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
            Self::Failed { .. } => "response.failed",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::AnnotationAdded { .. } => "response.output_text.annotation.added",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::InputDelta { .. } => "response.custom_tool_call_input.delta",
            Self::InputDone { .. } => "response.custom_tool_call_input.done",
            Self::SummaryAdded { .. } => "response.reasoning_summary_part.added",
            Self::SummaryDone { .. } => "response.reasoning_summary_part.done",
            Self::SummaryTextDelta { .. } => "response.reasoning_summary_text.delta",
            Self::SummaryTextDone { .. } => "response.reasoning_summary_text.done",
            Self::Error { .. } => "error",
        }
    }

    /// Appends the event as SSE.
    pub fn write_sse(&self, sequence_number: u64, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Numbered<'a> {
            #[serde(flatten)]
            event: &'a Event<'a>,
            sequence_number: u64,
        }
        sse::write_event(out, self.name(), &Numbered { event: self, sequence_number });
    }
}
