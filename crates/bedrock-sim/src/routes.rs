//! From a request to its answer: read, capture, authenticate, route.
use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use httpd::{Abort, Body, BodyError, Peer, Request, Response, read_body};

use crate::auth::Signed;
use crate::directives::Directives;
use crate::fault::{Fault, Place};
use crate::json::quoted;
use crate::models::{self, Model, Unresolved};
use crate::reject::Reject;
use crate::state::State;
use crate::{control, converse, count, invoke};

/// Bytes of a request body.
const LIMIT: usize = 25_000_000;

/// One request, read whole.
pub(crate) struct Call<'c> {
    pub(crate) state: &'c State,
    pub(crate) headers: &'c HeaderMap,
    pub(crate) body: &'c Bytes,
    pub(crate) peer: Peer,
    pub(crate) serial: u64,
    pub(crate) started: Instant,
    /// The fault that a script has for this request.
    pub(crate) fault: Option<Fault>,
}

/// Which endpoint the Messages API is asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Runtime,
    Mantle,
}

/// Where the simulator stands for `bedrock-mantle`, which has a host of its own at AWS.
pub(crate) const MANTLE: &str = "/mantle";

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    Converse { id: Cow<'p, str>, stream: bool },
    Invoke { id: Cow<'p, str>, stream: bool },
    CountTokens { id: Cow<'p, str> },
    Messages(Site),
    MessagesCount(Site),
    Control(&'p str),
    Unknown,
}

impl<'p> Route<'p> {
    fn parse(method: &Method, path: &'p str) -> Self {
        if *method == Method::GET {
            let known = ["/foundation-models", "/inference-profiles"];
            let control = known.iter().any(|name| {
                path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            return if control { Self::Control(path) } else { Self::Unknown };
        }
        if *method != Method::POST {
            return Self::Unknown;
        }
        let (site, messages) = match path.strip_prefix(MANTLE) {
            Some(rest) => (Site::Mantle, rest),
            None => (Site::Runtime, path),
        };
        match messages {
            "/anthropic/v1/messages" => return Self::Messages(site),
            "/anthropic/v1/messages/count_tokens" => return Self::MessagesCount(site),
            _ => {}
        }
        // The label is one segment: a slash inside an ARN is percent-encoded.
        let Some((label, operation)) = path.strip_prefix("/model/").and_then(|rest| rest.split_once('/'))
        else {
            return Self::Unknown;
        };
        let Some(id) = decoded(label) else { return Self::Unknown };
        match operation {
            "converse" => Self::Converse { id, stream: false },
            "converse-stream" => Self::Converse { id, stream: true },
            "invoke" => Self::Invoke { id, stream: false },
            "invoke-with-response-stream" => Self::Invoke { id, stream: true },
            "count-tokens" => Self::CountTokens { id },
            _ => Self::Unknown,
        }
    }

    fn site(&self) -> Option<Site> {
        match self {
            Self::Messages(site) | Self::MessagesCount(site) => Some(*site),
            Self::Converse { .. }
            | Self::Invoke { .. }
            | Self::CountTokens { .. }
            | Self::Control(_)
            | Self::Unknown => None,
        }
    }

    /// What scripts of faults are matched against.
    fn model(&self) -> Option<&str> {
        match self {
            Self::Converse { id, .. } | Self::Invoke { id, .. } | Self::CountTokens { id } => Some(id),
            Self::Messages(Site::Runtime) => Some("anthropic/messages"),
            Self::Messages(Site::Mantle) => Some("anthropic/mantle"),
            Self::Control(path) => Some(path),
            Self::MessagesCount(_) | Self::Unknown => None,
        }
    }
}

/// Percent-decodes a path label.
pub(crate) fn decoded(label: &str) -> Option<Cow<'_, str>> {
    if !label.contains('%') {
        return Some(Cow::Borrowed(label));
    }
    let mut out = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Answers one request.
pub(crate) async fn answer(state: &State, request: Request, peer: Peer) -> Response {
    let started = Instant::now();
    let serial = state.next();
    let (parts, body) = request.into_parts();
    let body = match read_body(body, LIMIT, Duration::from_mins(1)).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let text = "The request body exceeds the maximum size of 25000000 bytes.";
            return refusal(&Reject::new(413, "RequestEntityTooLargeException", text), serial, state);
        }
        Err(BodyError::Stalled | BodyError::Gone) => {
            return refusal(
                &Reject::new(408, "RequestTimeoutException", "The request timed out."),
                serial,
                state,
            );
        }
    };
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    state.capture(&parts.method, target, &parts.headers, &body, peer.addr());
    let signed = Signed { method: &parts.method, target, headers: &parts.headers, body: &body };
    if let Err(reject) = state.accepted.check(&signed, SystemTime::now()) {
        return refusal(&reject, serial, state);
    }
    let route = Route::parse(&parts.method, parts.uri.path());
    let fault = route.model().and_then(|model| state.fault(model));
    let site = route.site();
    let call = Call { state, headers: &parts.headers, body: &body, peer, serial, started, fault };
    if let Some(response) = call.scripted().await {
        return response;
    }
    let result = match route {
        Route::Converse { id, stream } => converse::answer(&call, &id, stream).await,
        Route::Invoke { id, stream } => invoke::answer(&call, &id, stream).await,
        Route::CountTokens { id } => count::answer(&call, &id),
        Route::Messages(site) => invoke::native(&call, site).await,
        // On the runtime this route exists for nobody, which it says with a success.
        Route::MessagesCount(Site::Runtime) => Ok(call.json(UNKNOWN_OPERATION)),
        Route::MessagesCount(Site::Mantle) => count::mantle(&call),
        Route::Control(path) => control::answer(&call, path),
        Route::Unknown => Ok(call.unknown()),
    };
    result.unwrap_or_else(|reject| match site {
        Some(Site::Mantle) => enveloped(&reject, serial, state),
        Some(Site::Runtime) | None => refusal(&reject, serial, state),
    })
}

const UNKNOWN_OPERATION: &str =
    r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#;

impl Call<'_> {
    /// What a scripted fault does before the request is looked at.
    async fn scripted(&self) -> Option<Response> {
        self.early(self.fault.as_ref()?).await
    }

    /// What a fault does instead of an answer; nothing when it belongs into the stream.
    pub(crate) async fn early(&self, fault: &Fault) -> Option<Response> {
        match fault {
            Fault::Error { .. } => fault.reject().map(|reject| refusal(&reject, self.serial, self.state)),
            Fault::Html => {
                self.state.refused();
                let page = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>\
                            <center><h1>503 Service Temporarily Unavailable</h1></center></body></html>";
                Some(self.response(503, "text/html", Body::full(page)))
            }
            Fault::Reset(None) => {
                // The body fails before the head is flushed, so the peer sees a reset and nothing else.
                self.peer.reset_on_close();
                Some(self.response(
                    200,
                    "application/json",
                    Body::stream(futures::stream::iter([Err(Abort)])),
                ))
            }
            Fault::Stall(Place::Headers, time) => {
                tokio::time::sleep(*time).await;
                None
            }
            Fault::MidStream { .. }
            | Fault::Reset(Some(_))
            | Fault::Truncate(_)
            | Fault::Stall(Place::Events(_), _)
            | Fault::OneByteWrites
            | Fault::SplitUtf8
            | Fault::EmptyStart
            | Fault::UnknownEvent
            | Fault::UnknownMember
            | Fault::EmptyToolInput
            | Fault::NoMetadata
            | Fault::WrongChecksum(_) => None,
        }
    }

    /// What the user's words ask of the simulator itself.
    pub(crate) fn directives(&self, said: &str) -> Directives {
        let mut directives = Directives::read(said);
        if directives.throttle.is_some_and(|times| self.state.throttled(said, times)) {
            directives.faults.insert(0, Fault::throttle());
        }
        directives
    }

    /// What faults of a stream do to an answer that comes whole: it waits, or it is cut off.
    pub(crate) async fn whole(&self, faults: &[Fault]) -> Option<Response> {
        for fault in faults {
            match fault {
                Fault::Stall(Place::Events(_), time) => tokio::time::sleep(*time).await,
                Fault::Reset(Some(_)) => return self.early(&Fault::Reset(None)).await,
                Fault::Stall(Place::Headers, _)
                | Fault::Reset(None)
                | Fault::Error { .. }
                | Fault::Html
                | Fault::MidStream { .. }
                | Fault::Truncate(_)
                | Fault::OneByteWrites
                | Fault::SplitUtf8
                | Fault::EmptyStart
                | Fault::UnknownEvent
                | Fault::UnknownMember
                | Fault::EmptyToolInput
                | Fault::NoMetadata
                | Fault::WrongChecksum(_) => {}
            }
        }
        None
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn response(&self, status: u16, content_type: &'static str, body: Body) -> Response {
        respond(status, content_type, body, self.serial)
    }

    pub(crate) fn json(&self, body: impl Into<Bytes>) -> Response {
        self.response(200, "application/json", Body::full(body))
    }

    fn unknown(&self) -> Response {
        self.state.refused();
        let mut response = self.response(404, "application/json", Body::full(UNKNOWN_OPERATION));
        response
            .headers_mut()
            .insert("x-amzn-errortype", HeaderValue::from_static("UnknownOperationException"));
        response
    }

    /// The model behind an id, or the service's refusal.
    pub(crate) fn model(&self, id: &str) -> Result<&'static Model, Reject> {
        let known = self.state.profiles.iter().find(|(arn, _)| arn == id);
        let id = known.map_or(id, |(_, id)| id.as_str());
        models::resolve(id, self.state.accepted.region.as_deref()).map_err(|why| match why {
            Unresolved::Unknown => Reject::invalid("The provided model identifier is invalid."),
            Unresolved::NoOnDemand => Reject::invalid(format!(
                "Invocation of model ID {id} with on-demand throughput isn\u{2019}t supported. Retry your request with \
                 the ID or ARN of an inference profile that contains this model."
            )),
        })
    }
}

/// The answer of a refusal.
fn refusal(reject: &Reject, serial: u64, state: &State) -> Response {
    state.refused();
    let mut response = respond(reject.status, "application/json", Body::full(reject.body()), serial);
    let kind = format!("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", reject.kind);
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    if let Some(seconds) = reject.retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

/// The same in the envelope of the Messages API.
fn enveloped(reject: &Reject, serial: u64, state: &State) -> Response {
    state.refused();
    let kind = match reject.status {
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let message = quoted(&reject.message);
    let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#);
    respond(reject.status, "application/json", Body::full(body), serial)
}

fn respond(status: u16, content_type: &'static str, body: Body, serial: u64) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&request_id(serial)) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// A UUID of the fourth version by its looks.
pub(crate) fn request_id(serial: u64) -> String {
    let mixed = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (high, middle) = (mixed >> 32, (mixed >> 16) & 0xffff);
    format!("{high:08x}-{middle:04x}-4{:03x}-8{:03x}-{serial:012x}", mixed & 0xfff, (mixed >> 12) & 0xfff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_decoded_and_raw_colons_are_legal() {
        let converse = |path| Route::parse(&Method::POST, path);
        let id = Cow::Borrowed("us.anthropic.claude-sonnet-4-5-20250929-v1:0");
        for path in [
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse",
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        ] {
            assert_eq!(converse(path), Route::Converse { id: id.clone(), stream: false }, "{path}");
        }
        assert_eq!(converse("/model/arn:x/y/converse"), Route::Unknown);
        assert_eq!(converse("/model/a%zz/converse"), Route::Unknown);
        assert_eq!(Route::parse(&Method::GET, "/inference-profiles"), Route::Control("/inference-profiles"));
        assert_eq!(Route::parse(&Method::GET, "/inference-profilesx"), Route::Unknown);
    }

    #[test]
    fn request_ids_look_like_uuids() {
        let id = request_id(7);
        assert_eq!(id.len(), 36);
        assert_ne!(id, request_id(8));
    }
}
