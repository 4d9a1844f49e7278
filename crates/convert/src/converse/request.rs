//! A Messages request becomes a Converse request.
//!
//! [`request`] is pure: the same request, row and options give the same bytes. What the model or the protocol does
//! not take is left out and listed as a [`Loss`](crate::Loss); what must not be ignored is a [`Refusal`].
//!
//! Stated policies, where more than one would do:
//! * A conversation that starts with the assistant gets a filler user turn in front (a `Loss`).
//! * A conversation that ends with the assistant (prefill) is refused for models that cannot continue a turn.
//! * System messages in front go to the system prompt; later ones become `<system-reminder>` texts of the
//!   neighbouring user turn, after its tool results.
//! * Media that a model cannot see is refused in the turn that asks, and replaced by a text that says so in
//!   tool results and in earlier turns: a session that moved to such a model must go on.
//! * A forced tool choice gives way to thinking (a `Loss`); thinking gives way to a forced output format.
//! * Reasoning of earlier turns goes to models that take it back, without signatures unless the model is Claude.

mod caching;
mod choice;
mod content;
mod context;
mod document;
mod field;
pub(crate) mod image;
pub(crate) mod name;
mod output;
mod part;
mod sampling;
pub(crate) mod schema;
mod system;
mod thinking;
mod tool;
mod tool_result;
mod turn;

use catalog::Model;
use protocol::anthropic::request as anthropic;
use protocol::converse::request as converse;

pub use crate::Ttl;
use crate::{Converted, Refusal};
use context::Context;

/// What the caller's key and the operator's settings decide, beside the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Service tier to ask for; `None` leaves the upstream's default.
    pub service_tier: Option<converse::ServiceTier>,
    /// Whether cache markers are carried at all.
    pub prompt_caching: bool,
    /// TTL of every marker, whatever the caller says.
    pub cache_ttl: Option<Ttl>,
    /// TTL of markers that say none.
    pub default_cache_ttl: Option<Ttl>,
    /// Whether the model may be asked to think.
    pub thinking: bool,
    /// Labels for the invocation log; pairs that break Bedrock's rules are left out.
    pub request_metadata: Vec<(String, String)>,
    /// A guardrail.
    pub guardrail: Option<converse::GuardrailConfig>,
    /// Latency.
    pub performance: Option<converse::PerformanceConfig>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_tier: None,
            prompt_caching: true,
            cache_ttl: None,
            default_cache_ttl: None,
            thinking: true,
            request_metadata: Vec::new(),
            guardrail: None,
            performance: None,
        }
    }
}

/// Converts a request for the model that `rules` describes.
///
/// The result borrows from the request: texts, schemas and tool inputs are not copied.
pub fn request<'a>(
    request: &'a anthropic::Request<'_>,
    rules: &'a Model,
    options: &'a Options,
) -> Result<Converted<converse::Request<'a>>, Refusal> {
    caching::check(request, options)?;
    let mut context = Context::new(request, rules, options);
    let ctx = &mut context;
    field::check(ctx, request)?;

    let format = output::format(ctx, request)?;
    let reasoning = thinking::plan(ctx, request, format.is_tool())?;
    // Tools, system, messages: the order in which the upstream reads cache points, and their TTLs depend on it.
    let tools = tool::specs(ctx, request)?;
    let system = system::blocks(ctx, request);
    let mut conversation = content::conversation(ctx, request)?;
    caching::mark_end(ctx, request, &mut conversation);
    let choice = choice::choice(ctx, request, &tools, &reasoning, &format)?;
    let system = system::placed(ctx, request, system, &mut conversation, &choice);

    let additional = field::additional(ctx, request, &reasoning, &tools, &choice);

    let value = converse::Request {
        tool_config: tool::config(ctx, request, tools, choice, &format)?,
        system,
        messages: turn::messages(ctx, request, conversation)?,
        inference_config: sampling::config(ctx, request, &reasoning)?,
        additional_model_request_fields: additional,
        additional_model_response_field_paths: sampling::response_paths(request, rules),
        guardrail_config: options.guardrail.clone(),
        output_config: converse::OutputConfig { text_format: format.native(), effort: reasoning.effort },
        service_tier: options.service_tier.map(|kind| converse::Typed { kind }),
        performance_config: options.performance.clone(),
        request_metadata: field::metadata(ctx, request),
    };
    let names = context.names.reverse(format.name().map(str::to_owned));
    Ok(Converted { value, losses: context.losses, cache_ttl: context.cache_ttl, names })
}
