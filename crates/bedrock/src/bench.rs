//! What the benchmarks measure and the fuzzers feed, opened up for them alone. Not part of the API.

use bytes::{Bytes, BytesMut};

use crate::call::Site;
use crate::error::{Error, Kind};
use crate::eventstream::{self, Frame};
use crate::http1::Body;
use crate::sigv4;
use crate::stream::{Found, Framing, find};

/// A key that signs.
pub struct Signer(sigv4::Identity);

impl Signer {
    /// With fixed credentials.
    pub fn new(access_key_id: &str, secret: &str, region: &str) -> Self {
        Self(sigv4::Identity::new(access_key_id.into(), secret.into(), None, region.into()))
    }

    /// Appends the value of the `authorization` header.
    pub fn authorize(&self, path: &str, host: &str, body: &[u8], unix_seconds: u64, out: &mut Vec<u8>) {
        let site = Site::Runtime;
        let content_type = Some("application/json");
        let request = sigv4::Request { site, method: "POST", path, host, content_type, extra: &[], body };
        sigv4::authorize(&self.0, &request, &sigv4::Stamp::from_unix(unix_seconds), out);
    }
}

/// Takes one frame off the front.
pub fn take_frame(bytes: &mut Bytes) -> Result<Option<Frame>, Error> {
    match eventstream::frame_length(bytes)? {
        Some(length) if length <= bytes.len() => eventstream::read(bytes.split_to(length)).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// `content-length`.
    Sized(u64),
    /// `transfer-encoding: chunked`.
    Chunked,
    /// By closing the connection.
    Closed,
}

/// A stream's reader without its connection.
pub struct Frames {
    body: Body,
    buffer: BytesMut,
    framing: Framing,
    scanned: usize,
}

impl Frames {
    /// Of an answer whose head has been read: server-sent events, or frames.
    pub fn new(ending: Ending, sse: bool) -> Self {
        let body = match ending {
            Ending::Sized(length) => Body::sized(length),
            Ending::Chunked => Body::chunked(),
            Ending::Closed => Body::until_close(),
        };
        let framing = if sse { Framing::Sse } else { Framing::EventStream };
        Self { body, buffer: BytesMut::new(), framing, scanned: 0 }
    }

    /// Takes in what one read brought.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.body.advance(&mut self.buffer)
    }

    /// The next frame, if all of it is there.
    pub fn take(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            match find(&mut self.body, &mut self.buffer, self.framing, &mut self.scanned)? {
                Found::Frame(frame) => return Ok(Some(frame)),
                Found::Comment => {}
                Found::End | Found::Missing(_) => return Ok(None),
            }
        }
    }

    /// The connection has ended.
    pub fn close(&mut self) -> Result<(), Error> {
        if self.body.close() { Ok(()) } else { Err(Error::new(Kind::Reset, "the connection ended")) }
    }
}
