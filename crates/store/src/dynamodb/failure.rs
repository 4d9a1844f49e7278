//! DynamoDB's errors as kinds of ours.
//!
//! Codes: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.

use std::error::Error as StdError;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{Error, ErrorKind};

/// What became of a call that failed. `doing` is for the operator's log; the service's own text is kept, because it
/// names tables and attributes and never values.
pub(super) fn of<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (kind, text) = match error {
        SdkError::ServiceError(answer) => {
            let (status, code) = (answer.raw().status().as_u16(), answer.err().code().unwrap_or_default());
            let said = answer.err().message().unwrap_or("no message");
            (by_code(status, code), format!("{code} ({status}): {said}"))
        }
        // No answer, half of one, or none in time; also when no credentials could be loaded.
        _ => (ErrorKind::Unavailable, chain(error)),
    };
    let hint = if kind == ErrorKind::Broken && text.starts_with(MISSING) { SETUP } else { "" };
    Error::new(kind, format!("DynamoDB, {doing}: {text}{hint}"))
}

/// The code of a table that is not there.
pub(super) const MISSING: &str = "ResourceNotFoundException";
const SETUP: &str = "; run `outcrop-keys setup`";

fn by_code(status: u16, code: &str) -> ErrorKind {
    match code {
        "ConditionalCheckFailedException" => ErrorKind::Conflict,
        "ValidationException" | "ItemCollectionSizeLimitExceededException" => ErrorKind::Invalid,
        // What a moment or an operator may mend: load, other transactions, rights and credentials.
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException" => ErrorKind::Unavailable,
        _ if status >= 500 || status == 429 => ErrorKind::Unavailable,
        _ => ErrorKind::Broken,
    }
}

/// The error and what it came from; the SDK's outermost text alone says little.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_moment_may_mend_is_unavailable_and_a_failed_condition_a_conflict() {
        for (status, code, kind) in [
            (400, "ThrottlingException", ErrorKind::Unavailable),
            (400, "ProvisionedThroughputExceededException", ErrorKind::Unavailable),
            (400, "ExpiredTokenException", ErrorKind::Unavailable),
            (500, "InternalServerError", ErrorKind::Unavailable),
            (503, "", ErrorKind::Unavailable),
            (400, "ConditionalCheckFailedException", ErrorKind::Conflict),
            (400, "ValidationException", ErrorKind::Invalid),
            (400, "ResourceNotFoundException", ErrorKind::Broken),
        ] {
            assert_eq!(by_code(status, code), kind, "{status} {code}");
        }
    }
}
