//! Thinking, said in the way that the model understands.
//! <https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>
//!
//! Adaptive thinking is a wish, and what an effort of OpenAI's becomes: a call that must be made comes before it, and
//! sampling that contradicts it is left out. A budget is the caller's word, and its contradictions are the upstream's to
//! refuse.

use catalog::{Effort, Thinking};

use super::doc::{Kind, Value, items};
use super::request::Work;
use super::{fields, reason};
use crate::outcome::reason as common;

/// Smallest budget that Claude takes.
const LEAST_BUDGET: u64 = 1024;

/// Swaps the kinds of thinking as the model's row asks for it.
pub(super) fn edit(work: &mut Work<'_, '_>) {
    if work.format.is_some() && work.model.forced_tool_choice && can_be_disabled(work.model.thinking) {
        return give_way(work, common::WITH_FORMAT);
    }
    let Some(member) = work.root.member("thinking") else { return };
    let Some(kind) = member.value.get("type") else { return };
    work.thinking_off = kind.is("disabled");
    if work.options.no_thinking && !work.thinking_off {
        work.thinking_gone = true;
        return work.leave_out(member, common::THINKING_OFF);
    }
    if kind.is("adaptive") && can_be_disabled(work.model.thinking) && call_is_forced(work) {
        return give_way(work, common::WITH_CHOICE);
    }
    let budgeted = match work.model.thinking {
        Thinking::Budget => !work.thinking_off,
        Thinking::BudgetOrAdaptive => kind.is("enabled"),
        Thinking::None
        | Thinking::Adaptive
        | Thinking::Always
        | Thinking::NovaReasoningConfig
        | Thinking::FlatEffort
        | Thinking::NestedEffort
        | Thinking::ConfigString
        | Thinking::Switch => false,
    };
    if budgeted && call_without_thinking(work.root) {
        // A model that thinks adaptively may call a tool without a thought; a budget wants one before each call.
        work.thinking_gone = true;
        return work.leave_out(member, reason::UNTHOUGHT_CALL);
    }
    match work.model.thinking {
        Thinking::Budget if kind.is("adaptive") => to_budget(work, member.value, kind),
        Thinking::Budget | Thinking::BudgetOrAdaptive => {
            drop_display(work, member.value);
            limit_budget(work, member.value);
        }
        Thinking::Adaptive | Thinking::Always if kind.is("enabled") => to_adaptive(work, member.value, kind),
        Thinking::Always if kind.is("disabled") => {
            work.thinking_off = false;
            work.leave_out(member, common::NOT_TAKEN);
        }
        Thinking::Adaptive | Thinking::Always => {}
        Thinking::None
        | Thinking::NovaReasoningConfig
        | Thinking::FlatEffort
        | Thinking::NestedEffort
        | Thinking::ConfigString
        | Thinking::Switch => {
            if kind.is("disabled") {
                work.edits.remove(work.root, member.key);
            } else {
                work.leave_out(member, common::NOT_TAKEN);
            }
        }
    }
}

fn can_be_disabled(way: Thinking) -> bool {
    match way {
        Thinking::Budget | Thinking::BudgetOrAdaptive | Thinking::Adaptive => true,
        Thinking::None
        | Thinking::Always
        | Thinking::NovaReasoningConfig
        | Thinking::FlatEffort
        | Thinking::NestedEffort
        | Thinking::ConfigString
        | Thinking::Switch => false,
    }
}

/// A forced call contradicts thinking. From Claude 5 on thinking is on where nothing is said of it, so that off is said:
/// <https://platform.claude.com/docs/en/build-with-claude/thinking>
fn give_way(work: &mut Work<'_, '_>, why: &'static str) {
    const OFF: &str = "{\"type\":\"disabled\"}";
    let adaptive = work.model.thinking == Thinking::Adaptive;
    let Some(thinking) = work.root.get("thinking") else {
        if adaptive {
            work.thinking_off = true;
            work.thinking_gone = true;
            work.edits.append(work.root, format!("\"thinking\":{OFF}"));
        }
        return;
    };
    work.thinking_off = true;
    if thinking.get("type").is_some_and(|kind| kind.is("disabled")) {
        return;
    }
    work.thinking_gone = true;
    if !thinking.is_null() {
        work.losses.add(thinking, why);
    }
    work.edits.replace(thinking, OFF);
}

/// Whether a tool must be called by the request that leaves.
fn call_is_forced(work: &Work<'_, '_>) -> bool {
    let kind = work.root.get("tool_choice").and_then(|choice| choice.get("type"));
    let forced = kind.is_some_and(|kind| kind.is("any") || kind.is("tool"));
    forced && work.model.forced_tool_choice && items(work.root.get("tools")).next().is_some()
}

