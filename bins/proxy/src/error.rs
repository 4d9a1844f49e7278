//! What goes wrong, and how each dialect says it: one table, one renderer.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use httpd::{Body, Response};

use crate::request_id::RequestId;
use crate::route::Dialect;
use crate::tour::Served;

/// What kind of failure, and so whose fault and what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Malformed JSON, a field that does not fit, an upstream ValidationException.
    Invalid,
    /// The prompt does not fit the model's window.
    ContextTooLong,
    /// The model, or a filter, declined where nothing but an answer helps.
    ContentFilter,
    /// No valid key.
    Authentication,
    /// A budget of the key is spent.
    Billing,
    /// The key, or our account, may not use this model.
    Permission,
    /// The upstream denies the model to our account.
    UpstreamPermission,
    /// Unknown route.
    NotFound,
    /// Unknown model.
    ModelNotFound,
    /// A response to go on from that is not kept, or not for this key.
    PreviousNotFound,
    MethodNotAllowed,
    UnsupportedMedia,
    TooLarge,
    /// Limits of ours, throttling or quotas upstream.
    RateLimit,
    /// Our limit of tokens.
    TokenLimit,
    /// A deadline passed, the model's or ours.
    Timeout,
    /// The model failed, our credentials were refused, the upstream was unreadable or out of reach.
    BadGateway,
    /// The upstream or Outcrop has too much to do, or is about to stop.
    Overloaded,
    /// The store is away.
    Unavailable,
    Internal,
    /// A part of the API that Bedrock has nothing for.
    NotSupported,
}

/// Status, Anthropic type, OpenAI type, OpenAI code, Bedrock exception.
type Row = (u16, &'static str, &'static str, Option<&'static str>, &'static str);

impl Kind {
    /// The one table.
    fn row(self) -> Row {
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::Invalid => (400, INVALID, INVALID, None, "ValidationException"),
            Self::ContextTooLong => {
                (400, INVALID, INVALID, Some("context_length_exceeded"), "ValidationException")
            }
            Self::ContentFilter => (400, INVALID, INVALID, Some("content_filter"), "ValidationException"),
            Self::Authentication => {
                (401, "authentication_error", INVALID, Some("invalid_api_key"), "UnrecognizedClientException")
            }
            // OpenAI's clients know 429 for it; Bedrock's name is one that AWS SDKs do not repeat.
            Self::Billing => (
                402,
                "billing_error",
                "insufficient_quota",
                Some("insufficient_quota"),
                "ServiceQuotaExceededException",
            ),
            Self::Permission => {
                (403, "permission_error", INVALID, Some("model_not_allowed"), "AccessDeniedException")
            }
            Self::UpstreamPermission => {
                (403, "permission_error", "permission_error", None, "AccessDeniedException")
            }
            Self::NotFound => {
                (404, "not_found_error", INVALID, Some("not_found"), "UnknownOperationException")
            }
            Self::ModelNotFound => {
                (404, "not_found_error", INVALID, Some("model_not_found"), "ResourceNotFoundException")
            }
            Self::PreviousNotFound => (
                404,
                "not_found_error",
                INVALID,
                Some("previous_response_not_found"),
                "ResourceNotFoundException",
            ),
            Self::MethodNotAllowed => (405, INVALID, INVALID, None, "ValidationException"),
            Self::UnsupportedMedia => (415, INVALID, INVALID, None, "ValidationException"),
            Self::TooLarge => {
                (413, "request_too_large", INVALID, Some("request_too_large"), "ValidationException")
            }
            Self::RateLimit => {
                (429, "rate_limit_error", "requests", Some("rate_limit_exceeded"), "ThrottlingException")
            }
            Self::TokenLimit => {
                (429, "rate_limit_error", "tokens", Some("rate_limit_exceeded"), "ThrottlingException")
            }
            Self::Timeout => (504, "timeout_error", "server_error", Some("timeout"), "ModelTimeoutException"),
            Self::BadGateway => (502, "api_error", "server_error", None, "InternalServerException"),
            // 529 is never sent: clients retry it less than 503.
            Self::Overloaded => {
                (503, "overloaded_error", "server_error", Some("overloaded"), "ServiceUnavailableException")
            }
            Self::Unavailable => (503, "api_error", "server_error", None, "ServiceUnavailableException"),
            Self::Internal => (500, "api_error", "server_error", None, "InternalServerException"),
            Self::NotSupported => {
                (501, "not_supported", INVALID, Some("not_supported"), "ValidationException")
            }
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The one status that a dialect has its own for.
    fn status_in(self, dialect: Dialect) -> StatusCode {
        let quota = self == Self::Billing && dialect == Dialect::OpenAi;
        if quota { StatusCode::TOO_MANY_REQUESTS } else { self.status() }
    }

    /// The error type of the Messages API, also the label in metrics and usage rows.
    pub(crate) fn anthropic_type(self) -> &'static str {
        self.row().1
    }

    /// Where another try cannot help, the SDKs are told so.
    fn never_retry(self) -> bool {
        matches!(
            self,
            Self::Authentication
                | Self::Billing
                | Self::Permission
                | Self::UpstreamPermission
                | Self::NotSupported
        )
    }

