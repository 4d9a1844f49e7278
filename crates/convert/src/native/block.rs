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

/// Calls `visit` for every tool, system block and content block, nested content included, in prompt order.
pub(super) fn each<'d>(root: Value<'d>, visit: &mut impl FnMut(Part, Value<'d>)) {
    for tool in root.get("tools").into_iter().flat_map(|tools| tools.items()) {
        visit(Part::Tools, tool);
    }
    for block in root.get("system").into_iter().flat_map(|system| system.items()) {
        visit(Part::System, block);
    }
    for message in root.get("messages").into_iter().flat_map(|messages| messages.items()) {
        within(message, &mut |block| visit(Part::Messages, block));
    }
}

/// Calls `visit` for every block of one message.
pub(super) fn within<'d>(message: Value<'d>, visit: &mut impl FnMut(Value<'d>)) {
    let Some(content) = message.get("content") else { return };
    let mut open: Vec<Value<'d>> = content.items().collect();
    open.reverse();
    while let Some(block) = open.pop() {
        visit(block);
        // `tool_result.content`, `search_result.content` and `document.source.content` hold blocks of their own.
        let nested = block.get("content").or_else(|| block.get("source")?.get("content"));
        let before = open.len();
        open.extend(nested.into_iter().flat_map(|content| content.items()));
        open[before..].reverse();
    }
}
