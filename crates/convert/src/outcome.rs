//! What a conversion yields beside its value: losses, refusals, and the names to restore in the answer.

use std::fmt;

/// Something that could not be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// JSON path in the caller's request.
    pub path: String,
    /// Why, in a few fixed words (see [`reason`]): the reason is a metric label.
    pub reason: &'static str,
}

/// Losses of one request, as many as anybody will read: a body with a hundred thousand of them must cost nothing.
pub(crate) const MOST_LOSSES: usize = 64;

/// The reasons that a [`Loss`] may have.
pub mod reason {
    /// The upstream's protocol has no place for it.
    pub const NO_PLACE: &str = "no place in the upstream protocol";
    /// The model does not take it.
    pub const NOT_TAKEN: &str = "not taken by this model";
    /// The value was brought within the model's limits.
    pub const LIMITED: &str = "brought within the model's limits";
    /// Whitespace at the end of a turn that the model is to continue.
    pub const TRAILING_SPACE: &str = "trailing whitespace";
    /// Empty or whitespace alone, which the upstream refuses.
    pub const BLANK: &str = "blank text";
    /// The model does not cache prompts, or not here.
    pub const NOT_CACHED: &str = "not cached by this model";
    /// Prompt caching is switched off.
    pub const CACHING_OFF: &str = "prompt caching is switched off";
    /// Thinking is switched off.
    pub const THINKING_OFF: &str = "thinking is switched off";
    /// It would contradict thinking.
    pub const WITH_THINKING: &str = "not together with thinking";
    /// It would contradict a tool that must be called.
    pub const WITH_CHOICE: &str = "not together with a forced tool choice";
    /// It would contradict a structured answer.
    pub const WITH_FORMAT: &str = "not together with the output format";
    /// Reasoning that the model would not accept back.
    pub const FOREIGN_REASONING: &str = "reasoning that this model does not take back";
    /// Media that the model cannot see; a text says so in its place.
    pub const UNSEEN: &str = "media that this model does not see";
    /// A filler was needed: the upstream wants a user turn here.
    pub const FILLER: &str = "a filler stands in its place";
    /// The value breaks the rules of the place where it would go.
    pub const ILL_FORMED: &str = "not in the form that the upstream takes";
}

/// Something that must not be ignored: answered with a 400 that names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// JSON path in the caller's request; empty where the message says it all.
    pub path: String,
    /// What is wrong, in Anthropic's or Bedrock's wording where there is one.
    pub message: String,
}

impl fmt::Display for Refusal {
    /// As clients of the Messages API know it: `tools.0.name: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Refusal {}

/// How long a cached prefix lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Five minutes.
    FiveMinutes,
    /// One hour.
    OneHour,
}

impl Ttl {
    /// The longer of the two, where there are two.
    pub(crate) fn longest(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let longer = |one, other| if one == Self::OneHour { one } else { other };
        all.into_iter().reduce(longer)
    }
}

/// A converted request.
#[derive(Debug)]
pub struct Converted<T> {
    /// What goes upstream.
    pub value: T,
    /// What did not.
    pub losses: Vec<Loss>,
    /// The longest life that a cache marker asks for as it is sent; `None` where none is. What the answer writes to the
    /// cache without saying for how long was written for this. A marker that left with its block still counts here.
    pub cache_ttl: Option<Ttl>,
    /// What the answer's machine must restore.
    pub names: Names,
}

/// Names that were changed on the way up and are restored on the way down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// (name sent upstream, the caller's name), only where they differ.
    pub tools: Vec<(String, String)>,
    /// The synthetic tool whose input is the structured output, by its upstream name.
    pub structured_output: Option<String>,
}
