//! Thinking and effort, in the member and the words of each family (`catalog::Thinking`).

use catalog::{Effort, Thinking as Way};
use protocol::anthropic::request::{Request, Thinking};
use protocol::raw::{Extra, Raw};
use serde::Serialize;

use super::context::{At, Context};
use crate::Refusal;
use crate::outcome::reason;

/// Smallest budget that Claude takes.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
const SMALLEST_BUDGET: u64 = 1024;

/// What is asked of the model.
#[derive(Default)]
pub(super) struct Plan {
    /// Members of the model's own request.
    pub(super) fields: Extra<'static>,
    /// `outputConfig.effort`.
    pub(super) effort: Option<&'static str>,
    /// Whether the model thinks before it answers, which some choices contradict.
    pub(super) thinks: bool,
    /// Whether neither sampling nor `maxTokens` may be set.
    pub(super) unlimited: bool,
}

/// What the caller says.
#[derive(Clone, Copy)]
enum Wanted {
    Unsaid,
    Off,
    On(Option<u64>),
}

/// The reasoning that the request asks for, as this model can be told. `forced`: a tool must be called.
pub(super) fn plan(ctx: &mut Context<'_>, request: &Request<'_>, forced: bool) -> Result<Plan, Refusal> {
    let effort = effort(ctx, request)?;
    let mut wanted = wanted(ctx, request)?;
    let switchable = match ctx.rules.thinking {
        Way::None | Way::FlatEffort | Way::NestedEffort | Way::ConfigString | Way::Always => false,
        Way::Budget | Way::BudgetOrAdaptive | Way::Adaptive | Way::NovaReasoningConfig | Way::Switch => true,
    };
    if forced && switchable && matches!(wanted, Wanted::On(_)) {
        ctx.lose(At::root("thinking"), reason::WITH_FORMAT);
        wanted = Wanted::Off;
    }
    Ok(match ctx.rules.thinking {
        Way::None => none(ctx, wanted, effort),
        Way::Budget => budget(ctx, request, wanted, effort),
        Way::BudgetOrAdaptive | Way::Adaptive | Way::Always => adaptive(ctx, request, wanted, effort),
        Way::NovaReasoningConfig => nova(ctx, wanted, effort),
        Way::FlatEffort => by_level(ctx, "reasoning_effort", wanted, effort, |level| Raw::of(&level)),
        Way::ConfigString => by_level(ctx, "reasoning_config", wanted, effort, |level| Raw::of(&level)),
        Way::NestedEffort => by_level(ctx, "reasoning", wanted, effort, |effort| {
            #[derive(Serialize)]
            struct Nested {
                effort: &'static str,
            }
            Raw::of(&Nested { effort })
        }),
        Way::Switch => switch(ctx, wanted, effort),
    })
}

fn wanted(ctx: &mut Context<'_>, request: &Request<'_>) -> Result<Wanted, Refusal> {
    let at = At::root("thinking");
    let (wanted, display, extra) = match &request.thinking {
        None => return Ok(Wanted::Unsaid),
        Some(Thinking::Disabled(off)) => (Wanted::Off, None, &off.extra),
        Some(Thinking::Enabled(on)) => (Wanted::On(Some(on.budget_tokens)), on.display.as_deref(), &on.extra),
        Some(Thinking::Adaptive(on)) => (Wanted::On(None), on.display.as_deref(), &on.extra),
        Some(Thinking::BetweenTools(on)) => (Wanted::On(None), None, &on.extra),
        Some(Thinking::Unknown(_)) => {
            return Err(at
                .key("type")
                .refuse("Input should be 'enabled', 'adaptive', 'disabled' or 'between_tools'"));
        }
    };
    if matches!(wanted, Wanted::On(_)) && !ctx.options.thinking {
        ctx.lose(at, reason::THINKING_OFF);
        return Ok(Wanted::Unsaid);
    }
    if display.is_some() {
        ctx.lose(at.key("display"), reason::NO_PLACE);
    }
    ctx.lose_extra(at, extra);
    Ok(wanted)
}

/// The effort that the caller names, brought down to what the model takes.
fn effort(ctx: &mut Context<'_>, request: &Request<'_>) -> Result<Option<Effort>, Refusal> {
    let at = At::root("output_config");
    let at = at.key("effort");
    let Some(name) = request.output_config.as_ref().and_then(|config| config.effort.as_deref()) else {
        return Ok(None);
    };
    let asked = match name {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return Err(at.refuse("Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")),
    };
    let Some(most) = ctx.rules.max_effort else {
        ctx.lose(at, reason::NOT_TAKEN);
        return Ok(None);
    };
    let mut level = asked.min(most);
    if level == Effort::XHigh && ctx.rules.no_xhigh {
        level = Effort::High;
    }
    if level != asked {
        ctx.lose(at, reason::LIMITED);
    }
    Ok(Some(level))
}

