//! Blocks that stand in user messages and in tool results alike.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, SearchResultBlock, TextBlock};
use protocol::converse::request::{Citations, ContentBlock, SearchResult, TextChunk, ToolResultContent};

use super::context::{At, Context, is_blank};
use super::{document, image};
use crate::Refusal;
use crate::outcome::reason;

/// Converts one block; what has no place is noted and goes.
pub(super) fn parts<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a Block<'_>,
    out: &mut Vec<ToolResultContent<'a>>,
) -> Result<(), Refusal> {
    match block {
        Block::Text(block) => out.extend(text(ctx, at, block)),
        Block::Image(block) => {
            ctx.lose_extra(at, &block.extra);
            out.push(image::image(ctx, at, &block.source)?);
        }
        Block::Document(block) => document::parts(ctx, at, block, out)?,
        Block::SearchResult(block) => search_result(ctx, at, block, out),
        Block::ToolReference(block) => {
            let name = ctx.names.upstream(&block.tool_name);
            out.push(ToolResultContent::Text(Cow::Owned(format!("Tool loaded: {name}"))));
        }
        Block::Thinking(_)
        | Block::RedactedThinking(_)
        | Block::ToolUse(_)
        | Block::ToolResult(_)
        | Block::ServerToolUse(_)
        | Block::ToolSearchResult(_)
        | Block::Unknown(_) => ctx.lose(at, reason::NO_PLACE),
    }
    Ok(())
}

/// The same part as a block of a message.
pub(super) fn into_block(part: ToolResultContent<'_>) -> ContentBlock<'_> {
    match part {
        ToolResultContent::Text(text) => ContentBlock::Text(text),
        ToolResultContent::Image(image) => ContentBlock::Image(image),
        ToolResultContent::Document(document) => ContentBlock::Document(document),
        ToolResultContent::SearchResult(result) => ContentBlock::SearchResult(result),
    }
}

pub(super) fn text<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a TextBlock<'_>,
) -> Option<ToolResultContent<'a>> {
    ctx.lose_extra(at, &block.extra);
    if block.citations.as_ref().is_some_and(|citations| citations.get() != "[]") {
        ctx.lose(at.key("citations"), reason::NO_PLACE);
    }
    if is_blank(&block.text) {
        ctx.lose(at, reason::BLANK);
        return None;
    }
    Some(ToolResultContent::Text(Cow::Borrowed(&block.text)))
}

/// Search results are known to Claude; others read them as text.
fn search_result<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a SearchResultBlock<'_>,
    out: &mut Vec<ToolResultContent<'a>>,
) {
    ctx.lose_extra(at, &block.extra);
    let cited = block.citations.as_ref().and_then(|citations| citations.enabled) == Some(true);
    let texts = block.content.iter().filter(|text| !is_blank(&text.text)).map(|text| &*text.text);
    if ctx.is_claude() {
        let content: Vec<_> = texts.map(|text| TextChunk { text: Cow::Borrowed(text) }).collect();
        if content.is_empty() {
            ctx.lose(at, reason::BLANK);
            return;
        }
        out.push(ToolResultContent::SearchResult(SearchResult {
            source: Cow::Borrowed(&block.source),
            title: Cow::Borrowed(&block.title),
            content,
            citations: cited.then_some(Citations { enabled: true }),
        }));
        return;
    }
    if cited {
        ctx.lose(at.key("citations"), reason::NOT_TAKEN);
    }
    let body = texts.collect::<Vec<_>>().join("\n");
    let whole = format!("{} ({})\n{body}", block.title, block.source);
    out.push(ToolResultContent::Text(Cow::Owned(whole)));
}
