//! What a caller asks of Bedrock itself, beside the request: guardrails, latency, labels; and a service tier, which the
//! policy decides on. InvokeModel takes these in
//! headers and Converse in its body, so that one set of headers serves both lanes:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>.

use std::collections::BTreeMap;

use catalog::ServiceTier;
use convert::converse::request::Options;
use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::converse::request as converse;

use crate::error::ApiError;
use crate::tiers;

const GUARDRAIL: HeaderName = HeaderName::from_static("x-amzn-bedrock-guardrailidentifier");
const GUARDRAIL_VERSION: HeaderName = HeaderName::from_static("x-amzn-bedrock-guardrailversion");
const LATENCY: HeaderName = HeaderName::from_static("x-amzn-bedrock-performanceconfig-latency");
const METADATA: HeaderName = HeaderName::from_static("x-amzn-bedrock-request-metadata");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-bedrock-trace");

/// The wishes of one request, as their headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes(Vec<(HeaderName, HeaderValue)>);

impl Wishes {
    /// Everything else of the caller's headers stays here.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let known = [GUARDRAIL, GUARDRAIL_VERSION, LATENCY, METADATA, TRACE];
        let found = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
        Self(known.into_iter().filter_map(found).collect())
    }

    /// The tier that a request asks for: in its body, else in a header. Other words than a tier's ask for nothing.
    pub(crate) fn tier(headers: &HeaderMap, body: Option<&str>) -> Option<ServiceTier> {
        let header = || headers.get(tiers::HEADER)?.to_str().ok().and_then(ServiceTier::wished);
        body.and_then(ServiceTier::wished).or_else(header)
    }

    /// For InvokeModel.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }

    /// Whether there is any: only InvokeModel and Converse are known to grant them, and a guardrail must not be lost on
    /// the way.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For Converse.
    pub(crate) fn apply(&self, options: &mut Options) -> Result<(), ApiError> {
        if let Some(identifier) = self.text(&GUARDRAIL)? {
            options.guardrail = Some(converse::GuardrailConfig {
                guardrail_identifier: identifier.to_owned(),
                guardrail_version: self.text(&GUARDRAIL_VERSION)?.unwrap_or_default().to_owned(),
                trace: self.text(&TRACE)?.map(str::to_ascii_lowercase),
                // Bedrock's default: nothing leaves before it has been looked at.
                stream_processing_mode: None,
            });
        }
        options.performance =
            self.text(&LATENCY)?.map(|latency| converse::PerformanceConfig { latency: latency.to_owned() });
        if let Some(json) = self.text(&METADATA)? {
            let pairs: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| {
                ApiError::field(METADATA.as_str(), "Input should be a JSON object of strings")
            })?;
            options.request_metadata = pairs.into_iter().collect();
        }
        Ok(())
    }

    fn text(&self, wanted: &HeaderName) -> Result<Option<&str>, ApiError> {
        let Some((name, value)) = self.0.iter().find(|(name, _)| name == wanted) else { return Ok(None) };
        let text =
            value.to_str().map_err(|_| ApiError::field(name.as_str(), "Input should be ASCII text"))?;
        Ok(Some(text))
    }
}
