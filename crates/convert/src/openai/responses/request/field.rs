//! Parameters: what is refused, what is left out, what has a place.

use std::borrow::Cow;
use std::num::NonZeroU64;

use protocol::anthropic::request as anthropic;
use protocol::openai::responses::request::{Format, Request};
use protocol::raw::{Object, Raw};

use super::echo::summary;
use super::{Options, PREVIOUS};
use crate::Refusal;
use crate::openai::cache::Caching;
use crate::openai::format::{Format as Wanted, Schema};
use crate::openai::parameter::Asker;
use crate::openai::{Notes, effort, format, refusal};
use crate::outcome::reason;

/// Most tokens to generate.
pub(super) fn max_tokens(notes: &mut Notes, request: &Request<'_>, options: &Options<'_>) -> u64 {
    notes.paths.note("max_tokens", "max_output_tokens");
    request.max_output_tokens.map_or_else(|| u64::from(options.default_max_tokens), NonZeroU64::get)
}

/// How the prompt is cached.
pub(super) fn caching(request: &Request<'_>) -> Result<Caching, Refusal> {
    let mode = request.prompt_cache_options.as_ref().and_then(|options| options.mode.as_deref());
    Caching::new("cache_ttl", request.cache_ttl.as_deref(), mode == Some("explicit"))
}

/// Who asks, as its members have it.
pub(super) fn asker<'r>(request: &'r Request<'_>) -> Asker<'r> {
    Asker {
        labels: request.metadata.as_ref().map(Object::raw),
        repeated: true,
        safety_identifier: request.safety_identifier.as_deref(),
        user: request.user.as_deref(),
    }
}

/// What must not be ignored.
pub(in crate::openai::responses) fn refuse(
    request: &Request<'_>,
    options: &Options<'_>,
) -> Result<(), Refusal> {
    let no = |path: &str, message: &str| Err(refusal(path, message));
    labels(request)?;
    if request.background == Some(true) {
        return no("background", "background responses are not supported by this gateway");
    }
    if request.conversation.is_some() {
        return no(
            "conversation",
            "conversations are not supported by this gateway; use 'previous_response_id'",
        );
    }
    if request.prompt.is_some() {
        return no("prompt", "stored prompts are not supported by this gateway");
    }
    if request.top_logprobs.is_some_and(|number| number > 0) {
        return no("top_logprobs", "log probabilities are not supported by this gateway");
    }
    let include = request.include.as_deref().unwrap_or_default();
    if let Some(at) = include.iter().position(|what| what == "message.output_text.logprobs") {
        return no(&format!("include.{at}"), "log probabilities are not supported by this gateway");
    }
    if !options.state {
        if request.previous_response_id.is_some() {
            return no(PREVIOUS, "this gateway keeps no responses; send the whole conversation as 'input'");
        }
        if request.store == Some(true) {
            return no("store", "this gateway keeps no responses");
        }
    }
    Ok(())
}

/// Labels are repeated and kept, so they are held to what OpenAI takes: some words each.
/// <https://developers.openai.com/api/reference/resources/responses/methods/create>
fn labels(request: &Request<'_>) -> Result<(), Refusal> {
    const AT: &str = "metadata";
    const MOST: usize = 16;
    let labels = request.metadata.as_ref().map(Object::raw);
    let labels = labels.as_ref().and_then(Raw::members).unwrap_or_default();
    if labels.len() > MOST {
        return Err(refusal(AT, format!("Input should have at most {MOST} members")));
    }
    match labels.iter().find(|(_, value)| !value.get().starts_with('"')) {
        Some((key, _)) => Err(refusal(format!("{AT}.{key}"), "Input should be a valid string")),
        None => Ok(()),
    }
}

/// What has no place in the Messages API, and can be lived without.
pub(super) fn lose(request: &Request<'_>, notes: &mut Notes) {
    notes.lose_extra("", &request.extra);
    let include = request.include.as_deref().unwrap_or_default();
    for (at, what) in include.iter().enumerate() {
        // Sealed reasoning is in every answer.
        if what != "reasoning.encrypted_content" {
            notes.lose(format!("include.{at}"), reason::NO_PLACE);
        }
    }
    let verbosity = request.text.as_ref().and_then(|text| text.verbosity.as_deref());
    for (path, lost) in [
        ("max_tool_calls", request.max_tool_calls.is_some()),
        ("prompt_cache_key", request.prompt_cache_key.is_some()),
        (
            "prompt_cache_retention",
            request.prompt_cache_retention.as_deref().is_some_and(|word| word != "in_memory"),
        ),
        (
            "prompt_cache_options.ttl",
            request.prompt_cache_options.as_ref().is_some_and(|caching| caching.ttl.is_some()),
        ),
        ("truncation", request.truncation.as_deref().is_some_and(|word| word != "disabled")),
        ("text.verbosity", verbosity.is_some_and(|word| word != "medium")),
    ] {
        if lost {
            notes.lose(path, reason::NO_PLACE);
        }
    }
    if let Some(options) = &request.stream_options {
        // No padding is what there is.
        if options.include_obfuscation == Some(true) {
            notes.lose("stream_options.include_obfuscation", reason::NO_PLACE);
        }
        if options.include_usage.is_some() {
            notes.lose("stream_options.include_usage", reason::NO_PLACE);
        }
        notes.lose_extra("stream_options", &options.extra);
    }
    if let Some(text) = &request.text {
        notes.lose_extra("text", &text.extra);
    }
    if let Some(caching) = &request.prompt_cache_options {
        notes.lose_extra("prompt_cache_options", &caching.extra);
    }
    if let Some(reasoning) = &request.reasoning {
        notes.lose_extra("reasoning", &reasoning.extra);
    }
}

/// Thinking and effort. A summary alone asks to see what there is, and switches nothing on.
pub(super) fn thinking(
    request: &Request<'_>,
    notes: &mut Notes,
) -> Result<(Option<anthropic::Thinking<'static>>, Option<&'static str>), Refusal> {
    let Some(reasoning) = &request.reasoning else { return Ok((None, None)) };
    let Some(word) = reasoning.effort.as_deref() else { return Ok((None, None)) };
    let effort::Effort { mut thinking, effort } = effort::effort("reasoning.effort", word)?;
    notes.paths.note("thinking", "reasoning.effort");
    notes.paths.note("output_config.effort", "reasoning.effort");
    if let anthropic::Thinking::Adaptive(adaptive) = &mut thinking
        && summary(reasoning).is_some()
    {
        adaptive.display = Some(Cow::Borrowed("summarized"));
    }
    Ok((Some(thinking), effort))
}

/// What the text must look like.
pub(super) fn output_format<'r>(request: &'r Request<'_>, notes: &mut Notes) -> Result<Wanted<'r>, Refusal> {
    let at = "text.format";
    let Some(wanted) = request.text.as_ref().and_then(|text| text.format.as_ref()) else {
        return Ok(Wanted::Text);
    };
    match wanted {
        Format::Text(wanted) => {
            notes.lose_extra(at, &wanted.extra);
            format::format(notes, at, at, "text", None)
        }
        Format::JsonObject(wanted) => {
            notes.lose_extra(at, &wanted.extra);
            format::format(notes, at, at, "json_object", None)
        }
        Format::JsonSchema(wanted) => {
            notes.lose_extra(at, &wanted.extra);
            let schema = Schema { schema: Some(&wanted.schema), description: wanted.description.as_deref() };
            format::format(notes, at, at, "json_schema", Some(schema))
        }
        Format::Unknown(wanted) => {
            format::format(notes, at, at, &wanted.text("type").unwrap_or_default(), None)
        }
    }
}
