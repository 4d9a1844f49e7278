//! A conversation in the making: turns of the Messages API out of messages and items that OpenAI's APIs keep apart.
//!
//! Stated policies, where more than one would do:
//! * System texts in front of everything else are the system prompt. Later ones stay where they are, as messages of the
//!   role `system`, for hoisting them would change the prefix that is cached; models that take none there get them from
//!   the lanes as reminders.
//! * What one side says in a row is one turn.
//! * Results stand in the turn that follows their calls, before anything else that the user says there, wherever the
//!   caller wrote them.
//! * A call without an id gets one, and a result without one answers the first call that has no result yet.

use std::borrow::Cow;

use protocol::anthropic::request::{
    Block, CacheControl, Content, Message, Role, TextBlock, ToolResultBlock, ToolUseBlock,
};
use protocol::raw::{Extra, Object};

use super::calls::Calls;
use super::{Notes, refusal, tool};
use crate::Refusal;

pub(crate) use super::calls::Answers;

/// A block, and the caller's place that it comes from.
struct Piece<'r> {
    block: Block<'r>,
    origin: String,
}

struct Turn<'r> {
    role: Role,
    /// They stand in front.
    results: Vec<Piece<'r>>,
    pieces: Vec<Piece<'r>>,
}

impl Turn<'_> {
    fn new(role: Role) -> Self {
        Self { role, results: Vec::new(), pieces: Vec::new() }
    }
}

/// Turns in order, with the system prompt before them.
#[derive(Default)]
pub(crate) struct Conversation<'r> {
    system: Vec<(TextBlock<'r>, String)>,
    turns: Vec<Turn<'r>>,
    /// Where the turn stands, or will, that answers the last assistant turn.
    answering: usize,
    /// The calls of the last assistant turn.
    calls: Calls<'r>,
    /// How many calls got an id here.
    named: usize,
}

/// What a conversation becomes.
pub(crate) struct Turns<'r> {
    pub(crate) system: Vec<TextBlock<'r>>,
    pub(crate) messages: Vec<Message<'r>>,
}

/// A text block.
pub(crate) fn text<'r>(text: impl Into<Cow<'r, str>>, marker: Option<CacheControl<'r>>) -> TextBlock<'r> {
    TextBlock { text: text.into(), citations: None, cache_control: marker, extra: Extra::default() }
}

impl<'r> Conversation<'r> {
    /// A text of the operator's.
    pub(crate) fn system(&mut self, block: TextBlock<'r>, origin: String) {
        if self.turns.is_empty() {
            self.system.push((block, origin));
        } else {
            self.turn(Role::System).pieces.push(Piece { block: Block::Text(block), origin });
        }
    }

    /// A text that joins the system prompt, whatever was said before.
    pub(crate) fn instruct(&mut self, block: TextBlock<'r>, origin: String) {
        self.system.push((block, origin));
    }

    /// A block of either side's.
    pub(crate) fn say(&mut self, role: Role, block: Block<'r>, origin: String) {
        self.turn(role).pieces.push(Piece { block, origin });
    }

    /// A call of the model's.
    pub(crate) fn call(&mut self, id: Option<&'r str>, name: &'r str, input: Object<'r>, origin: String) {
        self.turn(Role::Assistant);
        let id = id.unwrap_or_default();
        let sent = if id.is_empty() {
            self.named += 1;
            Cow::Owned(format!("call_unnamed_{}", self.named))
        } else {
            tool::id(id)
        };
        self.calls.add(id, name, sent.clone().into_owned());
        let block = ToolUseBlock {
            id: sent,
            name: name.into(),
            input,
            caller: None,
            cache_control: None,
            extra: Extra::default(),
        };
        self.say(Role::Assistant, Block::ToolUse(block), origin);
    }

    /// A result. `at` is the place of what names the call.
    pub(crate) fn result(
        &mut self,
        which: &Answers<'r>,
        at: &str,
        content: Content<'r>,
        marker: Option<CacheControl<'r>>,
        origin: String,
    ) -> Result<(), Refusal> {
        let tool_use_id = self.calls.answer(which, at)?;
        let block = Block::ToolResult(ToolResultBlock {
            tool_use_id,
            content,
            is_error: None,
            cache_control: marker,
            extra: Extra::default(),
        });
        self.answering().results.push(Piece { block, origin });
        Ok(())
    }

