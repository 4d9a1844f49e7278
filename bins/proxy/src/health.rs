//! Health, readiness and metrics: what was observed, never constants.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use httpd::{Body, Response};
use policy::Place;
use serde_json::json;
use store::{Store, Timestamp};

use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Phase};
use crate::handle;
use crate::targets::{State, Target, Targets};

/// A probe of the store is good for this long.
const PROBE_TTL: Duration = Duration::from_secs(10);
/// A store that takes longer counts as away.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The last probe of the store.
#[derive(Debug, Default)]
pub(crate) struct StoreHealth {
    last: Mutex<Option<(Instant, bool)>>,
}

impl StoreHealth {
    async fn healthy(&self, store: &Arc<dyn Store>, now: Instant) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, healthy)) = last
            && now.saturating_duration_since(at) < PROBE_TTL
        {
            return healthy;
        }
        let healthy = matches!(tokio::time::timeout(PROBE_LIMIT, store.probe()).await, Ok(Ok(())));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, healthy));
        healthy
    }
}

/// `GET /health`.
pub(crate) async fn report(gateway: &Gateway) -> Response {
    let shared = &gateway.shared;
    let now = Instant::now();
    let store = shared.store_health.healthy(&shared.store, now).await;
    let found = states(&gateway.targets).await;
    let bedrock = overall(&found.iter().map(|(_, state)| *state).collect::<Vec<_>>()).name();
    let targets: Vec<_> = found
        .iter()
        .map(|(place, state)| json!({ "name": *place.target, "region": *place.region, "status": state.name() }))
        .collect();
    let draining = *shared.phase.borrow() != Phase::Serving;
    let status = match (draining, store, bedrock) {
        (true, _, _) => "draining",
        (false, true, "healthy" | "idle") => "healthy",
        _ => "degraded",
    };
    let code = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "status": status,
        "timestamp": Timestamp::now().to_string(),
        "uptime_seconds": now.saturating_duration_since(shared.started).as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "environment": shared.settings.general.environment,
        "services": {
            "bedrock": {
                "status": bedrock,
                "region": *gateway.targets.first().place.region,
                "targets": targets,
            },
            "store": { "status": if store { "healthy" } else { "unavailable" }, "kind": shared.settings.store.store },
        },
        "features": {
            "streaming": true,
            "tool_use": true,
            "extended_thinking": true,
            "document_support": true,
            "vision": true,
            "prompt_caching": true,
            "programmatic_tool_calling": false,
            "code_execution": false,
        },
    });
    handle::json(code, body.to_string())
}

/// How each target is; all are asked at once.
async fn states(targets: &Targets) -> Vec<(&Place, State)> {
    let asked = targets.iter().map(|target| async { (&target.place, target.state().await) });
    futures::future::join_all(asked).await
}

/// Well while all targets are, and not yet out while one is.
fn overall(states: &[State]) -> State {
    let any = |wanted: State| states.contains(&wanted);
    let (healthy, idle) = (any(State::Healthy), any(State::Idle));
    let (degraded, away, locked) = (any(State::Degraded), any(State::Unavailable), any(State::NoCredentials));
    match (healthy || idle, degraded || away || locked) {
        (true, false) if healthy => State::Healthy,
        (true, false) => State::Idle,
        (true, true) => State::Degraded,
        (false, _) if degraded => State::Degraded,
        (false, _) if away => State::Unavailable,
        (false, _) => State::NoCredentials,
    }
}

/// Whether some target's calls can be authenticated. The first that can ends the question.
async fn any_ready(targets: &Targets) -> bool {
    let asked: FuturesUnordered<_> = targets.iter().map(Target::ready).collect();
    asked.any(|ready| async move { ready }).await
}

/// `GET /health/ready`: one target will do. A store that is away does not unready the gateway: cached keys keep working.
pub(crate) async fn ready(gateway: &Gateway) -> Response {
    let reason = if *gateway.shared.phase.borrow() == Phase::Serving {
        if any_ready(&gateway.targets).await {
            return handle::json(StatusCode::OK, r#"{"status":"ready"}"#);
        }
        "no AWS credentials"
    } else {
        "draining"
    };
    let body = json!({ "status": "not_ready", "reason": reason });
    handle::json(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

/// `GET /metrics`, unless it has a listener of its own.
pub(crate) fn metrics(gateway: &Gateway) -> Result<Response, ApiError> {
    let settings = &gateway.shared.settings.observe;
    let here = settings.enable_metrics.0 && settings.metrics_addr.is_none();
    let exporter = gateway.shared.exporter.as_ref().filter(|_| here);
    exporter.map(exposition).ok_or_else(|| ApiError::new(Kind::NotFound, "There is no route /metrics"))
}

/// The exposition format of Prometheus.
pub(crate) fn exposition(exporter: &boot::metrics::Exporter) -> Response {
    let mut response = Response::new(Body::full(exporter.render()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What answers on METRICS_ADDR: the metrics, whatever the path.
pub(crate) struct Scraped {
    pub(crate) shared: Arc<crate::gateway::Shared>,
}

impl httpd::Service for Scraped {
    async fn call(&self, _: httpd::Request, _: httpd::Peer) -> Response {
        self.shared.exporter.as_ref().map_or_else(|| Response::new(Body::empty()), exposition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_while_every_target_is_and_nothing_works_when_none_does() {
        use State::{Degraded, Healthy, Idle, NoCredentials, Unavailable};
        for (states, expected) in [
            (&[Healthy][..], Healthy),
            (&[Idle, Healthy], Healthy),
            (&[Idle, Idle], Idle),
            (&[Unavailable, Idle], Degraded),
            (&[Healthy, NoCredentials], Degraded),
            (&[Degraded], Degraded),
            (&[NoCredentials], NoCredentials),
            (&[NoCredentials, Unavailable], Unavailable),
        ] {
            assert_eq!(overall(states), expected, "{states:?}");
        }
    }
}
