//! Limits, sampling and stop sequences.

use catalog::{Model, Sampling};
use protocol::anthropic::request::Request;
use protocol::converse::request::InferenceConfig;
use protocol::raw::{Number, Raw};

use super::context::{At, Context, is_blank};
use super::thinking::Plan;
use crate::Refusal;
use crate::outcome::reason;

/// `inferenceConfig`.
pub(super) fn config<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    reasoning: &Plan,
) -> Result<InferenceConfig<'a>, Refusal> {
    let (temperature, top_p) = sampling(ctx, request, reasoning)?;
    Ok(InferenceConfig {
        max_tokens: max_tokens(ctx, request, reasoning)?,
        temperature,
        top_p,
        stop_sequences: stop_sequences(ctx, request)?,
    })
}

fn max_tokens(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    reasoning: &Plan,
) -> Result<Option<u64>, Refusal> {
    let at = At::root("max_tokens");
    let Some(asked) = request.max_tokens else { return Ok(None) };
    // On the Messages API, 0 only warms the cache. Bedrock has no such call, and one token would be an answer.
    if asked == 0 {
        return Err(at.refuse("Input should be greater than or equal to 1"));
    }
    if reasoning.unlimited {
        ctx.lose(at, reason::WITH_THINKING);
        return Ok(None);
    }
    let smallest = u64::from(ctx.rules.min_output).max(1);
    let within = asked.clamp(smallest, u64::from(ctx.rules.max_output).max(smallest));
    if within != asked {
        ctx.lose(at, reason::LIMITED);
    }
    Ok(Some(within))
}

type Pair<'a> = (Option<Raw<'a>>, Option<Raw<'a>>);

fn sampling<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    reasoning: &Plan,
) -> Result<Pair<'a>, Refusal> {
    let temperature = ranged(At::root("temperature"), request.temperature.as_ref())?;
    let top_p = ranged(At::root("top_p"), request.top_p.as_ref())?;
    // Claude and Nova refuse sampling while they think.
    let thinking = reasoning.unlimited || (reasoning.thinks && ctx.is_claude());
    let (keeps_temperature, keeps_top_p, why) = match ctx.rules.sampling {
        Sampling::Neither => (false, false, reason::NOT_TAKEN),
        Sampling::Both | Sampling::OneOf if thinking => (false, false, reason::WITH_THINKING),
        Sampling::OneOf => (true, temperature.is_none(), reason::NOT_TAKEN),
        Sampling::Both => (true, true, reason::NOT_TAKEN),
    };
    Ok((
        kept(ctx, At::root("temperature"), temperature, keeps_temperature, why),
        kept(ctx, At::root("top_p"), top_p, keeps_top_p, why),
    ))
}

fn kept<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    number: Option<&'a Number<'_>>,
    keep: bool,
    why: &'static str,
) -> Option<Raw<'a>> {
    let number = number?;
    if keep {
        return Some(number.raw());
    }
    ctx.lose(at, why);
    None
}

fn ranged<'n, 'a>(at: At<'_>, number: Option<&'n Number<'a>>) -> Result<Option<&'n Number<'a>>, Refusal> {
    match number.map(Number::value) {
        Some(value) if value > 1.0 => Err(at.refuse("Input should be less than or equal to 1")),
        Some(value) if value < 0.0 => Err(at.refuse("Input should be greater than or equal to 0")),
        Some(_) | None => Ok(number),
    }
}

fn stop_sequences<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>) -> Result<Vec<&'a str>, Refusal> {
    let at = At::root("stop_sequences");
    let Some(asked) = request.stop_sequences.as_deref() else { return Ok(Vec::new()) };
    if let Some(index) = asked.iter().position(|text| is_blank(text)) {
        return Err(at.index(index).refuse("each stop sequence must contain non-whitespace"));
    }
    let most = usize::from(ctx.rules.stop_sequences);
    if asked.len() > most {
        ctx.lose(at, if most == 0 { reason::NOT_TAKEN } else { reason::LIMITED });
    }
    Ok(asked.iter().take(most).map(|text| &**text).collect())
}

/// Asks for the stop sequence that matched, which Converse's own answer does not tell.
pub(super) fn response_paths(request: &Request<'_>, rules: &Model) -> Vec<&'static str> {
    let asked = request.stop_sequences.as_ref().is_some_and(|texts| !texts.is_empty());
    if asked && rules.stop_sequences > 0 { vec!["/stop_sequence"] } else { Vec::new() }
}
