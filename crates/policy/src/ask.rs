//! What a caller asks for.

use std::sync::Arc;

use catalog::{Resolution, ServiceTier};

use crate::Tables;

/// What a caller asks for, as far as the policy needs to know.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Our id of the request.
    pub request_id: String,
    /// Route, for the usage row.
    pub surface: &'static str,
    /// The model as the caller typed it.
    pub model: String,
    /// What was found behind [`catalog::Catalog::hidden_profile`], where the name leads to one.
    pub base_model: Option<Arc<str>>,
    /// The tables that the name was looked up in before; the newest where there are none.
    pub tables: Option<Arc<Tables>>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether tokens are only counted: nothing is generated.
    pub counting: bool,
    /// Estimate of the input tokens, for what the upstream does not report.
    pub input_estimate: u64,
    /// The most output tokens that the caller asks for, where it says.
    pub max_tokens: Option<u64>,
    /// The service tier that the request asks for; of an admission, the one that was decided on.
    pub tier: Option<ServiceTier>,
    /// Whether the caller marks what is to be cached, and the longest time it asks for.
    pub caching: Marks,
    /// The caller's session, where it names one.
    pub session: Option<String>,
}

/// Cache markers of a request, as far as its price depends on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// None.
    #[default]
    None,
    /// All for five minutes.
    FiveMinutes,
    /// Some for an hour.
    Hour,
}

impl Ask {
    /// What the call can use at most, as far as it is known before.
    pub(crate) fn most_tokens(&self, resolution: &Resolution) -> u64 {
        self.input_estimate.saturating_add(self.most_output(resolution))
    }

    /// What is asked for beyond the model's own limit is never made, and who asks for no number gets that limit.
    pub(crate) fn most_output(&self, resolution: &Resolution) -> u64 {
        let most = if resolution.model.embedding.is_some() { 0 } else { resolution.model.max_output.into() };
        self.max_tokens.map_or(most, |asked| asked.min(most))
    }
}
