//! What can go wrong, and how an upstream's answer is read as one of those.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// What happened, in the terms a gateway decides by.
///
/// The first group is Bedrock's [own list](https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html),
/// the second is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 400: the request is wrong and will be wrong again.
    Validation,
    /// 403: the account may not use this model or operation.
    AccessDenied,
    /// 404.
    NotFound,
    /// 429: requests or tokens a minute.
    Throttling,
    /// 400: a quota of the account.
    ServiceQuota,
    /// 408: the model took too long.
    ModelTimeout,
    /// 424: the model failed while it worked.
    Model {
        /// What the model itself answered, if the upstream says.
        original_status: Option<u16>,
    },
    /// 429, but not throttling: the model is being loaded.
    ModelNotReady,
    /// 424: the model failed inside a stream.
    ModelStream,
    /// 500.
    InternalServer,
    /// 503.
    ServiceUnavailable,
    /// 413.
    TooLarge,
    /// Our own credentials are missing, expired or refused.
    Credentials,
    /// No connection: name, address, TCP, TLS or a setting that names none.
    Connect,
    /// The stream did not begin in time.
    FirstByteTimeout,
    /// The answer fell silent.
    IdleTimeout,
    /// The call was not done in time.
    TotalTimeout,
    /// The upstream died: the connection broke before the answer was whole.
    Reset,
    /// The upstream's bytes cannot be read.
    Protocol,
    /// A status without a name of its own.
    Other {
        /// The status.
        status: u16,
    },
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// The upstream's wording where there is any: clients match on it.
    pub message: String,
    /// The upstream's name for it, such as `ValidationException`.
    pub code: Option<Box<str>>,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
    /// How long the upstream asks to wait.
    pub retry_after: Option<Duration>,
    /// The HTTP status; none for what came inside a stream or never came.
    pub status: Option<u16>,
    /// How many attempts were made.
    pub attempts: u32,
}

impl Error {
    /// An error that no upstream sent, without status, ids or attempts.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            request_id: None,
            retry_after: None,
            status: None,
            attempts: 0,
        }
    }

    /// An answer whose status is not 2xx. `name` is the `x-amzn-ErrorType` header, raw.
    pub(crate) fn from_answer(status: u16, name: Option<&str>, body: &[u8]) -> Self {
        let fields: Fields = serde_json::from_slice(body).unwrap_or_default();
        let name = name.or(fields.name()).map(bare_name).filter(|name| !name.is_empty());
        let message = match fields.text() {
            Some(text) => text,
            None => snippet(status, body),
        };
        let kind = name
            .and_then(|name| named(name, fields.original_status))
            .unwrap_or_else(|| unnamed(status, &message, fields.original_status));
        let mut error = Self::new(kind, message);
        error.code = name.map(Into::into);
        error.status = Some(status);
        error
    }

    /// An exception frame: its `:exception-type` and payload.
    pub(crate) fn from_exception(name: &str, payload: &[u8]) -> Self {
        let fields: Fields = serde_json::from_slice(payload).unwrap_or_default();
        // Frames name the union member, lower camel: `throttlingException`.
        let mut code = name.to_owned();
        if let Some(first) = code.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let kind = named(&code, fields.original_status).unwrap_or(Kind::InternalServer);
        let mut error = Self::new(kind, fields.text().unwrap_or_else(|| code.clone()));
        error.code = Some(code.into());
        error
    }

    /// An error frame: what the service's model does not know, in headers instead of a payload.
    pub(crate) fn from_error_frame(code: &str, message: &str) -> Self {
        let kind = named(bare_name(code), None).unwrap_or(Kind::InternalServer);
        let mut error = Self::new(kind, if message.is_empty() { code } else { message });
        error.code = Some(code.into());
        error
    }

    /// The `error` event of a stream of the Messages API.
    pub(crate) fn from_error_event(data: &[u8]) -> Self {
        let fields: Fields = serde_json::from_slice(data).unwrap_or_default();
        let code = fields.name().unwrap_or("api_error").to_owned();
        let kind = named(&code, None).unwrap_or(Kind::InternalServer);
        let mut error = Self::new(kind, fields.text().unwrap_or_else(|| code.clone()));
        error.code = Some(code.into());
        error
    }

    /// Whether fresh credentials could mend it.
    pub(crate) fn is_expired_token(&self) -> bool {
        matches!(self.code.as_deref(), Some("ExpiredTokenException" | "ExpiredToken"))
    }

    /// Whether a wrong clock could be the reason.
    pub(crate) fn may_be_clock(&self) -> bool {
        self.kind == Kind::Credentials && self.status == Some(403)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The members that error bodies have under one name or another.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    message: Option<String>,
    #[serde(rename = "Message")]
    front_end_message: Option<String>,
    #[serde(rename = "originalMessage")]
    original_message: Option<String>,
    #[serde(rename = "originalStatusCode")]
    original_status: Option<u16>,
    #[serde(rename = "__type")]
    name: Option<String>,
    /// The envelope of the Messages API.
    error: Option<Envelope>,
    /// Where a front end that knows no such operation names its exception.
    #[serde(rename = "Output")]
    output: Option<Box<Self>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "type")]
    name: Option<String>,
    message: Option<String>,
}

