//! Errors in the middle of a stream, in OpenAI's words.

use protocol::anthropic::response::ErrorDetail;
use protocol::openai::ErrorBody;

/// The body of an error that a Messages stream ended with.
pub(crate) fn body(error: &ErrorDetail) -> ErrorBody {
    let (kind, code) = match &*error.kind {
        "overloaded_error" => ("server_error", Some("overloaded")),
        "timeout_error" => ("server_error", Some("timeout")),
        "api_error" => ("server_error", None),
        "rate_limit_error" => ("requests", Some("rate_limit_exceeded")),
        "billing_error" => ("insufficient_quota", Some("insufficient_quota")),
        other => (other, None),
    };
    let mut body = ErrorBody::new(kind, error.message.clone());
    body.error.code = code.map(str::to_owned);
    body
}

/// The body where the upstream closed before the answer was complete.
pub(crate) fn unfinished() -> ErrorBody {
    ErrorBody::new("server_error", "the upstream closed the stream before the answer was complete")
}
