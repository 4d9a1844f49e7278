//! What every part of the conversion shares: the row, the settings, and what has been noted so far.

use std::fmt;

use catalog::{Family, Model};
use protocol::anthropic::request::Request;
use protocol::raw::Extra;

use super::Options;
use super::document::Titles;
use super::name::ToolNames;
use crate::outcome::{MOST_LOSSES, reason};
use crate::{Loss, Refusal, Ttl};

/// A place in the caller's request; written out only where something is noted or refused there.
#[derive(Clone, Copy)]
pub(super) struct At<'p> {
    outer: Option<&'p At<'p>>,
    segment: Segment<'p>,
}

#[derive(Clone, Copy)]
enum Segment<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> At<'p> {
    pub(super) fn root(key: &'p str) -> Self {
        Self { outer: None, segment: Segment::Key(key) }
    }

    pub(super) fn key<'q>(&'q self, key: &'q str) -> At<'q> {
        At { outer: Some(self), segment: Segment::Key(key) }
    }

    pub(super) fn index(&self, index: usize) -> At<'_> {
        At { outer: Some(self), segment: Segment::Index(index) }
    }

    pub(super) fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal { path: self.to_string(), message: message.into() }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}.")?;
        }
        match self.segment {
            Segment::Key(key) => f.write_str(key),
            Segment::Index(index) => write!(f, "{index}"),
        }
    }
}

pub(super) struct Context<'a> {
    pub(super) rules: &'a Model,
    pub(super) options: &'a Options,
    pub(super) names: ToolNames<'a>,
    pub(super) titles: Titles,
    pub(super) losses: Vec<Loss>,
    /// Whether a five-minute cache point was placed; a default of one hour may not follow it.
    pub(super) placed_5m: bool,
    /// The longest life of the cache points so far.
    pub(super) cache_ttl: Option<Ttl>,
    /// Whether the message at hand belongs to the turn that asks, and not to one that was answered.
    pub(super) asking: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(request: &'a Request<'_>, rules: &'a Model, options: &'a Options) -> Self {
        Self {
            rules,
            options,
            names: ToolNames::of(request),
            titles: Titles::default(),
            losses: Vec::new(),
            placed_5m: false,
            cache_ttl: None,
            asking: false,
        }
    }

    pub(super) fn lose(&mut self, at: At<'_>, reason: &'static str) {
        if self.losses.len() < MOST_LOSSES {
            self.losses.push(Loss { path: at.to_string(), reason });
        }
    }

    /// Notes members that no schema knows.
    pub(super) fn lose_extra(&mut self, at: At<'_>, extra: &Extra<'_>) {
        for key in extra.keys() {
            self.lose(at.key(key), reason::NO_PLACE);
        }
    }

    pub(super) fn is_claude(&self) -> bool {
        self.rules.family == Family::Claude
    }
}

/// Whether Bedrock would call the text blank.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}
