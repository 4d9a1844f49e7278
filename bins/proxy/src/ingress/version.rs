//! The version in an InvokeModel body for Claude, which tells it from bodies of other formats.

use std::ops::Range;

use bytes::Bytes;
use convert::native;

const FIELD: &str = "anthropic_version";
const BEDROCK: &str = r#""bedrock-2023-05-31""#;

/// Where the version stands in a body of the Messages API; `None` where the body is none.
pub(super) fn of(body: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains(FIELD))?;
    let doc = native::parse(text).ok()?;
    let value = doc.root().get(FIELD)?;
    Some(value.start()..value.end())
}

/// The body with Bedrock's own version in the place of one of the Messages API's, which are dates: the Anthropic SDKs'
/// clients for Bedrock send theirs. Anything else is Bedrock's to refuse.
pub(super) fn bedrocks(body: Bytes, at: Range<usize>) -> Bytes {
    let date = body.get(at.clone()).is_some_and(|value| value.starts_with(b"\"20"));
    if !date {
        return body;
    }
    Bytes::from([&body[..at.start], BEDROCK.as_bytes(), &body[at.end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> Option<String> {
        let at = of(body.as_bytes())?;
        Some(String::from_utf8(bedrocks(Bytes::from(body.to_owned()), at).to_vec()).unwrap())
    }

    #[test]
    fn a_date_becomes_bedrocks_version_and_nothing_else_changes() {
        let body = r#"{ "a" : 1.0 , "anthropic_version" : "2026-10-21" ,"z":[ ] }"#;
        let expected = r#"{ "a" : 1.0 , "anthropic_version" : "bedrock-2023-05-31" ,"z":[ ] }"#;
        assert_eq!(sent(body).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_date_stays() {
        for body in [
            r#"{"anthropic_version":"bedrock-2023-05-31"}"#,
            r#"{"anthropic_version":"bedrock-2022"}"#,
            r#"{"anthropic_version":20}"#,
        ] {
            assert_eq!(sent(body).as_deref(), Some(body));
        }
    }

    #[test]
    fn a_body_without_one_is_no_message() {
        assert_eq!(sent(r#"{"a":{"anthropic_version":"2023-06-01"}}"#), None);
        assert_eq!(sent(r#"{"anthropic_version":"#), None, "no JSON: the upstream says so");
    }
}
