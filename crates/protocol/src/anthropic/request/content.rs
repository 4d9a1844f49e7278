//! What messages are made of.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::CacheControl;
use crate::raw::{Absent, Fault, Object, Raw, Read, Shape, open_object, tagged_union};

/// A message's content, or that of a tool result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content<'a> {
    /// Not there.
    #[default]
    Absent,
    /// Plain text, which means one text block.
    Text(Cow<'a, str>),
    /// Blocks.
    Blocks(Vec<Block<'a>>),
}

impl<'a> Read<'a> for Content<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Other(serde_json::Value::Null) => Ok(Self::Absent),
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(_) => Vec::from_shape(shape).map(Self::Blocks),
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }

    fn absent() -> Result<Self, Fault> {
        Ok(Self::Absent)
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Blocks(blocks) => blocks.serialize(serializer),
        }
    }
}

impl Absent for Content<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The system prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum System<'a> {
    /// Plain text.
    Text(Cow<'a, str>),
    /// Text blocks.
    Blocks(Vec<TextBlock<'a>>),
}

impl<'a> Read<'a> for System<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(list) => {
                list.into_iter().enumerate().map(system_block).collect::<Result<_, _>>().map(Self::Blocks)
            }
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }
}

fn system_block((index, shape): (usize, Shape<'_>)) -> Result<TextBlock<'_>, Fault> {
    match Block::from_shape(shape).map_err(|fault| fault.within(index))? {
        Block::Text(text) => Ok(text),
        _ => Err(Fault::here("Input should be 'text'").within("type").within(index)),
    }
}

impl Serialize for System<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Blocks(blocks) => blocks.serialize(serializer),
        }
    }
}

impl Absent for System<'_> {}

