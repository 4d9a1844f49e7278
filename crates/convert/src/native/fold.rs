//! System messages in the middle of a conversation, for models that do not take them: their text moves into the
//! neighbouring user turn, marked as a reminder, and never between a tool call and its result.

use std::collections::BTreeMap;

use super::cache;
use super::doc::{Kind, Value};
use super::reason;
use super::request::Work;

const OPEN: &str = "<system-reminder>\\n";
const CLOSE: &str = "\\n</system-reminder>";

/// Blocks that enter a user turn, before and behind its own.
#[derive(Default)]
struct Entering {
    before: Vec<String>,
    behind: Vec<String>,
}

/// Folds every system message.
pub(super) fn system<'d>(work: &mut Work<'d, '_>, messages: Value<'d>) {
    let all: Vec<Value<'d>> =
        messages.items().filter(|message| !work.edits.is_removed(messages, *message)).collect();
    let mut entering: BTreeMap<usize, Entering> = BTreeMap::new();
    let mut at = 0;
    while at < all.len() {
        let run = all[at..].iter().take_while(|message| is(message, "system")).count();
        if run == 0 {
            at += 1;
            continue;
        }
        let blocks: Vec<String> =
            all[at..at + run].iter().flat_map(|message| reminders(work, *message)).collect();
        let before = at.checked_sub(1).filter(|index| is(&all[*index], "user"));
        let behind = Some(at + run).filter(|index| all.get(*index).is_some_and(|next| is(next, "user")));
        let mut leaving = &all[at..at + run];
        if blocks.is_empty() {
            // Nothing was said.
        } else if let Some(index) = before {
            entering.entry(index).or_default().behind.extend(blocks);
        } else if let Some(index) = behind {
            let place = entering.entry(index).or_default();
            // Results must stand first in the turn behind a call.
            let list = if answers(&all[index]) { &mut place.behind } else { &mut place.before };
            list.extend(blocks);
        } else if let Some((own, rest)) = leaving.split_first() {
            work.edits.replace(*own, format!("{{\"role\":\"user\",\"content\":[{}]}}", blocks.join(",")));
            leaving = rest;
        }
        for message in leaving {
            work.edits.remove(messages, *message);
        }
        at += run;
    }
    for (index, Entering { before, behind }) in entering {
        if let Some(content) = all[index].get("content") {
            enter(work, content, before, behind);
        }
    }
}

fn is(message: &Value<'_>, role: &str) -> bool {
    message.get("role").is_some_and(|own| own.is(role))
}

/// Whether a user turn answers a tool call.
fn answers(message: &Value<'_>) -> bool {
    let content = message.get("content");
    let mut blocks = content.into_iter().flat_map(|content| content.items());
    blocks.any(|block| block.get("type").is_some_and(|kind| kind.is("tool_result")))
}

/// The texts of a system message as blocks of a user turn; markers go with them.
fn reminders<'d>(work: &mut Work<'d, '_>, message: Value<'d>) -> Vec<String> {
    let Some(content) = message.get("content") else { return Vec::new() };
    if matches!(content.kind(), Kind::String | Kind::Escaped) {
        return text(content, "").into_iter().collect();
    }
    let mut blocks = Vec::new();
    for block in content.items() {
        let said = block.get("text").filter(|_| block.get("type").is_some_and(|kind| kind.is("text")));
        let Some(said) = said else {
            work.losses.add(block, reason::NOT_OFFERED);
            continue;
        };
        let marker = cache::moving(&work.markers, block);
        let marker = marker.map(|marker| format!(",\"cache_control\":{marker}")).unwrap_or_default();
        blocks.extend(text(said, &marker));
    }
    blocks
}

fn text(said: Value<'_>, marker: &str) -> Option<String> {
    let inner = said.inner();
    let blank = said.str().is_none_or(|text| text.trim().is_empty());
    (!blank).then(|| format!("{{\"type\":\"text\",\"text\":\"{OPEN}{inner}{CLOSE}\"{marker}}}"))
}

fn enter<'d>(work: &mut Work<'d, '_>, content: Value<'d>, before: Vec<String>, behind: Vec<String>) {
    if content.is_array() {
        for block in before {
            work.edits.prepend(content, block);
        }
        for block in behind {
            work.edits.append(content, block);
        }
        return;
    }
    let blank = content.str().is_none_or(|text| text.trim().is_empty());
    let own = (!blank).then(|| format!("{{\"type\":\"text\",\"text\":{}}}", content.raw()));
    let blocks: Vec<String> = before.into_iter().chain(own).chain(behind).collect();
    work.edits.replace(content, format!("[{}]", blocks.join(",")));
}
