//! Which tool to use.

use std::borrow::Cow;

use protocol::anthropic::request::{Request, ToolChoice};
use protocol::converse::request::{self as converse, Empty};
use protocol::raw::Raw;

use super::context::{At, Context};
use super::output::Format;
use super::thinking::Plan;
use super::tool::Specs;
use crate::Refusal;
use crate::outcome::reason;

/// What goes upstream.
pub(super) enum Choice<'a> {
    /// Nothing, which means as the model sees fit.
    Open,
    /// The same, said.
    Auto,
    /// One at least.
    Any,
    /// This one.
    Named(Cow<'a, str>),
    /// None, which Converse cannot say.
    Forbidden,
    /// Claude's own form, in its own request; Converse's form must be absent then.
    Native(Raw<'static>),
}

impl<'a> Choice<'a> {
    pub(super) fn into_wire(self) -> Option<converse::ToolChoice<'a>> {
        match self {
            Self::Auto => Some(converse::ToolChoice::Auto(Empty {})),
            Self::Any => Some(converse::ToolChoice::Any(Empty {})),
            Self::Named(name) => Some(converse::ToolChoice::Tool { name }),
            Self::Open | Self::Forbidden | Self::Native(_) => None,
        }
    }
}

/// The choice of the request, as far as this model can be told.
pub(super) fn choice<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    specs: &Specs<'a>,
    reasoning: &Plan,
    format: &Format<'a>,
) -> Result<Choice<'a>, Refusal> {
    let at = At::root("tool_choice");
    let (wanted, serial) = asked(ctx, request, specs)?;
    if let Some(name) = format.name() {
        return Ok(for_format(ctx, wanted, specs, name));
    }
    let wanted = match wanted {
        Choice::Any | Choice::Named(_) if reasoning.thinks => {
            ctx.lose(at, reason::WITH_THINKING);
            Choice::Open
        }
        Choice::Any | Choice::Named(_) if !ctx.rules.forced_tool_choice => {
            ctx.lose(at, reason::NOT_TAKEN);
            Choice::Open
        }
        // Models that cannot be forced may not know the member at all.
        Choice::Auto if !ctx.rules.forced_tool_choice => Choice::Open,
        other => other,
    };
    if ctx.is_claude() && (serial || matches!(wanted, Choice::Forbidden)) {
        return Ok(native(&wanted, serial).map_or(wanted, Choice::Native));
    }
    if serial {
        ctx.lose(at.key("disable_parallel_tool_use"), reason::NO_PLACE);
    }
    Ok(wanted)
}

/// The caller's choice, and whether one answer may hold one call at most.
fn asked<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    specs: &Specs<'a>,
) -> Result<(Choice<'a>, bool), Refusal> {
    let at = At::root("tool_choice");
    let (choice, serial) = match &request.tool_choice {
        None => (Choice::Open, None),
        Some(ToolChoice::Auto(auto)) => (Choice::Auto, auto.disable_parallel_tool_use),
        Some(ToolChoice::Any(any)) => (Choice::Any, any.disable_parallel_tool_use),
        Some(ToolChoice::None(_)) => return Ok((Choice::Forbidden, false)),
        Some(ToolChoice::Tool(tool)) => {
            let name = ctx.names.upstream(&tool.name);
            let known = specs.names.contains(&name);
            let typed = request.tools.iter().flatten().any(|other| other.name() == Some(&*tool.name));
            if !(known || typed || specs.names.is_empty()) {
                return Err(at
                    .key("name")
                    .refuse(format!("Tool '{}' not found in provided tools", tool.name)));
            }
            (Choice::Named(name), tool.disable_parallel_tool_use)
        }
        Some(ToolChoice::Unknown(_)) => {
            return Err(at.key("type").refuse("Input should be 'auto', 'any', 'tool' or 'none'"));
        }
    };
    if specs.names.is_empty() && specs.typed.is_empty() {
        // A choice among no tools is a 400 upstream.
        if matches!(choice, Choice::Any | Choice::Named(_)) {
            ctx.lose(at, reason::NO_PLACE);
        }
        return Ok((Choice::Open, false));
    }
    Ok((choice, serial == Some(true)))
}

/// A structured answer is a forced call: of the synthetic tool, or of any where the caller has tools beside it.
fn for_format<'a>(ctx: &mut Context<'a>, wanted: Choice<'a>, specs: &Specs<'a>, name: &str) -> Choice<'a> {
    if !ctx.rules.forced_tool_choice {
        ctx.lose(At::root("output_config").key("format"), reason::NOT_TAKEN);
        return Choice::Open;
    }
    match wanted {
        Choice::Named(name) => Choice::Named(name),
        Choice::Forbidden => Choice::Named(Cow::Owned(name.to_owned())),
        Choice::Open | Choice::Auto | Choice::Any | Choice::Native(_) => {
            if specs.names.is_empty() {
                Choice::Named(Cow::Owned(name.to_owned()))
            } else {
                Choice::Any
            }
        }
    }
}

/// Claude's own form of a choice.
fn native(choice: &Choice<'_>, serial: bool) -> Option<Raw<'static>> {
    #[derive(serde::Serialize)]
    struct Native<'n> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'n str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_parallel_tool_use: Option<bool>,
    }
    let (kind, name) = match choice {
        Choice::Open | Choice::Auto | Choice::Native(_) => ("auto", None),
        Choice::Any => ("any", None),
        Choice::Named(name) => ("tool", Some(&**name)),
        Choice::Forbidden => ("none", None),
    };
    Raw::of(&Native { r#type: kind, name, disable_parallel_tool_use: serial.then_some(true) })
}
