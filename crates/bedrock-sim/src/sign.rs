//! Signatures of thinking blocks: the simulator signs what it thinks and knows its own work again.
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const KEY: &[u8] = b"bedrock-sim thinking";

/// The signature that the simulator gives a thinking text; an omitted one is signed as the empty text. For tests that
/// play a conversation back that another upstream had answered: with it the thinking counts as the simulator's own.
pub fn signature(text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(KEY);
    hash.update(text.as_bytes());
    STANDARD.encode(hash.finalize())
}

/// Whether a block came from here and is unaltered.
pub(crate) fn holds(text: &str, given: &str) -> bool {
    signature(text) == given
}

/// The opaque content of a redacted block.
pub(crate) fn redacted(seed: &str) -> String {
    let mut plain = format!("redacted:{seed}");
    // Whole groups, so that the two parts together are one valid base64 text, as Converse wants it.
    while plain.len() % 3 != 0 {
        plain.push('.');
    }
    let mut data = STANDARD.encode(plain);
    data.push_str(&signature(&data));
    data
}

/// Whether a redacted block came from here and is unaltered.
pub(crate) fn holds_redacted(data: &str) -> bool {
    let length = signature("").len();
    data.len() > length
        && data.split_at_checked(data.len() - length).is_some_and(|(head, tail)| signature(head) == tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_text_no_longer_fits_its_signature() {
        let good = signature("I think.");
        assert!(holds("I think.", &good));
        assert!(!holds("I think!", &good));
        let data = redacted("seed");
        assert!(holds_redacted(&data));
        assert!(!holds_redacted(&data.replacen('c', "d", 1)));
    }
}
