//! The two heads: ours, written in one piece, and the upstream's, parsed.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::body::Body;
use crate::call::{Call, Site};
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind};
use crate::settings::Secret;
use crate::sigv4::{self, Identity, Stamp};
use crate::stream::Framing;

/// A longer head is no answer of Bedrock's.
pub(super) const LONGEST: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;

/// Bodies are JSON whatever the operation; the SDKs' default for blobs would be `application/octet-stream`.
const CONTENT_TYPE: &str = "application/json";
const USER_AGENT: &str = concat!("outcrop/", env!("CARGO_PKG_VERSION"));

/// A request, ready to be written.
pub(crate) struct Outgoing<'a> {
    pub(crate) head: Vec<u8>,
    pub(crate) body: &'a [u8],
}

/// How one attempt is authenticated.
pub(crate) enum Signer<'a> {
    Bearer(&'a Secret),
    Identity(&'a Identity),
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(
        call: &'a Call<'_>,
        endpoint: &Endpoint,
        signer: &Signer<'_>,
        unix_seconds: u64,
    ) -> Self {
        let path = call.path(&endpoint.base_path);
        let mut head = Vec::with_capacity(1024);
        head.extend_from_slice(b"POST ");
        head.extend_from_slice(path.as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        let mut line = |name: &str, value: &[u8]| push(&mut head, name, value);
        line("host", endpoint.authority.as_bytes());
        line("content-type", CONTENT_TYPE.as_bytes());
        line("content-length", itoa::Buffer::new().format(call.body.len()).as_bytes());
        let wanted =
            if call.operation.is_stream() { call.operation.framing().media_type() } else { CONTENT_TYPE };
        line("accept", wanted.as_bytes());
        // Frames and signatures are read as they come: nothing may be packed on the way.
        line("accept-encoding", b"identity");
        line("user-agent", USER_AGENT.as_bytes());
        for (name, value) in call.headers {
            line(name.as_str(), value.as_bytes());
        }
        let request = sigv4::Request {
            site: call.operation.site(),
            method: "POST",
            path: &path,
            host: &endpoint.authority,
            content_type: Some(CONTENT_TYPE),
            extra: call.headers,
            body: &call.body,
        };
        push_authorization(&mut head, signer, &request, unix_seconds);
        head.extend_from_slice(b"\r\n");
        Self { head, body: &call.body }
    }

    /// Asks for what is at `path`, on a connection that serves nothing else.
    pub(crate) fn get(path: &str, endpoint: &Endpoint, signer: &Signer<'_>, unix_seconds: u64) -> Self {
        let path = format!("{}{path}", endpoint.base_path);
        let mut head = format!("GET {path} HTTP/1.1\r\n").into_bytes();
        push(&mut head, "host", endpoint.authority.as_bytes());
        push(&mut head, "accept", CONTENT_TYPE.as_bytes());
        push(&mut head, "accept-encoding", b"identity");
        push(&mut head, "user-agent", USER_AGENT.as_bytes());
        push(&mut head, "connection", b"close");
        let request = sigv4::Request {
            // Signed for the same service, `bedrock`.
            site: Site::Runtime,
            method: "GET",
            path: &path,
            host: &endpoint.authority,
            content_type: None,
            extra: &[],
            body: &[],
        };
        push_authorization(&mut head, signer, &request, unix_seconds);
        head.extend_from_slice(b"\r\n");
        Self { head, body: &[] }
    }
}

/// The lines that say who asks.
fn push_authorization(
    head: &mut Vec<u8>,
    signer: &Signer<'_>,
    request: &sigv4::Request<'_>,
    unix_seconds: u64,
) {
    match signer {
        Signer::Bearer(value) => push(head, "authorization", value.expose().as_bytes()),
        Signer::Identity(identity) => {
            let stamp = Stamp::from_unix(unix_seconds);
            push(head, "x-amz-date", stamp.as_bytes());
            if let Some(token) = identity.session_token() {
                push(head, "x-amz-security-token", token.as_bytes());
            }
            head.extend_from_slice(b"authorization: ");
            sigv4::authorize(identity, request, &stamp, head);
            head.extend_from_slice(b"\r\n");
        }
    }
}

fn push(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// What we keep of an answer's head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) keep_alive: bool,
    /// How its events are framed, if it is a stream.
    pub(crate) framing: Option<Framing>,
    pub(crate) request_id: Option<String>,
    /// `x-amzn-ErrorType`, raw.
    pub(crate) error_type: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Only of refusals: nobody else asks.
    pub(crate) date: Option<String>,
    /// `x-amzn-bedrock-*`.
    pub(crate) headers: HeaderMap,
}

pub(super) fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Protocol, format!("Bedrock's answer cannot be read: {why}"))
}

