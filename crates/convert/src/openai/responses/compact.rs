//! `POST /v1/responses/compact`: a conversation is replaced by a summary of it, which one model call writes.
//!
//! What is kept as it is: what the operator says, and the messages at the end that nobody has answered. In between stands
//! the summary, sealed, which [`request`](super::request()) opens again.

use std::borrow::Cow;

use protocol::anthropic::response::{Block, Json, Message, StopReason};
use protocol::openai::responses::Item;
use protocol::openai::responses::item::{self, Role};
use protocol::openai::responses::request::{Input, Request};
use protocol::openai::responses::response::{Compacted, CompactedKind, OutputItem};
use protocol::openai::tool::ToolChoice;
use protocol::raw::Extra;

use super::request::{all_items, convert, field};
use super::seal::Sealed;
use super::{Asked, Options, Reply, turn};
use crate::Refusal;
use crate::openai::usage;

/// What the model is asked for in place of an answer.
const ASK: &str = "Do not go on with the task. Write a summary that will replace this conversation, for an assistant who \
will go on from it alone and has seen nothing else. Say what the user wants, what was decided and why, what was done and with \
what result, which files, names, identifiers, commands and values matter, word for word, and what is still to be done. Write \
the summary and nothing else.";

/// A conversation that is to be compacted.
#[derive(Debug)]
pub struct Compacting {
    /// The request for the summary. Its answer is not for the caller: see [`Self::response`].
    pub asked: Asked,
    /// What is kept before the summary, and what after it.
    kept: (Vec<Json>, Vec<Json>),
}

/// Why an answer is no summary that could stand for the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has no text, or none that is well-formed.
    Silent,
    /// It was cut off at the limit of tokens to generate.
    CutOff,
    /// It was cut off because the context window was full.
    WindowFull,
    /// The model, or a filter, declined.
    Refused,
}

/// Converts a request for compaction: its members are those of a request for an answer. The ids of what is kept are made of
/// the reply's.
pub fn request(request: &Request<'_>, options: &Options<'_>, reply: &Reply) -> Result<Compacting, Refusal> {
    // The request for the summary goes on from nothing: it could no longer be refused for that.
    field::refuse(request, options)?;
    let mut items: Vec<Item<'_>> =
        all_items(request, options)?.into_iter().map(|(item, _)| item.into_owned()).collect();
    if items.is_empty() {
        let message = "there is nothing to compact".to_owned();
        return Err(Refusal { path: "input".to_owned(), message });
    }
    let unanswered = items.iter().rev().take_while(|item| is_said_by(item, &[Role::User])).count();
    // Nothing but messages of the user's: then it is they who are too long.
    let operators = items.iter().filter(|item| is_said_by(item, &[Role::System, Role::Developer])).count();
    let tail = if unanswered + operators == items.len() {
        Vec::new()
    } else {
        items.split_off(items.len() - unanswered)
    };
    let operator = items.iter().filter(|item| is_said_by(item, &[Role::System, Role::Developer]));
    let kept = (kept(operator.cloned(), 0, reply), kept(tail.into_iter(), items.len(), reply));
    items.push(Item::Message(item::Message {
        id: None,
        role: Role::User,
        content: item::Content::Text(Cow::Borrowed(ASK)),
        status: None,
        phase: None,
        extra: Extra::default(),
    }));
    let summary = Request {
        input: Some(Input::Items(items)),
        previous_response_id: None,
        // The history may hold calls of tools, which have to be known; the summary is text.
        tool_choice: request.tools.as_ref().map(|_| ToolChoice::Word(Cow::Borrowed("none"))),
        parallel_tool_calls: None,
        reasoning: None,
        text: None,
        stream: None,
        store: Some(false),
        ..request.clone()
    };
    Ok(Compacting { asked: convert(&summary, options)?, kept })
}

fn is_said_by(item: &Item<'_>, roles: &[Role]) -> bool {
    matches!(item, Item::Message(message) if roles.contains(&message.role))
}

fn kept<'a>(items: impl Iterator<Item = Item<'a>>, first: usize, reply: &Reply) -> Vec<Json> {
    let named = items.enumerate().map(|(index, mut item)| {
        turn::name(&mut item, reply.suffix(), first + index);
        item
    });
    named.filter_map(|item| serde_json::to_string(&item).and_then(Json::parse).ok()).collect()
}

impl Compacting {
    /// The compacted conversation, from the answer to [`Self::asked`].
    pub fn response(&self, message: &Message, reply: &Reply) -> Result<Compacted, Unfit> {
        if let Some(unfit) = message.stop_reason.as_ref().and_then(unfit) {
            return Err(unfit);
        }
        let texts = message.content.iter().filter_map(|block| match block {
            Block::Text(block) => Some(&*block.text),
            Block::Thinking(_)
            | Block::RedactedThinking(_)
            | Block::ToolUse(_)
            | Block::ServerToolUse(_)
            | Block::Unknown(_) => None,
        });
        let text = texts.collect::<String>();
        if text.trim().is_empty() {
            return Err(Unfit::Silent);
        }
        let encrypted_content = Sealed::Summary { text }.seal();
        let item = OutputItem::Compaction { id: reply.item_id("cmp", 0), encrypted_content };
        let item = serde_json::to_string(&item).and_then(Json::parse).map_err(|_| Unfit::Silent)?;
        let (before, after) = &self.kept;
        Ok(Compacted {
            id: reply.id.clone(),
            object: CompactedKind::Compaction,
            created_at: reply.created,
            output: before.iter().chain([&item]).chain(after).cloned().collect(),
            usage: usage::responses(&message.usage),
        })
    }
}

/// Half a summary would pass for the whole: what it leaves out is lost to the conversation.
fn unfit(reason: &StopReason) -> Option<Unfit> {
    match reason {
        StopReason::MaxTokens => Some(Unfit::CutOff),
        StopReason::ModelContextWindowExceeded => Some(Unfit::WindowFull),
        StopReason::Refusal => Some(Unfit::Refused),
        StopReason::Malformed { .. } => Some(Unfit::Silent),
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::PauseTurn
        | StopReason::Unknown(_) => None,
    }
}
