//! CountTokens.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpd::Response;

use crate::converse::parse;
use crate::converse_shape::COUNT_TOKENS;
use crate::json::Json;
use crate::models;
use crate::reject::Reject;
use crate::routes::{Call, Site};
use crate::usage::Prompt;
use crate::{claude_rules, converse_rules, invoke, shape};

/// Answers. Only base ids of models with a tokenizer behind the route are counted, never profiles.
pub(crate) fn answer(call: &Call<'_>, id: &str) -> Result<Response, Reject> {
    let Some(model) = models::bare(id).filter(|model| model.countable()) else {
        // A profile or another family is known and cannot be counted; an unknown id is unknown here too.
        if models::bare(id).is_none() {
            call.model(id)?;
        }
        return Err(Reject::invalid("The provided model doesn't support counting tokens."));
    };
    let body = parse(call.body)?;
    shape::check(&COUNT_TOKENS, &body).map_err(shape::Fault::reject)?;
    let total = if let Some(converse) = body.at(&["input", "converse"]) {
        converse_rules::check(model, converse)?;
        Prompt::converse(converse, model.id).total()
    } else {
        let inner =
            body.at(&["input", "invokeModel"]).and_then(|inner| inner.text("body")).unwrap_or_default();
        let bytes =
            STANDARD.decode(inner).map_err(|_| Reject::invalid("The provided request is not valid"))?;
        let inner = parse(&bytes)?;
        claude_rules::check(model, &inner).map_err(Reject::invalid)?;
        Prompt::claude(&inner, model.id).total()
    };
    Ok(call.json(format!("{{\"inputTokens\":{total}}}")))
}

/// Answers `POST /anthropic/v1/messages/count_tokens` of `bedrock-mantle`, which counts for every Claude:
/// <https://platform.claude.com/docs/en/api/messages-count-tokens>.
pub(crate) fn mantle(call: &Call<'_>) -> Result<Response, Reject> {
    let (model, _, members) = invoke::messages(call, Site::Mantle)?;
    let total = Prompt::claude(&Json::Object(members), model.id).total();
    Ok(call.json(format!("{{\"input_tokens\":{total}}}")))
}
