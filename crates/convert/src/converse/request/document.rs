//! Documents and their names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use protocol::anthropic::request::{Block, Content, ContentSource, DocumentBlock, DocumentSource};
use protocol::converse::request::{
    Citations, DocumentBlock as Document, DocumentSource as Source, TextChunk, ToolResultContent,
};

use super::context::{At, Context, is_blank};
use super::image;
use crate::Refusal;
use crate::outcome::reason;

/// Longest name of Converse is 200; the rest is room for a number.
const LONGEST_NAME: usize = 190;

/// The names that documents have so far. Numbers follow the order of appearance, so that a name stays what it was
/// when the conversation grows.
#[derive(Default)]
pub(super) struct Titles {
    used: HashSet<String>,
    last: HashMap<String, u32>,
}

impl Titles {
    fn name(&mut self, title: Option<&str>) -> String {
        let (base, mut name) = match title.map(neutral).filter(|base| !base.is_empty()) {
            Some(base) => (base.clone(), base),
            None => ("document".to_owned(), "document-1".to_owned()),
        };
        let last = self.last.entry(base.clone()).or_insert(1);
        while !self.used.insert(name.clone()) {
            *last += 1;
            name = format!("{base}-{last}");
        }
        name
    }
}

/// Letters, digits, hyphens, round and square brackets, single spaces.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>
fn neutral(title: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-()[]".contains(c);
    let mapped: String = title
        .chars()
        .map(|c| {
            if legal(c) {
                c
            } else if c.is_whitespace() {
                ' '
            } else {
                '-'
            }
        })
        .collect();
    let mut name = mapped.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    name.truncate(LONGEST_NAME);
    name.trim_end().to_owned()
}

/// A document, or what a model without documents can read of it.
pub(super) fn parts<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a DocumentBlock<'_>,
    out: &mut Vec<ToolResultContent<'a>>,
) -> Result<(), Refusal> {
    ctx.lose_extra(at, &block.extra);
    let at_source = at.key("source");
    match &block.source {
        DocumentSource::Base64(source) if ctx.rules.documents => {
            let bytes = image::base64(at_source, source)?;
            let Some(format) = format(&bytes, &source.media_type) else {
                let message = format!("'{}' is not supported", source.media_type);
                return Err(at_source.key("media_type").refuse(message));
            };
            out.push(document(ctx, at, block, format, Source::Bytes(bytes)));
            Ok(())
        }
        DocumentSource::Base64(_) => {
            out.push(image::unseen(ctx, at, "document")?);
            Ok(())
        }
        DocumentSource::Text(source) => {
            text(ctx, at, block, Cow::Borrowed(&*source.data), out);
            Ok(())
        }
        DocumentSource::Content(source) => content(ctx, at, block, source, out),
        DocumentSource::Url(_) => Err(at_source.refuse(image::NO_FETCH)),
        DocumentSource::File(_) => Err(at_source.refuse(image::NO_FILES)),
        DocumentSource::Unknown(_) => {
            Err(at_source.key("type").refuse("Input should be 'base64', 'text', 'content', 'url' or 'file'"))
        }
    }
}

fn wants_citations(block: &DocumentBlock<'_>) -> bool {
    block.citations.as_ref().and_then(|citations| citations.enabled) == Some(true)
}

fn document<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a DocumentBlock<'_>,
    format: &'static str,
    source: Source<'a>,
) -> ToolResultContent<'a> {
    let cited = wants_citations(block);
    if cited && !ctx.is_claude() {
        ctx.lose(at.key("citations"), reason::NOT_TAKEN);
    }
    ToolResultContent::Document(Box::new(Document {
        format,
        name: ctx.titles.name(block.title.as_deref()),
        source,
        context: block.context.as_deref().filter(|context| !is_blank(context)).map(Cow::Borrowed),
        citations: (cited && ctx.is_claude()).then_some(Citations { enabled: true }),
    }))
}

/// A document of plain text. `source.text` serves citations; as bytes every model with documents reads it, and a
/// model without documents gets the text itself.
fn text<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a DocumentBlock<'_>,
    data: Cow<'a, str>,
    out: &mut Vec<ToolResultContent<'a>>,
) {
    if is_blank(&data) {
        ctx.lose(at.key("source"), reason::BLANK);
        return;
    }
    if !ctx.rules.documents {
        let head = [&block.title, &block.context].into_iter().flatten();
        let lines: Vec<&str> = head.map(|line| &**line).chain([&*data]).collect();
        out.push(ToolResultContent::Text(Cow::Owned(lines.join("\n\n"))));
        return;
    }
    let source = if wants_citations(block) && ctx.is_claude() {
        Source::Text(data)
    } else {
        Source::Bytes(Cow::Owned(base64_simd::STANDARD.encode_to_string(data.as_bytes())))
    };
    out.push(document(ctx, at, block, "txt", source));
}

/// A document made of blocks: its texts are the document, its images stand beside it.
fn content<'a>(
    ctx: &mut Context<'a>,
    at: At<'_>,
    block: &'a DocumentBlock<'_>,
    source: &'a ContentSource<'_>,
    out: &mut Vec<ToolResultContent<'a>>,
) -> Result<(), Refusal> {
    let blocks = match &source.content {
        Content::Absent => &[],
        Content::Text(data) => {
            text(ctx, at, block, Cow::Borrowed(&**data), out);
            return Ok(());
        }
        Content::Blocks(blocks) => blocks.as_slice(),
    };
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (index, inner) in blocks.iter().enumerate() {
        let (outer, list) = (at.key("source"), "content");
        let outer = outer.key(list);
        let at = outer.index(index);
        match inner {
            Block::Text(inner) if !is_blank(&inner.text) => texts.push(&*inner.text),
            Block::Image(inner) => images.push(image::image(ctx, at, &inner.source)?),
            _ => ctx.lose(at, reason::NO_PLACE),
        }
    }
    if wants_citations(block) && ctx.is_claude() && ctx.rules.documents && !texts.is_empty() {
        let chunks = texts.into_iter().map(|text| TextChunk { text: Cow::Borrowed(text) }).collect();
        out.push(document(ctx, at, block, "txt", Source::Content(chunks)));
    } else {
        text(ctx, at, block, Cow::Owned(texts.join("\n\n")), out);
    }
    out.append(&mut images);
    Ok(())
}

fn format(data: &str, media_type: &str) -> Option<&'static str> {
    if image::head(data).starts_with(b"%PDF") {
        return Some("pdf");
    }
    match image::essence(media_type).as_str() {
        "application/pdf" => Some("pdf"),
        "text/csv" => Some("csv"),
        "text/html" => Some("html"),
        "text/markdown" => Some("md"),
        "application/msword" => Some("doc"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => Some("docx"),
        "application/vnd.ms-excel" => Some("xls"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Some("xlsx"),
        "application/json" => Some("txt"),
        other if other.starts_with("text/") => Some("txt"),
        _ => None,
    }
}