    /// The last block that was said by `role`, if it is the one that speaks.
    pub(crate) fn last(&mut self, role: Role) -> Option<&mut Block<'r>> {
        let turn = self.turns.last_mut().filter(|turn| turn.role == role)?;
        turn.pieces.last_mut().or(turn.results.last_mut()).map(|piece| &mut piece.block)
    }

    /// The turn that speaks, which is a new one where the other side spoke before.
    fn turn(&mut self, role: Role) -> &mut Turn<'r> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn::new(role));
            if role == Role::Assistant {
                self.calls = Calls::default();
                self.answering = self.turns.len();
            }
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    /// The user turn that follows the last assistant turn.
    fn answering(&mut self) -> &mut Turn<'r> {
        let after = self.answering;
        if self.turns.get(after).is_none_or(|turn| turn.role != Role::User) {
            self.turns.insert(after, Turn::new(Role::User));
        }
        &mut self.turns[after]
    }

    /// The turns, with their places noted. A conversation of nothing but system texts is said by the user: the Messages
    /// API wants a turn to answer.
    pub(crate) fn finish(mut self, notes: &mut Notes) -> Result<Turns<'r>, Refusal> {
        if self.turns.is_empty() {
            for (block, origin) in std::mem::take(&mut self.system) {
                self.say(Role::User, Block::Text(block), origin);
            }
        }
        if self.turns.is_empty() {
            return Err(refusal("messages", "at least one message is required"));
        }
        let mut system = Vec::with_capacity(self.system.len());
        for (at, (block, origin)) in self.system.into_iter().enumerate() {
            notes.paths.note(format!("system.{at}"), origin);
            system.push(block);
        }
        let mut messages = Vec::with_capacity(self.turns.len());
        for (at, turn) in self.turns.into_iter().enumerate() {
            let mut blocks = Vec::with_capacity(turn.results.len() + turn.pieces.len());
            let pieces = turn.results.into_iter().chain(turn.pieces);
            for (index, Piece { block, origin }) in pieces.enumerate() {
                if index == 0 {
                    // `messages.3.content` is `messages.3`, whatever is said of it.
                    let message: Vec<_> = origin.splitn(3, '.').take(2).collect();
                    notes.paths.note(format!("messages.{at}"), message.join("."));
                }
                notes.paths.note(format!("messages.{at}.content.{index}"), origin);
                blocks.push(block);
            }
            let content = Content::Blocks(blocks);
            messages.push(Message { role: turn.role, content, output_config: None, extra: Extra::default() });
        }
        Ok(Turns { system, messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 100_000;

    fn result<'r>(conversation: &mut Conversation<'r>, id: Option<&'r str>) -> Result<(), Refusal> {
        conversation.result(&Answers::Id(id), "at", Content::Blocks(Vec::new()), None, String::new())
    }

    /// Whatever looks through all of these once for each of them takes hours.
    #[test]
    fn many_calls_are_answered_in_any_order_and_between_any_turns() {
        let ids: Vec<_> = (0..MANY).map(|at| format!("call_{at}")).collect();
        let mut conversation = Conversation::default();
        for id in &ids {
            conversation.call(Some(id), "f", Object::empty(), String::new());
        }
        for _ in 0..MANY {
            conversation.say(Role::User, Block::Text(text("u", None)), String::new());
        }
        for _ in 0..MANY {
            conversation.system(text("s", None), String::new());
            conversation.say(Role::User, Block::Text(text("u", None)), String::new());
        }
        for id in ids.iter().skip(1).rev() {
            result(&mut conversation, Some(id)).unwrap();
        }
        result(&mut conversation, None).unwrap();
        assert!(result(&mut conversation, None).is_err());
        let messages = conversation.finish(&mut Notes::default()).unwrap().messages;
        assert_eq!(messages.len(), 2 + 2 * MANY);
        let Content::Blocks(blocks) = &messages[1].content else {
            panic!("blocks are what a turn is made of")
        };
        assert_eq!(blocks.len(), 2 * MANY);
        for (block, id) in blocks.iter().zip(ids[1..].iter().rev().chain(&ids[..1])) {
            assert!(matches!(block, Block::ToolResult(result) if result.tool_use_id == *id));
        }
        assert!(matches!(blocks[MANY], Block::Text(_)));
    }
}
