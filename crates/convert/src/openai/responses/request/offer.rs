//! The tools on offer.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::anthropic::request as anthropic;
use protocol::openai::responses::request::Request;
use protocol::openai::responses::tool::{Namespace, Tool};
use protocol::openai::tool::{AllowedTool, ChoiceSpec, Tool as Single, ToolChoice};
use protocol::raw::Extra;

use super::names::Names;
use crate::Refusal;
use crate::openai::Notes;
use crate::openai::cache::Caching;
use crate::openai::tool::{self, Choice, Definition, Mode};
use crate::outcome::reason;

/// What the model is offered.
pub(super) struct Offer<'r> {
    pub(super) tools: Vec<anthropic::Tool<'r>>,
    pub(super) tool_choice: Option<anthropic::ToolChoice<'r>>,
    /// The tools that take text, by their upstream names.
    pub(super) custom: Vec<String>,
}

/// The tools, and which of them to use.
pub(super) fn offer<'r>(
    notes: &mut Notes,
    caching: &mut Caching,
    request: &'r Request<'_>,
    names: &'r Names,
) -> Result<Offer<'r>, Refusal> {
    let choice = choice(notes, request, names)?;
    let definitions = definitions(notes, caching, request, names, choice.mode)?;
    let (tools, custom) = tool::offered(notes, definitions, choice.allowed.as_ref())?;
    let parallel = request.parallel_tool_calls;
    let tool_choice = tool::tool_choice(notes, "tool_choice", choice.mode, parallel, tools.is_empty())?;
    Ok(Offer { tools, tool_choice, custom })
}

/// Which tools may be called, in upstream names.
fn choice<'r>(notes: &mut Notes, request: &'r Request<'_>, names: &'r Names) -> Result<Choice<'r>, Refusal> {
    let Some(ToolChoice::Spec(spec)) = &request.tool_choice else {
        return tool::choice(notes, "tool_choice", request.tool_choice.as_ref());
    };
    if let (Some(namespace), Some(name)) = (namespace(&spec.extra), spec.named()) {
        return Ok(Choice { mode: Mode::Named(names.upstream(Some(&namespace), name)), allowed: None });
    }
    let mut choice = tool::choice(notes, "tool_choice", request.tool_choice.as_ref())?;
    if let Some(allowed) = &mut choice.allowed {
        allowed.names = allowed_names(spec, request, names);
    }
    Ok(choice)
}

fn allowed_names<'r>(
    spec: &'r ChoiceSpec<'_>,
    request: &'r Request<'_>,
    names: &'r Names,
) -> HashSet<&'r str> {
    let nested = spec.allowed_tools.as_ref().map(|allowed| &allowed.tools);
    let (mut upstream, mut spaces) = (HashSet::new(), HashSet::new());
    for allowed in nested.or(spec.tools.as_ref()).into_iter().flatten() {
        let Some(name) = allowed.named() else { continue };
        if allowed.kind.as_deref() == Some("namespace") {
            spaces.insert(name);
        } else {
            upstream.insert(names.upstream(allowed_namespace(allowed).as_deref(), name));
        }
    }
    for tool in request.tools.iter().flatten() {
        match tool {
            Tool::Namespace(space) if spaces.contains(&*space.name) => {
                let own = space.tools.iter().filter_map(|tool| tool.name.as_deref());
                upstream.extend(own.map(|name| names.upstream(Some(&space.name), name)));
            }
            Tool::Namespace(_) | Tool::Single(_) => {}
        }
    }
    upstream
}

fn namespace(extra: &Extra<'_>) -> Option<String> {
    extra.text("namespace")
}

fn allowed_namespace(allowed: &AllowedTool<'_>) -> Option<String> {
    namespace(&allowed.extra)
}

/// The tools. What OpenAI would run itself is left out where the model need not call a tool, and refused where it must:
/// then the caller counts on it.
fn definitions<'r>(
    notes: &mut Notes,
    caching: &mut Caching,
    request: &'r Request<'_>,
    names: &'r Names,
    mode: Mode<'_>,
) -> Result<Vec<Definition<'r>>, Refusal> {
    let mut definitions = Vec::new();
    for (index, tool) in request.tools.iter().flatten().enumerate() {
        let at = format!("tools.{index}");
        match tool {
            Tool::Namespace(space) => members(notes, caching, &at, space, names, &mut definitions)?,
            Tool::Single(tool) if !is_hosted(tool) || matches!(mode, Mode::Any) => {
                let mut definition = tool::definition(notes, &at, tool)?;
                definition.tool.cache_control = caching.marker(notes, &at, tool::marker(tool), None);
                definitions.push(definition);
            }
            // A search that may not leave the vendor's cache finds nothing here that the model could miss.
            Tool::Single(tool)
                if tool.extra.get("external_web_access").is_some_and(|it| it.get() == "false") => {}
            Tool::Single(_) => notes.lose(at, reason::NO_PLACE),
        }
    }
    Ok(definitions)
}

fn is_hosted(tool: &Single<'_>) -> bool {
    !matches!(tool.kind.as_deref(), None | Some("function" | "custom"))
}

/// The tools of a namespace. What is said of all of them is said at the first.
fn members<'r>(
    notes: &mut Notes,
    caching: &mut Caching,
    at: &str,
    space: &'r Namespace<'_>,
    names: &'r Names,
    definitions: &mut Vec<Definition<'r>>,
) -> Result<(), Refusal> {
    notes.lose_extra(at, &space.extra);
    for (index, tool) in space.tools.iter().enumerate() {
        let at = format!("{at}.tools.{index}");
        let mut definition = tool::definition(notes, &at, tool)?;
        let upstream = names.upstream(Some(&space.name), tool.name.as_deref().unwrap_or_default());
        definition.tool.name = Cow::Borrowed(upstream);
        definition.tool.cache_control = caching.marker(notes, &at, tool::marker(tool), None);
        if index == 0
            && let Some(common) = space.description.as_deref().filter(|text| !text.trim().is_empty())
        {
            let own = definition.tool.description.take().unwrap_or_default();
            let told = format!("{own}\n\nThis tool is one of '{}': {common}", space.name);
            definition.tool.description = Some(Cow::Owned(told.trim_start().to_owned()));
        }
        definitions.push(definition);
    }
    Ok(())
}
