//! Parameters: what is refused, what is left out, what has a place.

use std::borrow::Cow;

use protocol::anthropic::request::Thinking;
use protocol::openai::chat::request::{Request, Stop};
use protocol::raw::{Number, Object};

use super::Options;
use crate::Refusal;
use crate::openai::cache::Caching;
use crate::openai::format::{self, Format, Schema};
use crate::openai::parameter::Asker;
use crate::openai::{Notes, effort, refusal};
use crate::outcome::reason;

/// Refuses what would be another request without it, and notes what only gets lost.
pub(super) fn check(notes: &mut Notes, asked: &Request<'_>) -> Result<(), Refusal> {
    refused(asked)?;
    let unspent = |number: &Option<Number<'_>>| number.as_ref().is_some_and(|number| number.value() != 0.0);
    let options = asked.stream_options.as_ref();
    let caching = asked.prompt_cache_options.as_ref();
    let lost = [
        ("frequency_penalty", unspent(&asked.frequency_penalty)),
        ("presence_penalty", unspent(&asked.presence_penalty)),
        ("logit_bias", asked.logit_bias.as_ref().is_some_and(|bias| bias.get() != "{}")),
        ("seed", asked.seed.is_some()),
        ("prediction", asked.prediction.is_some()),
        ("store", asked.store == Some(true)),
        ("verbosity", asked.verbosity.as_deref().is_some_and(|word| word != "medium")),
        ("prompt_cache_key", asked.prompt_cache_key.is_some()),
        (
            "prompt_cache_retention",
            asked.prompt_cache_retention.as_deref().is_some_and(|it| it != "in_memory"),
        ),
        ("prompt_cache_options.ttl", caching.is_some_and(|caching| caching.ttl.is_some())),
        (
            "stream_options.include_obfuscation",
            options.is_some_and(|it| it.include_obfuscation == Some(true)),
        ),
    ];
    for (path, _) in lost.iter().filter(|(_, lost)| *lost) {
        notes.lose(*path, reason::NO_PLACE);
    }
    notes.lose_extra("", &asked.extra);
    if let Some(options) = options {
        notes.lose_extra("stream_options", &options.extra);
    }
    if let Some(caching) = caching {
        notes.lose_extra("prompt_cache_options", &caching.extra);
    }
    Ok(())
}

fn refused(asked: &Request<'_>) -> Result<(), Refusal> {
    let spoken = |kinds: &Vec<Cow<'_, str>>| kinds.iter().any(|kind| kind != "text");
    let refused = [
        ("n", asked.n.is_some_and(|n| n.get() != 1), "Input should be 1: a request has one answer here"),
        ("logprobs", asked.logprobs == Some(true), "log probabilities are not supported by this gateway"),
        (
            "top_logprobs",
            asked.top_logprobs.is_some_and(|count| count > 0),
            "log probabilities are not supported by this gateway",
        ),
        (
            "modalities",
            asked.modalities.as_ref().is_some_and(spoken),
            "Input should be ['text']: no other output is supported by this gateway",
        ),
        ("audio", asked.audio.is_some(), "audio output is not supported by this gateway"),
        (
            "web_search_options",
            asked.web_search_options.is_some(),
            "web search is not supported by this gateway",
        ),
        ("moderation", asked.moderation.is_some(), "moderation is not supported by this gateway"),
    ];
    match refused.iter().find(|(_, refused, _)| *refused) {
        Some((path, _, message)) => Err(refusal(*path, *message)),
        None => Ok(()),
    }
}

/// How the prompt is cached.
pub(super) fn caching(asked: &Request<'_>) -> Result<Caching, Refusal> {
    let mode = asked.prompt_cache_options.as_ref().and_then(|options| options.mode.as_deref());
    Caching::new("cache_ttl", asked.cache_ttl.as_deref(), mode == Some("explicit"))
}

/// The output format.
pub(super) fn format<'r>(notes: &mut Notes, asked: &'r Request<'_>) -> Result<Format<'r>, Refusal> {
    const AT: &str = "response_format";
    let Some(asked) = &asked.response_format else { return Ok(Format::Text) };
    notes.lose_extra(AT, &asked.extra);
    let members = asked.json_schema.as_ref().map(|members| {
        notes.lose_extra("response_format.json_schema", &members.extra);
        if members.schema.is_none() && asked.kind == "json_schema" {
            // The instruction that stands in its place holds the answer to nothing but an object.
            notes.lose("response_format.json_schema", reason::NO_PLACE);
        }
        Schema { schema: members.schema.as_ref(), description: members.description.as_deref() }
    });
    format::format(notes, AT, "response_format.json_schema", &asked.kind, members)
}

/// Thinking, and the effort that comes with it.
pub(super) struct Thought<'r> {
    pub(super) thinking: Option<Thinking<'r>>,
    pub(super) effort: Option<&'static str>,
}

pub(super) fn thinking<'r>(notes: &mut Notes, asked: &'r Request<'_>) -> Result<Thought<'r>, Refusal> {
    if let Some(thinking) = &asked.thinking {
        if asked.reasoning_effort.is_some() {
            notes.lose("reasoning_effort", reason::WITH_THINKING);
        }
        return Ok(Thought { thinking: Some(thinking.clone()), effort: None });
    }
    let Some(word) = asked.reasoning_effort.as_deref() else {
        return Ok(Thought { thinking: None, effort: None });
    };
    let found = effort::effort("reasoning_effort", word)?;
    notes.paths.note("thinking", "reasoning_effort");
    notes.paths.note("output_config.effort", "reasoning_effort");
    Ok(Thought { thinking: Some(found.thinking), effort: found.effort })
}

/// Most tokens to generate. A default makes room for the thinking that the caller asks for.
pub(super) fn max_tokens(notes: &mut Notes, asked: &Request<'_>, options: &Options) -> u64 {
    let (at, given) = match (asked.max_completion_tokens, asked.max_tokens) {
        (Some(most), _) => ("max_completion_tokens", Some(most)),
        (None, given) => ("max_tokens", given),
    };
    notes.paths.note("max_tokens", at);
    let Some(given) = given else {
        let default = u64::from(options.default_max_tokens);
        return match &asked.thinking {
            Some(Thinking::Enabled(on)) if on.budget_tokens >= default => {
                on.budget_tokens.saturating_add(default)
            }
            _ => default,
        };
    };
    given.get()
}

/// Stop sequences. One of nothing but white space is left out: OpenAI takes it, and no model here does.
pub(super) fn stop_sequences<'r>(notes: &mut Notes, asked: &'r Request<'_>) -> Option<Vec<Cow<'r, str>>> {
    let all = match asked.stop.as_ref()? {
        Stop::Text(text) => vec![("stop".to_owned(), text)],
        Stop::List(list) => {
            list.iter().enumerate().map(|(index, text)| (format!("stop.{index}"), text)).collect()
        }
    };
    notes.paths.note("stop_sequences", "stop");
    let mut kept = Vec::new();
    for (path, text) in all {
        if text.trim().is_empty() {
            notes.lose(path, reason::BLANK);
        } else {
            notes.paths.note(format!("stop_sequences.{}", kept.len()), path);
            kept.push(Cow::Borrowed(&**text));
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// Who asks, as its members have it.
pub(super) fn asker<'r>(asked: &'r Request<'_>) -> Asker<'r> {
    Asker {
        labels: asked.metadata.as_ref().map(Object::raw),
        repeated: false,
        safety_identifier: asked.safety_identifier.as_deref(),
        user: asked.user.as_deref(),
    }
}
