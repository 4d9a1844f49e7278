//! What an answer used, read as it passes.

use std::borrow::Cow;

use base64_simd::STANDARD;
use bedrock::Operation;
use catalog::ServiceTier;
use convert::usage::Usage;
use convert::{Names, native};
use http::HeaderMap;
use protocol::converse::response as converse;
use serde::Deserialize;

use crate::answer::{self, Said};

/// What a whole answer says of itself: in its body, or in headers where the body's format has no place for it. `hour` says that
/// its request's markers asked for an hour.
pub(super) fn whole(operation: Operation, body: &[u8], headers: &HeaderMap, hour: bool) -> Said {
    let (used, tier) = match operation {
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream | Operation::Messages { .. } => {
            (native::message(body, "", hour, &Names::default()).ok().map(|message| message.usage), None)
        }
        Operation::Converse | Operation::ConverseStream => metadata(body).unzip(),
        Operation::CountTokens => return Said::default(),
    };
    let used = used.filter(|usage| usage.reported).unwrap_or_else(|| counts(headers));
    Said { tokens: answer::tokens(used), tier: tier.flatten(), stop_reason: None }
}

/// The counts that Bedrock adds to answers of InvokeModel, whatever the model's format.
pub(crate) fn counts(headers: &HeaderMap) -> Usage {
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

/// `metadata` of ConverseStream, or a whole answer of Converse: what was used, and the tier that served.
pub(super) fn metadata(payload: &[u8]) -> Option<(Usage, Option<ServiceTier>)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        usage: converse::Usage,
        service_tier: Option<converse::ServiceTier>,
    }
    let answer: Answer = serde_json::from_slice(payload).ok()?;
    let tier = answer.service_tier.and_then(|tier| ServiceTier::from_reported(&tier.kind));
    Some((Usage::from_converse(&answer.usage), tier))
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
        let used = |body: &[u8], hour| whole(Operation::InvokeModel, body, &headers, hour).tokens.unwrap();
        let said = used(body, false);
        assert_eq!((said.input, said.cache_write_1h), (3, 9));
        assert_eq!(used(br#"{"embedding":[0.1]}"#, false).input, 7);
        assert_eq!(whole(Operation::InvokeModel, b"[]", &HeaderMap::new(), false).tokens, None);
        let untold = br#"{"usage":{"input_tokens":3,"cache_creation_input_tokens":9}}"#;
        assert_eq!(used(untold, true).cache_write_1h, 9);
        assert_eq!(used(untold, false).cache_write_5m, 9);
    }

    #[test]
    fn a_converse_answer_tells_the_tier_that_served() {
        let body = br#"{"usage":{"inputTokens":3,"outputTokens":1},"serviceTier":{"type":"flex"}}"#;
        let said = whole(Operation::Converse, body, &HeaderMap::new(), false);
        assert_eq!((said.tokens.unwrap().input, said.tier), (3, Some(ServiceTier::Flex)));
        assert_eq!(metadata(br#"{"usage":{"inputTokens":3}}"#).unwrap().1, None);
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
