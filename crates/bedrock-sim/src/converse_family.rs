//! What Converse refuses for one family of models and takes for another.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html>
use crate::claude_generation::{BOTH, Betas, Generation};
use crate::claude_rules;
use crate::claude_shape;
use crate::converse_rules::Rule;
use crate::json::Json;
use crate::media;
use crate::models::{Family, Model};
use crate::reject::Reject;
use crate::sign;

/// Checks a body against the rules of its model.
pub(crate) fn check(model: &'static Model, body: &Json<'_>) -> Rule {
    let config = body.get("inferenceConfig");
    if let Some(asked) = config.and_then(|config| config.get("maxTokens")).and_then(Json::as_int)
        && asked > model.output
    {
        return Err(Reject::invalid(format!(
            "The maximum tokens you requested exceeds the model limit of {}. Try again with a maximum tokens value that \
             is lower than {}.",
            model.output, model.output
        )));
    }
    images(model, body)?;
    if body.at(&["performanceConfig", "latency"]).and_then(Json::as_str) == Some("optimized") {
        return Err(Reject::invalid("Latency performance configuration is not supported for this model."));
    }
    match model.family {
        Family::Claude => claude(model, body),
        Family::Nova
        | Family::OpenAi
        | Family::GptOss
        | Family::DeepSeek
        | Family::Qwen
        | Family::Kimi
        | Family::MiniMax
        | Family::Glm
        | Family::Grok
        | Family::Llama
        | Family::Mistral
        | Family::Embedding
        | Family::Other => others(model, body),
    }
}

fn unsupported(field: &str) -> Reject {
    Reject::invalid(format!("This model doesn't support the {field} field. Remove {field} and try again."))
}

/// The tier of a request, from the body or from InvokeModel's header. `reserved` says that the account has reserved capacity.
pub(crate) fn check_tier(model: &'static Model, tier: Option<&str>, reserved: bool) -> Rule {
    match tier {
        None => Ok(()),
        Some("reserved") if reserved => Ok(()),
        Some("reserved") => Err(Reject::invalid("Reservation not found.")),
        Some(tier @ ("default" | "priority" | "flex")) => {
            if model.takes_tier(tier) {
                Ok(())
            } else {
                Err(Reject::invalid("The provided service tier is not supported for this model."))
            }
        }
        Some(_) => Err(Reject::invalid("service tier provided is invalid")),
    }
}

fn images(model: &'static Model, body: &Json<'_>) -> Rule {
    for (at, message) in body.list("messages").iter().enumerate() {
        for (index, block) in message.list("content").iter().enumerate() {
            let path = format_args!("messages.{at}.content.{index}").to_string();
            let inside = block.get("toolResult").map_or(&[][..], |result| result.list("content"));
            let hoisted =
                matches!(model.family, Family::OpenAi | Family::GptOss | Family::Llama | Family::Qwen);
            if hoisted && inside.iter().any(|item| item.get("image").is_some()) {
                return Err(unsupported("toolResult.content.image"));
            }
            for image in inside.iter().chain([block]).filter_map(|item| item.get("image")) {
                let format = image.text("format").unwrap_or_default();
                let bytes = image.at(&["source", "bytes"]).and_then(Json::as_str).unwrap_or_default();
                match media::format_of(bytes) {
                    Some(real) if real == format => {}
                    Some(real) if real != "pdf" => {
                        return Err(Reject::from_model(format_args!(
                            "{path}.image.source.base64.data: The image was specified using the image/{format} media \
                             type, but the image appears to be a image/{real} image"
                        )));
                    }
                    _ if image.at(&["source", "s3Location"]).is_some() => {}
                    _ => return Err(Reject::from_model("Could not process image")),
                }
            }
        }
    }
    Ok(())
}

