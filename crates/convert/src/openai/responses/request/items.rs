//! Items as turns of a conversation.

use std::borrow::Cow;

use protocol::anthropic::request::{Block, Content, RedactedThinkingBlock, Role, ThinkingBlock};
use protocol::openai::responses::Item;
use protocol::openai::responses::item as from;
use protocol::raw::Extra;

use super::super::seal::Sealed;
use super::names::Names;
use crate::Refusal;
use crate::openai::cache::Caching;
use crate::openai::conversation::{Answers, Conversation, text};
use crate::openai::{Notes, media, refusal, tool};
use crate::outcome::reason;

/// What the calls of the caller's shell are named upstream.
const LOCAL_SHELL: &str = "local_shell";

/// Said before a summary that stands for an earlier part of the conversation.
const SUMMARY: &str = "The conversation before this point was replaced by this summary of it:\n\n";

/// Items of tools that the vendor runs, and of others that have no counterpart: the conversation goes on without them.
const LEFT_OUT: &[&str] = &[
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "computer_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "tool_search_call",
    "tool_search_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "program",
    "program_output",
];

/// Puts items into a conversation.
pub(super) struct Items<'r, 'n> {
    names: &'r Names,
    notes: &'n mut Notes,
    caching: &'n mut Caching,
    pub(super) conversation: Conversation<'r>,
}

impl<'r, 'n> Items<'r, 'n> {
    /// A conversation in which nothing was said.
    pub(super) fn new(names: &'r Names, notes: &'n mut Notes, caching: &'n mut Caching) -> Self {
        Self { names, notes, caching, conversation: Conversation::default() }
    }

    /// One item. `at` is its place.
    pub(super) fn put(&mut self, item: &'r Item<'_>, at: &str) -> Result<(), Refusal> {
        match item {
            Item::Message(message) => self.message(message, at)?,
            Item::FunctionCall(call) => {
                self.notes.lose_extra(at, &call.extra);
                let name = self.names.upstream(call.namespace.as_deref(), &call.name);
                let input = tool::input(self.notes, &format!("{at}.arguments"), &call.arguments);
                self.conversation.call(Some(&call.call_id), name, input, at.to_owned());
            }
            Item::CustomToolCall(call) => {
                self.notes.lose_extra(at, &call.extra);
                let name = self.names.upstream(call.namespace.as_deref(), &call.name);
                let input = tool::freeform_input(&call.input);
                self.conversation.call(Some(&call.call_id), name, input, at.to_owned());
            }
            Item::LocalShellCall(call) => {
                self.notes.lose_extra(at, &call.extra);
                let id = call.call_id.as_deref().or(call.id.as_deref());
                self.conversation.call(id, LOCAL_SHELL, call.action.reborrow(), at.to_owned());
            }
            Item::FunctionCallOutput(output) => {
                self.notes.lose_extra(at, &output.extra);
                self.output(&output.call_id, &output.output, at)?;
            }
            Item::CustomToolCallOutput(output) => {
                self.notes.lose_extra(at, &output.extra);
                self.output(&output.call_id, &output.output, at)?;
            }
            Item::LocalShellCallOutput(output) => {
                self.notes.lose_extra(at, &output.extra);
                let content = Content::Text(Cow::Borrowed(&output.output));
                let answers = Answers::Id(Some(&output.id));
                self.conversation.result(&answers, &format!("{at}.id"), content, None, at.to_owned())?;
            }
            Item::Reasoning(thoughts) => self.reasoning(thoughts, at),
            Item::Compaction(item) => {
                let at = format!("{at}.encrypted_content");
                let Some(Sealed::Summary { text: summary }) = Sealed::open(&item.encrypted_content) else {
                    return Err(refusal(at, "The content was not encrypted by this gateway"));
                };
                self.conversation.say(Role::User, Block::Text(text(format!("{SUMMARY}{summary}"), None)), at);
            }
            // Those that could be found were replaced by what they name.
            Item::Reference(_) => return Err(refusal(at, "Item not found")),
            Item::Unknown(item) => {
                let kind = item.text("type").unwrap_or_default();
                if !LEFT_OUT.contains(&&*kind) {
                    let shown: String = kind.chars().take(64).collect();
                    let message = format!("item type '{shown}' is not supported by this gateway");
                    return Err(refusal(format!("{at}.type"), message));
                }
                self.notes.lose(at, reason::NO_PLACE);
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &'r from::Message<'_>, at: &str) -> Result<(), Refusal> {
        self.notes.lose_extra(at, &message.extra);
        if message.phase.is_some() {
            self.notes.lose(format!("{at}.phase"), reason::NO_PLACE);
        }
        // What is said in one word, and what was said before this request, has no place deeper than that.
        let at = if at.starts_with("input.") { format!("{at}.content") } else { at.to_owned() };
        let parts = match &message.content {
            from::Content::Text(said) => {
                let block = text(&**said, None);
                match message.role {
                    from::Role::System | from::Role::Developer => self.conversation.system(block, at),
                    from::Role::User => self.conversation.say(Role::User, Block::Text(block), at),
                    from::Role::Assistant => self.conversation.say(Role::Assistant, Block::Text(block), at),
                }
                return Ok(());
            }
            from::Content::Parts(parts) => parts,
        };
        for (index, part) in parts.iter().enumerate() {
            let at = if at.starts_with("input.") { format!("{at}.{index}") } else { at.clone() };
            let block = self.part(part, &at)?;
            match (message.role, block) {
                (from::Role::System | from::Role::Developer, Block::Text(block)) => {
                    self.conversation.system(block, at);
                }
                (from::Role::User, block) => self.conversation.say(Role::User, block, at),
                (from::Role::Assistant, block @ Block::Text(_)) => {
                    self.conversation.say(Role::Assistant, block, at);
                }
                (from::Role::System | from::Role::Developer | from::Role::Assistant, _) => {
                    let message = format!("only text can be said by the role '{}'", message.role.as_str());
                    return Err(refusal(at, message));
                }
            }
        }
        Ok(())
    }

    /// A part of a message, or of what a tool gave.
    fn part(&mut self, part: &'r from::Part<'_>, at: &str) -> Result<Block<'r>, Refusal> {
        let (mut block, control, breakpoint) = match part {
            from::Part::InputText(part) => {
                self.notes.lose_extra(at, &part.extra);
                (
                    Block::Text(text(&*part.text, None)),
                    part.cache_control.as_ref(),
                    part.prompt_cache_breakpoint.as_ref(),
                )
            }
            from::Part::OutputText(part) => {
                self.notes.lose_extra(at, &part.extra);
                (Block::Text(text(&*part.text, None)), None, None)
            }
            from::Part::Refusal(part) => (Block::Text(text(&*part.refusal, None)), None, None),
            from::Part::InputImage(part) => {
                self.notes.lose_extra(at, &part.extra);
                if part.detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.notes.lose(format!("{at}.detail"), reason::NO_PLACE);
                }
                (image(part, at)?, part.cache_control.as_ref(), part.prompt_cache_breakpoint.as_ref())
            }
            from::Part::InputFile(part) => {
                self.notes.lose_extra(at, &part.extra);
                (file(part, at)?, part.cache_control.as_ref(), part.prompt_cache_breakpoint.as_ref())
            }
            from::Part::Unknown(part) => {
                let kind = part.text("type").unwrap_or_default();
                let shown: String = kind.chars().take(64).collect();
                let message = format!("content type '{shown}' is not supported by this gateway");
                return Err(refusal(format!("{at}.type"), message));
            }
        };
        let marker = self.caching.marker(self.notes, at, control, breakpoint);
        if let (Some(place), Some(_)) = (crate::openai::cache::place(&mut block), &marker) {
            *place = marker;
        }
        Ok(block)
    }

