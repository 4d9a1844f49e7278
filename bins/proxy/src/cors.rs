//! Which browsers may call.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, VARY,
};
use http::{HeaderMap, StatusCode};
use httpd::{Body, Response};

use crate::settings::{List, Settings};
use crate::{handle, rates};

/// Headers that scripts may read, beside those about limits.
const EXPOSED: [&str; 6] =
    ["request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry", handle::BUDGET_WARNING];
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: &str = "7200";

/// The settings, as header values.
#[derive(Debug)]
pub(crate) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    exposed: HeaderValue,
    credentials: bool,
}

impl Cors {
    pub(crate) fn new(settings: &Settings) -> Self {
        let listen = &settings.listen;
        let joined =
            |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("*"));
        let value = |list: &List| joined(list.0.join(", "));
        let exposed: Vec<_> = EXPOSED.into_iter().chain(rates::names()).collect();
        Self {
            any: listen.cors_origins.is_any(),
            origins: listen.cors_origins.0.iter().filter_map(|origin| origin.parse().ok()).collect(),
            methods: value(&listen.cors_allow_methods),
            headers: value(&listen.cors_allow_headers),
            exposed: joined(exposed.join(", ")),
            credentials: listen.cors_allow_credentials.0,
        }
    }

    /// Lets an allowed origin read the reply, errors included.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        if self.any {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if self.origins.contains(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.append(VARY, HeaderValue::from_static("origin"));
        } else {
            return;
        }
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
    }

    /// The reply to OPTIONS; [`Cors::apply`] adds the origin.
    pub(crate) fn preflight(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        response
    }
}
