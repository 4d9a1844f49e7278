//! Every request passes here: its id, its route, its record, and the one place that turns an error into a reply.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use futures::FutureExt as _;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, Method, StatusCode};
use httpd::{Body, Peer, Request, Response, Service};
use policy::{BudgetWarning, Now, Rates};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::record::Record;
use crate::request_id::RequestId;
use crate::route::{Dialect, Miss, Route};
use crate::{count_tokens, embeddings, health, ingress, messages, models, openai, rates, stored};

/// Names the budgets that are nearly spent, and to how many percent: `daily=83%, total=91%`.
pub(crate) const BUDGET_WARNING: &str = "x-outcrop-budget-warning";

/// What a handler knows of its request beside its body.
pub(crate) struct Context {
    pub(crate) id: RequestId,
    pub(crate) dialect: Dialect,
    pub(crate) now: Now,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
    pub(crate) peer: Peer,
    /// How the caller's limits stood, once they were asked; every reply from then on says it.
    pub(crate) rates: OnceLock<Rates>,
    /// What of its budgets is nearly spent.
    pub(crate) budget_warning: OnceLock<BudgetWarning>,
}

impl Service for Gateway {
    async fn call(&self, request: Request, peer: Peer) -> Response {
        let now = Now::read();
        let id = RequestId::new(SystemTime::now());
        let settings = &self.shared.settings;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let prefix = &settings.listen.api_prefix;
        let key_header = &settings.keys.api_key_header;
        let dialect = Dialect::of(path, prefix, &parts.headers, key_header);
        let route = Route::parse(&parts.method, path, prefix);
        let surface = route.as_ref().map_or("other", Route::surface);
        let mut record = Record::open(Arc::clone(&self.metrics), id, surface, now);
        let origin = parts.headers.get(http::header::ORIGIN).cloned();
        let context = Context {
            id,
            dialect,
            now,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            peer,
            rates: OnceLock::new(),
            budget_warning: OnceLock::new(),
        };
        let answered = match route {
            // A bug in one request must not take the connection's other requests with it, nor leave a caller without a word.
            Ok(route) => {
                match AssertUnwindSafe(self.dispatch(route, &context, body, &mut record)).catch_unwind().await
                {
                    Ok(answered) => answered,
                    Err(_) => Err(ApiError::new(
                        Kind::Internal,
                        "The gateway failed to answer. This is a fault of its own.",
                    )),
                }
            }
            Err(miss) => Err(missed(miss, &parts.method, path)),
        };
        let mut response = answered.unwrap_or_else(|error| {
            record.failed(error.kind);
            let mut response = error.response(dialect, id);
            if dialect == Dialect::Bedrock {
                *response.status_mut() = ingress::status(error.kind, &context.headers);
                response.headers_mut().insert("x-amzn-requestid", id.header());
            }
            response
        });
        if let Some(found) = context.rates.get() {
            rates::apply(dialect, found, now.wall, response.headers_mut());
        }
        if let Some(value) = context.budget_warning.get().and_then(|found| found.to_string().parse().ok()) {
            response.headers_mut().insert(BUDGET_WARNING, value);
        }
        finish(&mut response, id);
        self.shared.cors.apply(origin.as_ref(), response.headers_mut());
        record.replied(response.status());
        if parts.method == Method::HEAD {
            // The same head without its body; hyper would send the body of a HEAD as a second reply.
            *response.body_mut() = Body::empty();
        }
        response
    }
}

impl Gateway {
    async fn dispatch(
        &self,
        route: Route,
        context: &Context,
        body: httpd::RequestBody,
        record: &mut Record,
    ) -> Result<Response, ApiError> {
        match route {
            Route::Messages => messages::create(self, context, body, record).await,
            Route::CountTokens => count_tokens::count(self, context, body, record).await,
            Route::Chat => openai::chat(self, context, body, record).await,
            Route::Responses => openai::responses(self, context, body, record).await,
            Route::Compact => openai::compact(self, context, body, record).await,
            Route::Embeddings => embeddings::create(self, context, body, record).await,
            Route::Bedrock(operation, model) => {
                ingress::call(self, context, body, record, operation, &model).await
            }
            Route::Profiles => ingress::profiles::list(self, context).await,
            Route::Profile(id) => ingress::profiles::get(self, context, &id).await,
            Route::Stored(question, id) => stored::answer(self, context, question, &id, record).await,
            Route::Models => models::list(self, context).await,
            Route::Model(id) => models::get(self, context, &id).await,
            Route::Health => Ok(health::report(self).await),
            Route::Live => Ok(json(StatusCode::OK, r#"{"status":"alive"}"#)),
            Route::Ready => Ok(health::ready(self).await),
            Route::Metrics => health::metrics(self),
            Route::Root => Ok(self.root()),
            Route::Hello => Ok(json(StatusCode::OK, r#"{"status":"ok"}"#)),
            Route::EventLogging => Ok(swallow(self, body).await),
            Route::NotSupported(feature) => {
                self.authenticate(context).await?;
                Err(ApiError::new(
                    Kind::NotSupported,
                    format!("{feature} is not supported: Bedrock has no such API"),
                ))
            }
            Route::Preflight => Ok(self.shared.cors.preflight()),
        }
    }

    fn root(&self) -> Response {
        let name = &self.shared.settings.general.app_name;
        let body = serde_json::json!({ "name": name, "version": env!("CARGO_PKG_VERSION") });
        json(StatusCode::OK, body.to_string())
    }
}

/// Telemetry of SDKs: read within a bound, dropped, and answered at once so that they do not try again.
async fn swallow(gateway: &Gateway, body: httpd::RequestBody) -> Response {
    const MOST: usize = 1 << 20;
    // Whether it could be read changes nothing for the sender.
    let _ = httpd::read_body(body, MOST, gateway.shared.settings.limits.body_timeout.0).await;
    json(StatusCode::OK, r#"{"status":"ok"}"#)
}

/// A JSON reply.
pub(crate) fn json(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Marks a reply that belongs to one key alone.
pub(crate) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("authorization, x-api-key"));
    response
}

fn finish(response: &mut Response, id: RequestId) {
    let value = id.header();
    let headers = response.headers_mut();
    headers.insert("request-id", value.clone());
    headers.insert("x-request-id", value);
}

fn missed(miss: Miss, method: &Method, path: &str) -> ApiError {
    // The path is the caller's own text: a bounded piece of it, with nothing that a terminal would obey.
    let shown: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    match miss {
        Miss::NotFound => ApiError::new(Kind::NotFound, format!("There is no route {shown}")),
        Miss::Unsupported(what) => {
            let message = format!("There is no route {shown}: {what} is not supported by this gateway");
            ApiError::new(Kind::NotFound, message)
        }
        Miss::Method(allow) => {
            let message = format!("{method} is not allowed on {shown}; allowed: {allow}");
            ApiError::new(Kind::MethodNotAllowed, message).header(ALLOW, HeaderValue::from_static(allow))
        }
    }
}