/// An effort that has nowhere to go: the model takes it with thinking alone, or not at all.
fn lose_effort(ctx: &mut Context<'_>, effort: Option<Effort>) {
    if effort.is_some() {
        ctx.lose(At::root("output_config").key("effort"), reason::NOT_TAKEN);
    }
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// A level for a budget of tokens.
fn level(budget: u64) -> Effort {
    match budget {
        0..=4096 => Effort::Low,
        4097..=16_384 => Effort::Medium,
        _ => Effort::High,
    }
}

fn none(ctx: &mut Context<'_>, wanted: Wanted, effort: Option<Effort>) -> Plan {
    if matches!(wanted, Wanted::On(_)) {
        ctx.lose(At::root("thinking"), reason::NOT_TAKEN);
    }
    Plan { effort: effort.map(word), ..Plan::default() }
}

/// One level says it all: it is sent where thinking is on or an effort is named, and nothing where it is off.
fn by_level(
    ctx: &mut Context<'_>,
    key: &'static str,
    wanted: Wanted,
    effort: Option<Effort>,
    value: impl Fn(&'static str) -> Option<Raw<'static>>,
) -> Plan {
    let most = ctx.rules.max_effort.unwrap_or(Effort::High);
    let level = match wanted {
        Wanted::Off => {
            lose_effort(ctx, effort);
            None
        }
        Wanted::Unsaid => effort,
        Wanted::On(budget) => Some(effort.or(budget.map(level)).unwrap_or(Effort::High).min(most)),
    };
    let mut plan = Plan::default();
    if let Some(value) = level.map(word).and_then(value) {
        plan.fields.push(key, value);
    }
    plan
}

/// Nova 2: <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>. At `high` the model
/// refuses sampling and `maxTokens`, so that only a caller who says high gets it.
fn nova(ctx: &mut Context<'_>, wanted: Wanted, effort: Option<Effort>) -> Plan {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        r#type: &'static str,
        max_reasoning_effort: &'static str,
    }
    let Wanted::On(budget) = wanted else {
        lose_effort(ctx, effort);
        return Plan::default();
    };
    let effort = effort.or(budget.map(level)).unwrap_or(Effort::Medium).min(Effort::High);
    let mut plan = Plan { thinks: true, unlimited: effort == Effort::High, ..Plan::default() };
    let config = Config { r#type: "enabled", max_reasoning_effort: word(effort) };
    plan.fields.0.extend(Raw::of(&config).map(|config| ("reasoningConfig".into(), config)));
    plan
}

/// Kimi thinks unless it is told not to, so that off is said as well.
fn switch(ctx: &mut Context<'_>, wanted: Wanted, effort: Option<Effort>) -> Plan {
    lose_effort(ctx, effort);
    let kind = match wanted {
        Wanted::Unsaid => return Plan::default(),
        Wanted::Off => "disabled",
        Wanted::On(_) => "enabled",
    };
    claude_plan(&Setting { r#type: kind, budget_tokens: None }, None)
}

#[derive(Serialize)]
struct Setting {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_tokens: Option<u64>,
}

fn claude_plan(setting: &Setting, effort: Option<Effort>) -> Plan {
    let mut plan = Plan { thinks: setting.r#type != "disabled", effort: effort.map(word), ..Plan::default() };
    plan.fields.0.extend(Raw::of(setting).map(|setting| ("thinking".into(), setting)));
    plan
}

/// Claude up to 4.5: a budget below `max_tokens`.
fn budget(ctx: &mut Context<'_>, request: &Request<'_>, wanted: Wanted, effort: Option<Effort>) -> Plan {
    let Wanted::On(budget) = wanted else { return Plan { effort: effort.map(word), ..Plan::default() } };
    let asked = budget.unwrap_or(match effort {
        Some(Effort::Low) => 2048,
        Some(Effort::Medium) => 8192,
        Some(Effort::High | Effort::XHigh | Effort::Max) | None => 16_384,
    });
    let limit = request.max_tokens.unwrap_or(u64::MAX).min(ctx.rules.max_output.into()).saturating_sub(1);
    if limit < SMALLEST_BUDGET {
        ctx.lose(At::root("thinking"), reason::LIMITED);
        return Plan { effort: effort.map(word), ..Plan::default() };
    }
    let within = asked.clamp(SMALLEST_BUDGET, limit);
    if budget.is_some_and(|budget| budget != within) {
        let at = At::root("thinking");
        ctx.lose(at.key("budget_tokens"), reason::LIMITED);
    }
    claude_plan(&Setting { r#type: "enabled", budget_tokens: Some(within) }, effort)
}

/// Claude from 4.6: as the model sees fit. 4.6 still takes a budget; from 4.7 on it becomes adaptive.
fn adaptive(ctx: &mut Context<'_>, request: &Request<'_>, wanted: Wanted, effort: Option<Effort>) -> Plan {
    match wanted {
        Wanted::Unsaid => Plan { effort: effort.map(word), ..Plan::default() },
        Wanted::Off if ctx.rules.thinking == Way::Always => {
            ctx.lose(At::root("thinking"), reason::NOT_TAKEN);
            Plan { effort: effort.map(word), thinks: true, ..Plan::default() }
        }
        Wanted::Off => claude_plan(&Setting { r#type: "disabled", budget_tokens: None }, effort),
        Wanted::On(Some(_)) if ctx.rules.thinking == Way::BudgetOrAdaptive => {
            budget(ctx, request, wanted, effort)
        }
        Wanted::On(_) => claude_plan(&Setting { r#type: "adaptive", budget_tokens: None }, effort),
    }
}