tagged_union! {
    /// A content block. Results of server tools that are carried as they came are `Unknown`.
    Block {
        /// Text.
        Text(TextBlock<'a>) = "text",
        /// An image.
        Image(ImageBlock<'a>) = "image",
        /// A document.
        Document(DocumentBlock<'a>) = "document",
        /// A search result to cite from.
        SearchResult(SearchResultBlock<'a>) = "search_result",
        /// Thinking of an earlier turn.
        Thinking(ThinkingBlock<'a>) = "thinking",
        /// Encrypted thinking of an earlier turn.
        RedactedThinking(RedactedThinkingBlock<'a>) = "redacted_thinking",
        /// A call of a tool that the caller runs.
        ToolUse(ToolUseBlock<'a>) = "tool_use",
        /// What the tool gave back.
        ToolResult(ToolResultBlock<'a>) = "tool_result",
        /// A deferred tool, to be loaded. Stands in tool results.
        ToolReference(ToolReferenceBlock<'a>) = "tool_reference",
        /// A call of a tool that a server runs.
        ServerToolUse(ServerToolUseBlock<'a>) = "server_tool_use",
        /// What a tool search found.
        ToolSearchResult(ToolSearchResultBlock<'a>) = "tool_search_tool_result",
    }
}

open_object! {
    /// Text.
    TextBlock tag "text" {
        /// The text.
        text: Cow<'a, str> = "text",
        /// What the text cites, echoed from an answer.
        citations: Option<Raw<'a>> = "citations",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// An image.
    ImageBlock tag "image" {
        /// Where it is.
        source: ImageSource<'a> = "source",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

tagged_union! {
    /// Where an image is.
    ImageSource {
        /// Here, in base64.
        Base64(Base64Source<'a>) = "base64",
        /// Behind a URL.
        Url(UrlSource<'a>) = "url",
        /// Among uploaded files.
        File(FileSource<'a>) = "file",
    }
}

open_object! {
    /// Bytes in base64.
    Base64Source tag "base64" {
        /// What the caller says they are.
        media_type: Cow<'a, str> = "media_type",
        /// The bytes.
        data: Cow<'a, str> = "data",
    }
}

open_object! {
    /// Something behind a URL.
    UrlSource tag "url" {
        /// The URL.
        url: Cow<'a, str> = "url",
    }
}

open_object! {
    /// An uploaded file.
    FileSource tag "file" {
        /// Its id.
        file_id: Cow<'a, str> = "file_id",
    }
}

open_object! {
    /// Plain text as a document.
    TextSource tag "text" {
        /// `text/plain`.
        media_type: Option<Cow<'a, str>> = "media_type",
        /// The text.
        data: Cow<'a, str> = "data",
    }
}

open_object! {
    /// Blocks as a document.
    ContentSource tag "content" {
        /// Text, or text and image blocks.
        content: Content<'a> = "content",
    }
}

open_object! {
    /// A document.
    DocumentBlock tag "document" {
        /// Where it is.
        source: DocumentSource<'a> = "source",
        /// Its name.
        title: Option<Cow<'a, str>> = "title",
        /// What the model should know of it, beside its content.
        context: Option<Cow<'a, str>> = "context",
        /// Whether the answer may cite it.
        citations: Option<CitationsConfig<'a>> = "citations",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

tagged_union! {
    /// Where a document is.
    DocumentSource {
        /// Here, in base64.
        Base64(Base64Source<'a>) = "base64",
        /// Here, as text.
        Text(TextSource<'a>) = "text",
        /// Here, as blocks.
        Content(ContentSource<'a>) = "content",
        /// Behind a URL.
        Url(UrlSource<'a>) = "url",
        /// Among uploaded files.
        File(FileSource<'a>) = "file",
    }
}

open_object! {
    /// Whether the answer may cite.
    CitationsConfig {
        /// It may.
        enabled: Option<bool> = "enabled",
    }
}

open_object! {
    /// A search result to cite from.
    SearchResultBlock tag "search_result" {
        /// Where it comes from.
        source: Cow<'a, str> = "source",
        /// Its title.
        title: Cow<'a, str> = "title",
        /// Its text.
        content: Vec<TextBlock<'a>> = "content",
        /// Whether the answer may cite it.
        citations: Option<CitationsConfig<'a>> = "citations",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// Thinking of an earlier turn.
    ThinkingBlock tag "thinking" {
        /// The text; empty where it was not shown.
        thinking: Cow<'a, str> = "thinking",
        /// What proves it unchanged; empty or absent where the model gave none.
        signature: Option<Cow<'a, str>> = "signature",
    }
}

open_object! {
    /// Encrypted thinking of an earlier turn.
    RedactedThinkingBlock tag "redacted_thinking" {
        /// The blob.
        data: Cow<'a, str> = "data",
    }
}

open_object! {
    /// A call of a tool that the caller runs.
    ToolUseBlock tag "tool_use" {
        /// Its id.
        id: Cow<'a, str> = "id",
        /// The tool.
        name: Cow<'a, str> = "name",
        /// The input, as the model wrote it.
        input: Object<'a> = "input",
        /// Who called: the model, or code that it wrote.
        caller: Option<Raw<'a>> = "caller",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// What a tool gave back.
    ToolResultBlock tag "tool_result" {
        /// The call it answers.
        tool_use_id: Cow<'a, str> = "tool_use_id",
        /// Text, or blocks.
        content: Content<'a> = "content",
        /// Whether the tool failed.
        is_error: Option<bool> = "is_error",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A deferred tool, to be loaded.
    ToolReferenceBlock tag "tool_reference" {
        /// The tool.
        tool_name: Cow<'a, str> = "tool_name",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A call of a tool that a server runs.
    ServerToolUseBlock tag "server_tool_use" {
        /// Its id.
        id: Cow<'a, str> = "id",
        /// The tool.
        name: Cow<'a, str> = "name",
        /// The input.
        input: Object<'a> = "input",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// What a tool search found.
    ToolSearchResultBlock tag "tool_search_tool_result" {
        /// The call it answers.
        tool_use_id: Cow<'a, str> = "tool_use_id",
        /// An error, or the references.
        content: Raw<'a> = "content",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

/// The marker that every block but thinking may carry.
impl<'a> Block<'a> {
    /// The block's cache marker.
    pub fn cache_control(&self) -> Option<&CacheControl<'a>> {
        match self {
            Self::Text(block) => block.cache_control.as_ref(),
            Self::Image(block) => block.cache_control.as_ref(),
            Self::Document(block) => block.cache_control.as_ref(),
            Self::SearchResult(block) => block.cache_control.as_ref(),
            Self::ToolUse(block) => block.cache_control.as_ref(),
            Self::ToolResult(block) => block.cache_control.as_ref(),
            Self::ToolReference(block) => block.cache_control.as_ref(),
            Self::ServerToolUse(block) => block.cache_control.as_ref(),
            Self::ToolSearchResult(block) => block.cache_control.as_ref(),
            Self::Thinking(_) | Self::RedactedThinking(_) | Self::Unknown(_) => None,
        }
    }
}
