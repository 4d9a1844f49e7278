//! Top-level fields: what leaves, what a row decides, and the output configuration.

use catalog::{Effort, Sampling, Thinking, TopK};

use super::beta;
use super::doc::{Member, Value};
use super::request::{Work, refusal};
use super::{reason, thinking};
use crate::outcome::reason as common;
use crate::{Refusal, tier};

/// Goes over the top-level members once; unknown ones travel.
pub(super) fn edit(work: &mut Work<'_, '_>) -> Result<(), Refusal> {
    for member in work.root.members() {
        let Some(name) = member.key.str() else { continue };
        match &*name {
            "model" | "stream" if work.addressed => {}
            // The model is in the address, streaming is an operation, the version is said anew.
            "model" | "stream" | "anthropic_version" => work.edits.remove(work.root, member.key),
            "anthropic_beta" | "betas" => body_flags(work, member),
            "temperature" | "top_p" | "top_k" => sampling(work, member, &name),
            "mcp_servers" => mcp_servers(work, member)?,
            "container" => container(work, member)?,
            "context_management" => context_management(work, member),
            "safeguards" if !work.model.fields.contains(&"safeguards") => {
                work.leave_out(member, common::NOT_TAKEN);
            }
            "service_tier" => tier(work, member),
            "speed" if member.value.is("standard") => work.edits.remove(work.root, member.key),
            "speed"
            | "inference_geo"
            | "fallbacks"
            | "fallback_credit_token"
            | "billing_policy"
            | "cache_control"
            | "tags"
            | "diagnostics"
            | "user_profile_id" => work.leave_out(member, reason::NOT_OFFERED),
            // `output_format` is read together with `output_config` below.
            _ => {}
        }
    }
    output(work);
    Ok(())
}

fn body_flags<'d>(work: &mut Work<'d, '_>, member: Member<'d>) {
    work.body_flags.extend(member.value.items().filter_map(|flag| flag.str().map(Into::into)));
    work.edits.remove(work.root, member.key);
}

fn sampling<'d>(work: &mut Work<'d, '_>, member: Member<'d>, name: &str) {
    let other = work.root.get("temperature").is_some_and(|temperature| !temperature.is_null());
    let refused = match (name, work.model.sampling) {
        ("top_k", _) => work.model.top_k == TopK::Refused,
        (_, Sampling::Both) => false,
        (_, Sampling::OneOf) => name == "top_p" && other,
        (_, Sampling::Neither) => true,
    };
    if refused {
        work.leave_out(member, common::NOT_TAKEN);
    } else if thinking::contradicts(work, name, member.value) {
        work.leave_out(member, common::WITH_THINKING);
    }
}

fn mcp_servers<'d>(work: &mut Work<'d, '_>, member: Member<'d>) -> Result<(), Refusal> {
    if member.value.items().next().is_some() {
        return Err(refusal("mcp_servers", "mcp_servers is not supported by this gateway"));
    }
    work.edits.remove(work.root, member.key);
    Ok(())
}

fn container<'d>(work: &mut Work<'d, '_>, member: Member<'d>) -> Result<(), Refusal> {
    let skills = member.value.get("skills");
    if skills.is_some_and(|skills| skills.items().next().is_some()) {
        return Err(refusal("container.skills", "skills are not supported by this gateway"));
    }
    work.leave_out(member, reason::NOT_OFFERED);
    Ok(())
}

/// A tier that is asked for travels as a header.
fn tier<'d>(work: &mut Work<'d, '_>, member: Member<'d>) {
    if member.value.str().is_some_and(|word| tier::is_understood(&word)) {
        work.edits.remove(work.root, member.key);
    } else {
        work.leave_out(member, reason::NOT_OFFERED);
    }
}

fn context_management<'d>(work: &mut Work<'d, '_>, member: Member<'d>) {
    let edits = member.value.get("edits");
    let kinds = edits.into_iter().flat_map(|edits| edits.items()).filter_map(|edit| edit.get("type"));
    let (compact, other): (Vec<_>, Vec<_>) = kinds.partition(|kind| kind.is("compact_20260112"));
    let mut taken = work.model.fields.contains(&"context_management") && !member.value.is_null();
    // The field is refused without the flags of what it asks for.
    if taken && !compact.is_empty() {
        taken = work.need(beta::COMPACT);
    }
    if taken && (compact.is_empty() || !other.is_empty()) {
        taken = work.need(beta::CONTEXT_MANAGEMENT);
    }
    if !taken {
        return work.leave_out(member, common::NOT_TAKEN);
    }
    if work.thinking_gone {
        clear_nothing(work, member);
    }
}

