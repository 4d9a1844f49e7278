//! Blank text, which no Claude takes ("text content blocks must be non-empty"): it leaves, and the turn of which nothing
//! is left with it. Clients write it when a tool prints nothing, and keep it in their history for good.

use super::cache;
use super::doc::Value;
use super::request::Work;
use crate::outcome::reason;

/// What a user turn says of which nothing is left: the roles would be out of order without it.
const EMPTY: &str = "\"(empty)\"";

/// Takes blank text out of the system prompt and of the turns of both sides. Runs after everything that moves blocks.
pub(super) fn edit(work: &mut Work<'_, '_>) {
    if let Some(system) = work.root.member("system") {
        if is_blank(system.value) {
            work.leave_out(system, reason::BLANK);
        } else if blocks(work, system.value) {
            work.edits.remove(work.root, system.key);
        }
    }
    let Some(messages) = work.root.get("messages") else { return };
    for message in messages.items() {
        let user = message.get("role").is_some_and(|role| role.is("user"));
        if user || message.get("role").is_some_and(|role| role.is("assistant")) {
            turn(work, messages, message, user);
        }
    }
}

fn turn<'d>(work: &mut Work<'d, '_>, messages: Value<'d>, message: Value<'d>, user: bool) {
    let Some(content) = message.get("content") else { return };
    let results =
        content.items().filter(|block| block.get("type").is_some_and(|kind| kind.is("tool_result")));
    for result in results.filter_map(|result| result.get("content")) {
        // A result may be empty.
        blocks(work, result);
    }
    if is_blank(content) {
        work.losses.add(content, reason::BLANK);
    } else if !blocks(work, content) {
        return;
    }
    if !user {
        work.edits.remove(messages, message);
    } else if content.is_array() {
        work.edits.append(content, format!("{{\"type\":\"text\",\"text\":{EMPTY}}}"));
    } else {
        work.edits.replace(content, EMPTY);
    }
}

/// Takes blank text blocks out of a list; true when it is a list and nothing is left of it.
fn blocks<'d>(work: &mut Work<'d, '_>, list: Value<'d>) -> bool {
    let (mut before, mut nothing) = (None, list.items().next().is_none());
    for block in list.items().filter(Value::is_object) {
        if !block.get("text").is_some_and(is_blank) || !block.get("type").is_some_and(|kind| kind.is("text"))
        {
            if !work.edits.is_removed(list, block) {
                before = Some(block);
            }
            continue;
        }
        work.losses.add(block, reason::BLANK);
        work.edits.remove(list, block);
        nothing = true;
        let Some(marker) = cache::moving(&work.markers, block) else { continue };
        match before.take().filter(takes_marker) {
            Some(before) => work.edits.append(before, format!("\"cache_control\":{marker}")),
            None => work.losses.add(block.get("cache_control").unwrap_or(block), reason::BLANK),
        }
    }
    nothing && list.is_array() && work.edits.kept(list) == 0
}

/// Whether a block can take over a marker: reasoning cannot carry one.
fn takes_marker(block: &Value<'_>) -> bool {
    let thinks = |kind: Value<'_>| kind.is("thinking") || kind.is("redacted_thinking");
    block.get("cache_control").is_none() && !block.get("type").is_some_and(thinks)
}

/// Whether it is a text of nothing but white space. Code often begins with some: no more is looked at than is needed.
fn is_blank(text: Value<'_>) -> bool {
    if !text.is_string() {
        return false;
    }
    let mut rest = text.inner();
    while let Some(first) = rest.chars().next() {
        rest = match rest.as_bytes() {
            [b'\\', b'n' | b't' | b'r' | b'f', ..] => &rest[2..],
            [b'\\', b'u', ..] => return text.str().is_some_and(|text| text.trim().is_empty()),
            _ if first.is_whitespace() => &rest[first.len_utf8()..],
            _ => return false,
        };
    }
    true
}
