//! Messages and their blocks.

use std::borrow::Cow;

use protocol::anthropic::request::{
    Block, Content, Message, RedactedThinkingBlock, Request, Role, ThinkingBlock, ToolUseBlock,
};
use protocol::converse::request::{self as converse, ContentBlock, Reasoning, ReasoningText};
use protocol::raw::Extra;

use super::context::{At, Context, is_blank};
use super::turn::{Conversation, Piece};
use super::{caching, name, part, system, tool_result};
use crate::Refusal;
use crate::outcome::reason;

/// The conversation in turns, consecutive messages of one role merged.
pub(super) fn conversation<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
) -> Result<Conversation<'a>, Refusal> {
    let at = At::root("messages");
    let answered = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let mut conversation = Conversation::default();
    for (index, message) in request.messages.iter().enumerate() {
        let at = at.index(index);
        ctx.asking = answered.is_none_or(|last| index > last);
        ctx.lose_extra(at, &message.extra);
        if message.output_config.is_some() {
            ctx.lose(at.key("output_config"), reason::NO_PLACE);
        }
        match message.role {
            Role::System => place_system(ctx, at, index, message, &mut conversation),
            Role::User => {
                let pieces = pieces(ctx, at, index, message)?;
                conversation.push(converse::Role::User, pieces);
            }
            Role::Assistant => {
                let pieces = pieces(ctx, at, index, message)?;
                // A turn of which nothing is left was never there: its neighbours meet.
                if !pieces.is_empty() {
                    conversation.push(converse::Role::Assistant, pieces);
                }
            }
        }
    }
    conversation.open_with_user(ctx);
    Ok(conversation)
}

fn place_system<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    index: usize,
    message: &'a Message<'_>,
    conversation: &mut Conversation<'a>,
) {
    let texts = system::message(ctx, at, message);
    if conversation.turns.is_empty() {
        conversation.leading.extend(texts);
    } else if !texts.is_empty() {
        let pieces = texts.into_iter().map(|(text, marker)| Piece {
            block: ContentBlock::Text(system::reminder(text)),
            marker,
            origin: (index, 0),
        });
        conversation.push(converse::Role::User, pieces.collect());
    }
}

fn pieces<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    message_index: usize,
    message: &'a Message<'_>,
) -> Result<Vec<Piece<'a>>, Refusal> {
    let at = at.key("content");
    let mut out = Vec::new();
    match &message.content {
        Content::Absent => {}
        Content::Text(text) if is_blank(text) => ctx.lose(at, reason::BLANK),
        Content::Text(text) => {
            let block = ContentBlock::Text(Cow::Borrowed(text));
            out.push(Piece { block, marker: None, origin: (message_index, 0) });
        }
        Content::Blocks(blocks) => {
            out.reserve(blocks.len());
            for (index, block) in blocks.iter().enumerate() {
                let at = at.index(index);
                let before = out.len();
                let origin = (message_index, index);
                for block in blocks_of(ctx, at, message.role, block)? {
                    out.push(Piece { block, marker: None, origin });
                }
                mark(ctx, at, block, before, &mut out);
            }
        }
    }
    Ok(out)
}

/// Puts the cache point of a block after what became of it, or after what stands before it in the message.
fn mark(ctx: &mut Context<'_>, at: At<'_>, block: &Block<'_>, before: usize, out: &mut [Piece<'_>]) {
    let nested = if let Block::ToolResult(result) = block { tool_result::marker(result) } else { None };
    let at = at.key("cache_control");
    let Some(point) = caching::point(ctx, at, block.cache_control().or(nested)) else { return };
    // A result with media beside it: the marker belongs to the result, which moves to the front.
    let is_result = |piece: &Piece<'_>| matches!(piece.block, ContentBlock::ToolResult(_));
    let place = out[before..].iter().position(is_result).map(|found| before + found);
    let place = place.or_else(|| out.len().checked_sub(1));
    match place.map(|place| &mut out[place]) {
        Some(piece) if piece.can_be_marked() => piece.marker = piece.marker.or(Some(point)),
        Some(_) => ctx.lose(at, reason::NOT_CACHED),
        None => ctx.lose(at, reason::BLANK),
    }
}