impl Fields {
    fn name(&self) -> Option<&str> {
        let enveloped = || self.error.as_ref()?.name.as_deref();
        self.name.as_deref().or_else(enveloped).or_else(|| self.output.as_ref()?.name())
    }

    fn text(&self) -> Option<String> {
        let enveloped = self.error.as_ref().and_then(|error| error.message.as_ref());
        [self.message.as_ref(), self.front_end_message.as_ref(), self.original_message.as_ref(), enveloped]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .cloned()
    }
}

/// `ValidationException:http://internal…` and `com.amazon.coral.service#ValidationException` both hold the name.
fn bare_name(raw: &str) -> &str {
    let name = raw.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().trim()
}

/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>, the operations' own lists, and the types of
/// the Messages API: <https://platform.claude.com/docs/en/api/errors>.
fn named(name: &str, original_status: Option<u16>) -> Option<Kind> {
    Some(match name {
        "ValidationException" | "ValidationError" | "SerializationException" | "invalid_request_error" => {
            Kind::Validation
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" | "permission_error" => {
            Kind::AccessDenied
        }
        "ResourceNotFoundException" | "UnknownOperationException" | "not_found_error" => Kind::NotFound,
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "rate_limit_error" => Kind::Throttling,
        "ServiceQuotaExceededException" | "billing_error" => Kind::ServiceQuota,
        "ModelTimeoutException" | "timeout_error" => Kind::ModelTimeout,
        "ModelErrorException" => Kind::Model { original_status },
        "ModelNotReadyException" => Kind::ModelNotReady,
        "ModelStreamErrorException" => Kind::ModelStream,
        "InternalServerException" | "InternalFailure" | "InternalServerError" | "api_error" => {
            Kind::InternalServer
        }
        "ServiceUnavailableException" | "ServiceUnavailable" | "overloaded_error" => Kind::ServiceUnavailable,
        "RequestEntityTooLargeException" | "RequestTooLargeException" | "request_too_large" => Kind::TooLarge,
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "authentication_error" => Kind::Credentials,
        _ => return None,
    })
}

fn unnamed(status: u16, message: &str, original_status: Option<u16>) -> Kind {
    match status {
        400 => Kind::Validation,
        401 => Kind::Credentials,
        // The front end refuses before the service looks, and names no exception.
        403 if message.starts_with("Authorization header is missing")
            || message.starts_with("Authentication failed") =>
        {
            Kind::Credentials
        }
        403 => Kind::AccessDenied,
        404 => Kind::NotFound,
        408 => Kind::ModelTimeout,
        413 => Kind::TooLarge,
        424 => Kind::Model { original_status },
        429 => Kind::Throttling,
        500 => Kind::InternalServer,
        503 => Kind::ServiceUnavailable,
        status => Kind::Other { status },
    }
}

