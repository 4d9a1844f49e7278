//! The blocks that are open.

use protocol::anthropic::response as anthropic;

/// A block that has begun.
#[derive(Debug)]
pub(super) struct Open {
    /// Its index upstream.
    pub(super) upstream: u32,
    /// Its index on the caller's side.
    pub(super) index: u32,
    pub(super) kind: Kind,
    /// The signature of a thinking block is gathered: clients assign a `signature_delta` and do not append it.
    pub(super) signature: String,
    /// So is the data of a redacted one: it has no deltas on the caller's side.
    pub(super) redacted: Vec<String>,
    /// Whether the structured-output tool has had any input.
    pub(super) wrote: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
    /// Begins on the caller's side only when it is complete.
    Redacted,
    Tool,
    /// The synthetic tool, which is text to the caller.
    Structured,
}

impl Kind {
    /// Whether another block's beginning ends this one.
    pub(super) fn is_prose(self) -> bool {
        match self {
            Self::Text | Self::Thinking | Self::Redacted => true,
            Self::Tool | Self::Structured => false,
        }
    }
}

pub(super) fn empty_text() -> anthropic::Block {
    anthropic::Block::Text(anthropic::Text::default())
}

/// One base64 text of several: each part was encoded by itself, and padding in the middle is not base64.
pub(super) fn joined(parts: &[String]) -> String {
    if let [whole] = parts {
        return whole.clone();
    }
    let base64 = base64_simd::STANDARD;
    let mut bytes = Vec::new();
    let decoded = parts.iter().all(|part| base64.decode_append(part, &mut bytes).is_ok());
    // What is no base64 was never cut into parts of base64 either.
    if decoded { base64.encode_to_string(&bytes) } else { parts.concat() }
}
