//! Walking the content blocks of a body: the only places where a marker, a source or a tool may stand.
//!
//! Nothing below `input`, `input_schema` or an unknown member is looked at: that is the caller's data, and what looks
//! like a marker there is none.

use super::doc::Value;

/// Where in the prompt a block stands; the order is the one in which Claude reads a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Tools,
    System,
    Messages,
}

/// A block (or a tool), with the members that rules ask for.
#[derive(Clone, Copy)]
pub(super) struct Block<'d> {
    pub(super) part: Part,
    pub(super) value: Value<'d>,
    /// `type`.
    pub(super) kind: Option<Value<'d>>,
    /// `cache_control`, when it is an object.
    pub(super) marker: Option<Value<'d>>,
    /// `source`, when it is an object.
    pub(super) source: Option<Value<'d>>,
    content: Option<Value<'d>>,
}

impl<'d> Block<'d> {
    fn new(part: Part, value: Value<'d>) -> Self {
        let mut block = Self { part, value, kind: None, marker: None, source: None, content: None };
        for member in value.members() {
            let place = match () {
                () if member.key.is("type") => &mut block.kind,
                () if member.key.is("cache_control") => &mut block.marker,
                () if member.key.is("source") => &mut block.source,
                () if member.key.is("content") => &mut block.content,
                () => continue,
            };
            *place = Some(member.value);
        }
        block.marker = block.marker.filter(Value::is_object);
        block.source = block.source.filter(Value::is_object);
        block
    }

    /// Whether it is an image or a document.
    pub(super) fn is_media(&self) -> bool {
        self.kind.is_some_and(|kind| kind.is("image") || kind.is("document"))
    }
}

/// Every tool, system block and content block, nested content included, in prompt order.
pub(super) fn all(root: Value<'_>) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let items = |name: &str| root.get(name).into_iter().flat_map(|list| list.items());
    blocks.extend(items("tools").map(|tool| Block::new(Part::Tools, tool)));
    blocks.extend(items("system").map(|block| Block::new(Part::System, block)));
    let mut open = Vec::new();
    for message in items("messages") {
        open.extend(message.get("content").into_iter().flat_map(|content| content.items()));
        open.reverse();
        while let Some(value) = open.pop() {
            let block = Block::new(Part::Messages, value);
            blocks.push(block);
            // `tool_result.content`, `search_result.content` and `document.source.content` hold blocks of their own.
            let nested = block.content.or_else(|| block.source?.get("content"));
            let before = open.len();
            open.extend(nested.into_iter().flat_map(|content| content.items()));
            open[before..].reverse();
        }
    }
    blocks
}
