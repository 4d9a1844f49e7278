//! Wishes in the user's own words, for trying faults by hand: `sim:throttle`, `sim:words=300`, `sim:stall=90`, …
use std::time::Duration;

use crate::fault::Fault;

/// What the last user text asks of the simulator itself.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    /// `sim:words=300`: a plain answer of so many words, one a delta; 0 is an answer without text.
    pub(crate) words: Option<usize>,
    /// `sim:redacted`: a redacted thinking block comes first.
    pub(crate) redacted: bool,
    /// `sim:slow=50ms`: a pause between the events of a stream.
    pub(crate) slow: Option<Duration>,
    /// `sim:stop=content_filtered`: ends with this reason.
    pub(crate) stop: Option<&'static str>,
    /// `sim:served=default`: another tier than the one that was asked for serves, and the answer says so.
    pub(crate) served: Option<&'static str>,
    /// `sim:utf8`: the answer holds characters of several bytes, and they arrive in pieces.
    pub(crate) utf8: bool,
    /// `sim:throttle=2`: the same words are refused twice, then answered.
    pub(crate) throttle: Option<u32>,
    pub(crate) faults: Vec<Fault>,
}

/// The reasons that both dialects know, as Claude writes them; Converse renames two.
const STOPS: &[&str] = &[
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "refusal",
    "model_context_window_exceeded",
    "pause_turn",
    "content_filtered",
    "guardrail_intervened",
    "malformed_model_output",
    "malformed_tool_use",
];

const TIERS: &[&str] = &["default", "flex", "priority", "reserved"];

impl Directives {
    /// Finds all directives in a text.
    pub(crate) fn read(said: &str) -> Self {
        let mut found = Self::default();
        if !said.contains("sim:") {
            return found;
        }
        for word in said.split(|c: char| c.is_whitespace() || c == ',') {
            if let Some(directive) = word.trim_matches(['`', '"', '\'', '(', ')']).strip_prefix("sim:") {
                found.one(directive);
            }
        }
        found
    }

    fn one(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let (name, at) = name.split_once('@').unwrap_or((name, ""));
        let (value, at) = value.split_once('@').unwrap_or((value, at));
        let at = at.parse::<usize>().ok();
        match name {
            "words" => self.words = value.parse().ok().filter(|count| *count <= 100_000),
            "redacted" => self.redacted = true,
            "slow" => self.slow = duration(value),
            "stop" => self.stop = STOPS.iter().find(|stop| **stop == value).copied(),
            "served" => self.served = TIERS.iter().find(|tier| **tier == value).copied(),
            "throttle" if !value.is_empty() => self.throttle = value.parse().ok(),
            "utf8" => {
                self.utf8 = true;
                self.faults.push(Fault::SplitUtf8);
            }
            _ => self.faults.extend(Fault::directive(name, value, at)),
        }
    }
}

/// `50ms`, `2s`, or plain seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        _ => return None,
    };
    (0.0..=3_600.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
