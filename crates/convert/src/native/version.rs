//! What the caller's `anthropic-version` does not take, in either lane: the gateway stands for the API that the caller
//! speaks to, whatever the model behind it would take.

use super::doc::{Doc, Value, items};
use super::request::refusal;
use crate::Refusal;

/// The version that took things away; the one before it, `2023-06-01`, refuses nothing of its own.
/// <https://platform.claude.com/docs/en/api/migration-2026-10-21>
pub const VERSION: &str = "2026-10-21";

/// Refuses what a request of this version may not hold: sampling parameters, documents that stand in an assistant
/// message, and citations on text of a user message, that of search results included. Counts keep the same rules.
///
/// What is null, or an empty list of citations, asks for nothing. Documents deeper in an assistant message (what a tool
/// fetched) and citations on the assistant's own text stay. Every other version, or none, refuses nothing.
pub fn check(doc: &Doc<'_>, version: Option<&str>) -> Result<(), Refusal> {
    const EXTRA: &str = "Extra inputs are not permitted";
    if version != Some(VERSION) {
        return Ok(());
    }
    for member in doc.root().members().filter(|member| !member.value.is_null()) {
        if let Some(name) = ["temperature", "top_p", "top_k"].into_iter().find(|name| member.key.is(name)) {
            return Err(refusal(name, EXTRA));
        }
    }
    for message in items(doc.root().get("messages")) {
        let role = |name: &str| message.get("role").is_some_and(|role| role.is(name));
        let (assistant, user) = (role("assistant"), role("user"));
        for block in items(message.get("content")) {
            let Some(kind) = block.get("type") else { continue };
            if assistant && kind.is("document") {
                return Err(refusal(block.path(), "document blocks are not permitted in assistant messages"));
            }
            let found = kind.is("search_result").then(|| block.get("content"));
            let cited = std::iter::once(block).chain(items(found.flatten())).find_map(citations);
            if let Some(citations) = cited.filter(|_| user) {
                return Err(refusal(citations.path(), EXTRA));
            }
        }
    }
    Ok(())
}

/// The citations of a text, if there are any.
fn citations(block: Value<'_>) -> Option<Value<'_>> {
    block.get("type").filter(|kind| kind.is("text"))?;
    let citations = block.get("citations")?;
    (!citations.is_null() && (!citations.is_array() || citations.items().next().is_some()))
        .then_some(citations)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn refused(members: &str, version: &str) -> Option<String> {
        let body = format!(r#"{{"model":"m",{members}}}"#);
        check(&parse(&body).unwrap(), Some(version)).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn sampling_is_refused_by_its_name_at_any_value() {
        for name in ["temperature", "top_p", "top_k"] {
            let said = refused(&format!(r#""{name}":1"#), VERSION);
            assert_eq!(said, Some(format!("{name}: Extra inputs are not permitted")));
            assert_eq!(refused(&format!(r#""{name}":null"#), VERSION), None);
            assert_eq!(refused(&format!(r#""{name}":1"#), "2023-06-01"), None);
        }
        assert_eq!(check(&parse(r#"{"temperature":1}"#).unwrap(), None), Ok(()));
    }

    #[test]
    fn documents_are_refused_where_the_assistant_would_have_sent_them() {
        let message = |role: &str, content: &str| {
            format!(
                r#""messages":[{{"role":"user","content":"a"}},{{"role":"{role}","content":[{content}]}}]"#
            )
        };
        let document = r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"}}"#;
        assert_eq!(
            refused(&message("assistant", document), VERSION).as_deref(),
            Some("messages.1.content.0: document blocks are not permitted in assistant messages")
        );
        assert_eq!(refused(&message("user", document), VERSION), None);
        let nested = format!(r#"{{"type":"web_fetch_tool_result","content":{{"content":{document}}}}}"#);
        assert_eq!(refused(&message("assistant", &nested), VERSION), None);
    }

    #[test]
    fn citations_are_refused_on_the_users_text_alone() {
        let cited = |citations: &str| format!(r#"{{"type":"text","text":"t","citations":{citations}}}"#);
        let message =
            |role: &str, block: &str| format!(r#""messages":[{{"role":"{role}","content":[{block}]}}]"#);
        let some = r#"[{"type":"char_location"}]"#;
        let said = |path: &str| Some(format!("messages.0.content.{path}: Extra inputs are not permitted"));
        assert_eq!(refused(&message("user", &cited(some)), VERSION), said("0.citations"));
        let found = format!(
            r#"{{"type":"search_result","citations":{{"enabled":true}},"content":[{}]}}"#,
            cited(some)
        );
        assert_eq!(refused(&message("user", &found), VERSION), said("0.content.0.citations"));
        for nothing in ["null", "[]"] {
            assert_eq!(refused(&message("user", &cited(nothing)), VERSION), None);
        }
        assert_eq!(refused(&message("assistant", &cited(some)), VERSION), None);
        let enabled = r#"{"type":"document","citations":{"enabled":true}}"#;
        assert_eq!(refused(&message("user", enabled), VERSION), None);
    }
}