fn has_cache_point(blocks: &[Json<'_>]) -> bool {
    blocks.iter().any(|block| block.get("cachePoint").is_some())
}

/// Families that are not Claude. <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
fn others(model: &'static Model, body: &Json<'_>) -> Rule {
    let config = body.get("inferenceConfig");
    let set = |name: &str| config.is_some_and(|config| config.get(name).is_some());
    let tools = body.get("toolConfig").map_or(&[][..], |config| config.list("tools"));
    let stops = config.is_some_and(|config| !config.list("stopSequences").is_empty());
    let mute = matches!(model.family, Family::GptOss | Family::OpenAi | Family::Glm | Family::Grok);
    if stops && (mute || model.id.contains("qwen3-32b")) {
        return Err(unsupported("stopSequences"));
    }
    if matches!(model.family, Family::OpenAi | Family::Grok) {
        for name in ["temperature", "topP"] {
            if set(name) {
                return Err(unsupported(name));
            }
        }
    }
    let least = config.and_then(|config| config.get("maxTokens")).and_then(Json::as_int).unwrap_or(16);
    if least < 16 && (model.family == Family::OpenAi || model.id.ends_with("kimi-k3")) {
        return Err(Reject::from_model("max_output_tokens: Input should be greater than or equal to 16"));
    }
    cache_points(model, body, tools)?;
    let choice = body.at(&["toolConfig", "toolChoice"]);
    if model.family == Family::Llama
        && let Some(kind) = ["any", "tool"].iter().find(|kind| choice.is_some_and(|c| c.get(kind).is_some()))
    {
        return Err(unsupported(&format!("toolConfig.toolChoice.{kind}")));
    }
    if model.id.starts_with("deepseek.r1") && !tools.is_empty() {
        return Err(unsupported("toolConfig"));
    }
    foreign_blocks(model, body)?;
    extra_fields(model, body)
}

fn cache_points(model: &'static Model, body: &Json<'_>, tools: &[Json<'_>]) -> Rule {
    let mut places = body.list("messages").iter().map(|message| message.list("content"));
    let used = has_cache_point(tools) || has_cache_point(body.list("system")) || places.any(has_cache_point);
    if !used {
        return Ok(());
    }
    if model.family == Family::Grok {
        return Err(Reject::denied(
            "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for \
             more information.",
        ));
    }
    if !model.caches() {
        return Err(unsupported("cachePoint"));
    }
    // Nova takes them in system and messages, but not in tools nor next to tool content.
    let beside = body.list("messages").iter().map(|message| message.list("content")).any(|content| {
        let tool = |block: &Json<'_>| block.get("toolUse").is_some() || block.get("toolResult").is_some();
        has_cache_point(content) && content.iter().any(tool)
    });
    if has_cache_point(tools) || beside {
        return Err(Reject::invalid(
            "Malformed input request: #: extraneous key [cachePoint] is not permitted, please reformat your input and \
             try again.",
        ));
    }
    Ok(())
}

fn foreign_blocks(model: &'static Model, body: &Json<'_>) -> Rule {
    for block in body.list("messages").iter().flat_map(|message| message.list("content")) {
        if block.at(&["reasoningContent", "redactedContent"]).is_some() {
            return Err(unsupported("reasoningContent.redactedContent"));
        }
        if block.get("video").is_some() && model.family != Family::Nova {
            return Err(unsupported("video"));
        }
        if block.get("document").is_some() && model.family == Family::Grok {
            return Err(unsupported("document"));
        }
    }
    Ok(())
}

/// What each family takes in `additionalModelRequestFields`; Grok ignores what it does not know.
fn extra_fields(model: &'static Model, body: &Json<'_>) -> Rule {
    let known: &[&str] = match model.family {
        Family::Grok => return Ok(()),
        Family::Nova => &["inferenceConfig", "reasoningConfig"],
        Family::GptOss => &["reasoning_effort"],
        Family::OpenAi => &["reasoning"],
        Family::DeepSeek if !model.id.starts_with("deepseek.r1") => &["reasoning_config", "reasoning_effort"],
        Family::Glm => &["reasoning_config", "reasoning_effort", "thinking"],
        Family::Kimi => &["thinking"],
        Family::Qwen => &["enable_thinking"],
        Family::Mistral => &["top_k"],
        Family::Other => &["k", "p", "return_likelihoods", "top_k"],
        Family::Claude | Family::DeepSeek | Family::Llama | Family::MiniMax | Family::Embedding => &[],
    };
    let members = body.get("additionalModelRequestFields").map_or(&[][..], Json::members);
    match members.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
        Some((name, _)) => Err(Reject::invalid(format!(
            "Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try \
             again."
        ))),
        None => Ok(()),
    }
}

fn claude(model: &'static Model, body: &Json<'_>) -> Rule {
    const KNOWN: &[&str] = &[
        "thinking",
        "reasoning_config",
        "top_k",
        "anthropic_beta",
        "output_config",
        "tools",
        "tool_choice",
        "context_management",
    ];
    let none = Json::Object(Vec::new());
    let extra = body.get("additionalModelRequestFields").unwrap_or(&none);
    let refuse = |path: &str| Err(Reject::from_model(format_args!("{path}: Extra inputs are not permitted")));
    if let Some((name, _)) = extra.members().iter().find(|(name, _)| !KNOWN.contains(&name.as_ref())) {
        return refuse(name);
    }
    for (name, shape) in [
        ("output_config", &claude_shape::OUTPUT),
        ("tools", &claude_shape::TOOLS),
        ("tool_choice", &claude_shape::CHOICE),
    ] {
        if let Some(value) = extra.get(name) {
            claude_shape::check(shape, value)
                .map_err(|fault| Reject::from_model(format_args!("{name}.{}", fault.message())))?;
        }
    }
    let betas = Betas(extra.list("anthropic_beta"));
    betas.check(&[BOTH]).map_err(Reject::from_model)?;
    let text_format = body.at(&["outputConfig", "textFormat"]).or(extra.at(&["output_config", "format"]));
    if text_format.is_some() && !model.structured() {
        return refuse("output_config.format");
    }
    let schema = ["outputConfig", "textFormat", "structure", "jsonSchema", "schema"];
    if let Some(schema) =
        body.at(&schema).and_then(Json::as_str).and_then(|text| Json::parse(text.as_bytes()).ok())
    {
        claude_rules::closed(&schema, "output_config.format.schema").map_err(Reject::from_model)?;
    }
    let tools = body.get("toolConfig").map_or(&[][..], |config| config.list("tools"));
    let strict = tools.iter().position(|tool| tool.at(&["toolSpec", "strict"]).is_some());
    if let Some(index) = strict.filter(|_| !model.structured()) {
        return refuse(&format!("tools.{index}.custom.strict"));
    }
    claude_content(body)?;
    generation(model, body, extra, betas)
}

fn generation(model: &'static Model, body: &Json<'_>, extra: &Json<'_>, betas: Betas<'_>) -> Rule {
    let number = |name: &str| body.at(&["inferenceConfig", name]).and_then(Json::as_number);
    let choice = body.at(&["toolConfig", "toolChoice"]);
    let forced = choice.is_some_and(|choice| choice.get("any").is_some() || choice.get("tool").is_some());
    let native = extra.at(&["tool_choice", "type"]).and_then(Json::as_str);
    let last = body.list("messages").iter().rfind(|message| message.text("role") != Some("system"));
    let prefill = last.filter(|message| message.text("role") == Some("assistant")).map(|message| {
        message.list("content").last().and_then(|block| block.text("text")).unwrap_or_default()
    });
    let effort = body.at(&["outputConfig", "effort"]).or(extra.at(&["output_config", "effort"]));
    Generation {
        model,
        max_tokens: body.at(&["inferenceConfig", "maxTokens"]).and_then(Json::as_int),
        temperature: number("temperature"),
        top_p: number("topP"),
        top_k: extra.get("top_k").is_some(),
        thinking: extra.get("thinking").or(extra.get("reasoning_config")),
        effort: effort.and_then(Json::as_str),
        forced: forced || matches!(native, Some("any" | "tool")),
        betas,
        prefill,
    }
    .check()
    .map_err(Reject::from_model)
}

/// Claude's own rules for what Converse lets through.
fn claude_content(body: &Json<'_>) -> Rule {
    for stop in body.get("inferenceConfig").map_or(&[][..], |config| config.list("stopSequences")) {
        if stop.as_str().is_some_and(|stop| stop.trim().is_empty()) {
            return Err(Reject::from_model("stop_sequences: each stop sequence must contain non-whitespace"));
        }
    }
    for (at, message) in body.list("messages").iter().enumerate() {
        for (index, block) in message.list("content").iter().enumerate() {
            let path = format_args!("messages.{at}.content.{index}").to_string();
            if let Some(thinking) = block.at(&["reasoningContent", "reasoningText"]) {
                let text = thinking.text("text").unwrap_or_default();
                match thinking.text("signature") {
                    None => {
                        return Err(Reject::from_model(format_args!(
                            "{path}.thinking.signature: Field required"
                        )));
                    }
                    Some(given) if !sign::holds(text, given) => {
                        return Err(Reject::from_model(format_args!(
                            "{path}: Invalid `signature` in `thinking` block"
                        )));
                    }
                    Some(_) => {}
                }
            }
            let redacted = block.at(&["reasoningContent", "redactedContent"]).and_then(Json::as_str);
            if redacted.is_some_and(|data| !sign::holds_redacted(data)) {
                return Err(Reject::from_model(format_args!(
                    "{path}: Invalid `data` in `redacted_thinking` block"
                )));
            }
            let inside = block.get("toolResult").map_or(&[][..], |result| result.list("content"));
            if inside.iter().any(|item| item.text("text").is_some_and(|text| text.trim().is_empty())) {
                return Err(Reject::from_model("messages: text content blocks must be non-empty"));
            }
        }
    }
    Ok(())
}
