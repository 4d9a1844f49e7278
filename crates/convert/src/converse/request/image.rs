//! Images.

use std::borrow::Cow;

use protocol::anthropic::request::{Base64Source, ImageSource};
use protocol::converse::request::{Bytes, ImageBlock, ToolResultContent};

use super::context::{At, Context};
use crate::Refusal;
use crate::outcome::reason;

/// Wording that clients know: they replace the image by a text and go on.
const NOT_PROCESSED: &str = "Could not process";

/// Why a URL is not fetched here.
pub(super) const NO_FETCH: &str = "`url` sources are only fetched when the gateway runs with ENABLE_IMAGE_URL_FETCH=true; send the content as base64";

/// Why a file id means nothing here.
pub(super) const NO_FILES: &str =
    "`file` sources are not supported by this gateway; send the content as base64";

/// An image, in the format that its bytes have, whatever the caller calls it.
pub(super) fn image<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    source: &'a ImageSource<'_>,
) -> Result<ToolResultContent<'a>, Refusal> {
    if !ctx.rules.vision {
        return unseen(ctx, at, "image");
    }
    let at = at.key("source");
    match source {
        ImageSource::Base64(source) => {
            let bytes = base64(at, source)?;
            let Some(format) = format(&bytes, &source.media_type) else {
                let message = format!("{NOT_PROCESSED} image: '{}' is not supported", source.media_type);
                return Err(at.key("media_type").refuse(message));
            };
            Ok(ToolResultContent::Image(ImageBlock { format, source: Bytes { bytes } }))
        }
        ImageSource::Url(_) => Err(at.refuse(NO_FETCH)),
        ImageSource::File(_) => Err(at.refuse(NO_FILES)),
        ImageSource::Unknown(_) => Err(at.key("type").refuse("Input should be 'base64', 'url' or 'file'")),
    }
}

/// Media for a model that does not see it: refused where it is what the caller asks about, told elsewhere.
pub(super) fn unseen<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    what: &str,
) -> Result<ToolResultContent<'a>, Refusal> {
    if ctx.asking {
        return Err(at.refuse(format!("{NOT_PROCESSED} {what}: {} takes no {what}s", ctx.rules.display_name)));
    }
    ctx.lose(at, reason::UNSEEN);
    let text = format!("(an attached {what} stood here; this model cannot see it)");
    Ok(ToolResultContent::Text(Cow::Owned(text)))
}

/// The data without line breaks, checked: the upstream's message for bad base64 names no field.
pub(super) fn base64<'a>(at: At<'_>, source: &'a Base64Source<'_>) -> Result<Cow<'a, str>, Refusal> {
    let data = if source.data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        Cow::Owned(source.data.split_ascii_whitespace().collect())
    } else {
        Cow::Borrowed(&*source.data)
    };
    if data.is_empty() || base64_simd::STANDARD.check(data.as_bytes()).is_err() {
        return Err(at.key("base64").refuse("invalid base64 data"));
    }
    Ok(data)
}

/// The first bytes of base64 data.
pub(crate) fn head(data: &str) -> Vec<u8> {
    let start = data.as_bytes().get(..64).unwrap_or(data.as_bytes());
    base64_simd::STANDARD.decode_to_vec(start).unwrap_or_default()
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(crate) fn format(data: &str, media_type: &str) -> Option<&'static str> {
    let head = head(data);
    if head.starts_with(b"\x89PNG") {
        return Some("png");
    }
    if head.starts_with(b"\xff\xd8\xff") {
        return Some("jpeg");
    }
    if head.starts_with(b"GIF8") {
        return Some("gif");
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Some("webp");
    }
    let text = head.trim_ascii_start();
    if text.starts_with(b"<svg") || text.starts_with(b"<?xml") || text.starts_with(b"<!--") {
        return None;
    }
    // Bytes that say nothing: the upstream judges them by the name they were given.
    match essence(media_type).as_str() {
        "image/png" => Some("png"),
        "image/jpeg" | "image/jpg" => Some("jpeg"),
        "image/gif" => Some("gif"),
        "image/webp" => Some("webp"),
        _ => None,
    }
}
