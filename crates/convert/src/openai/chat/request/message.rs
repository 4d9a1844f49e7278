//! Messages, by who speaks.

use std::collections::VecDeque;

use protocol::anthropic::request::{Block, CacheControl, Content as Blocks, Role as Side};
use protocol::openai::chat::request::{Content, ImageUrl, Message, Part, Role, ToolCall};
use protocol::raw::Object;

use super::reasoning::{self, Thought};
use crate::Refusal;
use crate::openai::cache::{self, Caching};
use crate::openai::conversation::{Answers, Conversation, text};
use crate::openai::{Notes, media, refusal, tool};
use crate::outcome::reason;

/// Takes in one message.
pub(super) fn turn<'r>(
    notes: &mut Notes,
    caching: &mut Caching,
    conversation: &mut Conversation<'r>,
    index: usize,
    message: &'r Message<'_>,
) -> Result<(), Refusal> {
    let at = format!("messages.{index}");
    members(notes, &at, message);
    let mut work = Work { notes, caching, conversation, at, message };
    match message.role {
        Role::System | Role::Developer => work.operator(),
        Role::User => work.user(),
        Role::Assistant => work.assistant(),
        Role::Tool => {
            let which = Answers::Id(message.tool_call_id.as_deref());
            work.result(&which, "tool_call_id")
        }
        Role::Function => work.result(&Answers::Function(message.name.as_deref()), "name"),
    }
}

/// Notes the members that this role has no use for.
fn members(notes: &mut Notes, at: &str, message: &Message<'_>) {
    let assistant = message.role == Role::Assistant;
    let lost = [
        ("name", message.name.is_some() && message.role != Role::Function),
        ("tool_calls", message.tool_calls.is_some() && !assistant),
        ("tool_call_id", message.tool_call_id.is_some() && message.role != Role::Tool),
        ("function_call", message.function_call.is_some() && !assistant),
        ("refusal", message.refusal.is_some() && !assistant),
        ("reasoning_content", message.reasoning_content.is_some() && !assistant),
        ("reasoning_details", message.reasoning_details.is_some() && !assistant),
        ("audio", message.audio.is_some()),
        ("annotations", message.annotations.as_ref().is_some_and(|list| list.get() != "[]")),
    ];
    for (name, _) in lost.iter().filter(|(_, lost)| *lost) {
        notes.lose(format!("{at}.{name}"), reason::NO_PLACE);
    }
    notes.lose_extra(at, &message.extra);
}

/// One message on its way.
struct Work<'w, 'r, 'a> {
    notes: &'w mut Notes,
    caching: &'w mut Caching,
    conversation: &'w mut Conversation<'r>,
    /// Its place.
    at: String,
    message: &'r Message<'a>,
}