/// Whether a sampling parameter contradicts the adaptive thinking of the request that leaves.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
pub(super) fn contradicts(work: &Work<'_, '_>, name: &str, value: Value<'_>) -> bool {
    let adaptive = work.root.get("thinking").and_then(|thinking| thinking.get("type"));
    let thinks = adaptive.is_some_and(|kind| kind.is("adaptive"))
        && !work.thinking_gone
        && can_be_disabled(work.model.thinking);
    let number = || value.raw().parse::<f64>();
    thinks
        && match name {
            "temperature" => number().is_ok_and(|number| (number - 1.0).abs() > f64::EPSILON),
            "top_p" => number().is_ok_and(|number| number < 0.95),
            // Any value of `top_k`.
            _ => !value.is_null(),
        }
}

/// Whether the last assistant turn calls a tool and does not begin with thinking that can be replayed.
fn call_without_thinking(root: Value<'_>) -> bool {
    let messages = root.get("messages").into_iter().flat_map(|messages| messages.items());
    let last = messages.filter(|message| message.get("role").is_some_and(|role| role.is("assistant"))).last();
    let Some(content) = last.and_then(|last| last.get("content")) else { return false };
    let is = |block: &Value<'_>, name: &str| block.get("type").is_some_and(|kind| kind.is(name));
    let first = content.items().find(|block| !is_unsigned(block));
    let thought = first.is_some_and(|block| is(&block, "thinking") || is(&block, "redacted_thinking"));
    !thought && content.items().any(|block| is(&block, "tool_use"))
}

fn is_unsigned(block: &Value<'_>) -> bool {
    let thinks = block.get("type").is_some_and(|kind| kind.is("thinking"));
    thinks && block.get("signature").is_none_or(|signature| signature.is("") || signature.is_null())
}

/// `display` came with the models that think adaptively alone.
fn drop_display<'d>(work: &mut Work<'d, '_>, thinking: Value<'d>) {
    if let Some(display) = thinking.member("display") {
        work.drop_from(thinking, display, common::NOT_TAKEN);
    }
}

/// A budget that fitted below the caller's `max_tokens` must fit below the clamped one too.
fn limit_budget<'d>(work: &mut Work<'d, '_>, thinking: Value<'d>) {
    let Some(budget) = thinking.get("budget_tokens") else { return };
    let most = work.max_tokens.saturating_sub(1).max(LEAST_BUDGET);
    if work.clamped && budget.u64().is_some_and(|asked| asked > most) {
        work.losses.add(budget, common::LIMITED);
        work.edits.replace(budget, most.to_string());
    }
}

/// `enabled` with a budget becomes `adaptive` with an effort.
fn to_adaptive<'d>(work: &mut Work<'d, '_>, thinking: Value<'d>, kind: Value<'d>) {
    work.edits.replace(kind, "\"adaptive\"");
    let Some(budget) = thinking.member("budget_tokens") else { return };
    work.effort = Some(match budget.value.u64() {
        Some(0..4096) => Effort::Low,
        Some(4096..16_384) => Effort::Medium,
        Some(_) | None => Effort::High,
    });
    work.drop_from(thinking, budget, reason::TRANSLATED);
}

/// `adaptive` becomes `enabled` with a budget below `max_tokens`, larger for more effort.
fn to_budget<'d>(work: &mut Work<'d, '_>, thinking: Value<'d>, kind: Value<'d>) {
    let effort = fields::effort(work.root.get("output_config"));
    let (percent, most) = match effort.unwrap_or(Effort::High) {
        Effort::Low => (20, 4096),
        Effort::Medium => (50, 16_384),
        Effort::High | Effort::XHigh | Effort::Max => (80, 32_000),
    };
    let budget = (work.max_tokens.saturating_mul(percent) / 100).min(most).max(LEAST_BUDGET);
    let own_limit = !work.options.counting || work.root.get("max_tokens").is_some();
    if budget >= work.max_tokens && own_limit {
        // No room for the smallest budget: the answer matters more than the thinking.
        if let Some(member) = work.root.member("thinking") {
            work.thinking_gone = true;
            work.leave_out(member, common::LIMITED);
        }
        return;
    }
    work.losses.add(kind, reason::TRANSLATED);
    drop_display(work, thinking);
    work.max_tokens = work.max_tokens.max(budget + 1);
    work.edits.replace(kind, "\"enabled\"");
    work.edits.append(thinking, format!("\"budget_tokens\":{budget}"));
}

/// Takes thinking without a signature out of an assistant turn, and the turn with it when nothing else is left.
pub(super) fn unsigned<'d>(work: &mut Work<'d, '_>, messages: Value<'d>, message: Value<'d>) {
    let Some(content) = message.get("content").filter(|content| content.kind() == Kind::Array) else {
        return;
    };
    let mut any = false;
    for block in content.items().filter(is_unsigned) {
        any = true;
        work.losses.add(block, reason::UNSIGNED);
        work.edits.remove(content, block);
    }
    if any && work.edits.kept(content) == 0 {
        work.edits.remove(messages, message);
    }
}