    fn output(&mut self, call_id: &'r str, output: &'r from::Content<'_>, at: &str) -> Result<(), Refusal> {
        let content = match output {
            from::Content::Text(text) => Content::Text(Cow::Borrowed(&**text)),
            from::Content::Parts(parts) => {
                let block = |(index, part)| self.part(part, &format!("{at}.output.{index}"));
                Content::Blocks(parts.iter().enumerate().map(block).collect::<Result<_, _>>()?)
            }
        };
        let answers = Answers::Id(Some(call_id));
        self.conversation.result(&answers, &format!("{at}.call_id"), content, None, at.to_owned())
    }

    /// Thinking goes back as it came. What another vendor encrypted nobody here can read, and a summary is not what was
    /// thought.
    fn reasoning(&mut self, thoughts: &'r from::Reasoning<'_>, at: &str) {
        let block = match thoughts.encrypted_content.as_deref().map(Sealed::open) {
            Some(Some(Sealed::Thinking { text, signature })) => Some(thinking(text, signature)),
            Some(Some(Sealed::Redacted { data })) => Some(Block::RedactedThinking(RedactedThinkingBlock {
                data: data.into(),
                extra: Extra::default(),
            })),
            Some(Some(Sealed::Summary { .. }) | None) => None,
            None => {
                let parts = thoughts.content.as_deref().unwrap_or_default();
                let text: String = parts.iter().map(|part| &*part.text).collect();
                (!text.is_empty()).then(|| thinking(text, String::new()))
            }
        };
        match block {
            Some(block) => self.conversation.say(Role::Assistant, block, at.to_owned()),
            None => self.notes.lose(at, reason::FOREIGN_REASONING),
        }
    }
}

fn thinking(text: String, signature: String) -> Block<'static> {
    Block::Thinking(ThinkingBlock {
        thinking: text.into(),
        signature: (!signature.is_empty()).then(|| signature.into()),
        extra: Extra::default(),
    })
}

fn image<'r>(part: &'r from::InputImage<'_>, at: &str) -> Result<Block<'r>, Refusal> {
    match (&part.image_url, &part.file_id) {
        (Some(url), _) => media::image(&format!("{at}.image_url"), url),
        (None, Some(_)) => {
            Err(refusal(format!("{at}.file_id"), "uploaded files are not supported by this gateway"))
        }
        (None, None) => Err(refusal(format!("{at}.image_url"), "Field required")),
    }
}

fn file<'r>(part: &'r from::InputFile<'_>, at: &str) -> Result<Block<'r>, Refusal> {
    let data = part.file_data.as_deref().or(part.file_url.as_deref());
    media::file(at, data, part.file_id.as_deref(), part.filename.as_deref())
}
