//! Tools on offer.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::anthropic::request::{Block, Content, CustomTool, Request, Tool, ToolChoice, TypedTool};
use protocol::converse::request::{self as converse, InputSchema, ToolConfig, ToolSpec};
use protocol::raw::Raw;

use super::choice::Choice;
use super::context::{At, Context, is_blank};
use super::output::Format;
use super::{caching, name, schema};
use crate::Refusal;
use crate::outcome::reason;

/// Tools that Anthropic defines and the caller runs.
const CLIENT_TOOLS: &[&str] = &["bash_", "text_editor_", "computer_", "memory_"];

/// The tools that are sent.
pub(super) struct Specs<'a> {
    /// With their cache points.
    pub(super) tools: Vec<converse::Tool<'a>>,
    /// Names upstream.
    pub(super) names: Vec<Cow<'a, str>>,
    /// Anthropic's own, in their own form.
    pub(super) typed: Vec<Raw<'a>>,
}

/// The tools of the request. Deferred ones stay out until the conversation refers to them.
pub(super) fn specs<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>) -> Result<Specs<'a>, Refusal> {
    let at = At::root("tools");
    let mut specs = Specs { tools: Vec::new(), names: Vec::new(), typed: Vec::new() };
    let Some(tools) = request.tools.as_deref().filter(|tools| !tools.is_empty()) else { return Ok(specs) };
    if !ctx.rules.tools {
        return Err(at.refuse(format!("{} does not support tools", ctx.rules.display_name)));
    }
    let referenced = referenced(request);
    let mut seen = HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let at = at.index(index);
        if let Some(name) = tool.name()
            && !seen.insert(name)
        {
            return Err(at.key("name").refuse(format!("Tool names must be unique: '{name}' is there twice")));
        }
        match tool {
            Tool::Custom(tool) if tool.defer_loading == Some(true) && !referenced.contains(&*tool.name) => {}
            Tool::Custom(tool) => {
                let spec = spec(ctx, at, tool)?;
                specs.names.push(spec.name.clone());
                specs.tools.push(converse::Tool::ToolSpec(spec));
                mark(ctx, at, tool, &mut specs.tools);
            }
            Tool::Typed(tool) => specs.typed.push(typed(ctx, at, tool)?),
        }
    }
    Ok(specs)
}

/// The tools that the conversation refers to: by reference, by use, or by choice.
fn referenced<'a>(request: &'a Request<'_>) -> HashSet<Cow<'a, str>> {
    let mut out: HashSet<Cow<'a, str>> = name::used(request).map(Cow::Borrowed).collect();
    if let Some(ToolChoice::Tool(choice)) = &request.tool_choice {
        out.insert(Cow::Borrowed(&choice.name));
    }
    for message in &request.messages {
        references(&message.content, &mut out);
    }
    out
}

fn references<'a>(content: &'a Content<'_>, out: &mut HashSet<Cow<'a, str>>) {
    let Content::Blocks(blocks) = content else { return };
    for block in blocks {
        match block {
            Block::ToolReference(block) => {
                out.insert(Cow::Borrowed(&block.tool_name));
            }
            Block::ToolResult(block) => references(&block.content, out),
            Block::ToolSearchResult(block) => out.extend(found(&block.content).map(Cow::Owned)),
            Block::Text(_)
            | Block::Image(_)
            | Block::Document(_)
            | Block::SearchResult(_)
            | Block::Thinking(_)
            | Block::RedactedThinking(_)
            | Block::ToolUse(_)
            | Block::ServerToolUse(_)
            | Block::Unknown(_) => {}
        }
    }
}

/// The names that a tool search found: `{tool_references: [{tool_name}]}`.
fn found(content: &Raw<'_>) -> impl Iterator<Item = String> {
    #[derive(serde::Deserialize)]
    struct Found {
        #[serde(default)]
        tool_references: Vec<Reference>,
    }
    #[derive(serde::Deserialize)]
    struct Reference {
        tool_name: String,
    }
    let found = serde_json::from_str::<Found>(content.get());
    found
        .map(|found| found.tool_references)
        .unwrap_or_default()
        .into_iter()
        .map(|reference| reference.tool_name)
}

