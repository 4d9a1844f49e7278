//! What is changed in a body that travels as it is otherwise, in the Messages format or in Converse's: the TTL that a key
//! decides on, and single members.

use catalog::Model;

use super::block;
use super::cache::{self, Plan, Ttl, ttl_text};
use super::doc::{Doc, Value};
use super::edit::{Edits, Losses};
use super::request::Options;

/// The Messages body with this TTL in every cache marker, or without markers; `None` where it may travel as it is. Too many
/// markers are the upstream's to refuse.
pub fn remarked(doc: &Doc<'_>, model: &Model, ttl: Option<Ttl>) -> Option<Vec<u8>> {
    let options = Options { forced_ttl: ttl, caching_off: ttl.is_none(), ..Options::default() };
    let blocks = block::all(doc.root());
    let markers = cache::markers(&blocks, &mut Plan::new(model, &options)).ok()?;
    let (mut edits, mut losses) = (Edits::default(), Losses::default());
    for marker in &markers {
        cache::edit(marker, &mut edits, &mut losses);
    }
    changed(edits, doc)
}

/// The Converse body with this TTL in every cache point, or without cache points; `None` where it may travel as it is.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CachePointBlock.html>
pub fn repointed(doc: &Doc<'_>, model: &Model, ttl: Option<Ttl>) -> Option<Vec<u8>> {
    let only_5m = model.caching.is_some_and(|caching| caching.no_1h);
    let ttl = ttl.map(|ttl| if only_5m { Ttl::FiveMinutes } else { ttl });
    let root = doc.root();
    let contents = root.get("messages").into_iter().flat_map(|messages| messages.items());
    let lists = [root.get("toolConfig").and_then(|config| config.get("tools")), root.get("system")];
    let lists = lists.into_iter().chain(contents.map(|message| message.get("content")));
    let mut edits = Edits::default();
    for list in lists.flatten() {
        for element in list.items() {
            match (element.get("cachePoint").filter(Value::is_object), ttl) {
                (None, _) => {}
                (Some(_), None) => edits.remove(list, element),
                (Some(point), Some(ttl)) => put(&mut edits, point, ttl),
            }
        }
    }
    changed(edits, doc)
}

/// The body with this text as the value of a top-level member, or without the member; `None` where it may travel as it is.
pub fn with_member(doc: &Doc<'_>, name: &str, value: Option<&str>) -> Option<Vec<u8>> {
    let root = doc.root();
    let mut edits = Edits::default();
    match (root.member(name), value) {
        (Some(old), Some(new)) => edits.replace(old.value, new.to_owned()),
        (Some(old), None) => edits.remove(root, old.key),
        (None, Some(new)) if root.is_object() => edits.append(root, format!("\"{name}\":{new}")),
        (None, _) => {}
    }
    changed(edits, doc)
}

/// Five minutes is what no `ttl` means, and models without one-hour caching may refuse the member.
fn put<'d>(edits: &mut Edits<'d>, point: Value<'d>, ttl: Ttl) {
    match (point.member("ttl"), ttl) {
        (Some(old), Ttl::OneHour) => edits.replace(old.value, ttl_text(ttl)),
        (Some(old), Ttl::FiveMinutes) => edits.remove(point, old.key),
        (None, Ttl::OneHour) => edits.append(point, format!("\"ttl\":{}", ttl_text(ttl))),
        (None, Ttl::FiveMinutes) => {}
    }
}

fn changed(edits: Edits<'_>, doc: &Doc<'_>) -> Option<Vec<u8>> {
    let body = edits.apply(doc);
    (body != doc.text().as_bytes()).then_some(body)
}

#[cfg(test)]
mod tests {
    use catalog::Catalog;

    use super::*;
    use crate::native::parse;

    type Remark = fn(&Doc<'_>, &Model, Option<Ttl>) -> Option<Vec<u8>>;

    fn made(remark: Remark, model: &str, body: &str, ttl: Option<Ttl>) -> Option<String> {
        let model = Catalog::builtin().find(model).unwrap();
        remark(&parse(body).unwrap(), model, ttl).map(|body| String::from_utf8(body).unwrap())
    }

    const SONNET: &str = "anthropic.claude-sonnet-4-6";

    #[test]
    fn every_marker_gets_the_ttl_and_nothing_else_changes() {
        let body = r#"{ "tools":[{"name":"t","cache_control":{"type":"ephemeral"}}], "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"5m"}}], "messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x","cache_control":{"type" : "ephemeral"}}]},{"type":"text","text":"5m","cache_control":{"ttl":"1h","type":"ephemeral"}}]}],"n":1.0 }"#;
        let hour = r#"{ "tools":[{"name":"t","cache_control":{"type":"ephemeral","ttl":"1h"}}], "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}], "messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x","cache_control":{"type" : "ephemeral","ttl":"1h"}}]},{"type":"text","text":"5m","cache_control":{"ttl":"1h","type":"ephemeral"}}]}],"n":1.0 }"#;
        let none = r#"{ "tools":[{"name":"t"}], "system":[{"type":"text","text":"s"}], "messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x"}]},{"type":"text","text":"5m"}]}],"n":1.0 }"#;
        assert_eq!(made(remarked, SONNET, body, Some(Ttl::OneHour)).as_deref(), Some(hour));
        assert_eq!(made(remarked, SONNET, hour, Some(Ttl::OneHour)), None, "as it is");
        assert_eq!(made(remarked, SONNET, body, None).as_deref(), Some(none));
        assert_eq!(made(remarked, SONNET, none, Some(Ttl::OneHour)), None);
        let old =
            made(remarked, "anthropic.claude-opus-4-1-20250805-v1:0", hour, Some(Ttl::OneHour)).unwrap();
        assert!(!old.contains("ttl"), "{old}");
    }

    #[test]
    fn every_cache_point_gets_the_ttl_and_nothing_else_changes() {
        let body = r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default","ttl":"5m"}}],"messages":[{"role":"user","content":[{"text":"a"},{"cachePoint":{"type":"default"}} ,{"text":"b"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"cachePoint"}},{"cachePoint":{"type":"default"}}]}}"#;
        let hour = r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default","ttl":"1h"}}],"messages":[{"role":"user","content":[{"text":"a"},{"cachePoint":{"type":"default","ttl":"1h"}} ,{"text":"b"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"cachePoint"}},{"cachePoint":{"type":"default","ttl":"1h"}}]}}"#;
        let short = r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default"}}],"messages":[{"role":"user","content":[{"text":"a"},{"cachePoint":{"type":"default"}} ,{"text":"b"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"cachePoint"}},{"cachePoint":{"type":"default"}}]}}"#;
        assert_eq!(made(repointed, SONNET, body, Some(Ttl::OneHour)).as_deref(), Some(hour));
        assert_eq!(made(repointed, SONNET, hour, Some(Ttl::FiveMinutes)).as_deref(), Some(short));
        assert_eq!(made(repointed, "amazon.nova-pro-v1:0", hour, Some(Ttl::OneHour)).as_deref(), Some(short));
        let none = made(repointed, SONNET, body, None).unwrap();
        assert!(!none.contains("\"cachePoint\":") && none.contains(r#"{"text":"b"}"#), "{none}");
    }
}
