//! From a failure upstream to what the caller hears.

use bedrock::Kind as Cause;
use catalog::Resolution;

use crate::error::{ApiError, Kind};

/// An upstream failure as the caller hears it. The upstream's wording is kept where clients match on it, and is freed
/// of account ids and ARNs.
pub(crate) fn api_error(error: &bedrock::Error, resolution: &Resolution, input_estimate: u64) -> ApiError {
    let kind = kind(error);
    let internal = matches!(error.kind, Cause::Credentials | Cause::Connect | Cause::Reset | Cause::Protocol);
    if internal || matches!(kind, Kind::BadGateway | Kind::Internal) {
        tracing::warn!(kind = ?error.kind, code = error.code.as_deref(), message = %scrubbed(&error.message),
            upstream_request_id = error.request_id.as_deref(), "the upstream call failed");
    }
    let message = match error.kind {
        Cause::Credentials => "The gateway's own AWS credentials were refused".to_owned(),
        Cause::Connect => "The upstream cannot be reached".to_owned(),
        Cause::Reset => "The upstream closed the connection before the answer was complete".to_owned(),
        Cause::Protocol => "The upstream's answer could not be read".to_owned(),
        _ if kind == Kind::ContextTooLong => overflow(&error.message, resolution, input_estimate),
        _ => scrubbed(&error.message),
    };
    ApiError::new(kind, message).retry_after(error.retry_after).after(error.attempts)
}

fn kind(error: &bedrock::Error) -> Kind {
    match error.kind {
        Cause::Validation if is_overflow(&error.message) => Kind::ContextTooLong,
        Cause::Validation | Cause::Model { original_status: Some(400..=499) } => Kind::Invalid,
        Cause::AccessDenied => Kind::UpstreamPermission,
        Cause::NotFound => Kind::ModelNotFound,
        Cause::Throttling | Cause::ServiceQuota => Kind::RateLimit,
        Cause::ModelTimeout | Cause::FirstByteTimeout | Cause::IdleTimeout | Cause::TotalTimeout => {
            Kind::Timeout
        }
        Cause::Model { .. } | Cause::Credentials | Cause::Connect | Cause::Reset | Cause::Protocol => {
            Kind::BadGateway
        }
        Cause::ModelNotReady | Cause::ServiceUnavailable => Kind::Overloaded,
        Cause::ModelStream | Cause::InternalServer => Kind::Internal,
        Cause::TooLarge => Kind::TooLarge,
        Cause::Other { status } => match status {
            400..=499 => Kind::Invalid,
            503 | 529 => Kind::Overloaded,
            504 => Kind::Timeout,
            _ => Kind::BadGateway,
        },
    }
}

/// Wordings of "does not fit" over the families; see
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html>.
fn is_overflow(message: &str) -> bool {
    const WORDINGS: &[&str] = &[
        "prompt is too long",
        "input is too long",
        "too many input tokens",
        "input tokens exceeded",
        "maximum context length",
        "context length exceeded",
        "exceeds the context window",
        "exceeds the maximum number of input tokens",
        "longer than the maximum model length",
        "input length exceeds",
    ];
    let lower = message.to_ascii_lowercase();
    WORDINGS.iter().any(|wording| lower.contains(wording))
}

/// `prompt is too long: A tokens > B maximum`: Claude Code reads the numbers and compacts.
fn overflow(message: &str, resolution: &Resolution, input_estimate: u64) -> String {
    const WORDING: &str = "prompt is too long: ";
    if let Some(at) = message.find(WORDING)
        && message[at..].contains(" maximum")
    {
        return message[at..].to_owned();
    }
    let most = u64::from(resolution.model.context_window);
    format!("{WORDING}{} tokens > {most} maximum ({})", input_estimate.max(most + 1), scrubbed(message))
}

/// A message without ARNs and account ids, of bounded length.
pub(crate) fn scrubbed(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(2000));
    for (n, word) in message.split(' ').enumerate() {
        if n > 0 {
            out.push(' ');
        }
        if out.len() > 2000 {
            out.push('…');
            break;
        }
        match word.find("arn:aws") {
            Some(at) => {
                out.push_str(&word[..at]);
                out.push_str("[arn]");
            }
            None => push_masked(&mut out, word),
        }
    }
    out
}

/// Twelve digits in a row, no more and no fewer, are an account id.
fn push_masked(out: &mut String, word: &str) {
    let mut digits = String::new();
    for c in word.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() == 12 { "[account]" } else { &digits });
        digits.clear();
        if c != '\0' {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_and_account_ids_do_not_reach_callers() {
        let text = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized for account 123456789012, id 1234567890123";
        assert_eq!(scrubbed(text), "User: [arn] is not authorized for account [account], id 1234567890123");
        let plain = "prompt is too long: 206456 tokens > 200000 maximum";
        assert_eq!(scrubbed(plain), plain);
    }

    #[test]
    fn every_wording_of_an_overflow_is_said_as_clients_know_it() {
        let resolution = catalog::Catalog::builtin()
            .resolve("qwen.qwen3-coder-480b-a35b-v1:0", catalog::Scope::Global, "us-east-1", true)
            .unwrap();
        let said = overflow("Input is too long for requested model.", &resolution, 5);
        let most = resolution.model.context_window;
        assert!(
            said.starts_with(&format!("prompt is too long: {} tokens > {most} maximum", most + 1)),
            "{said}"
        );
        let native =
            "The model returned the following errors: prompt is too long: 206456 tokens > 200000 maximum";
        assert_eq!(overflow(native, &resolution, 5), "prompt is too long: 206456 tokens > 200000 maximum");
        assert!(!is_overflow(
            "max_tokens: 999999 > 128000, which is the maximum allowed number of output tokens"
        ));
    }
}
