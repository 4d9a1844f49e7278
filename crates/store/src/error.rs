//! What goes wrong in a store, in three questions: what kind, doing what, and may one try again.

use std::{error, fmt};

/// The result of every store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Decides what the caller of the store does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The record to change is not there.
    NotFound,
    /// It exists already, or was changed by somebody else since it was read.
    Conflict,
    /// The value breaks a rule of its type; trying again cannot help.
    Invalid,
    /// The database is away, busy or slow; trying again may help.
    Unavailable,
    /// The database holds what this build cannot read, or failed in a way that trying again does not mend.
    Broken,
}

/// A failed store call. Its text names the operation and the reason and never holds a key, a hash or a secret.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is for the operator's log.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