fn spec<'a>(ctx: &mut Context<'a>, at: At<'_>, tool: &'a CustomTool<'_>) -> Result<ToolSpec<'a>, Refusal> {
    if tool.name.is_empty() {
        return Err(at.key("name").refuse("String should have at least 1 character"));
    }
    let eager = tool.eager_input_streaming == Some(true);
    let called_by_code = tool.allowed_callers.iter().flatten().any(|caller| caller != "direct");
    let lost = [
        ("eager_input_streaming", eager, reason::NO_PLACE),
        ("input_examples", tool.input_examples.is_some(), reason::NO_PLACE),
        ("allowed_callers", called_by_code, reason::NO_PLACE),
        ("strict", tool.strict == Some(true) && !ctx.rules.strict_tools, reason::NOT_TAKEN),
    ];
    for (key, _, reason) in lost.into_iter().filter(|(_, lost, _)| *lost) {
        ctx.lose(at.key(key), reason);
    }
    ctx.lose_extra(at, &tool.extra);
    Ok(ToolSpec {
        name: ctx.names.upstream(&tool.name),
        description: tool.description.as_deref().filter(|text| !is_blank(text)).map(Cow::Borrowed),
        input_schema: InputSchema { json: schema::input(&tool.input_schema, ctx.rules.strip_schema_keyword) },
        strict: tool.strict.filter(|_| ctx.rules.strict_tools),
    })
}

fn mark<'a>(ctx: &mut Context<'a>, at: At<'_>, tool: &CustomTool<'_>, out: &mut Vec<converse::Tool<'a>>) {
    let at = at.key("cache_control");
    if tool.cache_control.is_some() && ctx.rules.caching.is_some_and(|caching| !caching.tools) {
        ctx.lose(at, reason::NOT_CACHED);
        return;
    }
    out.extend(caching::point(ctx, at, tool.cache_control.as_ref()).map(converse::Tool::CachePoint));
}

/// Anthropic's own tools work with Claude, which reads them from its own request; server tools need a server.
fn typed<'a>(ctx: &mut Context<'a>, at: At<'_>, tool: &'a TypedTool<'_>) -> Result<Raw<'a>, Refusal> {
    let by_caller = CLIENT_TOOLS.iter().any(|prefix| tool.kind.starts_with(prefix));
    let unsupported = || at.refuse(format!("tool type '{}' is not supported by this gateway", tool.kind));
    if !(by_caller && ctx.is_claude()) {
        return Err(unsupported());
    }
    if tool.cache_control.is_some() {
        ctx.lose(at.key("cache_control"), reason::NOT_CACHED);
    }
    let plain = TypedTool { cache_control: None, defer_loading: None, ..tool.clone() };
    Raw::of(&plain).ok_or_else(unsupported)
}

/// `toolConfig`: the tools, the synthetic one of a structured answer, or stand-ins for those of the history, which
/// Converse wants defined.
pub(super) fn config<'a>(
    ctx: &Context<'a>,
    request: &'a Request<'_>,
    specs: Specs<'a>,
    choice: Choice<'a>,
    format: &Format<'a>,
) -> Result<Option<ToolConfig<'a>>, Refusal> {
    let history = name::used(request).next().is_some();
    let mut tools = specs.tools;
    if matches!(choice, Choice::Forbidden) && !history {
        // Without tools there is nothing to call.
        tools.clear();
    }
    if tools.is_empty() && history {
        tools = stand_ins(ctx, request);
    }
    tools.extend(format.tool().map(converse::Tool::ToolSpec));
    if tools.is_empty() {
        return Ok(None);
    }
    if !ctx.rules.tools {
        let message =
            format!("{} does not support tools, which this conversation uses", ctx.rules.display_name);
        return Err(At::root("messages").refuse(message));
    }
    Ok(Some(ToolConfig { tools, tool_choice: choice.into_wire() }))
}

fn stand_ins<'a>(ctx: &Context<'a>, request: &'a Request<'_>) -> Vec<converse::Tool<'a>> {
    let mut seen = HashSet::new();
    name::used(request)
        .filter(|name| seen.insert(*name))
        .filter_map(|name| {
            let json = Raw::from_text(r#"{"type":"object","properties":{}}"#.to_owned())?;
            let name = ctx.names.upstream(name);
            let input_schema = InputSchema { json };
            Some(converse::Tool::ToolSpec(ToolSpec { name, description: None, input_schema, strict: None }))
        })
        .collect()
}