/// For bodies that are not the service's JSON: a load balancer's page, or nothing.
fn snippet(status: u16, body: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let mut plain = String::with_capacity(SHOWN);
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if in_tag => {}
            c if c.is_control() || c.is_whitespace() => plain.push(' '),
            c => plain.push(c),
        }
    }
    let mut shown = format!("The upstream answered with status {status}");
    let words: Vec<&str> = plain.split_whitespace().collect();
    if !words.is_empty() {
        shown.push_str(": ");
        shown.extend(words.join(" ").chars().take(SHOWN));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_type_header_names_the_kind() {
        let raw = "ModelNotReadyException:http://internal.amazon.com/coral/com.amazon.bedrock/";
        let error = Error::from_answer(429, Some(raw), br#"{"message":"loading"}"#);
        assert_eq!(error.kind, Kind::ModelNotReady);
        assert_eq!(error.message, "loading");
        assert_eq!(error.code.as_deref(), Some("ModelNotReadyException"));
        assert_eq!(error.status, Some(429));
    }

    #[test]
    fn every_modelled_exception_has_its_kind() {
        let table = [
            ("AccessDeniedException", 403, Kind::AccessDenied),
            ("InternalServerException", 500, Kind::InternalServer),
            ("ModelErrorException", 424, Kind::Model { original_status: Some(503) }),
            ("ModelNotReadyException", 429, Kind::ModelNotReady),
            ("ModelStreamErrorException", 424, Kind::ModelStream),
            ("ModelTimeoutException", 408, Kind::ModelTimeout),
            ("ResourceNotFoundException", 404, Kind::NotFound),
            ("ServiceQuotaExceededException", 400, Kind::ServiceQuota),
            ("ServiceUnavailableException", 503, Kind::ServiceUnavailable),
            ("ThrottlingException", 429, Kind::Throttling),
            ("ValidationException", 400, Kind::Validation),
            ("InvalidSignatureException", 403, Kind::Credentials),
            ("UnrecognizedClientException", 403, Kind::Credentials),
            ("ExpiredTokenException", 403, Kind::Credentials),
            ("MissingAuthenticationTokenException", 403, Kind::Credentials),
        ];
        let body = br#"{"message":"m","originalStatusCode":503}"#;
        for (name, status, kind) in table {
            assert_eq!(Error::from_answer(status, Some(name), body).kind, kind, "{name}");
            // The same as a frame, under the union's member name.
            let member = name[..1].to_ascii_lowercase() + &name[1..];
            assert_eq!(Error::from_exception(&member, body).kind, kind, "{member}");
        }
    }

    #[test]
    fn the_body_names_the_kind_where_no_header_does() {
        let body = br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
        let error = Error::from_answer(404, None, body);
        assert_eq!((error.kind, error.code.as_deref()), (Kind::NotFound, Some("UnknownOperationException")));
    }

    #[test]
    fn an_operation_that_nobody_knows_is_not_found_whatever_the_status() {
        let body =
            br#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#;
        assert_eq!(Error::from_answer(200, None, body).kind, Kind::NotFound);
    }

    #[test]
    fn the_envelope_of_the_messages_api_is_read() {
        let body =
            br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"r"}"#;
        let error = Error::from_answer(429, None, body);
        assert_eq!((error.kind, error.message.as_str()), (Kind::Throttling, "slow down"));
        let unknown = Error::from_answer(503, None, br#"{"error":{"type":"novelty","message":"m"}}"#);
        assert_eq!((unknown.kind, unknown.message.as_str()), (Kind::ServiceUnavailable, "m"));
    }

    #[test]
    fn the_front_ends_capital_message_is_read() {
        let error = Error::from_answer(403, None, br#"{"Message":"Authorization header is missing"}"#);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (Kind::Credentials, "Authorization header is missing")
        );
        let denied = Error::from_answer(403, None, br#"{"Message":"no"}"#);
        assert_eq!(denied.kind, Kind::AccessDenied);
    }

    #[test]
    fn html_and_empty_bodies_keep_the_status() {
        let page = b"<html><head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\x1b[0m</body></html>";
        let error = Error::from_answer(503, None, page);
        assert_eq!(error.kind, Kind::ServiceUnavailable);
        assert_eq!(
            error.message,
            "The upstream answered with status 503: 503 Service Temporarily Unavailable [0m"
        );
        let empty = Error::from_answer(529, None, b"");
        assert_eq!(empty.kind, Kind::Other { status: 529 });
        assert_eq!(empty.message, "The upstream answered with status 529");
    }

    #[test]
    fn unknown_exceptions_and_error_frames_are_server_faults() {
        assert_eq!(Error::from_exception("novelException", b"").kind, Kind::InternalServer);
        let error = Error::from_error_frame("internalFailure", "");
        assert_eq!((error.kind, error.message.as_str()), (Kind::InternalServer, "internalFailure"));
        assert_eq!(Error::from_error_frame("ThrottlingException", "slow").kind, Kind::Throttling);
    }
}
