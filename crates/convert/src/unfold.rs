//! A whole answer becomes the stream that spells it: for callers who asked for events where the upstream gives none.
//! [`fold`](crate::fold::fold) is the way back.

use protocol::anthropic::response::{Block, Json, Message};
use protocol::anthropic::{Delta, Event, event};

use crate::fold::kept;

/// The events of a message, each handed to `emit`.
pub fn unfold(message: Message, emit: &mut impl FnMut(Event<'_>)) {
    let Message { content, stop_reason, stop_sequence, stop_details, container, usage, .. } = message;
    let start = Message {
        content: Vec::new(),
        stop_reason: None,
        stop_sequence: None,
        stop_details: None,
        container: None,
        usage: usage.clone(),
        ..message
    };
    emit(Event::MessageStart { message: Box::new(start) });
    for (index, block) in (0..).zip(content) {
        spell(index, block, emit);
        emit(Event::ContentBlockStop { index });
    }
    let delta = event::MessageDelta { stop_reason, stop_sequence, stop_details, container };
    emit(Event::MessageDelta { delta, usage: Box::new(usage) });
    emit(Event::MessageStop);
}

/// A block's beginning and what is added to it.
fn spell(index: u32, mut block: Block, emit: &mut impl FnMut(Event<'_>)) {
    let deltas = match &mut block {
        Block::Text(text) => {
            let whole = std::mem::take(&mut text.text);
            let cited = text.citations.take().unwrap_or_default();
            let text = (!whole.is_empty()).then(|| Delta::TextDelta { text: whole.into() });
            text.into_iter()
                .chain(cited.into_iter().map(|citation| Delta::CitationsDelta { citation }))
                .collect()
        }
        Block::Thinking(block) => {
            let thinking = std::mem::take(&mut block.thinking);
            let signature = std::mem::take(&mut block.signature);
            let text = (!thinking.is_empty()).then(|| Delta::ThinkingDelta { thinking: thinking.into() });
            let signed =
                (!signature.is_empty()).then(|| Delta::SignatureDelta { signature: signature.into() });
            text.into_iter().chain(signed).collect()
        }
        Block::ToolUse(call) | Block::ServerToolUse(call) => {
            let input = std::mem::replace(&mut call.input, Json::empty_object());
            // A call that was cut off came as its text.
            let text = kept(&input).unwrap_or_else(|| input.get().to_owned());
            vec![Delta::InputJsonDelta { partial_json: text.into() }]
        }
        // They come whole.
        Block::RedactedThinking(_) | Block::Unknown(_) => Vec::new(),
    };
    emit(Event::ContentBlockStart { index, content_block: block });
    for delta in deltas {
        emit(Event::ContentBlockDelta { index, delta });
    }
}
