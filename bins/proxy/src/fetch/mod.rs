//! Images and documents that a request names by URL, fetched for models that take bytes alone.
//!
//! Every hop goes the same way: `target` takes the URL apart, looks its host up and refuses what is not public;
//! `exchange` connects to those very addresses. What came is judged by its bytes, not by what the server calls it.

mod address;
mod exchange;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use base64_simd::STANDARD;
use convert::native::Fetched;
use futures::future::try_join_all;

use crate::error::{ApiError, Kind};
use crate::gateway::Held;
use crate::settings::Settings;
use target::Target;

/// Followed for one URL.
const MOST_REDIRECTS: usize = 3;
/// Fetched at once for one request.
const AT_ONCE: usize = 4;
/// Of one request; more pictures no model takes.
const MOST_URLS: usize = 100;

/// Why a URL was not fetched: the caller's business, unless the gateway itself is out of room.
#[derive(Debug)]
enum Fault {
    Media(Cow<'static, str>),
    Gateway(ApiError),
}

impl Fault {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Media(reason.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Media(reason) => f.write_str(reason),
            Self::Gateway(error) => f.write_str(&error.message),
        }
    }
}

/// The room that one request's media may take.
struct Room<'a> {
    /// Most bytes of one of them.
    most: usize,
    /// Bytes left for all of them together, as large as a body may be.
    left: AtomicUsize,
    limit: usize,
    held: Mutex<&'a mut Held>,
}

impl Room<'_> {
    /// Whether something of this length may be read.
    fn fits(&self, length: usize) -> Result<(), Fault> {
        let most = self.most;
        let too_large = || Fault::new(format!("it is larger than {most} bytes (IMAGE_URL_FETCH_MAX_BYTES)"));
        if length > most { Err(too_large()) } else { Ok(()) }
    }

    /// Takes room for bytes that came.
    fn take(&self, bytes: usize) -> Result<(), Fault> {
        // In base64, as it will stand in the body.
        let bytes = bytes.div_ceil(3) * 4;
        let left = |left: usize| left.checked_sub(bytes);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
            return Err(Fault::Gateway(crate::messages::too_large(self.limit)));
        }
        self.held.lock().unwrap_or_else(PoisonError::into_inner).body(bytes).map_err(Fault::Gateway)
    }
}

/// Fetches what stands behind the URLs of one request. `length` is that of its body.
pub(crate) async fn all(
    settings: &Settings,
    urls: &[Cow<'_, str>],
    length: usize,
    held: &mut Held,
) -> Result<Vec<Fetched>, ApiError> {
    let own = &settings.fetching;
    if urls.len() > MOST_URLS {
        let message = format!("at most {MOST_URLS} images and documents are fetched for one request");
        return Err(ApiError::new(Kind::Invalid, message));
    }
    let limit = settings.limits.max_body_bytes;
    let left = AtomicUsize::new(limit.saturating_sub(length));
    let room = Room { most: own.fetch_max_bytes, left, limit, held: Mutex::new(held) };
    let fetching = async {
        let mut fetched = Vec::with_capacity(urls.len());
        for few in urls.chunks(AT_ONCE) {
            fetched.extend(try_join_all(few.iter().map(|url| one(settings, url, &room))).await?);
        }
        Ok(fetched)
    };
    tokio::time::timeout(own.fetch_timeout.0, fetching).await.unwrap_or_else(|_| {
        let seconds = own.fetch_timeout.0.as_secs_f32();
        let message = format!(
            "the images and documents behind URLs did not arrive within {seconds} seconds (IMAGE_URL_FETCH_TIMEOUT_S)"
        );
        Err(ApiError::new(Kind::Invalid, message))
    })
}

async fn one(settings: &Settings, url: &str, room: &Room<'_>) -> Result<Fetched, ApiError> {
    match hops(settings, url, room).await {
        Ok((media_type, bytes)) => {
            let (url, media_type) = (url.to_owned(), media_type.to_owned());
            Ok(Fetched { url, media_type, data: STANDARD.encode_to_string(bytes) })
        }
        Err(Fault::Gateway(error)) => Err(error),
        Err(Fault::Media(reason)) => {
            // The whole of it may be long, and a signed URL is a secret: its beginning tells which one it is.
            let shown: String = url.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
            Err(ApiError::new(Kind::Invalid, format!("the URL {shown:?} could not be fetched: {reason}")))
        }
    }
}

async fn hops(settings: &Settings, url: &str, room: &Room<'_>) -> Result<(&'static str, Vec<u8>), Fault> {
    let mut target = Target::parse(url)?;
    for _ in 0..=MOST_REDIRECTS {
        let addresses = target.addresses(&settings.fetching.fetch_hosts).await?;
        let answer = exchange::get(&target, &addresses).await?;
        match (answer.status, &answer.location) {
            (200, _) => {
                let body = answer.body(room).await?;
                let kind = media_type(&body)
                    .ok_or_else(|| Fault::new("its bytes are no PNG, JPEG, GIF, WebP or PDF"))?;
                return Ok((kind, body));
            }
            (301 | 302 | 303 | 307 | 308, Some(location)) => target = target.follow(location)?,
            (status, _) => return Err(Fault::new(format!("its server answered with status {status}"))),
        }
    }
    Err(Fault::new(format!("it redirects more than {MOST_REDIRECTS} times")))
}

/// What the bytes are, by how they begin.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("application/pdf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::media_type;

    #[test]
    fn the_bytes_say_what_it_is() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n..."), Some("image/png"));
        assert_eq!(media_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(media_type(b"GIF89a"), Some("image/gif"));
        assert_eq!(media_type(b"RIFF1234WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type(b"%PDF-1.7"), Some("application/pdf"));
        for other in [
            &b""[..],
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"RIFF1234WAVE",
            b"GIF88a",
            b"PK\x03\x04",
        ] {
            assert_eq!(media_type(other), None);
        }
    }
}
