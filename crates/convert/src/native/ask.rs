//! What the policy and the router want to know of a request, from the tape that was made anyway.

use std::borrow::Cow;

use super::block::{self, Block};
use super::doc::{Doc, Value};
use super::request::refusal;
use crate::Refusal;

/// A request in brief; valid for both lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask<'d> {
    /// The model as the caller named it.
    pub model: Cow<'d, str>,
    /// Whether events are wanted.
    pub stream: bool,
    /// `max_tokens`, where it is a whole number.
    pub max_tokens: Option<u64>,
    /// Number of messages.
    pub messages: u32,
    /// Number of tools.
    pub tools: u32,
    /// Cache markers.
    pub cache_markers: u32,
    /// Whether one of them asks for an hour.
    pub cache_1h: bool,
    /// Images, those inside tool results included.
    pub images: u32,
    /// Documents.
    pub documents: u32,
    /// `url` sources of images and documents, each once.
    pub urls: Vec<Cow<'d, str>>,
    /// Upper estimate of the input, in tokens.
    pub input_estimate: u64,
    /// Whether thinking is asked for.
    pub thinking: bool,
    /// Whether an output format is asked for.
    pub structured_output: bool,
    /// `service_tier`, as written.
    pub service_tier: Option<Cow<'d, str>>,
}

/// Bytes of JSON that make a token, at the least: prose has four to five, code and escapes about three.
const BYTES_PER_TOKEN: usize = 3;
/// What an image costs at most: <https://platform.claude.com/docs/en/build-with-claude/vision>.
const TOKENS_PER_IMAGE: u64 = 1600;
/// A page of a document is some tens of kilobytes of base64 and at most 3000 tokens of text and picture.
const DOCUMENT_BYTES_PER_TOKEN: usize = 24;

/// Reads the brief of a body; without a model there is nothing to route.
pub fn peek<'d>(doc: &'d Doc<'_>) -> Result<Ask<'d>, Refusal> {
    let root = doc.root();
    if !root.is_object() {
        return Err(refusal("", "Input should be a valid JSON object"));
    }
    let model = root.get("model").ok_or_else(|| refusal("model", "Field required"))?;
    let model = model.str().ok_or_else(|| refusal("model", "Input should be a valid string"))?;
    let count = |name: &str| {
        let list = root.get(name).into_iter().flat_map(|list| list.items());
        u32::try_from(list.count()).unwrap_or(u32::MAX)
    };
    let config = root.get("output_config");
    let mut ask = Ask {
        model,
        stream: root.get("stream").is_some_and(|stream| stream.is_true()),
        max_tokens: root.get("max_tokens").and_then(|value| value.u64()),
        messages: count("messages"),
        tools: count("tools"),
        thinking: root.get("thinking").is_some_and(thinks),
        structured_output: config.is_some_and(|config| config.get("format").is_some())
            || root.get("output_format").is_some_and(|format| format.is_object()),
        service_tier: root.get("service_tier").and_then(|tier| tier.str()),
        ..Ask::default()
    };
    let mut data = 0;
    for block in block::all(root) {
        look(&mut ask, &mut data, &block);
    }
    // The schema of an answer is read too.
    let prose = ["system", "tools", "messages", "output_config", "output_format"]
        .iter()
        .filter_map(|name| root.get(name));
    let prose: usize = prose.map(|value| value.raw().len()).sum();
    let tokens = prose.saturating_sub(data) / BYTES_PER_TOKEN;
    ask.input_estimate += tokens as u64 + 1 + u64::from(ask.images) * TOKENS_PER_IMAGE;
    Ok(ask)
}

fn thinks(thinking: Value<'_>) -> bool {
    thinking.get("type").is_some_and(|kind| !kind.is("disabled"))
}

/// Counts one block; `data` gathers the bytes of media, which are not prose.
fn look<'d>(ask: &mut Ask<'d>, data: &mut usize, block: &Block<'d>) {
    if let Some(marker) = block.marker {
        ask.cache_markers += 1;
        ask.cache_1h |= marker.get("ttl").is_some_and(|ttl| ttl.is("1h"));
    }
    if !block.is_media() {
        return;
    }
    let document = block.kind.is_some_and(|kind| kind.is("document"));
    ask.images += u32::from(!document);
    ask.documents += u32::from(document);
    let Some(source) = block.source else { return };
    if source.get("type").is_some_and(|kind| kind.is("url")) {
        let url = source.get("url").and_then(|url| url.str()).filter(|url| !ask.urls.contains(url));
        ask.urls.extend(url);
    }
    if source.get("type").is_some_and(|kind| kind.is("base64")) {
        let bytes = source.get("data").map_or(0, |payload| payload.raw().len());
        *data += bytes;
        if document {
            ask.input_estimate += (bytes / DOCUMENT_BYTES_PER_TOKEN) as u64;
        }
    }
}
