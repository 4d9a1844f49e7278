//! Parameters that both of OpenAI's APIs have.

use std::borrow::Cow;

use protocol::anthropic::request::Metadata;
use protocol::raw::{Extra, Number, Raw};

use super::{Notes, refusal};
use crate::Refusal;
use crate::outcome::reason;

/// Randomness: OpenAI's goes up to 2, Claude's and Bedrock's to 1.
pub(crate) fn temperature<'r>(
    notes: &mut Notes,
    number: Option<&'r Number<'_>>,
) -> Result<Option<Number<'r>>, Refusal> {
    const AT: &str = "temperature";
    let Some(number) = number else { return Ok(None) };
    match number.value() {
        value if value < 0.0 => Err(refusal(AT, "Input should be greater than or equal to 0")),
        value if value > 2.0 => Err(refusal(AT, "Input should be less than or equal to 2")),
        value if value > 1.0 => {
            notes.lose(AT, reason::LIMITED);
            Ok(Some(Number::from(1.0)))
        }
        _ => Ok(Some(number.clone())),
    }
}

/// What a request says of who asks.
pub(crate) struct Asker<'r> {
    /// `metadata`, and whether the answer repeats it: then nothing of it is lost.
    pub(crate) labels: Option<Raw<'r>>,
    pub(crate) repeated: bool,
    pub(crate) safety_identifier: Option<&'r str>,
    pub(crate) user: Option<&'r str>,
}

/// Who asks: `metadata.user_id`, `safety_identifier` or `user`, whichever comes first.
pub(crate) fn metadata<'r>(notes: &mut Notes, asker: &Asker<'r>) -> Option<Metadata<'r>> {
    let mut own = None;
    for (key, value) in asker.labels.as_ref().and_then(Raw::members).unwrap_or_default() {
        match serde_json::from_str::<String>(value.get()) {
            Ok(id) if key == "user_id" => own = Some(Cow::Owned(id)),
            Ok(_) | Err(_) if asker.repeated => {}
            Ok(_) | Err(_) => notes.lose(format!("metadata.{key}"), reason::NO_PLACE),
        }
    }
    let given = [
        ("metadata.user_id", own),
        ("safety_identifier", asker.safety_identifier.map(Cow::Borrowed)),
        ("user", asker.user.map(Cow::Borrowed)),
    ];
    let mut found = None;
    for (path, id) in given {
        match id {
            Some(id) if found.is_none() => {
                notes.paths.note("metadata.user_id", path);
                found = Some(id);
            }
            // The same id by another name is not lost.
            Some(id) if found.as_ref() != Some(&id) => notes.lose(path, reason::NO_PLACE),
            Some(_) | None => {}
        }
    }
    found.map(|id| Metadata { user_id: Some(id), extra: Extra::default() })
}
