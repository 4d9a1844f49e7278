//! Reasoning of earlier turns, as an answer told it and as the caller gives it back.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, RedactedThinkingBlock, ThinkingBlock};
use protocol::openai::chat::request::{Message, ReasoningDetail};
use protocol::raw::Extra;

use crate::openai::Notes;
use crate::openai::chat::response::FORMAT;
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
            append(last, detail, signature(notes, &origin, detail));
            continue;
        }
        match (&*detail.kind, &detail.data) {
            ("reasoning.text", _) => found.push(Thought {
                place: detail.index,
                block: Block::Thinking(ThinkingBlock {
                    thinking: detail.text.as_deref().unwrap_or_default().into(),
                    signature: signature(notes, &origin, detail),
                    extra: Extra::default(),
                }),
                origin,
            }),
            ("reasoning.encrypted", Some(_)) if is_foreign(detail) => {
                notes.lose(origin, reason::FOREIGN_REASONING);
            }
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

/// Whether another vendor's model thought this: what it signed or encrypted would be refused, in every turn from here.
fn is_foreign(detail: &ReasoningDetail<'_>) -> bool {
    detail.format.as_deref().is_some_and(|format| format != FORMAT)
}

/// The signature, where it is one that a model takes back. The text of another vendor's goes on without.
fn signature<'r>(notes: &mut Notes, at: &str, detail: &'r ReasoningDetail<'_>) -> Option<Cow<'r, str>> {
    let signature = detail.signature.as_deref()?;
    if is_foreign(detail) {
        notes.lose(format!("{at}.signature"), reason::FOREIGN_REASONING);
        return None;
    }
    Some(Cow::Borrowed(signature))
}

fn append<'r>(
    block: &mut ThinkingBlock<'r>,
    piece: &'r ReasoningDetail<'_>,
    signature: Option<Cow<'r, str>>,
) {
    if let Some(text) = &piece.text {
        block.thinking.to_mut().push_str(text);
    }
    // Clients assign a signature and do not append it.
    if signature.is_some() {
        block.signature = signature;
    }
}

fn is_nothing(block: &Block<'_>) -> bool {
    matches!(block, Block::Thinking(block)
        if block.thinking.is_empty() && block.signature.as_deref().unwrap_or_default().is_empty())
}
