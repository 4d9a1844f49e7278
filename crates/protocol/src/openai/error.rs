//! Errors: <https://platform.openai.com/docs/guides/error-codes>.

use serde::{Deserialize, Serialize};

/// The body of a failed request, and the data of an event that ends a stream by failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// For people, and for clients that match on the vendor's wording.
    pub message: String,
    /// `invalid_request_error`, `server_error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The parameter at fault. Always sent, `null` included.
    #[serde(default)]
    pub param: Option<String>,
    /// `context_length_exceeded`, `rate_limit_exceeded`, … Always sent, `null` included.
    #[serde(default)]
    pub code: Option<String>,
}

impl ErrorBody {
    /// An error that names neither parameter nor code.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        let error = ErrorDetail { message: message.into(), kind: kind.into(), param: None, code: None };
        Self { error }
    }
}
