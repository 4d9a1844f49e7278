//! Top-level fields without a member of their own upstream.

use std::borrow::Cow;

use catalog::TopK;
use protocol::anthropic::request::{Container, Request};
use protocol::converse::request::Pairs;
use protocol::raw::{Extra, Raw};

use super::choice::Choice;
use super::context::{At, Context};
use super::thinking::Plan;
use super::tool::Specs;
use crate::Refusal;
use crate::outcome::reason;
use crate::tier;

/// Refuses what would need a server that the gateway does not run, and notes what goes.
pub(super) fn check(ctx: &mut Context<'_>, request: &Request<'_>) -> Result<(), Refusal> {
    if request.mcp_servers.as_ref().is_some_and(|servers| servers.get() != "[]") {
        return Err(At::root("mcp_servers").refuse("MCP servers are not supported by this gateway"));
    }
    if let Some(Container::Spec(container)) = &request.container
        && container.skills.as_ref().is_some_and(|skills| skills.get() != "[]")
    {
        let at = At::root("container");
        return Err(at.key("skills").refuse("skills are not supported by this gateway"));
    }
    let tier = request.service_tier.as_deref().is_some_and(|word| !tier::is_understood(word));
    let fast = request.speed.as_deref().is_some_and(|speed| speed != "standard");
    let lost = [
        ("container", request.container.is_some()),
        ("context_management", request.context_management.is_some()),
        ("safeguards", request.safeguards.is_some()),
        ("tags", request.tags.is_some()),
        ("diagnostics", request.diagnostics.is_some()),
        ("speed", fast),
        ("inference_geo", request.inference_geo.is_some()),
        ("fallbacks", request.fallbacks.is_some()),
        ("service_tier", tier),
    ];
    for (key, _) in lost.into_iter().filter(|(_, lost)| *lost) {
        ctx.lose(At::root(key), reason::NO_PLACE);
    }
    // Bodies of InvokeModel say these two, which mean nothing to other models.
    let addressed = |key: &&str| !matches!(*key, "anthropic_version" | "anthropic_beta");
    for key in request.extra.keys().filter(addressed) {
        ctx.lose(At::root(key), reason::NO_PLACE);
    }
    Ok(())
}

/// Members of the model's own request, in a fixed order.
pub(super) fn additional<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    reasoning: &Plan,
    specs: &Specs<'a>,
    choice: &Choice<'a>,
) -> Extra<'a> {
    let mut fields: Extra<'a> = reasoning.fields.clone();
    top_k(ctx, request, reasoning, &mut fields);
    if !specs.typed.is_empty()
        && let Some(tools) = Raw::of(&specs.typed)
    {
        fields.push("tools", tools);
    }
    if let Choice::Native(choice) = choice {
        fields.push("tool_choice", choice.clone());
    }
    fields
}

fn top_k<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>, reasoning: &Plan, fields: &mut Extra<'a>) {
    let Some(number) = &request.top_k else { return };
    let at = At::root("top_k");
    if reasoning.unlimited || (reasoning.thinks && ctx.is_claude()) {
        ctx.lose(at, reason::WITH_THINKING);
        return;
    }
    match ctx.rules.top_k {
        TopK::Refused => ctx.lose(at, reason::NOT_TAKEN),
        TopK::Plain => fields.push("top_k", number.raw()),
        TopK::Cohere => fields.push("k", number.raw()),
        TopK::NovaNested => {
            let nested = Raw::from_text(format!(r#"{{"topK":{}}}"#, number.raw().get()));
            fields.0.extend(nested.map(|nested| (Cow::Borrowed("inferenceConfig"), nested)));
        }
    }
}

/// `requestMetadata`: at most 16 pairs of a narrow alphabet.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
pub(super) fn metadata<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>) -> Pairs<'a> {
    const MOST: usize = 16;
    let configured = ctx.options.request_metadata.iter();
    let configured = configured.filter(|(key, value)| !key.is_empty() && is_label(key) && is_label(value));
    let mut pairs: Vec<_> =
        configured.map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str()))).collect();
    pairs.truncate(MOST);
    let at = At::root("metadata");
    if let Some(metadata) = &request.metadata {
        ctx.lose_extra(at, &metadata.extra);
        match metadata.user_id.as_deref() {
            Some(id)
                if is_label(id) && pairs.len() < MOST && pairs.iter().all(|(key, _)| key != "user_id") =>
            {
                pairs.push((Cow::Borrowed("user_id"), Cow::Borrowed(id)));
            }
            Some(_) => ctx.lose(at.key("user_id"), reason::ILL_FORMED),
            None => {}
        }
    }
    Pairs(pairs)
}

fn is_label(text: &str) -> bool {
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b":_@$#=/+,-.".contains(&byte)
    };
    text.len() <= 256 && text.bytes().all(legal)
}
