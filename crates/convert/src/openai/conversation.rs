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

use super::{Notes, refusal, tool};
use crate::Refusal;

/// A block, and the caller's place that it comes from.
struct Piece<'r> {
    block: Block<'r>,
    origin: String,
}

struct Turn<'r> {
    role: Role,
    pieces: Vec<Piece<'r>>,
    /// How many results stand in front.
    results: usize,
}

/// A call that may still be answered.
struct Call {
    /// As the caller wrote it; empty where it wrote none.
    id: String,
    /// As it is sent.
    sent: String,
    name: String,
    answered: bool,
}

/// Which call a result answers.
pub(crate) enum Answers<'r> {
    /// The one of this id; none, or an empty one, is the first that has no result yet.
    Id(Option<&'r str>),
    /// The first of this function that has no result yet.
    Function(Option<&'r str>),
}

/// Turns in order, with the system prompt before them.
#[derive(Default)]
pub(crate) struct Conversation<'r> {
    system: Vec<(TextBlock<'r>, String)>,
    turns: Vec<Turn<'r>>,
    /// The calls of the last assistant turn.
    calls: Vec<Call>,
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
        self.calls.push(Call {
            id: id.to_owned(),
            sent: sent.clone().into_owned(),
            name: name.to_owned(),
            answered: false,
        });
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
        let tool_use_id = self.answered(which, at)?;
        let block = Block::ToolResult(ToolResultBlock {
            tool_use_id,
            content,
            is_error: None,
            cache_control: marker,
            extra: Extra::default(),
        });
        let turn = self.answering();
        turn.pieces.insert(turn.results, Piece { block, origin });
        turn.results += 1;
        Ok(())
    }

    /// The last block that was said by `role`, if it is the one that speaks.
    pub(crate) fn last(&mut self, role: Role) -> Option<&mut Block<'r>> {
        let turn = self.turns.last_mut().filter(|turn| turn.role == role)?;
        turn.pieces.last_mut().map(|piece| &mut piece.block)
    }

    /// The id of the call that a result answers.
    fn answered(&mut self, which: &Answers<'r>, at: &str) -> Result<Cow<'r, str>, Refusal> {
        let open = match which {
            Answers::Id(Some(id)) if !id.is_empty() => {
                let mut same = self.calls.iter().filter(|call| call.id == *id).peekable();
                // A result without its call is the lane's to refuse, in Anthropic's words.
                if same.peek().is_none() {
                    return Ok(tool::id(id));
                }
                if same.all(|call| call.answered) {
                    return Err(refusal(at, format!("each call must have a single result: '{id}' has two")));
                }
                self.calls.iter_mut().find(|call| call.id == *id && !call.answered)
            }
            Answers::Function(Some(name)) => {
                self.calls.iter_mut().find(|call| !call.answered && call.name == *name)
            }
            Answers::Id(_) | Answers::Function(None) => self.calls.iter_mut().find(|call| !call.answered),
        };
        let Some(call) = open else {
            return Err(refusal(at, "no call before it that has no result yet"));
        };
        call.answered = true;
        Ok(Cow::Owned(call.sent.clone()))
    }

    /// The turn that speaks, which is a new one where the other side spoke before.
    fn turn(&mut self, role: Role) -> &mut Turn<'r> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            if role == Role::Assistant {
                self.calls.clear();
            }
            self.turns.push(Turn { role, pieces: Vec::new(), results: 0 });
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    /// The user turn that follows the last assistant turn.
    fn answering(&mut self) -> &mut Turn<'r> {
        let after = self.turns.iter().rposition(|turn| turn.role == Role::Assistant).map_or(0, |at| at + 1);
        if self.turns.get(after).is_none_or(|turn| turn.role != Role::User) {
            self.turns.insert(after, Turn { role: Role::User, pieces: Vec::new(), results: 0 });
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
            let mut blocks = Vec::with_capacity(turn.pieces.len());
            for (index, Piece { block, origin }) in turn.pieces.into_iter().enumerate() {
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
