//! The one thing that is changed in an InvokeModel body for Claude: flags that the model is known to refuse leave.

use bytes::Bytes;
use catalog::Model;
use convert::native::{self, Member, Value, beta};

const FIELD: &str = "anthropic_beta";

/// The body with the flags that may travel; `None` where it may travel as it is.
pub(super) fn filtered(body: &[u8], model: &Model, policy: &beta::Policy<'_>) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains(FIELD))?;
    // What cannot be read is the upstream's to refuse.
    let doc = native::parse(text).ok()?;
    let field = doc.root().member(FIELD)?;
    let asked: Vec<String> =
        field.value.items().filter_map(|flag| flag.str().map(std::borrow::Cow::into_owned)).collect();
    let needed = beta::needed(doc.root());
    // What fields of the body cannot do without stays, also where only certain flags are sent.
    let kept: Vec<_> = needed.iter().copied().filter(|flag| asked.iter().any(|own| own == flag)).collect();
    let (mut sent, _) = beta::flags(&[], &asked, &kept, model, policy);
    // This one is refused without its field.
    sent.retain(|flag| flag != beta::SAFEGUARDS || needed.contains(&beta::SAFEGUARDS));
    if sent == asked {
        return None;
    }
    let (start, end, new) = if sent.is_empty() {
        let (start, end) = span(doc.root(), &field);
        (start, end, String::new())
    } else {
        // Strings and nothing else: this cannot fail.
        (field.value.start(), field.value.end(), serde_json::to_string(&sent).unwrap_or_default())
    };
    Some(Bytes::from([&text[..start], &new, &text[end..]].concat()))
}

/// From where to where a member stands, with the comma that leaves with it.
fn span(object: Value<'_>, field: &Member<'_>) -> (usize, usize) {
    let (mut before, mut after) = (None, None);
    for member in object.members() {
        if member.value.end() < field.key.start() {
            before = Some(member.value.end());
        } else if member.key.start() > field.value.end() {
            after = after.or(Some(member.key.start()));
        }
    }
    match (before, after) {
        (_, Some(next)) => (field.key.start(), next),
        (Some(previous), None) => (previous, field.value.end()),
        (None, None) => (field.key.start(), field.value.end()),
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    fn filter(body: &str, certain_only: bool) -> Option<String> {
        let resolution =
            Catalog::builtin().resolve("claude-sonnet-4-6", Scope::Global, "us-east-1", false).unwrap();
        let mapping = beta::default_mapping();
        let policy = beta::Policy { mapping: &mapping, certain_only, ..beta::Policy::default() };
        filtered(body.as_bytes(), resolution.model, &policy)
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn flags_that_the_model_takes_leave_the_body_as_it_is() {
        assert_eq!(filter(r#"{"anthropic_beta": ["interleaved-thinking-2025-05-14"] ,"a":1}"#, false), None);
        assert_eq!(filter(r#"{"a":1}"#, false), None);
        assert_eq!(filter(r#"{"anthropic_beta":["#, false), None, "no JSON: the upstream says so");
    }

    #[test]
    fn other_flags_leave_and_nothing_else_changes() {
        let body = r#"{ "a" : 1.0 , "anthropic_beta" :["oauth-2025-04-20","interleaved-thinking-2025-05-14","made-up"], "z":[ ] }"#;
        let expected = r#"{ "a" : 1.0 , "anthropic_beta" :["interleaved-thinking-2025-05-14"], "z":[ ] }"#;
        assert_eq!(filter(body, false).as_deref(), Some(expected));
        assert_eq!(filter(body, true).as_deref(), Some(r#"{ "a" : 1.0 , "z":[ ] }"#));
    }

    #[test]
    fn a_flag_that_a_field_needs_stays_and_one_that_needs_its_field_leaves_without_it() {
        let tools = r#""tools":[{"name":"t","defer_loading":true}]"#;
        let body = format!(
            r#"{{"anthropic_beta":["interleaved-thinking-2025-05-14","tool-search-tool-2025-10-19"],{tools}}}"#
        );
        assert_eq!(filter(&body, false), None);
        let certain = format!(r#"{{"anthropic_beta":["tool-search-tool-2025-10-19"],{tools}}}"#);
        assert_eq!(filter(&body, true).as_deref(), Some(certain.as_str()));
        let guarded = |field: &str| {
            let body = format!(r#"{{"anthropic_beta":["dangerous-tool-use-2026-09-03"]{field}}}"#);
            let model = Catalog::builtin().find("anthropic.claude-opus-5-5").unwrap();
            filtered(body.as_bytes(), model, &beta::Policy::default()).map(|body| body.len())
        };
        assert_eq!(guarded(r#","safeguards":[]"#), None);
        assert_eq!(guarded(""), Some("{}".len()));
    }

    #[test]
    fn an_empty_list_leaves_with_its_comma_wherever_it_stands() {
        for (body, expected) in [
            (r#"{"anthropic_beta":["x"],"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"anthropic_beta":["x"]}"#, r#"{"a":1}"#),
            (r#"{"a":1, "anthropic_beta":["x"], "b":2}"#, r#"{"a":1, "b":2}"#),
            (r#"{"anthropic_beta":["x"]}"#, "{}"),
        ] {
            assert_eq!(filter(body, false).as_deref(), Some(expected));
        }
    }
}
