//! What an answer used, read as it passes.

use std::borrow::Cow;

use base64_simd::STANDARD;
use bedrock::Operation;
use convert::usage::Usage;
use http::HeaderMap;
use protocol::{anthropic::response as anthropic, converse::response as converse};
use serde::Deserialize;

/// What a whole answer says of itself: in its body, or in headers where the body's format has no place for it.
pub(super) fn whole(operation: Operation, body: &[u8], headers: &HeaderMap) -> Usage {
    let said = match operation {
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream | Operation::Messages { .. } => {
            serde_json::from_slice::<Answer<anthropic::Usage>>(body)
                .map(|answer| Usage::from_anthropic(&answer.usage))
        }
        Operation::Converse | Operation::ConverseStream => {
            serde_json::from_slice::<Answer<converse::Usage>>(body)
                .map(|answer| Usage::from_converse(&answer.usage))
        }
        Operation::CountTokens => return Usage::default(),
    };
    said.ok().filter(|usage| usage.reported).unwrap_or_else(|| counts(headers))
}

#[derive(Deserialize)]
struct Answer<U> {
    usage: U,
}

/// The counts that Bedrock adds to answers of InvokeModel, whatever the model's format.
fn counts(headers: &HeaderMap) -> Usage {
    let count = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let input = count("x-amzn-bedrock-input-token-count");
    let output = count("x-amzn-bedrock-output-token-count");
    Usage {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        cache_read: count("x-amzn-bedrock-cache-read-input-token-count").unwrap_or(0),
        cache_write_5m: count("x-amzn-bedrock-cache-write-input-token-count").unwrap_or(0),
        reported: input.is_some() || output.is_some(),
        ..Usage::default()
    }
}

/// `metadata` of ConverseStream.
pub(super) fn metadata(payload: &[u8]) -> Option<Usage> {
    let answer: Answer<converse::Usage> = serde_json::from_slice(payload).ok()?;
    Some(Usage::from_converse(&answer.usage))
}

/// The count that Bedrock adds to the last chunk of a stream, whatever the model's format.
pub(super) fn chunk(payload: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow)]
        bytes: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "amazon-bedrock-invocationMetrics")]
        metrics: Metrics,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metrics {
        #[serde(rename = "inputTokenCount")]
        input: u64,
        #[serde(rename = "outputTokenCount")]
        output: u64,
        #[serde(rename = "cacheReadInputTokenCount")]
        cache_read: u64,
        #[serde(rename = "cacheWriteInputTokenCount")]
        cache_write: u64,
    }
    let chunk: Chunk<'_> = serde_json::from_slice(payload).ok()?;
    let event = STANDARD.decode_to_vec(chunk.bytes.as_bytes()).ok()?;
    let Event { metrics } = serde_json::from_slice(&event).ok()?;
    Some(Usage {
        input: metrics.input,
        output: metrics.output,
        cache_read: metrics.cache_read,
        cache_write_5m: metrics.cache_write,
        reported: true,
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_says_more_than_the_headers_and_is_read_first() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-bedrock-input-token-count", 7.into());
        let body = br#"{"type":"message","usage":{"input_tokens":3,"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":9}}}"#;
        let said = whole(Operation::InvokeModel, body, &headers);
        assert_eq!((said.input, said.cache_write_1h), (3, 9));
        let embedded = whole(Operation::InvokeModel, br#"{"embedding":[0.1]}"#, &headers);
        assert_eq!((embedded.input, embedded.reported), (7, true));
        assert!(!whole(Operation::InvokeModel, b"[]", &HeaderMap::new()).reported);
    }

    #[test]
    fn the_last_chunk_of_any_format_tells_the_count() {
        let event =
            r#"{"stop":"x","amazon-bedrock-invocationMetrics":{"inputTokenCount":4,"outputTokenCount":5}}"#;
        let payload = format!(r#"{{"p":"ab","bytes":"{}"}}"#, STANDARD.encode_to_string(event));
        let usage = chunk(payload.as_bytes()).unwrap();
        assert_eq!((usage.input, usage.output), (4, 5));
        assert_eq!(chunk(br#"{"bytes":"e30="}"#), None);
    }
}
