//! What a conversion yields beside its value: losses, refusals, and the names to restore in the answer.

/// Something that could not be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// JSON path in the caller's request.
    pub path: String,
    /// Why, in a few fixed words: the reason is a metric label.
    pub reason: &'static str,
}

/// Something that must not be ignored: answered with a 400 that names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// JSON path in the caller's request.
    pub path: String,
    /// What is wrong, in Anthropic's or Bedrock's wording where there is one.
    pub message: String,
}

/// A converted request.
#[derive(Debug)]
pub struct Converted<T> {
    /// What goes upstream.
    pub value: T,
    /// What did not.
    pub losses: Vec<Loss>,
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
