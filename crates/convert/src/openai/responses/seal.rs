//! What travels through `encrypted_content`: thinking with its signature, which the caller hands back unread.
//!
//! It is base64 of JSON with a version, not a cipher: it keeps clients from reading meaning into it, and nothing in it is
//! the gateway's own. What another vendor encrypted opens as nothing.

use base64_simd::STANDARD;
use serde::{Deserialize, Serialize};

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// What a sealed text holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sealed {
    /// Thinking that the model showed.
    Thinking {
        /// The text; legally empty beside a signature.
        text: String,
        /// What lets it be handed back; empty where the model signs nothing.
        signature: String,
    },
    /// Thinking that the model hid.
    Redacted {
        /// Opaque; travels unchanged.
        data: String,
    },
    /// What stands for an earlier part of the conversation.
    Summary {
        /// The text.
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    outcrop: u64,
    #[serde(flatten)]
    sealed: T,
}

impl Sealed {
    /// The text for `encrypted_content`.
    pub fn seal(&self) -> String {
        let json = serde_json::to_vec(&Envelope { outcrop: VERSION, sealed: self }).unwrap_or_default();
        STANDARD.encode_to_string(json)
    }

    /// What a text of ours holds; `None` for any other text.
    pub fn open(text: &str) -> Option<Self> {
        let json = STANDARD.decode_to_vec(text.trim()).ok()?;
        let envelope: Envelope<Self> = serde_json::from_slice(&json).ok()?;
        (envelope.outcrop == VERSION).then_some(envelope.sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_as_it_was() {
        for sealed in [
            Sealed::Thinking { text: "let me see \u{1f980}\n".into(), signature: "c2ln==".into() },
            Sealed::Thinking { text: String::new(), signature: "s".into() },
            Sealed::Redacted { data: "AAEC".into() },
            Sealed::Summary { text: "they met".into() },
        ] {
            assert_eq!(Sealed::open(&sealed.seal()), Some(sealed));
        }
    }

    #[test]
    fn what_others_encrypted_opens_as_nothing() {
        let tomorrow = STANDARD.encode_to_string(r#"{"outcrop":2,"redacted":{"data":"x"}}"#);
        for text in ["", "gAAAAABpXyz_-", "{}", &STANDARD.encode_to_string("{}"), &tomorrow] {
            assert_eq!(Sealed::open(text), None, "{text}");
        }
    }
}
