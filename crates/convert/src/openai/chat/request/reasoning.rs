//! Reasoning of earlier turns, as an answer told it and as the caller gives it back.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, RedactedThinkingBlock, ThinkingBlock};
use protocol::openai::chat::request::{Message, ReasoningDetail};
use protocol::raw::Extra;

use crate::openai::Notes;
use crate::outcome::reason;

/// A block of reasoning and its place among the blocks of the answer, where that was told.
pub(super) struct Thought<'r> {
    pub(super) place: Option<u64>,
    pub(super) block: Block<'r>,
    pub(super) origin: String,
}

/// The blocks of reasoning in a message. Pieces of one block, as a stream gives them, are one block again.
pub(super) fn thoughts<'r>(notes: &mut Notes, at: &str, message: &'r Message<'_>) -> Vec<Thought<'r>> {
    let mut found: Vec<Thought<'r>> = Vec::new();
    for (index, detail) in message.reasoning_details.iter().flatten().enumerate() {
        let origin = format!("{at}.reasoning_details.{index}");
        if let Some(last) = found.last_mut()
            && last.place.is_some()
            && last.place == detail.index
            && let Block::Thinking(last) = &mut last.block
            && detail.kind == "reasoning.text"
        {
            append(last, detail);
            continue;
        }
        match (&*detail.kind, &detail.data) {
            ("reasoning.text", _) => found.push(Thought {
                place: detail.index,
                block: Block::Thinking(ThinkingBlock {
                    thinking: detail.text.as_deref().unwrap_or_default().into(),
                    signature: detail.signature.as_deref().map(Cow::Borrowed),
                    extra: Extra::default(),
                }),
                origin,
            }),
            ("reasoning.encrypted", Some(data)) => found.push(Thought {
                place: detail.index,
                block: Block::RedactedThinking(RedactedThinkingBlock {
                    data: Cow::Borrowed(data),
                    extra: Extra::default(),
                }),
                origin,
            }),
            // A summary, say: nothing that a model takes back.
            _ => notes.lose(origin, reason::NO_PLACE),
        }
    }
    found.retain(|thought| !is_nothing(&thought.block));
    if found.is_empty()
        && let Some(text) = message.reasoning_content.as_deref().filter(|text| !text.is_empty())
    {
        let block = ThinkingBlock { thinking: text.into(), signature: None, extra: Extra::default() };
        let origin = format!("{at}.reasoning_content");
        found.push(Thought { place: None, block: Block::Thinking(block), origin });
    }
    found
}

fn append<'r>(block: &mut ThinkingBlock<'r>, piece: &'r ReasoningDetail<'_>) {
    if let Some(text) = &piece.text {
        block.thinking.to_mut().push_str(text);
    }
    // Clients assign a signature and do not append it.
    if let Some(signature) = &piece.signature {
        block.signature = Some(Cow::Borrowed(signature));
    }
}

fn is_nothing(block: &Block<'_>) -> bool {
    matches!(block, Block::Thinking(block)
        if block.thinking.is_empty() && block.signature.as_deref().unwrap_or_default().is_empty())
}
