//! Results of tools.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, CacheControl, Content, ToolResultBlock};
use protocol::converse::request::{self as converse, ContentBlock, ToolResultContent};

use super::context::{At, Context, is_blank};
use super::{name, part};
use crate::Refusal;
use crate::outcome::reason;

/// A tool that gave nothing back: blank text and an empty list are refused by some models.
const NOTHING: &str = "(empty)";
/// The result consists of media that stand beside it.
const BESIDE: &str = "(see the attachment that follows the tool results)";
/// Says what `status` would, to models that do not read it.
const FAILED: &str = "The tool call failed:";

/// The marker inside a result, which has one cache point for all of it.
pub(super) fn marker<'b>(block: &'b ToolResultBlock<'_>) -> Option<&'b CacheControl<'b>> {
    let Content::Blocks(blocks) = &block.content else { return None };
    blocks.iter().rev().find_map(Block::cache_control)
}

/// The result, and after it the media that the model does not take inside one.
pub(super) fn blocks<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a ToolResultBlock<'_>,
) -> Result<Vec<ContentBlock<'a>>, Refusal> {
    ctx.lose_extra(at, &block.extra);
    let mut content = parts(ctx, at.key("content"), &block.content)?;
    let mut beside = Vec::new();
    if !ctx.rules.tool_result_media {
        let is_media = |part: &mut ToolResultContent<'_>| {
            matches!(part, ToolResultContent::Image(_) | ToolResultContent::Document(_))
        };
        beside.extend(content.extract_if(.., is_media).map(part::into_block));
    }
    if content.is_empty() {
        let text = if beside.is_empty() { NOTHING } else { BESIDE };
        content.push(ToolResultContent::Text(Cow::Borrowed(text)));
    }
    let failed = block.is_error == Some(true);
    if failed && !ctx.rules.tool_result_status {
        content.insert(0, ToolResultContent::Text(Cow::Borrowed(FAILED)));
    }
    let result = ContentBlock::ToolResult(converse::ToolResultBlock {
        tool_use_id: name::tool_use_id(ctx.rules.tool_ids, &block.tool_use_id),
        content,
        status: (failed && ctx.rules.tool_result_status).then_some("error"),
    });
    beside.insert(0, result);
    Ok(beside)
}

fn parts<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    content: &'a Content<'_>,
) -> Result<Vec<ToolResultContent<'a>>, Refusal> {
    let mut out = Vec::new();
    match content {
        Content::Absent => {}
        Content::Text(text) if is_blank(text) => ctx.lose(at, reason::BLANK),
        Content::Text(text) => out.push(ToolResultContent::Text(Cow::Borrowed(text))),
        Content::Blocks(blocks) => {
            // What a tool gave back was not asked for: media that the model cannot see becomes a text that says so.
            let asking = std::mem::replace(&mut ctx.asking, false);
            for (index, block) in blocks.iter().enumerate() {
                part::parts(ctx, at.index(index), block, &mut out)?;
            }
            ctx.asking = asking;
        }
    }
    Ok(out)
}
