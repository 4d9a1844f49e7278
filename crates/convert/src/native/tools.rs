//! Tools: custom ones travel with the flags they need; those that a server would have to run are refused.

use std::collections::HashSet;

use super::beta;
use super::block::Block;
use super::doc::{Value, items};
use super::reason;
use super::request::{Work, refusal};
use crate::Refusal;
use crate::outcome::reason as common;

/// Tools that Anthropic's servers run and Bedrock does not.
const SERVER: &[&str] = &["web_search_", "web_fetch_", "code_execution_", "advisor_", "mcp_toolset"];

/// Edits every tool and the tool choice.
pub(super) fn edit(work: &mut Work<'_, '_>) -> Result<(), Refusal> {
    let tools: Vec<_> = items(work.root.get("tools")).collect();
    let mut names = HashSet::new();
    for &tool in &tools {
        kind(work, tool)?;
        members(work, tool);
        let Some(name) = tool.get("name") else { continue };
        if name.str().is_some_and(|name| !names.insert(name)) {
            let message = format!("Tool names must be unique: '{}' is there twice", name.inner());
            return Err(refusal(name.path(), message));
        }
    }
    // A format that becomes a tool is one to choose from.
    choice(work, tools.is_empty() && work.format.is_none());
    Ok(())
}

fn kind<'d>(work: &mut Work<'d, '_>, tool: Value<'d>) -> Result<(), Refusal> {
    let Some(kind) = tool.get("type").and_then(|kind| kind.str()) else { return Ok(()) };
    let search = kind.starts_with("tool_search_tool_");
    let served = SERVER.iter().any(|prefix| kind.starts_with(prefix));
    if served || (search && !work.model.betas.contains(&beta::TOOL_SEARCH)) {
        let shown: String = kind.chars().take(64).collect();
        return Err(refusal(tool.path(), format!("tool type '{shown}' is not supported by this gateway")));
    }
    let flag = match &*kind {
        "computer_20250124" => Some(beta::COMPUTER_JANUARY),
        "computer_20251124" => Some(beta::COMPUTER_NOVEMBER),
        _ if search => Some(beta::TOOL_SEARCH),
        _ => None,
    };
    if let Some(flag) = flag {
        work.need(flag);
    }
    Ok(())
}

fn members<'d>(work: &mut Work<'d, '_>, tool: Value<'d>) {
    for member in tool.members() {
        let Some(name) = member.key.str() else { continue };
        let taken = match &*name {
            "defer_loading" => work.need(beta::TOOL_SEARCH),
            "input_examples" => work.need(beta::TOOL_EXAMPLES),
            "strict" => work.model.strict_tools,
            "eager_input_streaming" => {
                // The member is refused on Bedrock, and the flag says the same.
                let said = !member.value.is_true() || work.need(beta::FINE_GRAINED);
                if said {
                    work.edits.remove(tool, member.key);
                }
                said
            }
            "allowed_callers" => {
                work.drop_from(tool, member, reason::NOT_OFFERED);
                true
            }
            _ => true,
        };
        if !taken && matches!(member.value.kind(), super::Kind::False) {
            work.edits.remove(tool, member.key);
        } else if !taken {
            work.drop_from(tool, member, common::NOT_TAKEN);
        }
    }
}

/// A reference to a loaded tool is expanded upstream where tools can be deferred; elsewhere all tools are loaded, and a
/// text says what the reference said.
pub(super) fn references<'d>(work: &mut Work<'d, '_>, blocks: &[Block<'d>]) {
    for block in blocks {
        if block.kind.is_none_or(|kind| !kind.is("tool_reference")) || work.need(beta::TOOL_SEARCH) {
            continue;
        }
        let name = block.value.get("tool_name").map(|name| name.inner()).unwrap_or_default();
        work.losses.add(block.value, common::NOT_TAKEN);
        work.edits.replace(block.value, format!("{{\"type\":\"text\",\"text\":\"Tool loaded: {name}\"}}"));
    }
}

/// A choice among no tools is refused; and where thinking cannot be switched off, a choice cannot be forced.
fn choice(work: &mut Work<'_, '_>, no_tools: bool) {
    let Some(member) = work.root.member("tool_choice") else { return };
    let choice = member.value;
    let forced = choice.get("type").filter(|kind| kind.is("any") || kind.is("tool"));
    if no_tools && forced.is_some() {
        return work.leave_out(member, common::NO_PLACE);
    }
    if no_tools {
        return work.edits.remove(work.root, member.key);
    }
    let Some(kind) = forced.filter(|_| !work.model.forced_tool_choice) else { return };
    work.losses.add(kind, common::WITH_THINKING);
    work.edits.replace(kind, "\"auto\"");
    if let Some(name) = choice.member("name") {
        work.edits.remove(choice, name.key);
    }
}
