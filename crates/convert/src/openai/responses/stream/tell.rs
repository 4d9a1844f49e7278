//! What is told of an item.

use protocol::anthropic::Delta;
use protocol::openai::responses::event::Event;
use protocol::openai::responses::response::{OutputItem, OutputPart, SummaryPart};

use super::super::building::{Building, Kind};

/// Appends an event under the next number.
pub(super) fn emit(number: &mut u64, event: &Event<'_>, out: &mut Vec<u8>) {
    event.write_sse(*number, out);
    *number += 1;
}

/// The events that end an item.
pub(super) fn done(number: &mut u64, output_index: usize, item: &OutputItem, out: &mut Vec<u8>) {
    match item {
        OutputItem::Message { id, content, .. } => {
            for (content_index, part) in content.iter().enumerate() {
                let OutputPart::OutputText { text, .. } = part;
                let item_id = id;
                let event = Event::TextDone { item_id, output_index, content_index, text, logprobs: [] };
                emit(number, &event, out);
                emit(number, &Event::PartDone { item_id, output_index, content_index, part }, out);
            }
        }
        OutputItem::Reasoning { id, summary, .. } => {
            for (summary_index, part) in summary.iter().enumerate() {
                let SummaryPart::SummaryText { text } = part;
                let item_id = id;
                emit(number, &Event::SummaryTextDone { item_id, output_index, summary_index, text }, out);
                emit(number, &Event::SummaryDone { item_id, output_index, summary_index, part }, out);
            }
        }
        OutputItem::FunctionCall { id, arguments, .. } => {
            emit(number, &Event::ArgumentsDone { item_id: id, output_index, arguments }, out);
        }
        OutputItem::CustomToolCall { id, input, .. } => {
            emit(number, &Event::InputDone { item_id: id, output_index, input }, out);
        }
        OutputItem::Compaction { .. } => {}
    }
    emit(number, &Event::ItemDone { output_index, item }, out);
}

/// Adds a delta to its item, and tells what it adds.
pub(super) fn more(
    number: &mut u64,
    output_index: usize,
    item: &mut Building,
    delta: &Delta<'_>,
    out: &mut Vec<u8>,
) {
    let item_id = &*item.id;
    match (&mut item.kind, delta) {
        (Kind::Message(said), Delta::TextDelta { text }) => {
            said.text.push_str(text);
            let event =
                Event::TextDelta { item_id, output_index, content_index: 0, delta: text, logprobs: [] };
            emit(number, &event, out);
        }
        (Kind::Message(said), Delta::CitationsDelta { citation }) => said.cite(citation.clone()),
        (Kind::Thinking { text, shown, .. }, Delta::ThinkingDelta { thinking }) => {
            if *shown && !thinking.is_empty() {
                summary(number, (item_id, output_index), text.is_empty(), thinking, out);
            }
            text.push_str(thinking);
        }
        (Kind::Thinking { signature, .. }, Delta::SignatureDelta { signature: whole }) => {
            signature.clear();
            signature.push_str(whole);
        }
        (Kind::Function { arguments, .. }, Delta::InputJsonDelta { partial_json: delta }) => {
            if !delta.is_empty() {
                arguments.push_str(delta);
                emit(number, &Event::ArgumentsDelta { item_id, output_index, delta }, out);
            }
        }
        (Kind::Custom { json, input, .. }, Delta::InputJsonDelta { partial_json }) => {
            let before = input.len();
            json.push(partial_json, input);
            let delta = &input[before..];
            if !delta.is_empty() {
                emit(number, &Event::InputDelta { item_id, output_index, delta }, out);
            }
        }
        // A delta of another kind than its block's: nobody knows what it would add to.
        (
            Kind::Message(_)
            | Kind::Thinking { .. }
            | Kind::Redacted(_)
            | Kind::Function { .. }
            | Kind::Custom { .. },
            Delta::TextDelta { .. }
            | Delta::CitationsDelta { .. }
            | Delta::ThinkingDelta { .. }
            | Delta::SignatureDelta { .. }
            | Delta::InputJsonDelta { .. }
            | Delta::Unknown(_),
        ) => {}
    }
}

/// More of a summary; its first piece begins it.
fn summary(
    number: &mut u64,
    (item_id, output_index): (&str, usize),
    first: bool,
    delta: &str,
    out: &mut Vec<u8>,
) {
    if first {
        let part = &SummaryPart::SummaryText { text: String::new() };
        emit(number, &Event::SummaryAdded { item_id, output_index, summary_index: 0, part }, out);
    }
    emit(number, &Event::SummaryTextDelta { item_id, output_index, summary_index: 0, delta }, out);
}
