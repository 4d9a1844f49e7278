//! What of a request its response repeats.

use std::num::NonZeroU64;

use protocol::anthropic::response::Json;
use protocol::openai::responses::request::{Reasoning, Request};
use protocol::openai::responses::response::{Echo, ReasoningEcho};
use serde::Serialize;

use super::super::response::{Called, Recall};

/// What the answer must know of the request. `tools` are those that it must name otherwise than the model does.
pub(super) fn recall(request: &Request<'_>, store: bool, tools: Vec<(String, Called)>) -> Recall {
    let service_tier = request.service_tier.as_deref().map(str::to_owned);
    Recall { echo: echo(request, store), service_tier, tools }
}

/// What the response repeats, with OpenAI's values where the caller said nothing.
fn echo(request: &Request<'_>, store: bool) -> Echo {
    #[derive(Serialize)]
    struct Text<F: Serialize> {
        format: F,
        verbosity: String,
    }
    #[derive(Serialize)]
    struct Plain {
        #[serde(rename = "type")]
        kind: &'static str,
    }
    let own = |text: Option<&str>| text.map(str::to_owned);
    let text = request.text.as_ref();
    let verbosity = own(text.and_then(|text| text.verbosity.as_deref())).unwrap_or("medium".to_owned());
    let reasoning = request.reasoning.as_ref();
    let number = |it: Option<&protocol::raw::Number<'_>>| it.map_or_else(|| json(&1.0), json);
    Echo {
        background: false,
        instructions: own(request.instructions.as_deref()),
        max_output_tokens: request.max_output_tokens.map(NonZeroU64::get),
        max_tool_calls: request.max_tool_calls,
        metadata: request.metadata.as_ref().map_or_else(Json::empty_object, json),
        parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
        previous_response_id: own(request.previous_response_id.as_deref()),
        prompt_cache_key: own(request.prompt_cache_key.as_deref()),
        reasoning: ReasoningEcho {
            effort: own(reasoning.and_then(|reasoning| reasoning.effort.as_deref())),
            summary: own(reasoning.and_then(summary)),
        },
        safety_identifier: own(request.safety_identifier.as_deref()),
        store,
        temperature: number(request.temperature.as_ref()),
        text: match text.and_then(|text| text.format.as_ref()) {
            Some(format) => json(&Text { format, verbosity }),
            None => json(&Text { format: Plain { kind: "text" }, verbosity }),
        },
        tool_choice: request.tool_choice.as_ref().map_or_else(|| json(&"auto"), json),
        tools: request.tools.as_ref().map_or_else(|| json(&[(); 0]), json),
        top_logprobs: 0,
        top_p: number(request.top_p.as_ref()),
        truncation: own(request.truncation.as_deref()).unwrap_or("disabled".to_owned()),
        user: own(request.user.as_deref()),
    }
}

/// Which summary is asked for, in the member's newer or older name.
pub(super) fn summary<'r>(reasoning: &'r Reasoning<'_>) -> Option<&'r str> {
    reasoning.summary.as_deref().or(reasoning.generate_summary.as_deref())
}

/// A part of the request as text of its own. The caller may have written it over several lines; in an event it is one,
/// and between tokens alone JSON has line breaks.
fn json(value: &impl Serialize) -> Json {
    let text = serde_json::to_string(value).unwrap_or_default().replace(['\n', '\r'], " ");
    Json::parse(text).unwrap_or_else(|_| Json::empty_object())
}