/// What stands between the thoughts of an assistant's message.
enum Said<'r> {
    Block(Block<'r>, String),
    Call { id: Option<&'r str>, name: &'r str, input: Object<'r>, origin: String },
}

impl<'r> Work<'_, 'r, '_> {
    fn content(&self) -> String {
        format!("{}.content", self.at)
    }

    /// The marker on the message, which stands at its end.
    fn own_marker(&mut self) -> Option<CacheControl<'r>> {
        self.caching.marker(self.notes, &self.at, self.message.cache_control.as_ref(), None)
    }

    fn operator(&mut self) -> Result<(), Refusal> {
        for (block, origin) in self.blocks()? {
            match block {
                Block::Text(block) => self.conversation.system(block, origin),
                _ => return Err(refusal(origin, "system messages take text alone")),
            }
        }
        Ok(())
    }

    fn user(&mut self) -> Result<(), Refusal> {
        if matches!(self.message.content, Content::Absent) {
            return Err(refusal(self.content(), "Field required"));
        }
        let mut blocks = self.blocks()?;
        if blocks.is_empty() {
            // What is to become of a turn of nothing is the lane's to say.
            blocks.push((Block::Text(text("", None)), self.content()));
        }
        for (block, origin) in blocks {
            self.conversation.say(Side::User, block, origin);
        }
        Ok(())
    }

    fn result(&mut self, which: &Answers<'r>, member: &str) -> Result<(), Refusal> {
        let content = match &self.message.content {
            Content::Absent => Blocks::Absent,
            Content::Text(text) => Blocks::Text((&**text).into()),
            Content::Parts(parts) => {
                Blocks::Blocks(self.parts(parts, None)?.into_iter().map(|(block, _)| block).collect())
            }
        };
        let marker = self.own_marker();
        let at = format!("{}.{member}", self.at);
        self.conversation.result(which, &at, content, marker, self.at.clone())
    }

    fn assistant(&mut self) -> Result<(), Refusal> {
        let message = self.message;
        let thoughts = reasoning::thoughts(self.notes, &self.at, message);
        let mut said = VecDeque::new();
        for (block, origin) in self.blocks_unmarked()? {
            if !matches!(&block, Block::Text(text) if text.text.is_empty()) {
                said.push_back(Said::Block(block, origin));
            }
        }
        if let Some(refused) = message.refusal.as_deref().filter(|refused| !refused.is_empty()) {
            said.push_back(Said::Block(Block::Text(text(refused, None)), format!("{}.refusal", self.at)));
        }
        for (index, call) in message.tool_calls.iter().flatten().enumerate() {
            said.push_back(self.call(index, call)?);
        }
        if let Some(call) = &message.function_call {
            let origin = format!("{}.function_call", self.at);
            self.notes.lose_extra(&origin, &call.extra);
            let input =
                tool::written_input(self.notes, &format!("{origin}.arguments"), call.arguments.as_ref());
            said.push_back(Said::Call { id: None, name: &call.name, input, origin });
        }
        if thoughts.is_empty() && said.is_empty() {
            self.notes.lose(self.content(), reason::BLANK);
            return Ok(());
        }
        self.speak(thoughts, said);
        if let Some(marker) = self.own_marker()
            && let Some(place) = self.conversation.last(Side::Assistant).and_then(cache::place)
        {
            place.get_or_insert(marker);
        }
        Ok(())
    }

    /// Says all of it, each thought at the place that it had in the answer: a turn whose thinking was moved is refused.
    fn speak(&mut self, thoughts: Vec<Thought<'r>>, mut said: VecDeque<Said<'r>>) {
        let mut thoughts = VecDeque::from(thoughts);
        let mut place = 0;
        loop {
            let is_next =
                |thought: &mut Thought<'r>| thought.place.is_none_or(|own| own <= place) || said.is_empty();
            if let Some(Thought { block, origin, .. }) = thoughts.pop_front_if(is_next) {
                self.conversation.say(Side::Assistant, block, origin);
            } else {
                match said.pop_front() {
                    None => return,
                    Some(Said::Block(block, origin)) => self.conversation.say(Side::Assistant, block, origin),
                    Some(Said::Call { id, name, input, origin }) => {
                        self.conversation.call(id, name, input, origin);
                    }
                }
            }
            place += 1;
        }
    }

    fn call(&mut self, index: usize, call: &'r ToolCall<'_>) -> Result<Said<'r>, Refusal> {
        let origin = format!("{}.tool_calls.{index}", self.at);
        self.notes.lose_extra(&origin, &call.extra);
        let id = call.id.as_deref();
        if let Some(custom) = &call.custom {
            self.notes.lose_extra(&format!("{origin}.custom"), &custom.extra);
            let input = tool::freeform_input(&custom.input);
            return Ok(Said::Call { id, name: &custom.name, input, origin });
        }
        let Some(function) = &call.function else {
            return Err(refusal(format!("{origin}.function"), "Field required"));
        };
        self.notes.lose_extra(&format!("{origin}.function"), &function.extra);
        let at = format!("{origin}.function.arguments");
        let input = tool::written_input(self.notes, &at, function.arguments.as_ref());
        Ok(Said::Call { id, name: &function.name, input, origin })
    }

    /// The blocks of the content, the last of them with the marker of the message.
    fn blocks(&mut self) -> Result<Vec<(Block<'r>, String)>, Refusal> {
        let marker = self.own_marker();
        self.blocks_with(marker)
    }

    fn blocks_unmarked(&mut self) -> Result<Vec<(Block<'r>, String)>, Refusal> {
        self.blocks_with(None)
    }

    fn blocks_with(&mut self, marker: Option<CacheControl<'r>>) -> Result<Vec<(Block<'r>, String)>, Refusal> {
        match &self.message.content {
            Content::Absent => Ok(Vec::new()),
            Content::Text(it) => Ok(vec![(Block::Text(text(&**it, marker)), self.content())]),
            Content::Parts(parts) => self.parts(parts, marker),
        }
    }

    fn parts(
        &mut self,
        parts: &'r [Part<'_>],
        marker: Option<CacheControl<'r>>,
    ) -> Result<Vec<(Block<'r>, String)>, Refusal> {
        let mut blocks = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{}.{index}", self.content());
            blocks.push((self.part(&at, part)?, at));
        }
        if let (Some(marker), Some((last, _))) = (marker, blocks.last_mut())
            && let Some(place) = cache::place(last)
        {
            place.get_or_insert(marker);
        }
        Ok(blocks)
    }

    fn part(&mut self, at: &str, part: &'r Part<'_>) -> Result<Block<'r>, Refusal> {
        let (mut block, control, breakpoint, extra) = match part {
            Part::Text(part) => (
                Block::Text(text(&*part.text, None)),
                part.cache_control.as_ref(),
                part.prompt_cache_breakpoint.as_ref(),
                &part.extra,
            ),
            Part::Image(part) => (
                self.image(at, &part.image_url)?,
                part.cache_control.as_ref(),
                part.prompt_cache_breakpoint.as_ref(),
                &part.extra,
            ),
            Part::File(part) => {
                let at = format!("{at}.file");
                self.notes.lose_extra(&at, &part.file.extra);
                let file = &part.file;
                let (data, id) = (file.file_data.as_deref(), file.file_id.as_deref());
                (
                    media::file(&at, data, id, file.filename.as_deref())?,
                    part.cache_control.as_ref(),
                    part.prompt_cache_breakpoint.as_ref(),
                    &part.extra,
                )
            }
            Part::Refusal(part) => (Block::Text(text(&*part.refusal, None)), None, None, &part.extra),
            Part::Audio(_) => {
                return Err(refusal(format!("{at}.input_audio"), "audio is not supported by this gateway"));
            }
            Part::Unknown(members) => {
                let kind: String = members.text("type").unwrap_or_default().chars().take(64).collect();
                let message = format!("content of type '{kind}' is not supported by this gateway");
                return Err(refusal(format!("{at}.type"), message));
            }
        };
        self.notes.lose_extra(at, extra);
        let marker = self.caching.marker(self.notes, at, control, breakpoint);
        if let Some(place) = cache::place(&mut block) {
            *place = marker;
        }
        Ok(block)
    }

    fn image(&mut self, at: &str, image: &'r ImageUrl<'_>) -> Result<Block<'r>, Refusal> {
        let at = format!("{at}.image_url");
        match image {
            ImageUrl::Text(url) => media::image(&at, url),
            ImageUrl::Spec(spec) => {
                self.notes.lose_extra(&at, &spec.extra);
                if spec.detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.notes.lose(format!("{at}.detail"), reason::NO_PLACE);
                }
                media::image(&format!("{at}.url"), &spec.url)
            }
        }
    }
}
