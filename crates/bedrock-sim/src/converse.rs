//! Converse and ConverseStream.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
use std::time::Instant;

use httpd::Response;

use crate::answer::{self, Context};
use crate::ask::Ask;
use crate::claude_generation::Betas;
use crate::converse_family::check_tier;
use crate::converse_shape::{CONVERSE, CONVERSE_STREAM};
use crate::directives::Directives;
use crate::json::Json;
use crate::models::{Family, Model};
use crate::play::{self, Pace, Wire};
use crate::reject::Reject;
use crate::render_converse::{self, Extras};
use crate::routes::Call;
use crate::usage::{Prompt, Usage};
use crate::{converse_rules, shape};

/// Reads a body; broken JSON is refused before anything else.
pub(crate) fn parse(body: &[u8]) -> Result<Json<'_>, Reject> {
    Json::parse(body).map_err(|error| {
        Reject::invalid(format!(
            "Malformed input request: {error}, please reformat your input and try again."
        ))
    })
}

/// Answers.
pub(crate) async fn answer(call: &Call<'_>, id: &str, stream: bool) -> Result<Response, Reject> {
    let model = call.model(id)?;
    if model.family == Family::Embedding {
        return Err(Reject::invalid(
            "This action doesn't support the model that you provided. Try again with a supported text or chat model.",
        ));
    }
    let prepared = prepare(call, model, stream)?;
    let mut faults = prepared.directives.faults;
    for fault in &faults {
        if let Some(response) = call.early(fault).await {
            return Ok(response);
        }
    }
    faults.extend(call.fault.clone());
    call.state.answered(call.serial, &prepared.usage);
    let extras = Extras { latency_ms: call.started.elapsed().as_millis().max(1), ..prepared.extras };
    if !stream {
        if let Some(response) = call.whole(&faults).await {
            return Ok(response);
        }
        let body = render_converse::unary(&prepared.answer, &prepared.usage, &extras);
        return Ok(call.json(body));
    }
    let events = render_converse::stream(&prepared.answer, &prepared.usage, &extras);
    let delay = prepared.directives.slow.unwrap_or(call.state.delay);
    let pace = Pace { delay, gather: call.state.gather };
    let body = play::body(events, Wire::Frames, &faults, &pace, call.peer.clone());
    Ok(call.response(200, "application/vnd.amazon.eventstream", body))
}

/// Everything that is known once the request has been judged.
struct Prepared {
    answer: answer::Answer,
    usage: Usage,
    extras: Extras,
    directives: Directives,
}

fn prepare(call: &Call<'_>, model: &'static Model, stream: bool) -> Result<Prepared, Reject> {
    let body = parse(call.body)?;
    let shape = if stream { &CONVERSE_STREAM } else { &CONVERSE };
    shape::check(shape, &body).map_err(shape::Fault::reject)?;
    converse_rules::check(model, &body)?;
    let tier = body.at(&["serviceTier", "type"]).and_then(Json::as_str);
    check_tier(model, tier, call.state.has_reserved(model.id))?;
    if stream && !model.streams_tools() && body.get("toolConfig").is_some() {
        return Err(Reject::invalid("This model doesn't support tool use in streaming mode."));
    }
    let prompt = Prompt::converse(&body, model.id);
    fits(model, &prompt, &body)?;
    let mut usage = prompt.usage(&call.state.cache, Instant::now());
    let ask = Ask::converse(model, &body);
    let directives = call.directives(&ask.said);
    let context = Context { model, events: call.state.events, serial: call.serial, id_prefix: "tooluse_" };
    let answer = answer::to(&ask, &context, &directives);
    usage.output = answer.output_tokens;
    let paths = body.list("additionalModelResponseFieldPaths");
    let extras = Extras {
        latency_ms: 0,
        tier: tier.map(|tier| directives.served.unwrap_or(tier).to_owned()),
        stop_sequence: model.is_claude() && paths.iter().any(|path| path.as_str() == Some("/stop_sequence")),
    };
    if paths.iter().filter_map(Json::as_str).any(|path| !path.starts_with('/')) {
        return Err(Reject::invalid(
            "The format of the value at additionalModelResponseFieldPaths is invalid. Provide a JSON pointer for the \
             field and try again.",
        ));
    }
    Ok(Prepared { answer, usage, extras, directives })
}

/// The context window, in the words of the model's family.
fn fits(model: &'static Model, prompt: &Prompt, body: &Json<'_>) -> Result<(), Reject> {
    let extra = body.get("additionalModelRequestFields");
    let betas = Betas(extra.map_or(&[][..], |extra| extra.list("anthropic_beta")));
    let window = model.window(betas.has("context-1m-"));
    let total = prompt.total();
    if total <= window {
        return Ok(());
    }
    Err(match model.family {
        Family::Claude => {
            Reject::from_model(format_args!("prompt is too long: {total} tokens > {window} maximum"))
        }
        Family::Nova => Reject::from_model(
            "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try \
             again.",
        ),
        Family::OpenAi
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
        | Family::Other => Reject::invalid("Input is too long for requested model."),
    })
}
