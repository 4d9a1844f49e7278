//! A request of the Responses API becomes the bytes of a Messages body, whatever the model.
//!
//! [`request()`] is pure: the same body, options and stored turns give the same bytes. What the Messages API has no place for
//! is left out and listed as a [`Loss`]; what must not be ignored is a [`Refusal`] that names the parameter.
//!
//! Stated policies, where more than one would do:
//! * `instructions`, and system and developer messages in front, are the system prompt; later ones stay where they are.
//!   Instructions are those of this request alone, as OpenAI has it; items of earlier turns come before the new ones.
//! * A tool of a namespace is called `namespace__name` upstream, and by both names in the answer. What the namespace says
//!   of its tools is told at the first of them.
//! * Tools that OpenAI runs are left out (a `Loss`), unless a tool must be called (`tool_choice: required`, or that tool).
//!   A web search that may not leave OpenAI's cache is left out without a word. Items of such tools in the history are a
//!   `Loss`; items of a type that nobody knows are refused.
//! * Reasoning comes back from `encrypted_content` of our own making, signed as it was, and is in every answer whether it
//!   is asked for or not: without it a tool loop of a thinking model breaks. Another vendor's is a `Loss`.
//! * `reasoning.effort` `none` and `minimal` switch thinking off; the others ask for adaptive thinking at that effort, and
//!   for a summary that can be read where `summary` asks for one. `summary` alone switches nothing on.
//! * A previous response, or `store: true`, where nothing is kept is refused; `store` unsaid is not.

mod echo;
pub(super) mod field;
mod items;
mod names;
mod offer;

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::anthropic::request as anthropic;
use protocol::openai::responses as openai;
use protocol::openai::responses::item::{self, Item, Message};
use protocol::openai::responses::request::{Input, Request};
use protocol::raw::Extra;

use super::response::Recall;
use super::turn::{History, Referred};
use crate::openai::conversation::{Conversation, Turns, text};
use crate::openai::format::{ANY_OBJECT, Format};
use crate::openai::{Notes, Paths, effort, parameter, refusal};
use crate::{Loss, Refusal};
use items::Items;
use names::Names;

/// What your settings and your store decide about a request.
#[derive(Clone, Copy, Debug)]
pub struct Options<'h> {
    /// Most tokens to generate, where the caller does not say.
    pub default_max_tokens: u32,
    /// Whether callers who set no cache marker get some.
    pub automatic_caching: bool,
    /// Least tokens, as estimated, that a prefix must have for a marker of ours.
    pub cache_minimum_tokens: u32,
    /// Whether responses are kept at all. Where not, a caller who asks for it is refused.
    pub state: bool,
    /// What came before, as [`Wants`] asks for it.
    pub history: History<'h>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            default_max_tokens: 4096,
            automatic_caching: true,
            cache_minimum_tokens: 1024,
            state: true,
            history: History::default(),
        }
    }
}

/// What a request needs from the store before it can be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// The response that it goes on from: its turn, and those before that one.
    pub previous_response_id: Option<String>,
    /// The responses whose items it refers to.
    pub others: Vec<String>,
}

/// A converted request.
#[derive(Debug)]
pub struct Asked {
    /// A Messages body.
    pub body: Vec<u8>,
    /// What could not be carried.
    pub losses: Vec<Loss>,
    /// Where the places of the body come from.
    pub paths: Paths,
    /// What the answer must know.
    pub recall: Recall,
    /// Whether to answer as events.
    pub stream: bool,
    /// Whether the turn is to be kept.
    pub store: bool,
    /// What is new in this turn, as the text of a JSON list, references replaced by what they name: for
    /// [`stored`](super::turn::stored).
    pub input: String,
}

/// Reads the body of `POST /v1/responses`.
pub fn parse(text: &str) -> Result<Request<'_>, Refusal> {
    openai::parse(text).map_err(|fault| refusal(fault.path, fault.message))
}

/// What a request needs from the store.
pub fn wants(request: &Request<'_>) -> Wants {
    let (mut others, mut seen) = (Vec::new(), HashSet::new());
    for item in given(request) {
        if let Item::Reference(reference) = item
            && let Some(id) = super::turn::response_of(&reference.id)
            && seen.insert(id.clone())
        {
            others.push(id);
        }
    }
    let previous_response_id = request.previous_response_id.as_deref().map(str::to_owned);
    Wants { previous_response_id, others }
}

fn given<'r, 'a>(request: &'r Request<'a>) -> &'r [Item<'a>] {
    match &request.input {
        Some(Input::Items(items)) => items,
        Some(Input::Text(_)) | None => &[],
    }
}

/// Reads and converts a request.
pub fn request(text: &str, options: &Options<'_>) -> Result<Asked, Refusal> {
    convert(&parse(text)?, options)
}

