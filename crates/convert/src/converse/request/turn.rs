//! Turns: users and assistants in alternation, and the rules that hold between them.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::anthropic::request::{Block, Content, Request};
use protocol::converse::request::{CachePoint, ContentBlock, Message, Role};

use super::context::{At, Context, is_blank};
use super::system::Marked;
use crate::Refusal;
use crate::outcome::reason;

/// Opens a conversation that the caller starts with the assistant.
const OPENER: &str = "(the conversation resumes here)";
/// A user turn that had nothing but blank text.
const EMPTY: &str = "(empty)";
/// Documents need a text beside them.
const BESIDE_DOCUMENT: &str = "See the attached document.";

/// A block with the cache point that follows it.
pub(super) struct Piece<'a> {
    pub(super) block: ContentBlock<'a>,
    pub(super) marker: Option<CachePoint>,
    /// Message and block in the caller's request.
    pub(super) origin: (usize, usize),
}

impl<'a> Piece<'a> {
    /// The origin of what the caller did not send.
    pub(super) const OURS: (usize, usize) = (usize::MAX, usize::MAX);

    fn filler(text: &'a str) -> Self {
        Self { block: ContentBlock::Text(Cow::Borrowed(text)), marker: None, origin: Self::OURS }
    }

    /// Thinking cannot carry a marker: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>.
    pub(super) fn can_be_marked(&self) -> bool {
        !matches!(self.block, ContentBlock::ReasoningContent(_))
    }
}

pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) pieces: Vec<Piece<'a>>,
}

/// The turns, and the system messages that stood before all of them.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    pub(super) leading: Vec<Marked<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
}

impl<'a> Conversation<'a> {
    /// Adds to the turn of that role, or opens one.
    pub(super) fn push(&mut self, role: Role, mut pieces: Vec<Piece<'a>>) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.pieces.append(&mut pieces),
            Some(_) | None => self.turns.push(Turn { role, pieces }),
        }
    }

    /// Puts a user turn in front where the assistant would speak first.
    pub(super) fn open_with_user(&mut self, ctx: &mut Context<'_>) {
        if self.turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
            ctx.lose(At::root("messages").index(0), reason::FILLER);
            self.turns.insert(0, Turn { role: Role::User, pieces: vec![Piece::filler(OPENER)] });
        }
    }
}

/// The messages that go upstream.
pub(super) fn messages<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    mut conversation: Conversation<'a>,
) -> Result<Vec<Message<'a>>, Refusal> {
    for turn in &mut conversation.turns {
        arrange(ctx, turn);
    }
    check_pairs(request, &conversation.turns)?;
    end(ctx, conversation.turns.last_mut())?;
    let turns = conversation.turns.into_iter();
    Ok(turns.map(|turn| Message { role: turn.role, content: content(ctx, turn.pieces) }).collect())
}

/// Tool results first in a user turn, tool calls last in an assistant turn; nothing else moves.
fn arrange(ctx: &mut Context<'_>, turn: &mut Turn<'_>) {
    match turn.role {
        Role::User => {
            turn.pieces.sort_by_key(|piece| !matches!(piece.block, ContentBlock::ToolResult(_)));
            if turn.pieces.is_empty() {
                turn.pieces.push(Piece::filler(EMPTY));
            }
            let is_document = |piece: &Piece<'_>| matches!(piece.block, ContentBlock::Document(_));
            let is_text = |piece: &Piece<'_>| matches!(piece.block, ContentBlock::Text(_));
            if let Some(first) = turn.pieces.iter().position(is_document)
                && !turn.pieces.iter().any(is_text)
            {
                turn.pieces.insert(first, Piece::filler(BESIDE_DOCUMENT));
            }
        }
        Role::Assistant => {
            let reasons = turn.pieces.iter().any(|piece| !piece.can_be_marked());
            // Claude checks that a turn with thinking comes back as it was.
            if !(reasons && ctx.is_claude()) {
                turn.pieces.sort_by_key(|piece| matches!(piece.block, ContentBlock::ToolUse(_)));
            }
        }
    }
}

/// Every call has one result, in the next turn; every result has its call, in the turn before.
fn check_pairs(request: &Request<'_>, turns: &[Turn<'_>]) -> Result<(), Refusal> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut called: Vec<&Piece<'_>> = Vec::new();
    for turn in turns {
        match turn.role {
            Role::User => check_results(request, &called, turn)?,
            Role::Assistant => {
                called = turn.pieces.iter().filter(|piece| tool_use_id(piece).is_some()).collect();
                if let Some(twice) =
                    called.iter().find(|piece| !seen.insert(tool_use_id(piece).unwrap_or_default()))
                {
                    return Err(refuse(twice.origin, "`tool_use` ids must be unique"));
                }
                continue;
            }
        }
        called = Vec::new();
    }
    unanswered(request, &called)
}

