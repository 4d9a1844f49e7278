//! The headers that tell callers how their limits stand, so that they can pace themselves before they are refused.
//!
//! A reset is when a limit is whole again: <https://platform.claude.com/docs/en/api/rate-limits#response-headers>,
//! <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use policy::{Level, Rates};
use store::Timestamp;

use crate::route::Dialect;

/// The names of one group: limit, remaining, reset.
type Group = [HeaderName; 3];

const fn group(limit: &'static str, remaining: &'static str, reset: &'static str) -> Group {
    [HeaderName::from_static(limit), HeaderName::from_static(remaining), HeaderName::from_static(reset)]
}

/// For either dialect, about requests.
static PLAIN: Group = group("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset");
static ANTHROPIC_REQUESTS: Group = group(
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
);
static ANTHROPIC_TOKENS: Group = group(
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
);
static OPENAI_REQUESTS: Group =
    group("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests");
static OPENAI_TOKENS: Group =
    group("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens");

/// All of them, for browsers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let groups = [&PLAIN, &ANTHROPIC_REQUESTS, &ANTHROPIC_TOKENS, &OPENAI_REQUESTS, &OPENAI_TOKENS];
    groups.into_iter().flatten().map(HeaderName::as_str)
}

/// Adds what the dialect tells of limits; of a limit that there is none of, nothing. `at` is when `rates` were read.
pub(crate) fn apply(dialect: Dialect, rates: &Rates, at: Timestamp, headers: &mut HeaderMap) {
    match dialect {
        Dialect::Anthropic => {
            put(&ANTHROPIC_REQUESTS, rates.requests, headers, |level| instant(at, level));
            put(&ANTHROPIC_TOKENS, rates.tokens, headers, |level| instant(at, level));
        }
        Dialect::OpenAi => {
            put(&OPENAI_REQUESTS, rates.requests, headers, |level| duration(level.reset));
            put(&OPENAI_TOKENS, rates.tokens, headers, |level| duration(level.reset));
        }
        // Bedrock tells nothing of limits.
        Dialect::Bedrock => return,
    }
    put(&PLAIN, rates.requests, headers, |level| Some(unix_seconds(at, level).into()));
}

fn put(
    names: &'static Group,
    level: Option<Level>,
    headers: &mut HeaderMap,
    reset: impl FnOnce(&Level) -> Option<HeaderValue>,
) {
    let Some(level) = level else { return };
    let [limit, remaining, reset_name] = names;
    headers.insert(limit.clone(), level.limit.into());
    headers.insert(remaining.clone(), level.remaining.into());
    if let Some(value) = reset(&level) {
        headers.insert(reset_name.clone(), value);
    }
}

/// The second in which the limit is whole again, or the next one.
fn unix_seconds(at: Timestamp, level: &Level) -> i64 {
    let millis = i64::try_from(level.reset.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
    let millis = at.plus_millis(millis).unix_millis();
    millis.div_euclid(1000) + i64::from(millis.rem_euclid(1000) > 0)
}

/// RFC 3339 in whole seconds.
fn instant(at: Timestamp, level: &Level) -> Option<HeaderValue> {
    let mut text = Timestamp::from_unix_millis(unix_seconds(at, level).saturating_mul(1000)).to_string();
    // The fraction is nought.
    text.truncate("2026-11-21T12:00:00".len());
    text.push('Z');
    HeaderValue::try_from(text).ok()
}

/// As Go writes durations: `20ms`, `1.5s`, `6m0s`, `1h0m0s`.
fn duration(span: Duration) -> Option<HeaderValue> {
    HeaderValue::try_from(go_duration(span)).ok()
}

fn go_duration(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    if (1..1000).contains(&millis) {
        return format!("{millis}ms");
    }
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction > 0 { format!(".{fraction:03}") } else { String::new() };
    let fraction = fraction.trim_end_matches('0');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(dialect: Dialect, rates: &Rates) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        apply(dialect, rates, Timestamp::from_unix_millis(1_700_000_000_500), &mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn rates() -> Rates {
        let requests = Level { limit: 10, remaining: 3, reset: Duration::from_millis(42_100) };
        let tokens = Level { limit: 1000, remaining: 0, reset: Duration::from_mins(6) };
        Rates { requests: Some(requests), tokens: Some(tokens) }
    }

    #[track_caller]
    fn assert_pairs(found: &[(String, String)], expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn anthropic_callers_get_instants() {
        let expected = [
            ("anthropic-ratelimit-requests-limit", "10"),
            ("anthropic-ratelimit-requests-remaining", "3"),
            ("anthropic-ratelimit-requests-reset", "2023-11-14T22:14:03Z"),
            ("anthropic-ratelimit-tokens-limit", "1000"),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2023-11-14T22:19:21Z"),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", "1700000043"),
        ];
        assert_pairs(&applied(Dialect::Anthropic, &rates()), &expected);
        let no_tokens = Rates { tokens: None, ..rates() };
        assert_pairs(&applied(Dialect::Anthropic, &no_tokens), &[&expected[..3], &expected[6..]].concat());
    }

    #[test]
    fn openai_callers_get_durations() {
        let expected = [
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "42.1s"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", "1700000043"),
        ];
        assert_pairs(&applied(Dialect::OpenAi, &rates()), &expected);
    }

    #[test]
    fn bedrock_callers_and_those_without_limits_get_none() {
        assert_pairs(&applied(Dialect::Bedrock, &rates()), &[]);
        assert_pairs(&applied(Dialect::Anthropic, &Rates::default()), &[]);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (20_000_000, "20ms"),
            (1_000_000_000, "1s"),
            (8_640_000_000, "8.64s"),
            (59_999_000_001, "1m0s"),
            (86_400_000_000, "1m26.4s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_005_000_000, "25h1m1.005s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
