//! Edits of a body: spans that leave, text that enters, everything else byte for byte; and what is lost by them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::doc::{Doc, Value};
use crate::Loss;
use crate::outcome::MOST_LOSSES;

/// What changes in one container's list of children.
#[derive(Default)]
struct List<'d> {
    of: Option<Value<'d>>,
    /// Tape indices of children (of keys, in an object) that leave.
    removed: BTreeSet<usize>,
    prepended: Vec<String>,
    appended: Vec<String>,
}

/// A growing list of edits of one document.
#[derive(Default)]
pub(super) struct Edits<'d> {
    replaced: Vec<(usize, usize, Cow<'static, str>)>,
    lists: BTreeMap<usize, List<'d>>,
}

impl<'d> Edits<'d> {
    fn list(&mut self, container: Value<'d>) -> &mut List<'d> {
        let list = self.lists.entry(container.index()).or_default();
        list.of = Some(container);
        list
    }

    /// Puts other text in the place of a value.
    pub(super) fn replace(&mut self, value: Value<'d>, text: impl Into<Cow<'static, str>>) {
        self.replaced.push((value.start(), value.end(), text.into()));
    }

    /// Takes a member of an object (by its key) or an element of an array out, with its comma.
    pub(super) fn remove(&mut self, container: Value<'d>, child: Value<'d>) {
        self.list(container).removed.insert(child.index());
    }

    /// Puts an element, or a `"key":value`, behind the last one.
    pub(super) fn append(&mut self, container: Value<'d>, text: String) {
        self.list(container).appended.push(text);
    }

    /// Puts an element before the first one.
    pub(super) fn prepend(&mut self, container: Value<'d>, text: String) {
        self.list(container).prepended.push(text);
    }

    /// How many children a container keeps.
    pub(super) fn kept(&self, container: Value<'d>) -> usize {
        let all = container.spans().len();
        let list = self.lists.get(&container.index());
        list.map_or(all, |list| all - list.removed.len() + list.appended.len() + list.prepended.len())
    }

    /// Whether a child was taken out.
    pub(super) fn is_removed(&self, container: Value<'d>, child: Value<'d>) -> bool {
        self.lists.get(&container.index()).is_some_and(|list| list.removed.contains(&child.index()))
    }

    /// The edited text.
    pub(super) fn apply(mut self, doc: &Doc<'_>) -> Vec<u8> {
        for list in std::mem::take(&mut self.lists).into_values() {
            list.spell(&mut self.replaced);
        }
        // The widest first: what lies inside a span that leaves is void. An insertion comes before what begins there.
        self.replaced.sort_by_key(|(start, end, _)| (*start, *start != *end, std::cmp::Reverse(*end)));
        let text = doc.text();
        let entering: usize = self.replaced.iter().map(|(_, _, text)| text.len()).sum();
        let mut out = Vec::with_capacity(text.len() + entering);
        let mut at = 0;
        for (start, end, new) in &self.replaced {
            if *start < at {
                continue;
            }
            out.extend_from_slice(text.get(at..*start).unwrap_or_default().as_bytes());
            out.extend_from_slice(new.as_bytes());
            at = *end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default().as_bytes());
        out
    }
}

impl List<'_> {
    /// Turns removals and insertions into spans; commas follow the children that leave.
    fn spell(self, out: &mut Vec<(usize, usize, Cow<'static, str>)>) {
        let Some(container) = self.of else { return };
        let children = container.spans();
        let leaves: Vec<bool> = children.iter().map(|(index, ..)| self.removed.contains(index)).collect();
        let mut kept_end = None;
        let mut at = 0;
        while let Some((_, start, end)) = children.get(at) {
            if !leaves[at] {
                kept_end = Some(*end);
                at += 1;
                continue;
            }
            let run = leaves[at..].iter().take_while(|leaves| **leaves).count();
            let last = children.get(at + run - 1).map_or(*end, |(.., end)| *end);
            match children.get(at + run) {
                Some((_, next, _)) => out.push((*start, *next, Cow::Borrowed(""))),
                None => out.push((kept_end.unwrap_or(*start), last, Cow::Borrowed(""))),
            }
            at += run;
        }
        let any_kept = kept_end.is_some();
        if !self.prepended.is_empty() {
            let mut text = self.prepended.join(",");
            if any_kept {
                text.push(',');
            }
            out.push((container.start() + 1, container.start() + 1, Cow::Owned(text)));
        }
        if !self.appended.is_empty() {
            let mut text = self.appended.join(",");
            if any_kept || !self.prepended.is_empty() {
                text.insert(0, ',');
            }
            out.push((container.end() - 1, container.end() - 1, Cow::Owned(text)));
        }
    }
}

/// Losses of one request, at most [`MOST_LOSSES`].
#[derive(Default)]
pub(super) struct Losses(pub(super) Vec<Loss>);

impl Losses {
    pub(super) fn add(&mut self, value: Value<'_>, reason: &'static str) {
        if self.0.len() < MOST_LOSSES {
            self.0.push(Loss { path: value.path(), reason });
        }
    }
}
