//! The system prompt, and system messages in the middle of a conversation.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, Content, Message, Request, System, TextBlock};
use protocol::converse::request::{CachePoint, ContentBlock, SystemBlock};

use super::choice::Choice;
use super::context::{At, Context, is_blank};
use super::turn::{Conversation, Piece};
use super::{caching, name};
use crate::outcome::reason;

/// A text with its cache point.
pub(super) type Marked<'a> = (Cow<'a, str>, Option<CachePoint>);

/// What stands in for `tool_choice: none`, which Converse does not have.
const NO_TOOLS: &str = "Tools are switched off for this turn: answer in text and do not call any tool.";

/// The blocks of `system`.
pub(super) fn blocks<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>) -> Vec<Marked<'a>> {
    let at = At::root("system");
    let mut out = Vec::new();
    match &request.system {
        None => {}
        Some(System::Text(text)) => plain(ctx, at, text, &mut out),
        Some(System::Blocks(blocks)) => {
            for (index, block) in blocks.iter().enumerate() {
                text_block(ctx, at.index(index), block, &mut out);
            }
        }
    }
    out
}

/// The texts of a message whose role is `system`.
pub(super) fn message<'a>(ctx: &mut Context<'a>, at: At<'_>, message: &'a Message<'_>) -> Vec<Marked<'a>> {
    let at = at.key("content");
    let mut out = Vec::new();
    match &message.content {
        Content::Absent => {}
        Content::Text(text) => plain(ctx, at, text, &mut out),
        Content::Blocks(blocks) => {
            for (index, block) in blocks.iter().enumerate() {
                match block {
                    Block::Text(block) => text_block(ctx, at.index(index), block, &mut out),
                    // Tool additions and removals, and what may come: nothing that a text could say.
                    _ => ctx.lose(at.index(index), reason::NO_PLACE),
                }
            }
        }
    }
    out
}

fn plain<'a>(ctx: &mut Context<'a>, at: At<'_>, text: &'a str, out: &mut Vec<Marked<'a>>) {
    if is_blank(text) {
        ctx.lose(at, reason::BLANK);
    } else {
        out.push((Cow::Borrowed(text), None));
    }
}

fn text_block<'a>(ctx: &mut Context<'a>, at: At<'_>, block: &'a TextBlock<'_>, out: &mut Vec<Marked<'a>>) {
    ctx.lose_extra(at, &block.extra);
    let point = caching::point(ctx, at.key("cache_control"), block.cache_control.as_ref());
    if !is_blank(&block.text) {
        out.push((Cow::Borrowed(&block.text), point));
        return;
    }
    ctx.lose(at, reason::BLANK);
    if let Some(point) = point {
        match out.last_mut() {
            // The prefix that the marker closes is the same without the blank text.
            Some((_, marker)) => *marker = marker.or(Some(point)),
            None => ctx.lose(at.key("cache_control"), reason::BLANK),
        }
    }
}

/// A system message as a text of the user's turn, told apart from what the user says.
pub(super) fn reminder(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.trim_start().starts_with("<system-reminder>") {
        text
    } else {
        Cow::Owned(format!("<system-reminder>\n{text}\n</system-reminder>"))
    }
}

/// The system prompt as it goes upstream; for models that take none it opens the first user turn.
pub(super) fn placed<'a>(
    ctx: &Context<'a>,
    request: &Request<'_>,
    mut texts: Vec<Marked<'a>>,
    conversation: &mut Conversation<'a>,
    choice: &Choice<'a>,
) -> Vec<SystemBlock<'a>> {
    texts.append(&mut conversation.leading);
    if matches!(choice, Choice::Forbidden) && name::used(request).next().is_some() {
        // At the end, behind every cache point: the cached prefix stays the same.
        texts.push((Cow::Borrowed(NO_TOOLS), None));
    }
    if ctx.rules.system {
        return texts.into_iter().flat_map(system_blocks).collect();
    }
    if let Some(first) = conversation.turns.first_mut() {
        let pieces = texts.into_iter().map(|(text, marker)| Piece {
            block: ContentBlock::Text(text),
            marker,
            origin: Piece::OURS,
        });
        first.pieces.splice(0..0, pieces);
    }
    Vec::new()
}

fn system_blocks((text, marker): Marked<'_>) -> impl Iterator<Item = SystemBlock<'_>> {
    [Some(SystemBlock::Text(text)), marker.map(SystemBlock::CachePoint)].into_iter().flatten()
}
