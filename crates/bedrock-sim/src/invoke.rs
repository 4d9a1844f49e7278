//! InvokeModel and its stream for Claude, and the native Messages route.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>
use std::borrow::Cow;
use std::time::Instant;

use http::HeaderValue;
use httpd::Response;

use crate::answer::{self, Context};
use crate::ask::Ask;
use crate::claude_generation::Betas;
use crate::claude_rules;
use crate::converse::parse;
use crate::converse_family::check_tier;
use crate::converse_shape::metadata_chars;
use crate::directives::Directives;
use crate::embed;
use crate::json::Json;
use crate::models::{self, Family, Model};
use crate::play::{self, Pace, Wire};
use crate::reject::Reject;
use crate::render_claude::{self, Head};
use crate::routes::{Call, Site};
use crate::usage::{Prompt, Usage};

/// How the caller wants the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Chunks,
    Sse,
}

/// Answers InvokeModel and InvokeModelWithResponseStream.
pub(crate) async fn answer(call: &Call<'_>, id: &str, stream: bool) -> Result<Response, Reject> {
    let model = call.model(id)?;
    headers(call, model)?;
    if model.family == Family::Embedding && !stream {
        return embed::answer(call, model).await;
    }
    if !model.is_claude() {
        return Err(Reject::invalid(
            "The simulator answers InvokeModel for Claude and embedding models alone. Use Converse for this model.",
        ));
    }
    let body = parse(call.body)?;
    let form = if stream { Form::Chunks } else { Form::Whole };
    respond(call, model, prepare(call, model, &body)?, form).await
}

/// Answers `POST /anthropic/v1/messages`: the same body with `model` and `stream` in it, versions in headers.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html>
pub(crate) async fn native(call: &Call<'_>, site: Site) -> Result<Response, Reject> {
    let (model, stream, mut members) = messages(call, site)?;
    if call.header("anthropic-version").is_none() {
        return Err(Reject::invalid("anthropic-version: header is required"));
    }
    let flags = call.header("anthropic-beta").unwrap_or_default();
    let betas = flags.split(',').map(str::trim).filter(|flag| !flag.is_empty() && !OWN.contains(flag));
    members.push(("anthropic_version".into(), Json::Str("bedrock-2023-05-31".into())));
    members.push(("anthropic_beta".into(), Json::List(betas.map(|flag| Json::Str(flag.into())).collect())));
    let body = Json::Object(members);
    if body.at(&["output_config", "format"]).is_some() {
        return Err(Reject::invalid("output_config.format: Extra inputs are not permitted"));
    }
    // Here the user id becomes request metadata, whose charset is narrow.
    if body.at(&["metadata", "user_id"]).and_then(Json::as_str).is_some_and(|id| !metadata_chars(id)) {
        return Err(Reject::invalid(
            "Request metadata contains a value that violates the regular expression",
        ));
    }
    let form = if stream { Form::Sse } else { Form::Whole };
    respond(call, model, prepare(call, model, &body)?, form).await
}

type Members<'c> = Vec<(Cow<'c, str>, Json<'c>)>;

/// Takes a body of the Messages API apart: its model, whether it asks for a stream, and everything else.
pub(crate) fn messages<'c>(
    call: &Call<'c>,
    site: Site,
) -> Result<(&'static Model, bool, Members<'c>), Reject> {
    let Json::Object(mut members) = parse(call.body)? else {
        return Err(Reject::invalid("Input should be a valid dictionary"));
    };
    let mut take = |name: &str| {
        let at = members.iter().position(|(key, _)| key == name)?;
        Some(members.remove(at).1)
    };
    let (model, stream) = (take("model"), take("stream"));
    let id = model.as_ref().and_then(Json::as_str).ok_or_else(|| Reject::invalid("model: Field required"))?;
    let model = match site {
        Site::Runtime => call.model(id)?,
        // There are no profiles: the endpoint routes by itself.
        Site::Mantle => models::bare(id)
            .filter(|model| model.is_claude())
            .ok_or_else(|| Reject::new(404, "ResourceNotFoundException", format!("model: {id}")))?,
    };
    Ok((model, stream == Some(Json::Bool(true)), members))
}

/// Flags that only this route takes.
const OWN: &[&str] = &[
    "claude-code-20250219",
    "output-128k-2025-02-19",
    "token-efficient-tools-2025-02-19",
    "per-turn-control-2026-07-01",
    "web-search-2025-03-05",
];