    fn default_wait(self) -> Option<Duration> {
        match self {
            Self::Overloaded | Self::RateLimit | Self::TokenLimit => Some(Duration::from_secs(1)),
            Self::Unavailable => Some(Duration::from_secs(5)),
            Self::Invalid
            | Self::ContextTooLong
            | Self::ContentFilter
            | Self::Authentication
            | Self::Billing
            | Self::Permission
            | Self::UpstreamPermission
            | Self::NotFound
            | Self::ModelNotFound
            | Self::PreviousNotFound
            | Self::MethodNotAllowed
            | Self::UnsupportedMedia
            | Self::TooLarge
            | Self::Timeout
            | Self::BadGateway
            | Self::Internal
            | Self::NotSupported => None,
        }
    }
}

/// A failure on its way to the caller. `message` is for the caller; what operators need is logged where it happened.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The field at fault, where there is one (`param` for OpenAI callers).
    pub(crate) path: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// JSON for `error.details`, which SDKs decide by.
    pub(crate) details: Option<&'static str>,
    /// How often the upstream was called, where it was.
    pub(crate) attempts: u32,
    /// Where it was called last, where it was.
    pub(crate) last: Option<Box<Served>>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            path: None,
            retry_after: None,
            details: None,
            attempts: 0,
            last: None,
            headers: Vec::new(),
        }
    }

    /// A fault of one field, in Anthropic's form `path: what is wrong`.
    pub(crate) fn field(path: &str, message: &str) -> Self {
        let text = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        let path = (!path.is_empty()).then(|| path.to_owned());
        Self { path, ..Self::new(Kind::Invalid, text) }
    }

    pub(crate) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// After so many upstream calls.
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The JSON body in a dialect.
    pub(crate) fn body(&self, dialect: Dialect, id: RequestId) -> String {
        let (_, anthropic, openai, code, _) = self.kind.row();
        let message = json(&self.message);
        match dialect {
            Dialect::Anthropic => {
                let details = self.details.map(|json| format!(r#","details":{json}"#)).unwrap_or_default();
                format!(
                    r#"{{"type":"error","error":{{"type":"{anthropic}","message":{message}{details}}},"request_id":"{id}"}}"#
                )
            }
            Dialect::OpenAi => {
                let param = self.path.as_deref().map_or_else(|| "null".to_owned(), json);
                let code = code.map_or_else(|| "null".to_owned(), json);
                format!(
                    r#"{{"error":{{"message":{message},"type":"{openai}","param":{param},"code":{code}}}}}"#
                )
            }
            Dialect::Bedrock => format!(r#"{{"message":{message}}}"#),
        }
    }

    /// The whole reply.
    pub(crate) fn response(&self, dialect: Dialect, id: RequestId) -> Response {
        let mut response = Response::new(Body::full(self.body(dialect, id)));
        *response.status_mut() = self.kind.status_in(dialect);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.add_headers(headers);
        if dialect == Dialect::Bedrock {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(self.kind.row().4));
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.retry_after.or(self.kind.default_wait()) {
            headers.insert(RETRY_AFTER, number(whole_seconds(wait)));
            headers.insert("retry-after-ms", number(wait.as_nanos().div_ceil(1_000_000).max(1)));
        }
        if self.kind.never_retry() {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
    }

    /// The `error` event that ends a Messages stream whose headers are out already.
    pub(crate) fn event(&self, id: RequestId, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(self.body(Dialect::Anthropic, id).as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

/// A wait in whole seconds, at least one: clients take a nought for no wait at all.
pub(crate) fn whole_seconds(wait: Duration) -> u128 {
    wait.as_nanos().div_ceil(1_000_000_000).max(1)
}

fn number(value: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX))
}

/// A JSON string literal.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn each_dialect_gets_its_own_envelope() {
        let id = RequestId::new(UNIX_EPOCH);
        let error = ApiError::field("max_tokens", "Field \"required\"\n");
        let anthropic: serde_json::Value = serde_json::from_str(&error.body(Dialect::Anthropic, id)).unwrap();
        assert_eq!(anthropic["error"]["type"], "invalid_request_error");
        assert_eq!(anthropic["error"]["message"], "max_tokens: Field \"required\"\n");
        assert_eq!(anthropic["request_id"], id.as_str());
        let openai: serde_json::Value = serde_json::from_str(&error.body(Dialect::OpenAi, id)).unwrap();
        assert_eq!(openai["error"]["param"], "max_tokens");
        assert!(openai["error"]["code"].is_null());
        let whole = ApiError::field("", "no JSON");
        let said: serde_json::Value = serde_json::from_str(&whole.body(Dialect::OpenAi, id)).unwrap();
        assert!(said["error"]["param"].is_null(), "what is wrong as a whole has no place");
        // As OpenAI's own: its SDKs read the id from the header.
        assert!(openai.get("request_id").is_none());
        let bedrock = error.response(Dialect::Bedrock, id);
        assert_eq!(bedrock.headers()["x-amzn-errortype"], "ValidationException");
    }

    #[test]
    fn waits_are_whole_seconds_and_at_least_one() {
        let id = RequestId::new(UNIX_EPOCH);
        let error = ApiError::new(Kind::RateLimit, "slow").retry_after(Some(Duration::from_millis(1200)));
        let response = error.response(Dialect::Anthropic, id);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["retry-after-ms"], "1200");
        let sooner =
            ApiError::new(Kind::RateLimit, "slow").retry_after(Some(Duration::from_nanos(1_000_001)));
        let response = sooner.response(Dialect::Anthropic, id);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["retry-after-ms"], "2");
        let refused = ApiError::new(Kind::Authentication, "no").response(Dialect::Anthropic, id);
        assert_eq!(refused.headers()["x-should-retry"], "false");
    }
}