/// Converts a request. Its history is the caller's to find: see [`wants`].
pub fn convert(request: &Request<'_>, options: &Options<'_>) -> Result<Asked, Refusal> {
    field::refuse(request, options)?;
    let mut notes = Notes::default();
    let notes = &mut notes;
    field::lose(request, notes);
    let items = all_items(request, options)?;
    let names = Names::of(request.tools.as_deref().unwrap_or_default(), &items);
    let mut caching = field::caching(request)?;
    let offer::Offer { mut tools, tool_choice, custom } = offer::offer(notes, &mut caching, request, &names)?;
    let format = field::output_format(request, notes)?;
    let conversation = conversation(request, &format, &items, Items::new(&names, notes, &mut caching))?;
    let turns = conversation.finish(notes).map_err(|refused| refusal("input", refused.message))?;
    let Turns { mut system, mut messages } = turns;
    if options.automatic_caching {
        caching.automatic(options.cache_minimum_tokens, &mut tools, &mut system, &mut messages);
    }
    let (thinking, effort) = field::thinking(request, notes)?;
    let body = anthropic::Request {
        model: Cow::Borrowed(&request.model),
        max_tokens: Some(field::max_tokens(notes, request, options)),
        system: (!system.is_empty()).then_some(anthropic::System::Blocks(system)),
        tools: (!tools.is_empty()).then_some(tools),
        tool_choice,
        messages,
        stream: request.stream,
        stop_sequences: None,
        temperature: parameter::temperature(notes, request.temperature.as_ref())?,
        top_p: request.top_p.clone(),
        top_k: None,
        thinking,
        output_config: effort::output_config(effort, format.schema()),
        output_format: None,
        metadata: parameter::metadata(notes, &field::asker(request)),
        cache_control: None,
        service_tier: request.service_tier.as_deref().map(Cow::Borrowed),
        container: None,
        context_management: None,
        mcp_servers: None,
        safeguards: None,
        tags: None,
        diagnostics: None,
        speed: None,
        inference_geo: None,
        fallbacks: None,
        extra: Extra::default(),
    };
    let mut bytes = Vec::with_capacity(4096);
    protocol::openai::write_json(&mut bytes, &body);
    let Notes { losses, paths } = std::mem::take(notes);
    let store = options.state && request.store.unwrap_or(true);
    Ok(Asked {
        body: bytes,
        losses,
        paths,
        recall: echo::recall(request, store, names.called(&custom)),
        stream: request.stream.unwrap_or(false),
        store,
        input: if store { new_items(&items) } else { String::new() },
    })
}

/// The conversation: instructions, and items in order.
fn conversation<'r>(
    request: &'r Request<'_>,
    format: &Format<'_>,
    items: &'r [Placed<'_>],
    mut putting: Items<'r, '_>,
) -> Result<Conversation<'r>, Refusal> {
    if let Some(instructions) = request.instructions.as_deref().filter(|text| !text.is_empty()) {
        putting.conversation.system(text(instructions, None), "instructions".to_owned());
    }
    for (item, at) in items {
        putting.put(item, at)?;
    }
    if matches!(format, Format::AnyObject) {
        putting.conversation.instruct(text(ANY_OBJECT, None), "text.format".to_owned());
    }
    Ok(putting.conversation)
}

/// What is new, as it is stored.
fn new_items(items: &[Placed<'_>]) -> String {
    let new: Vec<_> = items.iter().filter(|(_, at)| at != PREVIOUS).map(|(item, _)| item).collect();
    serde_json::to_string(&new).unwrap_or_default()
}

/// An item, and its place.
type Placed<'r> = (Cow<'r, Item<'r>>, String);

/// The place of everything that comes from stored turns.
const PREVIOUS: &str = "previous_response_id";

/// The items of the turns before, then those of the request, references replaced by what they name; each with its place.
pub(super) fn all_items<'r>(
    request: &'r Request<'r>,
    options: &Options<'r>,
) -> Result<Vec<Placed<'r>>, Refusal> {
    let mut items = Vec::new();
    if request.previous_response_id.is_some() {
        items
            .extend(options.history.items()?.into_iter().map(|item| (Cow::Owned(item), PREVIOUS.to_owned())));
    }
    match &request.input {
        None => {}
        Some(Input::Text(text)) => {
            let message = Message {
                id: None,
                role: item::Role::User,
                content: item::Content::Text(Cow::Borrowed(text)),
                status: None,
                phase: None,
                extra: Extra::default(),
            };
            items.push((Cow::Owned(Item::Message(message)), "input".to_owned()));
        }
        Some(Input::Items(given)) => {
            let mut referred = Referred::new(options.history);
            for (index, item) in given.iter().enumerate() {
                let at = format!("input.{index}");
                let item = match item {
                    Item::Reference(reference) => Cow::Owned(referred.take(reference, &at)?),
                    other => Cow::Borrowed(other),
                };
                items.push((item, at));
            }
        }
    }
    Ok(items)
}