impl Head {
    /// Takes a head off the buffer, once it is whole. Interim answers (1xx) are skipped.
    pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Error> {
        loop {
            let mut slots = [const { MaybeUninit::uninit() }; MOST_HEADERS];
            let mut parsed = httparse::Response::new(&mut []);
            let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut parsed,
                buffer,
                &mut slots,
            );
            match outcome.map_err(unreadable)? {
                httparse::Status::Partial => return Ok(None),
                httparse::Status::Complete(length) => {
                    let interim = matches!(parsed.code, Some(100..=199));
                    let head = if interim { None } else { Some(Self::read(&parsed)?) };
                    buffer.advance(length);
                    if head.is_some() {
                        return Ok(head);
                    }
                }
            }
        }
    }

    fn read(parsed: &httparse::Response<'_, '_>) -> Result<Self, Error> {
        let status = parsed.code.ok_or_else(|| unreadable("it has no status"))?;
        let mut head = Self {
            status,
            body: Body::none(),
            keep_alive: parsed.version == Some(1),
            framing: None,
            request_id: None,
            error_type: None,
            retry_after: None,
            date: None,
            headers: HeaderMap::new(),
        };
        let mut length = None;
        let mut chunked = false;
        for header in parsed.headers.iter() {
            let value = header.value.trim_ascii();
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let digits =
                    std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let parsed = digits.and_then(|digits| digits.parse::<u64>().ok());
                let parsed = parsed.ok_or_else(|| unreadable("its content-length is no number"))?;
                if length.replace(parsed).is_some_and(|other| other != parsed) {
                    return Err(unreadable("it has two lengths"));
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case(b"chunked");
                if !chunked {
                    return Err(unreadable("its transfer-encoding is unknown"));
                }
            } else {
                head.note(name, value)?;
            }
        }
        head.body = match (status, chunked, length) {
            (204 | 304, _, _) => Body::none(),
            (_, true, length) => {
                // Two framings at once is how answers get mixed up: believe the chunks, and nothing after them.
                head.keep_alive &= length.is_none();
                Body::chunked()
            }
            (_, false, Some(length)) => Body::sized(length),
            (_, false, None) => {
                head.keep_alive = false;
                Body::until_close()
            }
        };
        Ok(head)
    }

    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        let text = || String::from_utf8_lossy(value).into_owned();
        if name.eq_ignore_ascii_case("connection") {
            self.keep_alive &=
                !value.split(|&b| b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if name.eq_ignore_ascii_case("content-type") {
            self.framing = Framing::of(value);
        } else if name.eq_ignore_ascii_case("x-amzn-requestid") {
            self.request_id = Some(text());
        } else if name.eq_ignore_ascii_case("request-id") {
            // What the Messages API calls it; AWS's own id is the better one where there are both.
            self.request_id.get_or_insert_with(text);
        } else if name.eq_ignore_ascii_case("x-amzn-errortype") {
            self.error_type = Some(text());
        } else if name.eq_ignore_ascii_case("date") {
            self.date = (!self.is_success()).then(text);
        } else if name.eq_ignore_ascii_case("retry-after") {
            // Seconds; a date is not worth a clock comparison here and counts as absent.
            self.retry_after = text().parse().ok().map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case("x-amz-retry-after") {
            // The form that the SDKs' newer retry mode reads, in milliseconds.
            self.retry_after = text().parse().ok().map(Duration::from_millis);
        } else if name.eq_ignore_ascii_case("content-encoding") && !value.eq_ignore_ascii_case(b"identity") {
            return Err(unreadable("it is compressed, which was not asked for"));
        } else if name.len() > 15 && name.as_bytes()[..15].eq_ignore_ascii_case(b"x-amzn-bedrock-") {
            let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value));
            if let (Ok(name), Ok(value)) = pair {
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    /// Whether the status says that the call succeeded.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
