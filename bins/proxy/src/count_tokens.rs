//! `POST /v1/messages/count_tokens`: what a request is to read. Nothing is ever run, or booked, for it.

use std::sync::Arc;

use base64_simd::STANDARD;
use bedrock::{Call, Operation};
use catalog::{Family, Lane, Model, ServiceTier};
use convert::native;
use http::StatusCode;
use http::header::HeaderValue;
use httpd::{RequestBody, Response};
use protocol::anthropic::request as anthropic;
use serde::Deserialize;

use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held};
use crate::handle::{self, Context};
use crate::lane::Prepared;
use crate::messages;
use crate::record::Record;
use crate::switches;
use crate::targets;
use crate::upstream::{self, Job};
use crate::wishes::Wishes;

/// Says whether a count is Bedrock's own or an estimate.
const HEADER: &str = "x-outcrop-token-count";

/// Answers one count.
pub(crate) async fn count(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let mut held = Held::request(&gateway.shared)?;
    let caller = gateway.authenticate(context).await?;
    record.key(caller.key_id().as_str());
    let body = messages::read(gateway, context, body, &mut held).await?;
    let text = messages::text(&body)?;
    let doc = native::parse(text).map_err(|fault| messages::malformed(&fault))?;
    let ask = peek(&doc)?;
    messages::check_version(context, &doc)?;
    switches::check(&gateway.shared.settings, &doc, &ask)?;
    // An admission that calls nothing books nothing.
    let asked = messages::asked(gateway, &ask, context, "count_tokens", true);
    let mut admission = messages::admit(gateway, context, &caller, asked).await?;
    let (resolution, plan) = targets::plan(gateway, &mut admission, &context.headers)?;
    let job = |body, input_estimate| Job {
        gateway: gateway.clone(),
        body,
        beta_headers: messages::beta_headers(&context.headers),
        wishes: Wishes::default(),
        tier: ServiceTier::Default,
        cache_ttl: None,
        resolution,
        tables: Arc::clone(admission.tables()),
        plan,
        input_estimate,
        counting: true,
    };
    let Some(embedded) = switches::embedded(gateway, &doc, &ask, &mut held).await? else {
        return counted(&job(body.clone(), ask.input_estimate), &doc, &ask, record).await;
    };
    // What was fetched counts as what it is.
    let doc = native::parse(messages::text(&embedded)?).map_err(|fault| messages::malformed(&fault))?;
    let ask = peek(&doc)?;
    counted(&job(embedded.clone(), ask.input_estimate), &doc, &ask, record).await
}

fn peek<'d>(doc: &'d native::Doc<'_>) -> Result<native::Ask<'d>, ApiError> {
    native::peek(doc).map_err(|refusal| ApiError::field(&refusal.path, &refusal.message))
}

async fn counted(
    job: &Job,
    doc: &native::Doc<'_>,
    ask: &native::Ask<'_>,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let model = job.resolution.model;
    let counted = match job.resolution.lane() {
        Lane::Native => {
            // Also where nobody counts: what would be refused then has no count.
            let prepared = job.prepare(doc)?;
            if model.countable { exact(job, record, prepared).await? } else { None }
        }
        Lane::Converse => {
            let text = doc.text();
            anthropic::parse_for_count(text).map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
            switches::no_urls(ask)?;
            None
        }
    };
    let (tokens, how) = match counted {
        Some(tokens) => (tokens.max(1), "exact"),
        None => (estimate(ask, model), "estimated"),
    };
    let mut response = handle::json(StatusCode::OK, format!("{{\"input_tokens\":{tokens}}}"));
    response.headers_mut().insert(HEADER, HeaderValue::from_static(how));
    Ok(handle::private(response))
}

/// Bedrock's own count; `None` where it does not count for this model after all.
async fn exact(job: &Job, record: &mut Record, prepared: Prepared) -> Result<Option<u64>, ApiError> {
    upstream::sending(record, &job.resolution, &job.first(&prepared).place);
    match job.count(prepared).await {
        Ok(reply) => {
            record.attempts(reply.attempts);
            let counted: Counted = serde_json::from_slice(&reply.body)
                .map_err(|_| ApiError::new(Kind::BadGateway, "The upstream's count could not be read"))?;
            Ok(Some(counted.input_tokens))
        }
        // Only this one refusal is about counting. Every other one is the caller's answer: an estimate would hide it.
        Err(error) if error.kind == Kind::Invalid && error.message.contains(NOT_COUNTED) => Ok(None),
        Err(error) => Err(error),
    }
}

const NOT_COUNTED: &str = "doesn't support counting tokens";

#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "inputTokens")]
    input_tokens: u64,
}

/// Counts the InvokeModel body: a Converse one would leave out what only the Messages format has. Profiles cannot be
/// counted, the model behind them can:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>
pub(crate) fn call<'a>(base_id: &'a str, body: &[u8]) -> Call<'a> {
    let body = STANDARD.encode_to_string(body);
    Call {
        operation: Operation::CountTokens,
        model_id: base_id,
        body: format!("{{\"input\":{{\"invokeModel\":{{\"body\":\"{body}\"}}}}}}").into(),
        headers: &[],
    }
}

/// An upper estimate, for models that nobody counts for us.
///
/// Calibration. The ask's own estimate takes three bytes of JSON for a token, which is more than prose (four to five
/// bytes) and about what code needs, and 1600 tokens for an image. Beyond that:
/// * with tools (an output format can become one) a model reads instructions that nobody sent, up to 530 tokens on Claude:
///   <https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing>;
/// * the Claude models that are not countable have the tokenizer of Opus 4.7, which makes up to 1.35 times as many
///   tokens of the same text, and look at up to 3.75 megapixels of an image, at 750 pixels a token:
///   <https://platform.claude.com/docs/en/build-with-claude/vision>.
fn estimate(ask: &native::Ask<'_>, model: &Model) -> u64 {
    const TOOL_INSTRUCTIONS: u64 = 530;
    const LARGE_IMAGE: u64 = 5000 - 1600;
    let instructions = if ask.tools > 0 || ask.structured_output { TOOL_INSTRUCTIONS } else { 0 };
    let text = ask.input_estimate + instructions;
    if model.family == Family::Claude && !model.countable {
        return text.saturating_mul(135).div_ceil(100) + u64::from(ask.images) * LARGE_IMAGE;
    }
    text
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    fn estimated(model: &str, body: &str) -> u64 {
        let resolution = Catalog::builtin().resolve(model, Scope::Global, "us-east-1", true).unwrap();
        let doc = native::parse(body).unwrap();
        estimate(&native::peek(&doc).unwrap(), resolution.model)
    }

    #[test]
    fn an_estimate_is_never_nothing_and_grows_with_tools_images_and_the_tokenizer() {
        let plain = r#"{"model":"m","messages":[{"role":"user","content":"foo"}],"tools":[]}"#;
        let tools = r#"{"model":"m","messages":[{"role":"user","content":"foo"}],"tools":[{"name":"t"}]}"#;
        let image = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}"#;
        let qwen = "qwen.qwen3-coder-480b-a35b-v1:0";
        assert!(estimated(qwen, plain) > 0);
        assert!(estimated(qwen, tools) > 500);
        assert!(estimated(qwen, image) >= 1600);
        assert!(estimated("claude-opus-5", plain) > estimated(qwen, plain));
        assert!(estimated("claude-opus-5", image) >= 5000);
    }
}
