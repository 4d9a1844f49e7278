//! The headers that tell what became of a request.

use catalog::{Resolution, ServiceTier};
use convert::Loss;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::gateway::Gateway;
use crate::handle::Context;
use crate::record::lane_name;
use crate::refusal;
use crate::tour::Served;

/// The `x-outcrop-*` headers, for those who ask.
pub(crate) struct Debug {
    model: String,
    losses: String,
}

impl Debug {
    pub(crate) fn wanted(gateway: &Gateway, context: &Context) -> bool {
        let asked = context.headers.get("x-outcrop-debug").is_some_and(|value| value == "1");
        asked || gateway.shared.settings.observe.debug_headers.0
    }

    /// Of a request for this model.
    pub(crate) fn new(resolution: &Resolution, losses: &[Loss]) -> Self {
        let losses: Vec<_> = losses.iter().map(|loss| format!("{}={}", loss.path, loss.reason)).collect();
        Self {
            model: refusal::scrubbed(&resolution.upstream_id),
            losses: losses
                .join("; ")
                .chars()
                .filter(|c| c.is_ascii_graphic() || *c == ' ')
                .take(4000)
                .collect(),
        }
    }

    pub(crate) fn apply(
        &self,
        headers: &mut HeaderMap,
        served: &Served,
        tier: ServiceTier,
        attempts: u32,
        upstream_request_id: Option<&str>,
    ) {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        match &served.moved {
            Some(there) => put("x-outcrop-model", &refusal::scrubbed(&there.upstream_id)),
            None => put("x-outcrop-model", &self.model),
        }
        put("x-outcrop-lane", lane_name(served.way.lane()));
        put("x-outcrop-route", served.way.name());
        put("x-outcrop-target", &served.place.target);
        put("x-outcrop-tier", tier.name());
        put("x-outcrop-attempts", &attempts.to_string());
        put("x-outcrop-upstream-request-id", upstream_request_id.unwrap_or_default());
        put("x-outcrop-loss", &self.losses);
    }
}
