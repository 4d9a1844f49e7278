//! One upstream call: it takes an admission, and what it cannot do becomes the caller's error.

use std::time::Instant;

use bedrock::{Call, EventStream, Kind as Cause, Reply};
use bytes::Bytes;
use catalog::{Lane, Resolution};
use convert::native;
use policy::Admission;

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::lane::Prepared;
use crate::learned::Lessons;

/// What a call needs to be made, and made again when the upstream teaches us something.
pub(crate) struct Job {
    pub(crate) gateway: Gateway,
    /// The caller's body, checked.
    pub(crate) body: Bytes,
    pub(crate) beta_headers: Vec<String>,
    pub(crate) resolution: Resolution,
    pub(crate) input_estimate: u64,
    pub(crate) stream: bool,
    /// The body is made to be counted, not to be run.
    pub(crate) counting: bool,
}

/// An answer and what was sent for it.
pub(crate) struct Answered<T> {
    pub(crate) reply: T,
    pub(crate) prepared: Prepared,
}

impl Job {
    /// Converts the request; `doc` is its body, read.
    pub(crate) fn prepare(&self, doc: &native::Doc<'_>, lessons: &Lessons) -> Result<Prepared, ApiError> {
        let headers: Vec<&str> = self.beta_headers.iter().map(String::as_str).collect();
        let settings = &self.gateway.shared.settings;
        Prepared::new(doc, &self.resolution, &headers, lessons, self.counting, settings)
    }

    /// The same, for a body that has to be read first.
    pub(crate) fn prepare_anew(&self, lessons: &Lessons) -> Result<Prepared, ApiError> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| ApiError::new(Kind::Invalid, "The request body is not valid UTF-8"))?;
        let doc = native::parse(text).map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        self.prepare(&doc, lessons)
    }

    /// A whole answer.
    pub(crate) async fn send(
        &self,
        admission: &mut Admission,
        prepared: Prepared,
    ) -> Result<Answered<Reply>, ApiError> {
        admission.called();
        let first = self.gateway.bedrock.send(&self.call(&prepared)).await;
        let (reply, prepared) = match first {
            Ok(reply) => (reply, prepared),
            Err(error) => {
                let prepared = self.taught(&error).ok_or_else(|| self.failed(&error))?;
                let again = self.gateway.bedrock.send(&self.call(&prepared)).await;
                (again.map_err(|error| self.failed(&error))?, prepared)
            }
        };
        admission.answered(reply.request_id.as_deref(), reply.attempts);
        Ok(Answered { reply, prepared })
    }

    /// A streamed answer, from its first frame on.
    pub(crate) async fn open(self, prepared: Prepared) -> Result<Answered<EventStream>, ApiError> {
        let first = self.gateway.bedrock.stream(&self.call(&prepared)).await;
        match first {
            Ok(reply) => Ok(Answered { reply, prepared }),
            Err(error) => {
                let prepared = self.taught(&error).ok_or_else(|| self.failed(&error))?;
                let reply = self.gateway.bedrock.stream(&self.call(&prepared)).await;
                Ok(Answered { reply: reply.map_err(|error| self.failed(&error))?, prepared })
            }
        }
    }

    fn call(&self, prepared: &Prepared) -> Call<'_> {
        Call {
            operation: prepared.operation(self.stream),
            model_id: &self.resolution.upstream_id,
            body: prepared.body.clone(),
            headers: &[],
        }
    }

    /// The request without what the upstream has just refused by name, if that is what it said.
    pub(crate) fn taught(&self, error: &bedrock::Error) -> Option<Prepared> {
        if error.kind != Cause::Validation || self.resolution.lane() != Lane::Native {
            return None;
        }
        let lessons = self.gateway.shared.learned.learn(&self.resolution.base_id, &error.message)?;
        // A fresh conversion of the original: what was sent first is not edited in place.
        self.prepare_anew(&lessons).ok()
    }

    pub(crate) fn failed(&self, error: &bedrock::Error) -> ApiError {
        self.gateway.metrics.retries(error.attempts);
        api_error(error, &self.resolution, self.input_estimate)
    }
}

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

/// The instant the upstream call begins, for the overhead metric.
pub(crate) fn sending(record: &mut crate::record::Record, resolution: &Resolution) {
    record.sending(resolution, Instant::now());
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