/// Clearing thinking is refused where there is none.
fn clear_nothing<'d>(work: &mut Work<'d, '_>, member: Member<'d>) {
    let Some(edits) = member.value.get("edits") else { return };
    for edit in
        edits.items().filter(|edit| edit.get("type").is_some_and(|kind| kind.is("clear_thinking_20251015")))
    {
        work.losses.add(edit, common::WITH_THINKING);
        work.edits.remove(edits, edit);
    }
    if work.edits.kept(edits) == 0 {
        work.edits.remove(work.root, member.key);
    }
}

/// `output_config`, and what is folded into it: `output_format`, and the effort of a translated budget.
fn output(work: &mut Work<'_, '_>) {
    let config = work.root.member("output_config").filter(|member| member.value.is_object());
    let mut entering = Vec::new();
    if let Some(config) = config {
        own_effort(work, config.value);
        // What it asks for is a tool by now, or nothing.
        if let Some(format) = config.value.member("format").filter(|_| !work.model.structured_output) {
            work.edits.remove(config.value, format.key);
        }
    }
    let own = |name: &str| config.is_some_and(|config| config.value.get(name).is_some());
    if let Some(old) = work.root.member("output_format") {
        if work.model.structured_output && !own("format") && old.value.is_object() {
            entering.push(format!("\"format\":{}", old.value.raw()));
            work.edits.remove(work.root, old.key);
        } else if work.format.is_some_and(|format| format.is(old.value)) {
            work.edits.remove(work.root, old.key);
        } else {
            work.leave_out(old, common::NOT_TAKEN);
        }
    }
    let effort = work.effort.filter(|_| !own("effort")).and_then(|effort| level(work, effort));
    if let Some(effort) = effort {
        entering.push(format!("\"effort\":\"{}\"", name(effort)));
    }
    let Some(config) = config else {
        if !entering.is_empty() {
            if let Some(null) = work.root.member("output_config") {
                work.edits.remove(work.root, null.key);
            }
            work.edits.append(work.root, format!("\"output_config\":{{{}}}", entering.join(",")));
        }
        return;
    };
    for text in entering {
        work.edits.append(config.value, text);
    }
    if work.edits.kept(config.value) == 0 && config.value.members().next().is_some() {
        work.edits.remove(work.root, config.key);
    }
}

fn own_effort<'d>(work: &mut Work<'d, '_>, config: Value<'d>) {
    let Some(member) = config.member("effort") else { return };
    if work.model.max_effort.is_none() {
        return work.drop_from(config, member, common::NOT_TAKEN);
    }
    if work.model.effort_needs_beta {
        work.need(beta::EFFORT);
    }
    // A level that nobody knows yet travels: the upstream will say.
    let Some(asked) = effort(Some(config)) else { return };
    let Some(allowed) = level(work, asked).filter(|allowed| *allowed != asked) else { return };
    work.losses.add(member.value, common::LIMITED);
    work.edits.replace(member.value, format!("\"{}\"", name(allowed)));
}

/// The strongest effort that the model takes, up to the one asked for.
fn level(work: &Work<'_, '_>, asked: Effort) -> Option<Effort> {
    let most = work.model.max_effort?;
    let off = work.thinking_off && work.model.thinking == Thinking::Adaptive;
    let allowed = asked.min(if off { most.min(Effort::High) } else { most });
    Some(if allowed == Effort::XHigh && work.model.no_xhigh { Effort::High } else { allowed })
}

/// The effort that an output configuration names.
pub(super) fn effort(config: Option<Value<'_>>) -> Option<Effort> {
    let value = config?.get("effort")?;
    [Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max]
        .into_iter()
        .find(|effort| value.is(name(*effort)))
}

fn name(effort: Effort) -> &'static str {
    match effort {
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}
