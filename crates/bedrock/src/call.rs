//! One call: what is asked, and the whole answer of a call that is not streamed.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Kind};
use crate::stream::Framing;

/// The path of the Messages API.
const MESSAGES: &str = "/anthropic/v1/messages";

/// The operations of [Bedrock Runtime](https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html)
/// that are sent as raw bytes, and the [Messages API](https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html)
/// that stands beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The model's own format, whole answer.
    InvokeModel,
    /// The model's own format, streamed.
    InvokeModelWithResponseStream,
    /// The common format, whole answer.
    Converse,
    /// The common format, streamed.
    ConverseStream,
    /// Counts input tokens and runs nothing.
    CountTokens,
    /// `POST /anthropic/v1/messages`: the model and the wish to stream stand in the body, versions and beta flags in
    /// headers, and a stream is SSE.
    Messages {
        /// Which endpoint offers it.
        site: Site,
        /// Whether the body asks for a stream.
        stream: bool,
    },
}

/// The endpoints of Bedrock that inference is asked of. Each has its own address and its own name in signatures:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/endpoints.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// `bedrock-runtime`.
    Runtime,
    /// `bedrock-mantle`.
    Mantle,
}

impl Site {
    /// The service that requests are signed for.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Runtime => "bedrock",
            Self::Mantle => "bedrock-mantle",
        }
    }
}

impl Operation {
    /// AWS's name, as it appears in IAM and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvokeModel => "InvokeModel",
            Self::InvokeModelWithResponseStream => "InvokeModelWithResponseStream",
            Self::Converse => "Converse",
            Self::ConverseStream => "ConverseStream",
            Self::CountTokens => "CountTokens",
            Self::Messages { .. } => "Messages",
        }
    }

    /// Whether the answer is a stream.
    pub fn is_stream(self) -> bool {
        match self {
            Self::InvokeModelWithResponseStream | Self::ConverseStream => true,
            Self::InvokeModel | Self::Converse | Self::CountTokens => false,
            Self::Messages { stream, .. } => stream,
        }
    }

    /// Where it is asked.
    pub fn site(self) -> Site {
        match self {
            Self::InvokeModel
            | Self::InvokeModelWithResponseStream
            | Self::Converse
            | Self::ConverseStream
            | Self::CountTokens => Site::Runtime,
            Self::Messages { site, .. } => site,
        }
    }

    /// How the events of its streams are framed.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::InvokeModel
            | Self::InvokeModelWithResponseStream
            | Self::Converse
            | Self::ConverseStream
            | Self::CountTokens => Framing::EventStream,
            Self::Messages { .. } => Framing::Sse,
        }
    }

    /// What stands behind the model in the path; nothing where the model is not in it.
    fn suffix(self) -> Option<&'static str> {
        match self {
            Self::InvokeModel => Some("/invoke"),
            Self::InvokeModelWithResponseStream => Some("/invoke-with-response-stream"),
            Self::Converse => Some("/converse"),
            Self::ConverseStream => Some("/converse-stream"),
            Self::CountTokens => Some("/count-tokens"),
            Self::Messages { .. } => None,
        }
    }

    /// Whether a header may travel with it.
    fn takes(self, header: &HeaderName) -> bool {
        let name = header.as_str();
        name.starts_with("x-amzn-bedrock-")
            || (matches!(self, Self::Messages { .. })
                && matches!(name, "anthropic-version" | "anthropic-beta"))
    }
}

/// What is asked of Bedrock. Prints without its body, which is somebody's prompt.
#[derive(Clone)]
pub struct Call<'a> {
    /// Which operation.
    pub operation: Operation,
    /// Model id, inference profile id or ARN, not encoded.
    pub model_id: &'a str,
    /// The JSON that is sent, byte for byte.
    pub body: Bytes,
    /// `x-amzn-bedrock-*` headers, and `anthropic-version` and `anthropic-beta` with [`Operation::Messages`]; sent and
    /// signed. Any other name is refused: nothing of a caller travels by accident.
    pub headers: &'a [(HeaderName, HeaderValue)],
}

impl Call<'_> {
    /// The path as it stands on the wire: the model id is one label, so its `:` and `/` are escaped.
    pub(crate) fn path(&self, base: &str) -> String {
        let Some(suffix) = self.operation.suffix() else { return format!("{base}{MESSAGES}") };
        let mut path = String::with_capacity(base.len() + 8 + self.model_id.len() * 2 + suffix.len());
        path.push_str(base);
        path.push_str("/model/");
        push_escaped(&mut path, self.model_id.as_bytes());
        path.push_str(suffix);
        path
    }

    /// Refuses what could not be sent as meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // A lone dot segment would be folded away by every proxy and name another path.
        if matches!(self.model_id, "" | "." | "..") {
            return Err(Error::new(Kind::Validation, "The model id is not valid."));
        }
        match self.headers.iter().find(|(name, _)| !self.operation.takes(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::new(Kind::Validation, format!("The header {name} cannot be sent to Bedrock.")))
            }
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("model_id", &self.model_id)
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, as SigV4 wants it.
pub(crate) fn push_escaped(out: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The whole answer of a call that succeeded. Prints without its body.
#[derive(Clone)]
pub struct Reply {
    /// 200, or another 2xx.
    pub status: u16,
    /// The `x-amzn-bedrock-*` headers: token counts, latency, the tier that served.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
    /// How many attempts it took.
    pub attempts: u32,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("attempts", &self.attempts)
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(model_id: &'a str, headers: &'a [(HeaderName, HeaderValue)]) -> Call<'a> {
        Call { operation: Operation::Converse, model_id, body: Bytes::new(), headers }
    }

    #[test]
    fn a_model_id_is_one_label_of_the_path() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        assert_eq!(
            call(arn, &[]).path(""),
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse"
        );
        assert_eq!(call("a-v1:0", &[]).path("/base"), "/base/model/a-v1%3A0/converse");
        assert_eq!(call("é?#%", &[]).path(""), "/model/%C3%A9%3F%23%25/converse");
    }

    #[test]
    fn model_ids_that_would_change_the_path_are_refused() {
        for id in ["", ".", ".."] {
            assert_eq!(call(id, &[]).check().unwrap_err().kind, Kind::Validation);
        }
        assert!(call("../secret", &[]).check().is_ok(), "its slash is escaped");
    }

    #[test]
    fn prompts_and_answers_do_not_print() {
        let call = Call { body: "canary".into(), ..call("m", &[]) };
        let body = call.body.clone();
        let reply = Reply { status: 200, headers: HeaderMap::new(), body, request_id: None, attempts: 1 };
        let frame =
            crate::Frame { event_type: "chunk".into(), payload: "canary".into(), whole: "canary".into() };
        let printed = format!("{call:?} {reply:?} {frame:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn only_bedrock_headers_go_upstream() {
        let token = HeaderValue::from_static("1");
        let tier = HeaderName::from_static("x-amzn-bedrock-service-tier");
        assert!(call("m", &[(tier, token.clone())]).check().is_ok());
        for name in ["authorization", "cookie", "transfer-encoding", "x-amz-date"] {
            let headers = [(HeaderName::from_static(name), token.clone())];
            assert!(call("m", &headers).check().is_err(), "{name}");
        }
        let beta = [(HeaderName::from_static("anthropic-beta"), token)];
        assert!(call("m", &beta).check().is_err(), "Converse does not read it");
        let operation = Operation::Messages { site: Site::Mantle, stream: true };
        let messages = Call { operation, ..call("m", &beta) };
        assert!(messages.check().is_ok());
        assert_eq!(messages.path("/base"), "/base/anthropic/v1/messages");
    }
}
