//! A chat completion becomes the bytes of a Messages body, whatever the model.
//!
//! [`request`] is pure: the same body and options give the same bytes. What the Messages API has no place for is left out
//! and listed as a [`Loss`]; what must not be ignored is a [`Refusal`] that names the parameter.
//!
//! Stated policies, where more than one would do:
//! * Leading system and developer messages are the system prompt, later ones stay where they are; what one side says in
//!   a row is one turn, with tool results first.
//! * A `temperature` above 1 is 1, which is the most that Claude and Bedrock take.
//! * `reasoning_effort` `none` and `minimal` switch thinking off; the others ask for adaptive thinking at that effort.
//!   `thinking`, an extension, wins.
//! * `response_format: json_object` is an instruction in the system prompt; `json_schema` is the output format, whose
//!   constraints that the Messages API does not take are told in the descriptions (a `Loss`).
//! * Arguments of the history that are no JSON object are kept as text in one (a `Loss`); two results of one call are
//!   refused.
//! * Reasoning of earlier turns comes back from `reasoning_details`, each block in its place; `reasoning_content` alone
//!   is thinking without a signature, which the lanes leave out where the model does not take it.
//! * A tool that is strict by a schema that strict mode does not take is sent without `strict` (a `Loss`).
//! * Callers who set no cache marker get some, at the end of the tools, of the system prompt and of the last user turns,
//!   where what lies before is long enough.

mod field;
mod message;
mod reasoning;

use protocol::anthropic::request as anthropic;
use protocol::openai::chat::request as openai;
use protocol::raw::Extra;

use super::Form;
use crate::openai::cache::Caching;
use crate::openai::conversation::Conversation;
use crate::openai::format::{ANY_OBJECT, Format};
use crate::openai::{Notes, Paths, conversation, effort, parameter, tool};
use crate::outcome::reason;
use crate::{Loss, Refusal};

/// What the operator's settings decide, beside the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most tokens to generate for callers who say none.
    pub default_max_tokens: u32,
    /// Whether callers who set no cache marker get some.
    pub automatic_caching: bool,
    /// Least tokens, as estimated, that a prefix must have for a marker of ours. Where the model needs more, the upstream
    /// passes the marker over: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>.
    pub cache_minimum_tokens: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { default_max_tokens: 4096, automatic_caching: true, cache_minimum_tokens: 1024 }
    }
}

/// A converted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// A Messages request, in JSON.
    pub body: Vec<u8>,
    /// What could not be carried; paths are the caller's.
    pub losses: Vec<Loss>,
    /// Where the parts of the body come from.
    pub paths: Paths,
    /// What the answer must know.
    pub form: Form,
}

/// Converts a body of `POST /v1/chat/completions`.
pub fn request(text: &str, options: &Options) -> Result<Asked, Refusal> {
    let asked = openai::parse(text).map_err(|fault| Refusal { path: fault.path, message: fault.message })?;
    let mut notes = Notes::default();
    let notes = &mut notes;
    field::check(notes, &asked)?;
    let mut caching = field::caching(&asked)?;

    let Offer { mut tools, choice, form } = offer(notes, &mut caching, &asked)?;
    let format = field::format(notes, &asked)?;
    let mut conversation = Conversation::default();
    for (index, message) in asked.messages.iter().enumerate() {
        message::turn(notes, &mut caching, &mut conversation, index, message)?;
    }
    if matches!(format, Format::AnyObject) {
        conversation.instruct(conversation::text(ANY_OBJECT, None), "response_format".to_owned());
    }
    let conversation::Turns { mut system, mut messages } = conversation.finish(notes)?;
    if options.automatic_caching {
        caching.automatic(options.cache_minimum_tokens, &mut tools, &mut system, &mut messages);
    }
    let thinking = field::thinking(notes, &asked)?;

    let body = anthropic::Request {
        model: (&*asked.model).into(),
        max_tokens: Some(field::max_tokens(notes, &asked, options)),
        system: (!system.is_empty()).then_some(anthropic::System::Blocks(system)),
        tools: (!tools.is_empty()).then_some(tools),
        tool_choice: choice,
        messages,
        stream: asked.stream,
        stop_sequences: field::stop_sequences(notes, &asked),
        temperature: parameter::temperature(notes, asked.temperature.as_ref())?,
        top_p: asked.top_p.clone(),
        top_k: asked.top_k.clone(),
        thinking: thinking.thinking,
        output_config: effort::output_config(thinking.effort, format.schema()),
        output_format: None,
        metadata: parameter::metadata(notes, &field::asker(&asked)),
        cache_control: None,
        service_tier: asked.service_tier.as_deref().map(Into::into),
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
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 8);
    protocol::openai::write_json(&mut bytes, &body);
    let Notes { losses, paths } = std::mem::take(notes);
    Ok(Asked { body: bytes, losses, paths, form })
}

/// The tools, which of them to use, and the form of the answer that follows from them.
struct Offer<'r> {
    tools: Vec<anthropic::Tool<'r>>,
    choice: Option<anthropic::ToolChoice<'r>>,
    form: Form,
}

fn offer<'r>(
    notes: &mut Notes,
    caching: &mut Caching,
    asked: &'r openai::Request<'_>,
) -> Result<Offer<'r>, Refusal> {
    let mut definitions = Vec::new();
    for (index, tool) in asked.tools.iter().flatten().enumerate() {
        let at = format!("tools.{index}");
        let mut definition = tool::definition(notes, &at, tool)?;
        definition.tool.cache_control = caching.marker(notes, &at, tool::marker(tool), None);
        definitions.push(definition);
    }
    let functions = asked.functions.as_deref().unwrap_or_default();
    let legacy = definitions.is_empty() && !functions.is_empty();
    if !legacy && !functions.is_empty() {
        notes.lose("functions", reason::NO_PLACE);
    }
    for (index, function) in functions.iter().enumerate().filter(|_| legacy) {
        let at = format!("functions.{index}");
        notes.lose_extra(&at, &function.extra);
        let mut definition = tool::function(notes, &at, &tool::members(function));
        definition.tool.cache_control = caching.marker(notes, &at, function.cache_control.as_ref(), None);
        definitions.push(definition);
    }
    let (at, chosen) = match &asked.tool_choice {
        Some(choice) => {
            if asked.function_call.is_some() {
                notes.lose("function_call", reason::NO_PLACE);
            }
            ("tool_choice", Some(choice))
        }
        None => ("function_call", asked.function_call.as_ref()),
    };
    let choice = tool::choice(notes, at, chosen)?;
    let (tools, custom) = tool::offered(notes, definitions, choice.allowed.as_ref())?;
    // A legacy answer has room for one call.
    let parallel = if legacy { Some(false) } else { asked.parallel_tool_calls };
    let include_usage = asked.stream_options.as_ref().and_then(|options| options.include_usage);
    Ok(Offer {
        choice: tool::tool_choice(notes, at, choice.mode, parallel, tools.is_empty())?,
        form: Form { custom, functions: legacy, include_usage: include_usage.unwrap_or(false) },
        tools,
    })
}
