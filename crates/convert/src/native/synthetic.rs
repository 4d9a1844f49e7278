//! The call of the synthetic tool (`super::format`) on its way to the caller, for whom it is text.
//!
//! State is kept by content-block index: calls of the caller's own tools may stand beside it, their pieces between its
//! own, and travel as they came.

use super::doc::{Value, items};
use super::edit::Edits;
use crate::structured::is_no_input;

/// What is known of a stream's call.
#[derive(Debug)]
pub(super) struct Synthetic {
    /// The tool's name upstream.
    name: String,
    /// Blocks of it that are open: their index, and whether any input has come.
    open: Vec<(u64, bool)>,
    calls: Calls,
}

/// Which tools were called.
#[derive(Debug, Default)]
struct Calls {
    synthetic: bool,
    own: bool,
}

impl Calls {
    /// Notes a call; says whether it is one of the synthetic tool.
    fn note(&mut self, block: Value<'_>, name: &str) -> bool {
        if block.get("type").is_none_or(|kind| !kind.is("tool_use")) {
            return false;
        }
        let synthetic = block.get("name").is_some_and(|own| own.is(name));
        *(if synthetic { &mut self.synthetic } else { &mut self.own }) = true;
        synthetic
    }

    /// A caller that sees no call must not be told to answer one.
    fn end_turn<'d>(&self, said: Option<Value<'d>>, edits: &mut Edits<'d>) {
        let reason = said.and_then(|said| said.get("stop_reason")).filter(|reason| reason.is("tool_use"));
        if let Some(reason) = reason.filter(|_| self.synthetic && !self.own) {
            edits.replace(reason, "\"end_turn\"");
        }
    }
}

/// What becomes of an event.
pub(super) enum Fate {
    /// It leaves with its edits.
    Leaves,
    /// It leaves behind a delta of its own block with this index: a call without input is the empty object.
    BehindEmpty(u64),
    /// It says nothing.
    Stays,
}

impl Synthetic {
    pub(super) fn new(name: String) -> Self {
        Self { name, open: Vec::new(), calls: Calls::default() }
    }

    /// Edits an event of the stream.
    pub(super) fn edit<'d>(&mut self, event: Value<'d>, kind: Value<'d>, edits: &mut Edits<'d>) -> Fate {
        let index = event.get("index").and_then(|index| index.u64());
        let at = self.open.iter().position(|(open, _)| Some(*open) == index);
        if kind.is("content_block_start") {
            if let (Some(block), Some(index)) = (event.get("content_block"), index)
                && self.calls.note(block, &self.name)
            {
                self.open.push((index, false));
                edits.replace(block, "{\"type\":\"text\",\"text\":\"\"}");
            }
        } else if kind.is("content_block_delta")
            && let Some((_, wrote)) = at.and_then(|at| self.open.get_mut(at))
        {
            return piece(event, wrote, edits);
        } else if kind.is("content_block_stop")
            && let Some(at) = at
            && let (index, false) = self.open.swap_remove(at)
        {
            return Fate::BehindEmpty(index);
        } else if kind.is("message_delta") {
            self.calls.end_turn(event.get("delta"), edits);
        }
        Fate::Leaves
    }
}

/// A piece of the input is a piece of text, as the model wrote it: the string itself is not touched.
fn piece<'d>(event: Value<'d>, wrote: &mut bool, edits: &mut Edits<'d>) -> Fate {
    let Some(delta) = event.get("delta") else { return Fate::Leaves };
    let kind = delta.get("type").filter(|kind| kind.is("input_json_delta"));
    let (Some(kind), Some(json)) = (kind, delta.member("partial_json")) else { return Fate::Leaves };
    if json.value.inner().is_empty() {
        return Fate::Stays;
    }
    *wrote = true;
    edits.replace(kind, "\"text_delta\"");
    edits.replace(json.key, "\"text\"");
    Fate::Leaves
}

/// The same for a whole message.
pub(super) fn edit<'d>(message: Value<'d>, name: &str, edits: &mut Edits<'d>) {
    let mut calls = Calls::default();
    for block in items(message.get("content")) {
        if calls.note(block, name) {
            let input = block.get("input").map(|input| input.raw()).filter(|input| !is_no_input(input));
            let text = super::relay::quoted(input.unwrap_or("{}"));
            edits.replace(block, format!("{{\"type\":\"text\",\"text\":{text}}}"));
        }
    }
    calls.end_turn(Some(message), edits);
}
