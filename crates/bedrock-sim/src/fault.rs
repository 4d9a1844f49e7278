//! Faults on request: scripted by tests, or asked for by hand in a prompt.
use std::time::Duration;

use crate::directives::duration;
use crate::reject::Reject;

/// Where a stall happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the status line.
    Headers,
    /// After so many events; 0 is between the headers and the first event.
    Events(usize),
}

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An exception instead of an answer.
    Error {
        /// HTTP status.
        status: u16,
        /// The exception's name, `ThrottlingException`.
        kind: String,
        /// Its text.
        message: String,
        /// `originalStatusCode` of a 424.
        original_status: Option<u16>,
        /// Seconds for a `Retry-After` header; Bedrock itself sends none.
        retry_after: Option<u32>,
    },
    /// 503 with an HTML page, as load balancers answer.
    Html,
    /// An exception frame after so many events; 0 makes it the first frame.
    MidStream {
        /// The member's name, `throttlingException`.
        exception: String,
        /// Its text.
        message: String,
        /// How many events come before.
        after: usize,
    },
    /// An abrupt TCP reset after so many events; `None` is before the status line.
    Reset(Option<usize>),
    /// The stream ends cleanly after so many events, without its last ones.
    Truncate(usize),
    /// A pause.
    Stall(Place, Duration),
    /// Every byte in a write of its own.
    OneByteWrites,
    /// Characters of several bytes arrive in pieces.
    SplitUtf8,
    /// `contentBlockStart` with an empty `start` before a text, as some models send.
    EmptyStart,
    /// An event that no client knows.
    UnknownEvent,
    /// A member that no client knows, in every event.
    UnknownMember,
    /// A tool call whose input has no fragments.
    EmptyToolInput,
    /// No metadata event, so no usage.
    NoMetadata,
    /// A frame whose checksum is wrong, after so many events.
    WrongChecksum(usize),
}

impl Fault {
    /// Any exception.
    pub fn error(status: u16, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error {
            status,
            kind: kind.into(),
            message: message.into(),
            original_status: None,
            retry_after: None,
        }
    }

    /// 429 ThrottlingException.
    pub fn throttle() -> Self {
        Self::error(429, "ThrottlingException", "Too many requests, please wait before trying again.")
    }

    /// 429 ModelNotReadyException.
    pub fn model_not_ready() -> Self {
        Self::error(429, "ModelNotReadyException", "Model is getting ready for inference. Please try again.")
    }

    /// 424 ModelErrorException, with the status that the model's own server gave.
    pub fn model_error(original_status: u16) -> Self {
        Self::Error {
            status: 424,
            kind: "ModelErrorException".into(),
            message: "The system encountered an unexpected error during processing. Try your request again."
                .into(),
            original_status: Some(original_status),
            retry_after: None,
        }
    }

    /// 503 ServiceUnavailableException.
    pub fn unavailable() -> Self {
        Self::error(503, "ServiceUnavailableException", "Bedrock is unable to process your request.")
    }

    /// The same error with a `Retry-After` header; other faults stay as they are.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        if let Self::Error { retry_after, .. } = &mut self {
            *retry_after = Some(seconds);
        }
        self
    }

    /// An exception frame after `after` events, with the service's usual text.
    pub fn mid_stream(exception: impl Into<String>, after: usize) -> Self {
        let exception = exception.into();
        let message = match exception.as_str() {
            "throttlingException" => "Too many tokens, please wait before trying again.",
            "modelStreamErrorException" => {
                "Model produced invalid sequence as part of ToolUse. Please refer to the model tool use \
                 troubleshooting guide."
            }
            "serviceUnavailableException" => "Bedrock is unable to process your request.",
            "validationException" => {
                "The model returned the following errors: Input is too long for requested model."
            }
            "modelTimeoutException" => "Model processing timed out.",
            _ => "The system encountered an unexpected error during processing. Try your request again.",
        };
        Self::MidStream { exception, message: message.to_owned(), after }
    }

    /// The refusal that this fault is, when it is one.
    pub(crate) fn reject(&self) -> Option<Reject> {
        let Self::Error { status, kind, message, original_status, retry_after } = self else { return None };
        let mut reject = Reject::new(*status, kind.clone(), message.clone());
        reject.original_status = *original_status;
        reject.retry_after = *retry_after;
        Some(reject)
    }

    /// The fault that a directive in a prompt names.
    pub(crate) fn directive(name: &str, value: &str, at: Option<usize>) -> Option<Self> {
        Some(match name {
            "throttle" => Self::throttle(),
            "retry-after" => Self::throttle().retry_after(value.parse().ok()?),
            "not-ready" => Self::model_not_ready(),
            "unavailable" => Self::unavailable(),
            "html" => Self::Html,
            "error" => Self::by_status(value)?,
            "midstream" => Self::mid_stream(value, at.unwrap_or(2)),
            "reset" => Self::Reset(at),
            "truncate" => Self::Truncate(at.unwrap_or(2)),
            "stall" => Self::Stall(Place::Events(at.unwrap_or(0)), duration(value)?),
            "stall-headers" => Self::Stall(Place::Headers, duration(value)?),
            "bytes" => Self::OneByteWrites,
            "empty-start" => Self::EmptyStart,
            "unknown-event" => Self::UnknownEvent,
            "unknown-member" => Self::UnknownMember,
            "empty-input" => Self::EmptyToolInput,
            "no-metadata" => Self::NoMetadata,
            "crc" => Self::WrongChecksum(at.unwrap_or(2)),
            _ => return None,
        })
    }

    /// `500`, or `424:500` with the status of the model's own server.
    fn by_status(value: &str) -> Option<Self> {
        let (status, original) = value.split_once(':').unwrap_or((value, ""));
        let status: u16 = status.parse().ok()?;
        let (kind, message) = match status {
            400 => ("ValidationException", "The provided request is not valid"),
            403 => {
                ("AccessDeniedException", "You don't have access to the model with the specified model ID.")
            }
            404 => ("ResourceNotFoundException", "The requested resource was not found."),
            408 => ("ModelTimeoutException", "Model processing timed out."),
            424 => return Some(Self::model_error(original.parse().unwrap_or(500))),
            429 => return Some(Self::throttle()),
            500 => (
                "InternalServerException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            503 => return Some(Self::unavailable()),
            _ => return None,
        };
        Some(Self::error(status, kind, message))
    }
}
