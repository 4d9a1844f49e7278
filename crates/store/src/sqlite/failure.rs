//! SQLite's result codes as kinds of ours.

use rusqlite::ErrorCode;

use crate::{Error, ErrorKind};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            // What another process, an operator or a moment may mend: https://www.sqlite.org/rescode.html
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::SchemaChanged
                | ErrorCode::OperationInterrupted,
            ) => ErrorKind::Unavailable,
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => ErrorKind::Invalid,
            // `ErrorCode` is the library's enum and may grow.
            _ => ErrorKind::Broken,
        };
        Self::new(kind, format!("database: {error}"))
    }
}