/// What one block becomes: nothing, a block, or a tool result with its media beside it.
fn blocks_of<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    role: Role,
    block: &'a Block<'_>,
) -> Result<Vec<ContentBlock<'a>>, Refusal> {
    let by_user = role == Role::User;
    let one = |block: Option<ContentBlock<'a>>| Ok(block.into_iter().collect());
    match block {
        Block::Image(_) | Block::Document(_) | Block::SearchResult(_) | Block::ToolReference(_)
            if !by_user =>
        {
            ctx.lose(at, reason::NO_PLACE);
            Ok(Vec::new())
        }
        Block::Text(_)
        | Block::Image(_)
        | Block::Document(_)
        | Block::SearchResult(_)
        | Block::ToolReference(_) => {
            let mut parts = Vec::new();
            part::parts(ctx, at, block, &mut parts)?;
            Ok(parts.into_iter().map(part::into_block).collect())
        }
        Block::ToolResult(block) if by_user => tool_result::blocks(ctx, at, block),
        Block::ToolUse(block) if !by_user => one(Some(tool_use(ctx, at, block))),
        Block::Thinking(block) if !by_user => one(thinking(ctx, at, block)),
        Block::RedactedThinking(block) if !by_user => one(redacted(ctx, at, block)),
        Block::ToolResult(_) => Err(at.refuse("`tool_result` blocks can only be in `user` messages")),
        Block::ToolUse(_) => Err(at.refuse("`tool_use` blocks can only be in `assistant` messages")),
        Block::Thinking(_) | Block::RedactedThinking(_) => {
            Err(at.refuse("`thinking` blocks can only be in `assistant` messages"))
        }
        Block::ServerToolUse(_) | Block::ToolSearchResult(_) => {
            ctx.lose(at, reason::NO_PLACE);
            Ok(Vec::new())
        }
        Block::Unknown(extra) => one(unknown(ctx, at, extra)),
    }
}

fn tool_use<'a>(ctx: &mut Context<'a>, at: At<'_>, block: &'a ToolUseBlock<'_>) -> ContentBlock<'a> {
    ctx.lose_extra(at, &block.extra);
    if block.caller.as_ref().is_some_and(|caller| !caller.get().contains("\"direct\"")) {
        ctx.lose(at.key("caller"), reason::NO_PLACE);
    }
    ContentBlock::ToolUse(converse::ToolUseBlock {
        tool_use_id: name::tool_use_id(ctx.rules.tool_ids, &block.id),
        name: ctx.names.upstream(&block.name),
        input: block.input.raw(),
    })
}

/// Thinking of an earlier turn, for a model that takes it back. Signatures mean something to Claude alone.
fn thinking<'a>(ctx: &mut Context<'a>, at: At<'_>, block: &'a ThinkingBlock<'_>) -> Option<ContentBlock<'a>> {
    let signature = block.signature.as_deref().filter(|signature| !signature.is_empty());
    let kept = if ctx.is_claude() {
        signature.is_some()
    } else {
        ctx.rules.replays_reasoning && !is_blank(&block.thinking)
    };
    if !kept {
        ctx.lose(at, reason::FOREIGN_REASONING);
        return None;
    }
    ctx.lose_extra(at, &block.extra);
    if signature.is_some() && !ctx.is_claude() {
        ctx.lose(at.key("signature"), reason::FOREIGN_REASONING);
    }
    Some(ContentBlock::ReasoningContent(Reasoning::ReasoningText(ReasoningText {
        text: Cow::Borrowed(&block.thinking),
        signature: signature.filter(|_| ctx.is_claude()).map(Cow::Borrowed),
    })))
}

fn redacted<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a RedactedThinkingBlock<'_>,
) -> Option<ContentBlock<'a>> {
    if !ctx.is_claude() {
        ctx.lose(at, reason::FOREIGN_REASONING);
        return None;
    }
    Some(ContentBlock::ReasoningContent(Reasoning::RedactedContent(Cow::Borrowed(&block.data))))
}

/// A compaction holds the summary that the conversation rests on: it is carried as text. Everything else goes.
fn unknown<'a>(ctx: &mut Context<'_>, at: At<'_>, extra: &Extra<'_>) -> Option<ContentBlock<'a>> {
    let summary =
        (extra.text("type").as_deref() == Some("compaction")).then(|| extra.text("content")).flatten();
    let summary = summary.filter(|text| !is_blank(text));
    if summary.is_none() {
        ctx.lose(at, reason::NO_PLACE);
    }
    summary.map(|text| ContentBlock::Text(Cow::Owned(text)))
}
