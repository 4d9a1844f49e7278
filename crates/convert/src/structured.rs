//! Structured output for models that have none of their own: a tool whose input is the answer. Both lanes.
//!
//! The schema is sent as the caller wrote it, without `strict`: strict mode refuses keywords (`maxItems`, `minLength`)
//! that a plain tool takes, and what it would refuse the model can still be told.

use std::collections::BTreeSet;

use crate::converse::request::name::shortened;

/// Its name, unless a tool of the caller's has that one.
pub(crate) const NAME: &str = "structured_output";
/// What the model reads about it.
pub(crate) const DESCRIPTION: &str = "Give the final answer. The input of this tool is the answer.";

/// The tool's name in a request that has these names already.
pub(crate) fn name(taken: &BTreeSet<String>) -> String {
    if taken.contains(NAME) { shortened(NAME, 1, taken) } else { NAME.to_owned() }
}

/// Whether a model wrote no input: it leaves it out, or writes null or an empty string. Callers expect an object.
pub(crate) fn is_no_input(json: &str) -> bool {
    matches!(json, "null" | r#""""#)
}
