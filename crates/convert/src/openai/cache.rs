//! Prompt-cache markers: those of the caller, and those that are set for callers who write none.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, CacheControl, Content, Message, Role, TextBlock, Tool};
use protocol::openai::chat::request::Breakpoint;
use protocol::raw::Extra;

use super::{Notes, refusal};
use crate::Refusal;
use crate::outcome::reason;

/// Bytes of JSON that make a token, about. A marker that stands too early costs nothing: the upstream passes it over.
const BYTES_PER_TOKEN: usize = 4;
/// User turns that end with a marker: the one that this request adds, and the one that the last request added.
const TURNS: usize = 2;

/// How this request is cached.
#[derive(Debug, Default)]
pub(crate) struct Caching {
    /// `5m` or `1h`, for markers that say nothing else.
    ttl: Option<&'static str>,
    /// Whether the caller has set a marker, or wants none but its own.
    own: bool,
}

impl Caching {
    /// `ttl` is the extension `cache_ttl`; `explicit`: the caller wants no markers but its own.
    pub(crate) fn new(at: &str, ttl: Option<&str>, explicit: bool) -> Result<Self, Refusal> {
        let ttl = match ttl {
            None => None,
            Some("5m") => Some("5m"),
            Some("1h") => Some("1h"),
            Some(_) => return Err(refusal(at, "Input should be '5m' or '1h'")),
        };
        Ok(Self { ttl, own: explicit })
    }

    /// The marker that a part carries: Anthropic's, or OpenAI's. `at` is the place of the part.
    pub(crate) fn marker<'r>(
        &mut self,
        notes: &mut Notes,
        at: &str,
        control: Option<&'r CacheControl<'_>>,
        breakpoint: Option<&Breakpoint<'_>>,
    ) -> Option<CacheControl<'r>> {
        if let Some(control) = control {
            self.own = true;
            notes.lose_extra(&format!("{at}.cache_control"), &control.extra);
            let ttl = control.ttl.as_deref().map(Cow::Borrowed).or(self.ttl.map(Cow::Borrowed));
            return Some(CacheControl { kind: Cow::Borrowed(&control.kind), ttl, extra: Extra::default() });
        }
        let breakpoint = breakpoint?;
        self.own = true;
        // OpenAI's lifetimes are half an hour and half a day. The longest that there is keeps the one and not the other.
        let ttl = breakpoint.ttl.as_deref().map(|ttl| {
            if ttl != "30m" {
                notes.lose(format!("{at}.prompt_cache_breakpoint.ttl"), reason::LIMITED);
            }
            "1h"
        });
        Some(marker(ttl.or(self.ttl)))
    }

    /// Sets markers for a caller who has set none, where what lies before one holds at least so many tokens: at the end
    /// of the tools, of the system prompt and of the last user turns.
    pub(crate) fn automatic(
        &self,
        minimum_tokens: u32,
        tools: &mut [Tool<'_>],
        system: &mut [TextBlock<'_>],
        messages: &mut [Message<'_>],
    ) {
        if self.own {
            return;
        }
        let least = usize::try_from(minimum_tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        let mut bytes: usize = tools.iter().map(tool_bytes).sum();
        if bytes >= least
            && let Some(Tool::Custom(last)) = tools.last_mut()
        {
            last.cache_control = Some(marker(self.ttl));
        }
        bytes += system.iter().map(|block| block.text.len()).sum::<usize>();
        if bytes >= least
            && let Some(last) = system.last_mut()
        {
            last.cache_control = Some(marker(self.ttl));
        }
        let mut ends = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            if let Content::Blocks(blocks) = &message.content {
                bytes += blocks.iter().map(block_bytes).sum::<usize>();
            }
            if message.role == Role::User && bytes >= least {
                ends.push(index);
            }
        }
        for index in ends.into_iter().rev().take(TURNS) {
            if let Some(Content::Blocks(blocks)) = messages.get_mut(index).map(|message| &mut message.content)
            {
                mark_last(blocks, marker(self.ttl));
            }
        }
    }
}

fn marker(ttl: Option<&'static str>) -> CacheControl<'static> {
    CacheControl { kind: "ephemeral".into(), ttl: ttl.map(Cow::Borrowed), extra: Extra::default() }
}

/// Puts the marker on the last block that may carry one and has none; blank text may not.
fn mark_last<'a>(blocks: &mut [Block<'a>], marker: CacheControl<'a>) {
    let may = |block: &&mut Block<'_>| !matches!(block, Block::Text(text) if text.text.trim().is_empty());
    if let Some(place) = blocks.iter_mut().rfind(may).and_then(place) {
        place.get_or_insert(marker);
    }
}

/// Where a block carries its marker.
pub(crate) fn place<'b, 'a>(block: &'b mut Block<'a>) -> Option<&'b mut Option<CacheControl<'a>>> {
    match block {
        Block::Text(block) => Some(&mut block.cache_control),
        Block::Image(block) => Some(&mut block.cache_control),
        Block::Document(block) => Some(&mut block.cache_control),
        Block::SearchResult(block) => Some(&mut block.cache_control),
        Block::ToolUse(block) => Some(&mut block.cache_control),
        Block::ToolResult(block) => Some(&mut block.cache_control),
        Block::ToolReference(block) => Some(&mut block.cache_control),
        Block::ServerToolUse(block) => Some(&mut block.cache_control),
        Block::ToolSearchResult(block) => Some(&mut block.cache_control),
        Block::Thinking(_) | Block::RedactedThinking(_) | Block::Unknown(_) => None,
    }
}

fn tool_bytes(tool: &Tool<'_>) -> usize {
    match tool {
        Tool::Custom(tool) => {
            tool.name.len() + tool.description.as_deref().map_or(0, str::len) + tool.input_schema.get().len()
        }
        Tool::Typed(_) => 0,
    }
}

/// About how much a block says; pictures and documents count as a thousand tokens, whatever their bytes.
fn block_bytes(block: &Block<'_>) -> usize {
    const MEDIA: usize = 1000 * BYTES_PER_TOKEN;
    match block {
        Block::Text(block) => block.text.len(),
        Block::Thinking(block) => block.thinking.len(),
        Block::ToolUse(block) => block.name.len() + block.input.get().len(),
        Block::ToolResult(block) => match &block.content {
            Content::Absent => 0,
            Content::Text(text) => text.len(),
            Content::Blocks(blocks) => blocks.iter().map(block_bytes).sum(),
        },
        Block::Image(_) | Block::Document(_) => MEDIA,
        Block::SearchResult(_)
        | Block::RedactedThinking(_)
        | Block::ToolReference(_)
        | Block::ServerToolUse(_)
        | Block::ToolSearchResult(_)
        | Block::Unknown(_) => 0,
    }
}
