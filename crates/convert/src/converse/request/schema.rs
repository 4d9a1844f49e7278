//! Repairs of tool schemas. A schema that needs none reaches the upstream byte for byte; one that does keeps the
//! order of its keys and the text of every value that stays.

use std::borrow::Cow;

use protocol::raw::{MAX_DEPTH, Object, Raw};
use serde_json::value::RawValue;

/// Keywords whose values are data and not schemas.
const DATA: &[&str] = &["default", "const", "enum", "examples"];

/// The schema of a tool's input as Converse takes it: `type` is there, `required` is not null, and `$schema` is
/// gone where the model rejects it.
pub(crate) fn input<'a>(schema: &'a Object<'_>, strip_schema_keyword: bool) -> Raw<'a> {
    let raw = schema.raw();
    repaired(schema, strip_schema_keyword).unwrap_or(raw)
}

/// The schema of an output format without null `required` members; `None` where there are none. Its root may be of any
/// type, or of none beside `anyOf` or `$ref`.
pub(crate) fn without_nulls(schema: &Object<'_>) -> Option<Object<'static>> {
    match subschema("", serde_json::from_str(schema.get()).ok()?, 0) {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Raw::from_text(text).and_then(Object::new),
    }
}

fn repaired(schema: &Object<'_>, strip_schema_keyword: bool) -> Option<Raw<'static>> {
    let raw = schema.raw();
    let members = raw.members()?;
    let typed = members.iter().any(|(key, value)| key == "type" && value.get() != "null");
    let keyword = strip_schema_keyword && members.iter().any(|(key, _)| key == "$schema");
    let nulls = has_null_required(schema.get());
    if typed && !keyword && !nulls {
        return None;
    }
    let mut out = Writer::object();
    if !typed {
        out.member("type", "\"object\"");
    }
    for (key, value) in members {
        let gone = match &*key {
            "$schema" => strip_schema_keyword,
            "type" | "required" => value.get() == "null",
            _ => false,
        };
        if !gone {
            out.member(&key, &subschema(&key, value, 1));
        }
    }
    Raw::from_text(out.finish('}'))
}

/// A value without null `required` members at any depth.
fn subschema<'v>(key: &str, value: &'v RawValue, depth: usize) -> Cow<'v, str> {
    let text = value.get();
    if DATA.contains(&key) || depth > MAX_DEPTH || !has_null_required(text) {
        return Cow::Borrowed(text);
    }
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let mut out = Writer::list();
        for element in elements {
            out.element(&subschema("", element, depth + 1));
        }
        return Cow::Owned(out.finish(']'));
    }
    let raw = Raw::from(value);
    let Some(members) = raw.members() else { return Cow::Borrowed(text) };
    let mut out = Writer::object();
    for (key, value) in members {
        if !(key == "required" && value.get() == "null") {
            out.member(&key, &subschema(&key, value, depth + 1));
        }
    }
    Cow::Owned(out.finish('}'))
}

/// Whether the text may hold `"required": null`; a string that looks like it costs a rewrite and changes nothing.
fn has_null_required(text: &str) -> bool {
    const KEY: &str = "\"required\"";
    text.match_indices(KEY).any(|(at, _)| {
        let rest = text[at + KEY.len()..].trim_ascii_start();
        rest.strip_prefix(':').is_some_and(|value| value.trim_ascii_start().starts_with("null"))
    })
}

/// Writes an object or a list of texts that are JSON already.
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn object() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn list() -> Self {
        Self("[".to_owned())
    }

    pub(crate) fn element(&mut self, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(value);
    }

    pub(crate) fn member(&mut self, key: &str, value: &str) {
        // A string always has a JSON form.
        let key = serde_json::to_string(key).unwrap_or_default();
        self.element(&key);
        self.0.push(':');
        self.0.push_str(value);
    }

    pub(crate) fn finish(mut self, close: char) -> String {
        self.0.push(close);
        self.0
    }
}
