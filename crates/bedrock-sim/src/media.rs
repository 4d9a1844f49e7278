//! Images and documents: what their first bytes say, and how large they may be.
//! <https://platform.claude.com/docs/en/build-with-claude/vision>
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::claude_generation::Rule;
use crate::json::Json;

/// Bytes of base64 that one image may have on Bedrock.
const IMAGE_LIMIT: usize = 5 * 1024 * 1024;

/// The format that the bytes have, by their first ones.
pub(crate) fn format_of(base64: &str) -> Option<&'static str> {
    let head = head(base64)?;
    let head = head.as_slice();
    match head {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        [b'%', b'P', b'D', b'F', ..] => Some("pdf"),
        _ => None,
    }
}

fn head(base64: &str) -> Option<Vec<u8>> {
    let end = base64.len().min(32) / 4 * 4;
    STANDARD.decode(base64.get(..end)?).ok()
}

/// Whether the text is base64 all through, without decoding it.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Checks an `image` or `document` block of a Claude body.
pub(crate) fn claude(block: &Json<'_>, path: &str) -> Rule {
    let Some(source) = block.get("source").filter(|source| source.text("type") == Some("base64")) else {
        return Ok(());
    };
    let kind = block.text("type").unwrap_or_default();
    let data = source.text("data").unwrap_or_default();
    let media_type = source.text("media_type").unwrap_or_default();
    let path = format!("{path}.{kind}.source.base64");
    if data.is_empty() || !is_base64(data) {
        return Err(format!("{path}.data: Invalid base64 data"));
    }
    if kind == "document" {
        return if format_of(data) == Some("pdf") {
            Ok(())
        } else {
            Err(format!("{path}.data: The PDF specified was not valid."))
        };
    }
    if data.len() > IMAGE_LIMIT {
        return Err(format!(
            "{path}: image exceeds 5 MB maximum: {} bytes > {IMAGE_LIMIT} bytes",
            data.len()
        ));
    }
    match format_of(data) {
        Some(format) if media_type.strip_prefix("image/") == Some(format) => Ok(()),
        Some(format) if format != "pdf" => Err(format!(
            "{path}.data: The image was specified using the {media_type} media type, but the image appears to be a \
             image/{format} image"
        )),
        _ => Err(format!("{path}.data: Could not process image")),
    }
}
