//! What the policy wants to know of a body that is passed on as it is.

use policy::Marks;
use serde::Deserialize;

/// The most output tokens that a body asks for, of Messages or of Converse; the models' own formats are not read.
pub(super) fn max_tokens(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Said {
        max_tokens: Option<u64>,
        #[serde(rename = "inferenceConfig")]
        inference: Option<Inference>,
    }
    #[derive(Deserialize)]
    struct Inference {
        #[serde(rename = "maxTokens")]
        max_tokens: Option<u64>,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    said.max_tokens.or_else(|| said.inference?.max_tokens)
}

/// What may be cache markers, of either format.
pub(super) fn marks(body: &[u8]) -> Marks {
    let says = |name: &str| memchr::memmem::find(body, name.as_bytes()).is_some();
    match says("\"cache_control\"") || says("\"cachePoint\"") {
        false => Marks::None,
        true if says("\"1h\"") => Marks::Hour,
        true => Marks::FiveMinutes,
    }
}
