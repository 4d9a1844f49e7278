//! A refusal: status, exception name and the text that Bedrock sends.
use std::borrow::Cow;

use crate::json::{put, quote};

/// An exception answered before the model runs, or instead of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) status: u16,
    /// The exception's name, as in `x-amzn-ErrorType`.
    pub(crate) kind: Cow<'static, str>,
    pub(crate) message: String,
    /// Faults of the front end write `Message` where the service writes `message`.
    pub(crate) front: bool,
    /// The status that the model's own server gave, in a 424.
    pub(crate) original_status: Option<u16>,
    /// Seconds for a `Retry-After` header; Bedrock itself sends none.
    pub(crate) retry_after: Option<u32>,
}

impl Reject {
    pub(crate) fn new(status: u16, kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.into(),
            message: message.into(),
            front: false,
            original_status: None,
            retry_after: None,
        }
    }

    /// 400 ValidationException.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// A 400 whose text comes from the model's own server.
    pub(crate) fn from_model(message: impl std::fmt::Display) -> Self {
        Self::invalid(format!("The model returned the following errors: {message}"))
    }

    /// 403 AccessDeniedException.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDeniedException", message)
    }

    /// A 403 of the front end, which has no exception name of the service.
    pub(crate) fn front(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { front: true, ..Self::new(403, kind, message) }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> String {
        let mut out = String::with_capacity(self.message.len() + 48);
        out.push_str(if self.front { "{\"Message\":" } else { "{\"message\":" });
        quote(&mut out, &self.message);
        if let Some(status) = self.original_status {
            put!(out, ",\"originalStatusCode\":{status},\"resourceName\":\"simulated-model\"");
        }
        out.push('}');
        out
    }
}