fn check_results(request: &Request<'_>, called: &[&Piece<'_>], turn: &Turn<'_>) -> Result<(), Refusal> {
    let open: HashSet<&str> = called.iter().filter_map(|piece| tool_use_id(piece)).collect();
    let mut answered: HashSet<&str> = HashSet::new();
    for piece in &turn.pieces {
        let ContentBlock::ToolResult(result) = &piece.block else { continue };
        let id = original_id(request, piece.origin);
        if !open.contains(&*result.tool_use_id) {
            return Err(refuse(
                piece.origin,
                format!(
                    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                ),
            ));
        }
        if !answered.insert(&result.tool_use_id) {
            return Err(refuse(
                piece.origin,
                format!(
                    "each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}"
                ),
            ));
        }
    }
    let missing: Vec<_> = called
        .iter()
        .filter(|piece| !tool_use_id(piece).is_some_and(|id| answered.contains(id)))
        .copied()
        .collect();
    unanswered(request, &missing)
}

fn unanswered(request: &Request<'_>, calls: &[&Piece<'_>]) -> Result<(), Refusal> {
    let Some(first) = calls.first() else { return Ok(()) };
    let ids: Vec<_> = calls.iter().map(|piece| original_id(request, piece.origin)).collect();
    Err(At::root("messages").index(first.origin.0).refuse(format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        ids.join(", ")
    )))
}

fn refuse(origin: (usize, usize), message: impl Into<String>) -> Refusal {
    At::root("messages").index(origin.0).key("content").index(origin.1).refuse(message)
}

fn tool_use_id<'p>(piece: &'p Piece<'_>) -> Option<&'p str> {
    if let ContentBlock::ToolUse(block) = &piece.block { Some(&block.tool_use_id) } else { None }
}

/// The id as the caller wrote it.
fn original_id<'r>(request: &'r Request<'_>, origin: (usize, usize)) -> &'r str {
    let Some(Content::Blocks(blocks)) = request.messages.get(origin.0).map(|message| &message.content) else {
        return "";
    };
    match blocks.get(origin.1) {
        Some(Block::ToolUse(block)) => &block.id,
        Some(Block::ToolResult(block)) => &block.tool_use_id,
        Some(_) | None => "",
    }
}

/// A conversation that ends with the assistant asks the model to continue that turn.
fn end(ctx: &mut Context<'_>, last: Option<&mut Turn<'_>>) -> Result<(), Refusal> {
    let Some(last) = last else {
        return Err(At::root("messages").refuse("at least one message is required"));
    };
    if last.role == Role::User {
        return Ok(());
    }
    if !ctx.rules.prefill {
        return Err(Refusal {
            path: String::new(),
            message: "This model does not support assistant message prefill. The conversation must end with a user message."
                .to_owned(),
        });
    }
    if let Some(Piece { block: ContentBlock::Text(text), origin, .. }) = last.pieces.last_mut()
        && text.trim_end().len() < text.len()
    {
        // "final assistant content cannot end with trailing whitespace"
        ctx.lose(At::root("messages").index(origin.0).key("content"), reason::TRAILING_SPACE);
        *text = Cow::Owned(text.trim_end().to_owned());
    }
    Ok(())
}

/// Blocks with their cache points as elements of their own.
fn content<'a>(ctx: &mut Context<'a>, pieces: Vec<Piece<'a>>) -> Vec<ContentBlock<'a>> {
    let is_tool =
        |piece: &Piece<'_>| matches!(piece.block, ContentBlock::ToolUse(_) | ContentBlock::ToolResult(_));
    // Models that take no cache point among tools take none beside tool content either.
    let unmarked = ctx.rules.caching.is_some_and(|caching| !caching.tools) && pieces.iter().any(is_tool);
    let mut out = Vec::with_capacity(pieces.len() + 1);
    for piece in pieces {
        out.push(piece.block);
        match piece.marker {
            Some(_) if unmarked => {
                let (message, index) = piece.origin;
                let path = At::root("messages");
                let path = path.index(message);
                let path = path.key("content");
                ctx.lose(path.index(index).key("cache_control"), reason::NOT_CACHED);
            }
            Some(point) => out.push(ContentBlock::CachePoint(point)),
            None => {}
        }
    }
    debug_assert!(out.iter().all(|block| !matches!(block, ContentBlock::Text(text) if is_blank(text))));
    debug_assert!(!matches!(out.first(), Some(ContentBlock::CachePoint(_))));
    out
}
