//! Health, readiness and metrics: what was observed, never constants.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bedrock::Readiness;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use httpd::{Body, Response};
use serde_json::json;
use store::{Store, Timestamp};

use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Phase};
use crate::handle;

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
    let bedrock = bedrock_status(gateway).await;
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
                "region": gateway.bedrock.region(),
                "targets": [{ "name": "default", "status": bedrock }],
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

/// By the calls of the last minute; without any, by whether one could be signed.
async fn bedrock_status(gateway: &Gateway) -> &'static str {
    let seen = gateway.bedrock.health();
    if seen.succeeded > 0 {
        return if seen.failed > seen.succeeded { "degraded" } else { "healthy" };
    }
    if seen.failed > 0 {
        return "unavailable";
    }
    match gateway.bedrock.ready().await {
        Readiness::Ready => "idle",
        Readiness::NoCredentials(_) => "no_credentials",
    }
}

/// `GET /health/ready`. A store that is away does not unready the gateway: cached keys keep working.
pub(crate) async fn ready(gateway: &Gateway) -> Response {
    let reason = if *gateway.shared.phase.borrow() == Phase::Serving {
        match gateway.bedrock.ready().await {
            Readiness::Ready => return handle::json(StatusCode::OK, r#"{"status":"ready"}"#),
            Readiness::NoCredentials(_) => "no AWS credentials",
        }
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
