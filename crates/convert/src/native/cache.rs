//! Prompt-cache markers: counted, rewritten to a forced TTL, and taken out where the model has no use for them.
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use super::block::{Block, Part};
use super::doc::Value;
use super::edit::{Edits, Losses};
use super::request::Options;
use crate::Refusal;
use crate::outcome::reason;
use catalog::Model;

pub use crate::outcome::Ttl;

/// As JSON.
pub(super) fn ttl_text(ttl: Ttl) -> &'static str {
    match ttl {
        Ttl::FiveMinutes => "\"5m\"",
        Ttl::OneHour => "\"1h\"",
    }
}

/// What a marker becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Stays as it is.
    Keep,
    /// Gets this TTL.
    Set(Ttl),
    /// Has no TTL: the model knows only one.
    Plain {
        /// Another one was wanted.
        limited: bool,
    },
    /// Leaves.
    Leave(&'static str),
}

/// Most markers of one request.
const MOST: usize = 4;

/// Decides what happens to each marker, in prompt order.
pub(super) struct Plan<'m> {
    model: &'m Model,
    forced: Option<Ttl>,
    default: Option<Ttl>,
    off: bool,
    /// A five-minute marker has passed: an hour may not follow it.
    short_seen: bool,
}

impl<'m> Plan<'m> {
    pub(super) fn new(model: &'m Model, options: &Options<'_>) -> Self {
        let (forced, default, off) = (options.forced_ttl, options.default_ttl, options.caching_off);
        Self { model, forced, default, off, short_seen: false }
    }

    /// Whether every marker of a part leaves anyway.
    fn leaves(&self, part: Part) -> Option<&'static str> {
        let Some(caching) = self.model.caching else { return Some(reason::NOT_CACHED) };
        if self.off {
            return Some(reason::CACHING_OFF);
        }
        (part == Part::Tools && !caching.tools).then_some(reason::NOT_CACHED)
    }

    fn fate(&mut self, part: Part, marker: Value<'_>) -> Fate {
        if let Some(reason) = self.leaves(part) {
            return Fate::Leave(reason);
        }
        let asked = asked(marker);
        if self.model.caching.is_some_and(|caching| caching.no_1h) {
            return Fate::Plain { limited: self.forced.or(asked) == Some(Ttl::OneHour) };
        }
        let default = self.default.filter(|default| *default == Ttl::FiveMinutes || !self.short_seen);
        let wanted = self.forced.or(asked).or(default);
        self.short_seen |= wanted != Some(Ttl::OneHour);
        match wanted {
            Some(wanted) if asked != Some(wanted) && (asked.is_some() || wanted == Ttl::OneHour) => {
                Fate::Set(wanted)
            }
            _ => Fate::Keep,
        }
    }
}

/// A marker, the block it stands on, and what becomes of it.
pub(super) struct Marker<'d> {
    pub(super) block: Value<'d>,
    pub(super) value: Value<'d>,
    pub(super) fate: Fate,
}

/// The TTL that the caller wrote.
fn asked(marker: Value<'_>) -> Option<Ttl> {
    let ttl = marker.get("ttl").filter(|ttl| !ttl.is_null())?;
    Some(if ttl.is("1h") { Ttl::OneHour } else { Ttl::FiveMinutes })
}

/// How long what is written under this marker lives; `None` where the marker leaves.
pub(super) fn sent(marker: &Marker<'_>) -> Option<Ttl> {
    match marker.fate {
        Fate::Leave(_) => None,
        Fate::Set(wanted) => Some(wanted),
        Fate::Plain { .. } => Some(Ttl::FiveMinutes),
        Fate::Keep => Some(asked(marker.value).unwrap_or(Ttl::FiveMinutes)),
    }
}

/// All markers in prompt order; more than four that would be sent are refused.
pub(super) fn markers<'d>(blocks: &[Block<'d>], plan: &mut Plan<'_>) -> Result<Vec<Marker<'d>>, Refusal> {
    let mark = |block: &Block<'d>| {
        let value = block.marker?;
        Some(Marker { block: block.value, value, fate: plan.fate(block.part, value) })
    };
    let mut all: Vec<_> = blocks.iter().filter_map(mark).collect();
    // Those that are sent come first: see `moving`.
    all.sort_by_key(|marker| matches!(marker.fate, Fate::Leave(_)));
    let sent = all.iter().take_while(|marker| !matches!(marker.fate, Fate::Leave(_))).count();
    if sent > MOST {
        let message = format!("A maximum of {MOST} blocks with cache_control may be provided. Found {sent}.");
        return Err(Refusal { path: String::new(), message });
    }
    Ok(all)
}

/// Applies what was decided.
pub(super) fn edit<'d>(marker: &Marker<'d>, edits: &mut Edits<'d>, losses: &mut Losses) {
    let Marker { block, value: marker, fate } = marker;
    let mut lose = |value: Value<'_>, reason| losses.add(value, reason);
    if let Fate::Leave(reason) = fate {
        lose(*marker, reason);
        if let Some(member) = block.member("cache_control") {
            edits.remove(*block, member.key);
        }
        return;
    }
    if let Some(scope) = marker.member("scope") {
        lose(scope.value, super::reason::NOT_OFFERED);
        edits.remove(*marker, scope.key);
    }
    match (fate, marker.member("ttl")) {
        (Fate::Plain { limited }, ttl) => {
            if *limited {
                lose(ttl.map_or(*marker, |ttl| ttl.value), reason::LIMITED);
            }
            if let Some(ttl) = ttl {
                edits.remove(*marker, ttl.key);
            }
        }
        (Fate::Set(wanted), Some(ttl)) => edits.replace(ttl.value, ttl_text(*wanted)),
        (Fate::Set(wanted), None) => edits.append(*marker, format!("\"ttl\":{}", ttl_text(*wanted))),
        (Fate::Keep | Fate::Leave(_), _) => {}
    }
}

/// The text of a block's marker, for a block that takes it over; `None` when there is none or it leaves. Only those that
/// are sent are looked through, and they are few: a body may hold a hundred thousand of the others.
pub(super) fn moving<'d>(markers: &[Marker<'d>], block: Value<'d>) -> Option<String> {
    markers.iter().take(MOST).find(|marker| marker.block == block).and_then(text)
}

fn text(marker: &Marker<'_>) -> Option<String> {
    let own = marker.value.get("ttl").map(|ttl| ttl.raw());
    let ttl = match marker.fate {
        Fate::Leave(_) => return None,
        Fate::Set(wanted) => Some(ttl_text(wanted)),
        Fate::Plain { .. } => None,
        Fate::Keep => own,
    };
    let ttl = ttl.map(|ttl| format!(",\"ttl\":{ttl}")).unwrap_or_default();
    Some(format!("{{\"type\":\"ephemeral\"{ttl}}}"))
}
