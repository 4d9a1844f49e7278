//! What the benchmarks measure, opened up for them alone. Not part of the API.

use bytes::Bytes;

use crate::call::Site;
use crate::error::Error;
use crate::eventstream::{self, Frame};
use crate::sigv4;

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
