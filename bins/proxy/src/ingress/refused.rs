//! What goes wrong, in Bedrock's own words: <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>.

use bedrock::Kind as Cause;
use catalog::Resolution;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use httpd::Response;
use serde_json::json;

use crate::error::{ApiError, Kind};
use crate::handle;
use crate::refusal::{self, scrubbed};

/// A failure of the upstream on its way to a caller that speaks Bedrock.
pub(super) struct Refused {
    pub(super) error: ApiError,
    status: StatusCode,
    name: String,
    message: String,
    original_status: Option<u16>,
    /// Whether the upstream itself has named it, so that its name may stand in a stream.
    named: bool,
}

impl Refused {
    /// Status, name and wording are the upstream's own, without ARNs and account ids; what is the gateway's own affair
    /// is a fault of the server.
    pub(super) fn new(error: &bedrock::Error, resolution: &Resolution, input_estimate: u64) -> Self {
        let api = refusal::api_error(error, resolution, input_estimate);
        let (name, status, ours) = own(error.kind);
        let code = error.code.as_deref().filter(|_| !ours);
        let original_status =
            if let Cause::Model { original_status } = error.kind { original_status } else { None };
        Self {
            status: error
                .status
                .filter(|_| !ours)
                .and_then(|status| StatusCode::from_u16(status).ok())
                .filter(|status| status.is_client_error() || status.is_server_error())
                .unwrap_or(status),
            name: code.unwrap_or(name).to_owned(),
            message: if ours { api.message.clone() } else { scrubbed(&error.message) },
            original_status,
            named: code.is_some(),
            error: api,
        }
    }

    /// The reply, where nothing has been sent yet.
    pub(super) fn response(&self, request_id: Option<&str>) -> Response {
        let mut body = json!({ "message": self.message });
        if let Some(status) = self.original_status {
            body["originalStatusCode"] = status.into();
        }
        let mut response = handle::json(self.status, body.to_string());
        let headers = response.headers_mut();
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            headers.insert("x-amzn-errortype", name);
        }
        if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert("x-amzn-requestid", id);
        }
        if let Some(wait) = self.error.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }

    /// The frame that ends a stream.
    pub(super) fn frame(&self, out: &mut Vec<u8>) {
        if !self.named {
            super::frames::exception(out, "internalServerException", &self.message, None);
            return;
        }
        // Frames name the union's member: lower camel.
        let mut name = self.name.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        super::frames::exception(out, &name, &self.message, self.original_status);
    }
}

/// Bedrock's name and status of a failure, and whether it is none that the caller could have met without us.
fn own(cause: Cause) -> (&'static str, StatusCode, bool) {
    match cause {
        Cause::Validation => ("ValidationException", StatusCode::BAD_REQUEST, false),
        Cause::AccessDenied => ("AccessDeniedException", StatusCode::FORBIDDEN, false),
        Cause::NotFound => ("ResourceNotFoundException", StatusCode::NOT_FOUND, false),
        Cause::Throttling => ("ThrottlingException", StatusCode::TOO_MANY_REQUESTS, false),
        Cause::ServiceQuota => ("ServiceQuotaExceededException", StatusCode::BAD_REQUEST, false),
        Cause::ModelTimeout => ("ModelTimeoutException", StatusCode::REQUEST_TIMEOUT, false),
        Cause::Model { .. } => ("ModelErrorException", StatusCode::FAILED_DEPENDENCY, false),
        Cause::ModelStream => ("ModelStreamErrorException", StatusCode::FAILED_DEPENDENCY, false),
        Cause::ModelNotReady => ("ModelNotReadyException", StatusCode::TOO_MANY_REQUESTS, false),
        Cause::ServiceUnavailable => ("ServiceUnavailableException", StatusCode::SERVICE_UNAVAILABLE, false),
        Cause::TooLarge => ("ValidationException", StatusCode::PAYLOAD_TOO_LARGE, false),
        Cause::InternalServer | Cause::Other { .. } => {
            ("InternalServerException", StatusCode::INTERNAL_SERVER_ERROR, false)
        }
        Cause::FirstByteTimeout | Cause::IdleTimeout | Cause::TotalTimeout => {
            ("ModelTimeoutException", StatusCode::REQUEST_TIMEOUT, true)
        }
        Cause::Credentials | Cause::Connect | Cause::Reset | Cause::Protocol => {
            ("InternalServerException", StatusCode::INTERNAL_SERVER_ERROR, true)
        }
    }
}

/// The status of a refusal of our own where Bedrock has another one for it than the Messages API.
///
/// Bedrock says 403 to every credential that it does not know. So do we to a signature, which says nothing about a key of
/// ours; a key that is none is 401 as everywhere, because Claude Code repeats a 403 for minutes and tells a 401 at once.
pub(crate) fn status(kind: Kind, headers: &HeaderMap) -> StatusCode {
    let signed =
        || headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
    match kind {
        Kind::Authentication if signed() => StatusCode::FORBIDDEN,
        Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
        Kind::BadGateway => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Authentication
        | Kind::Billing
        | Kind::Invalid
        | Kind::ContextTooLong
        | Kind::ContentFilter
        | Kind::Permission
        | Kind::UpstreamPermission
        | Kind::NotFound
        | Kind::ModelNotFound
        | Kind::PreviousNotFound
        | Kind::MethodNotAllowed
        | Kind::UnsupportedMedia
        | Kind::TooLarge
        | Kind::RateLimit
        | Kind::TokenLimit
        | Kind::Overloaded
        | Kind::Unavailable
        | Kind::Internal
        | Kind::NotSupported => kind.status(),
    }
}