/// What InvokeModel is told by headers.
fn headers(call: &Call<'_>, model: &'static Model) -> Result<(), Reject> {
    let tier = call.header("x-amzn-bedrock-service-tier");
    check_tier(model, tier, call.state.has_reserved(model.id))?;
    if call.header("x-amzn-bedrock-performanceconfig-latency") == Some("optimized") {
        return Err(Reject::invalid("Latency performance configuration is not supported for this model."));
    }
    let Some(metadata) = call.header("x-amzn-bedrock-request-metadata") else { return Ok(()) };
    let good = Json::parse(metadata.as_bytes()).is_ok_and(|metadata| {
        let fits = |text: &str| text.len() <= 256 && metadata_chars(text);
        (1..=16).contains(&metadata.members().len())
            && metadata.members().iter().all(|(key, value)| fits(key) && value.as_str().is_some_and(fits))
    });
    if good && metadata.len() <= 8_500 {
        return Ok(());
    }
    Err(Reject::invalid("Request metadata contains a value that violates the regular expression"))
}

struct Prepared {
    answer: answer::Answer,
    usage: Usage,
    directives: Directives,
}

fn prepare(call: &Call<'_>, model: &'static Model, body: &Json<'_>) -> Result<Prepared, Reject> {
    claude_rules::check(model, body).map_err(Reject::invalid)?;
    let prompt = Prompt::claude(body, model.id);
    fits(model, &prompt, body).map_err(Reject::invalid)?;
    let mut usage = prompt.usage(&call.state.cache, Instant::now());
    let ask = Ask::claude(model, body);
    let directives = call.directives(&ask.said);
    let context = Context { model, events: call.state.events, serial: call.serial, id_prefix: "toolu_bdrk_" };
    let answer = answer::to(&ask, &context, &directives);
    usage.output = answer.output_tokens;
    Ok(Prepared { answer, usage, directives })
}

/// The prompt alone, then the prompt with the answer it asks for.
fn fits(model: &'static Model, prompt: &Prompt, body: &Json<'_>) -> Result<(), String> {
    let window = model.window(Betas(body.list("anthropic_beta")).has("context-1m-"));
    let total = prompt.total();
    if total > window {
        return Err(format!("prompt is too long: {total} tokens > {window} maximum"));
    }
    let asked =
        body.get("max_tokens").and_then(Json::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    // From 4.5 on the model stops at the end of its window instead.
    if total + asked > window && !model.at_least(4, 5) {
        return Err(format!(
            "input length and `max_tokens` exceed context limit: {total} + {asked} > {window}, decrease input length or \
             `max_tokens` and try again"
        ));
    }
    Ok(())
}

async fn respond(
    call: &Call<'_>,
    model: &'static Model,
    prepared: Prepared,
    form: Form,
) -> Result<Response, Reject> {
    let Prepared { answer, usage, directives } = prepared;
    let (mut faults, served) = (directives.faults, directives.served);
    for fault in &faults {
        if let Some(response) = call.early(fault).await {
            return Ok(response);
        }
    }
    faults.extend(call.fault.clone());
    call.state.answered(call.serial, &usage);
    if form == Form::Whole
        && let Some(response) = call.whole(&faults).await
    {
        return Ok(response);
    }
    let id = format!("msg_bdrk_01{:022x}", call.serial);
    let latency_ms = call.started.elapsed().as_millis().max(1);
    let head = Head { model: model.short_id(), id: &id, latency_ms };
    let pace = Pace { delay: directives.slow.unwrap_or(call.state.delay), gather: call.state.gather };
    let mut response = match form {
        Form::Whole => {
            let mut response = call.json(render_claude::unary(&answer, &usage, &head));
            counts(&mut response, &usage, latency_ms);
            response
        }
        Form::Chunks => {
            let mut events = render_claude::stream(&answer, &usage, &head);
            render_claude::chunks(&mut events);
            let body = play::body(events, Wire::Frames, &faults, &pace, call.peer.clone());
            let mut response = call.response(200, "application/vnd.amazon.eventstream", body);
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert("x-amzn-bedrock-content-type", json);
            response
        }
        Form::Sse => {
            let events = render_claude::stream(&answer, &usage, &head);
            let body = play::body(events, Wire::Sse, &faults, &pace, call.peer.clone());
            call.response(200, "text/event-stream; charset=utf-8", body)
        }
    };
    if let Some(tier) = call.headers.get("x-amzn-bedrock-service-tier") {
        let tier = served.map_or_else(|| tier.clone(), HeaderValue::from_static);
        response.headers_mut().insert("x-amzn-bedrock-service-tier", tier);
    }
    Ok(response)
}

/// The headers of a unary answer, which the service's model does not list.
fn counts(response: &mut Response, usage: &Usage, latency_ms: u128) {
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: usize| {
        headers.insert(name, HeaderValue::from(value));
    };
    put("x-amzn-bedrock-input-token-count", usage.input);
    put("x-amzn-bedrock-output-token-count", usage.output);
    put("x-amzn-bedrock-invocation-latency", usize::try_from(latency_ms).unwrap_or(usize::MAX));
    if usage.read + usage.write() > 0 {
        put("x-amzn-bedrock-cache-read-input-token-count", usage.read);
        put("x-amzn-bedrock-cache-write-input-token-count", usage.write());
    }
}
