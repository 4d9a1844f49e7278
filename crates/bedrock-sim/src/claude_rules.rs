//! Everything that InvokeModel checks in a Claude body, in Claude's wording.
use std::collections::HashSet;

use crate::claude_generation::{BOTH, Betas, Generation, INVOKE, LEGACY, Rule};
use crate::claude_messages;
use crate::claude_shape;
use crate::json::Json;
use crate::models::Model;

/// Checks a whole body.
pub(crate) fn check(model: &'static Model, body: &Json<'_>) -> Rule {
    if !body.is_object() {
        return Err("Input should be a valid dictionary".to_owned());
    }
    server_tools(body)?;
    claude_shape::check(&claude_shape::BODY, body).map_err(claude_shape::Fault::message)?;
    let betas = Betas(body.list("anthropic_beta"));
    beta_flags(model, betas, body)?;
    gated(model, betas, body)?;
    limits(model, body)?;
    tools(body)?;
    cache_control(body)?;
    system(body)?;
    claude_messages::check(model, body)?;
    if let Some(schema) = body.at(&["output_config", "format", "schema"]) {
        closed(schema, "output_config.format.schema")?;
    }
    generation(model, betas, body)
}

/// Every object of an output schema says that it is complete.
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>
pub(crate) fn closed(schema: &Json<'_>, path: &str) -> Rule {
    if schema.text("type") == Some("object") && schema.get("additionalProperties") != Some(&Json::Bool(false))
    {
        return Err(format!(
            "{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        ));
    }
    for key in ["properties", "$defs", "definitions"] {
        for (name, of) in schema.get(key).map_or(&[][..], Json::members) {
            closed(of, &format!("{path}.{key}.{name}"))?;
        }
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        for (index, of) in schema.list(key).iter().enumerate() {
            closed(of, &format!("{path}.{key}.{index}"))?;
        }
    }
    schema.get("items").map_or(Ok(()), |items| closed(items, &format!("{path}.items")))
}

/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-tool-use.html>:
/// tools that run at the vendor are not on Bedrock.
fn server_tools(body: &Json<'_>) -> Rule {
    const ELSEWHERE: &[&str] =
        &["web_search", "web_fetch", "code_execution", "mcp_toolset", "advisor", "code_mode"];
    for (index, tool) in body.list("tools").iter().enumerate() {
        let kind = tool.text("type").unwrap_or("custom");
        if ELSEWHERE.iter().any(|name| kind.starts_with(name)) {
            return Err(format!("tools.{index}: tool type '{kind}' is not supported for this model"));
        }
    }
    Ok(())
}

fn beta_flags(model: &'static Model, betas: Betas<'_>, body: &Json<'_>) -> Rule {
    let legacy = if model.version == (3, 7) { LEGACY } else { &[] };
    betas.check(&[BOTH, INVOKE, legacy])?;
    if betas.has("dangerous-tool-use-") && body.get("safeguards").is_none() {
        return Err("invalid beta flag".to_owned());
    }
    Ok(())
}

/// Fields that only exist behind a flag or on some models.
fn gated(model: &'static Model, betas: Betas<'_>, body: &Json<'_>) -> Rule {
    let extra = |path: String| Err(format!("{path}: Extra inputs are not permitted"));
    let context = betas.has("context-management-") || betas.has("compact-");
    for (field, open) in [
        ("context_management", context),
        ("compaction_control", betas.has("compact-")),
        ("safeguards", betas.has("dangerous-tool-use-")),
    ] {
        if body.get(field).is_some() && !open {
            return extra(field.to_owned());
        }
    }
    if body.at(&["output_config", "format"]).is_some() && !model.structured() {
        return extra("output_config.format".to_owned());
    }
    for (index, tool) in body.list("tools").iter().enumerate() {
        let kind = tool.text("type").unwrap_or("custom");
        for (field, open) in [
            ("defer_loading", betas.has("tool-search-tool-")),
            ("input_examples", betas.has("tool-examples-")),
            ("strict", model.structured()),
        ] {
            if tool.get(field).is_some() && !open {
                return extra(format!("tools.{index}.{kind}.{field}"));
            }
        }
        let flag = [("computer_", "computer-use-"), ("tool_search_tool_", "tool-search-tool-")];
        if flag.iter().any(|(prefix, flag)| kind.starts_with(prefix) && !betas.has(flag)) {
            return Err(format!("tools.{index}: tool type '{kind}' is not supported for this model"));
        }
    }
    Ok(())
}

fn limits(model: &'static Model, body: &Json<'_>) -> Rule {
    let asked = body.get("max_tokens").and_then(Json::as_int).unwrap_or_default();
    if asked > model.output {
        return Err(format!(
            "max_tokens: {asked} > {}, which is the maximum allowed number of output tokens for {}",
            model.output,
            model.short_id()
        ));
    }
    for stop in body.list("stop_sequences") {
        if stop.as_str().is_some_and(|stop| stop.trim().is_empty()) {
            return Err("stop_sequences: each stop sequence must contain non-whitespace".to_owned());
        }
    }
    Ok(())
}

fn tools(body: &Json<'_>) -> Rule {
    let mut names = HashSet::new();
    for (index, tool) in body.list("tools").iter().enumerate() {
        let name = tool.text("name").unwrap_or_default();
        let custom = tool.text("type").unwrap_or("custom") == "custom";
        let good = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if custom && !good {
            return Err(format!(
                "tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if custom {
            let kind = tool.at(&["input_schema", "type"]);
            if kind.and_then(Json::as_str) != Some("object") {
                let text = if kind.is_some() { "Input should be 'object'" } else { "Field required" };
                return Err(format!("tools.{index}.custom.input_schema.type: {text}"));
            }
        }
        if !names.insert(name) {
            return Err("tools: Tool names must be unique.".to_owned());
        }
    }
    let Some(choice) = body.get("tool_choice") else { return Ok(()) };
    if names.is_empty() {
        return Err("tool_choice: may only be specified while providing tools".to_owned());
    }
    match choice.text("name") {
        Some(name) if !names.contains(name) => Err(format!("Tool '{name}' not found in provided tools")),
        _ => Ok(()),
    }
}

/// Walks all places in the order in which Claude evaluates them: tools, system, messages.
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
fn cache_control(body: &Json<'_>) -> Rule {
    let mut marks = Marks::default();
    for (index, tool) in body.list("tools").iter().enumerate() {
        marks.see(tool, || format!("tools.{index}"))?;
    }
    for (index, block) in body.list("system").iter().enumerate() {
        marks.see(block, || format!("system.{index}"))?;
    }
    for (at, message) in body.list("messages").iter().enumerate() {
        for (index, block) in message.list("content").iter().enumerate() {
            for (inner, item) in block.list("content").iter().enumerate() {
                marks.see(item, || format!("messages.{at}.content.{index}.content.{inner}"))?;
            }
            marks.see(block, || format!("messages.{at}.content.{index}"))?;
        }
    }
    if marks.count > 4 {
        return Err(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {}.",
            marks.count
        ));
    }
    Ok(())
}

#[derive(Default)]
struct Marks {
    count: usize,
    short: bool,
}

impl Marks {
    fn see(&mut self, block: &Json<'_>, path: impl FnOnce() -> String) -> Rule {
        let Some(mark) = block.get("cache_control") else { return Ok(()) };
        self.count += 1;
        let long = mark.text("ttl") == Some("1h");
        if long && self.short {
            return Err(format!(
                "{}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control \
                 block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
                path()
            ));
        }
        self.short |= !long;
        Ok(())
    }
}

fn system(body: &Json<'_>) -> Rule {
    for block in body.list("system") {
        let text = block.text("text").unwrap_or_default();
        if text.trim().is_empty() {
            return Err("system: text content blocks must be non-empty".to_owned());
        }
    }
    Ok(())
}

fn generation(model: &'static Model, betas: Betas<'_>, body: &Json<'_>) -> Rule {
    Generation {
        model,
        max_tokens: body.get("max_tokens").and_then(Json::as_int),
        temperature: body.get("temperature").and_then(Json::as_number),
        top_p: body.get("top_p").and_then(Json::as_number),
        top_k: body.get("top_k").is_some(),
        thinking: body.get("thinking"),
        effort: body.at(&["output_config", "effort"]).and_then(Json::as_str),
        forced: matches!(body.at(&["tool_choice", "type"]).and_then(Json::as_str), Some("any" | "tool")),
        betas,
        prefill: prefill(body),
    }
    .check()
}

/// The last text, when the conversation ends with the assistant.
fn prefill<'r>(body: &'r Json<'_>) -> Option<&'r str> {
    let last = body.list("messages").iter().rfind(|message| message.text("role") != Some("system"))?;
    if last.text("role") != Some("assistant") {
        return None;
    }
    let text =
        last.text("content").or_else(|| last.list("content").last().and_then(|block| block.text("text")));
    Some(text.unwrap_or_default())
}
