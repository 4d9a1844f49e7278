//! Schemas of output formats. The Messages API holds an answer to its schema in a mode that takes less of JSON Schema than
//! OpenAI does, and wants every object closed:
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
//!
//! A keyword that is not taken goes, and the description says it, so that the model still knows; an object that says
//! nothing of other properties is closed. A schema that needs neither stays byte for byte.

use protocol::raw::{MAX_DEPTH, Object, Raw};
use serde_json::value::RawValue;

use crate::converse::request::schema::Writer;

/// Constraints that the mode does not take.
const NOT_TAKEN: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Whether such a constraint stands in the text as a keyword. A property that is called so is taken for one.
pub(crate) fn constrains(schema: &str) -> bool {
    NOT_TAKEN.iter().any(|keyword| {
        schema.match_indices(keyword).any(|(at, _)| {
            let behind = schema[at + keyword.len()..].strip_prefix('"');
            schema[..at].ends_with('"') && behind.is_some_and(|rest| rest.trim_ascii_start().starts_with(':'))
        })
    })
}

/// A schema that the mode takes.
pub(crate) struct Closed {
    pub(crate) schema: Object<'static>,
    /// Whether a constraint is told and no longer held.
    pub(crate) loosened: bool,
}

/// The schema as the mode takes it; `None` where it does already.
pub(crate) fn closed(schema: &Object<'_>) -> Option<Closed> {
    let mut loosened = false;
    let text = rewritten(&schema.raw(), 1, &mut loosened)?;
    let schema = Raw::from_text(text).and_then(Object::new)?;
    Some(Closed { schema, loosened })
}

/// A schema with its changes; `None` where there are none.
fn rewritten(schema: &Raw<'_>, depth: usize, loosened: &mut bool) -> Option<String> {
    let members = schema.members().filter(|_| depth <= MAX_DEPTH)?;
    let has = |name: &str| members.iter().any(|(key, _)| key == name);
    let open = members.iter().any(|(key, value)| key == "type" && value.get() == "\"object\"")
        && !has("additionalProperties");
    let mut changed = open;
    let mut out = Writer::object();
    let (mut told, mut description) = (Vec::new(), None);
    for (key, value) in &members {
        let gone = NOT_TAKEN.contains(&&**key) || (key == "minItems" && !matches!(value.get(), "0" | "1"));
        if gone {
            told.push(format!("{key}: {}", value.get()));
        } else if key == "description" {
            description = serde_json::from_str::<String>(value.get()).ok();
            if description.is_none() {
                out.member(key, value.get());
            }
        } else {
            let new = below(key, value, depth, loosened);
            changed |= new.is_some();
            out.member(key, new.as_deref().unwrap_or(value.get()));
        }
    }
    if !told.is_empty() {
        *loosened = true;
        changed = true;
        let told = format!("({})", told.join(", "));
        description = Some(description.map_or_else(|| told.clone(), |text| format!("{text} {told}")));
    }
    if let Some(text) = description {
        out.member("description", &serde_json::to_string(&text).unwrap_or_default());
    }
    if open {
        out.member("additionalProperties", "false");
    }
    changed.then(|| out.finish('}'))
}

/// The value of a keyword, where there are schemas in it.
fn below(key: &str, value: &RawValue, depth: usize, loosened: &mut bool) -> Option<String> {
    match key {
        "items" | "not" => rewritten(&Raw::from(value), depth + 1, loosened),
        "properties" | "$defs" | "definitions" => {
            let raw = Raw::from(value);
            let mut changed = false;
            let mut out = Writer::object();
            for (name, schema) in raw.members()? {
                let new = rewritten(&Raw::from(schema), depth + 1, loosened);
                changed |= new.is_some();
                out.member(&name, new.as_deref().unwrap_or(schema.get()));
            }
            changed.then(|| out.finish('}'))
        }
        "anyOf" | "allOf" | "oneOf" | "prefixItems" => {
            let mut changed = false;
            let mut out = Writer::list();
            for schema in serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()? {
                let new = rewritten(&Raw::from(schema), depth + 1, loosened);
                changed |= new.is_some();
                out.element(new.as_deref().unwrap_or(schema.get()));
            }
            changed.then(|| out.finish(']'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str) -> Option<(String, bool)> {
        let schema = Raw::from_text(schema.to_owned()).and_then(Object::new).unwrap();
        closed(&schema).map(|closed| (closed.schema.get().to_owned(), closed.loosened))
    }

    #[test]
    fn a_schema_that_is_taken_stays_byte_for_byte() {
        for schema in [
            r#"{ "type": "object", "properties": {"minimum": {"type":"string","description":"d"}}, "additionalProperties": false }"#,
            r#"{"type":"object","additionalProperties":{"type":"string"},"x":[1.0]}"#,
            r#"{"type":"array","minItems":1,"items":{"enum":[{"maximum":1}]}}"#,
        ] {
            assert_eq!(of(schema), None, "{schema}");
        }
    }

    #[test]
    fn constraints_are_told_and_objects_are_closed_at_any_depth() {
        assert_eq!(
            of(r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1,"description":"A number.","maximum":1e2}}}"#),
            Some((
                r#"{"type":"object","properties":{"n":{"type":"integer","description":"A number. (minimum: 1, maximum: 1e2)"}},"additionalProperties":false}"#.to_owned(),
                true
            ))
        );
        assert_eq!(
            of(r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","z":1.50}},"anyOf":[{"type":"string"},{"items":{"type":"object"}}]}"##),
            Some((
                r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","z":1.50,"additionalProperties":false}},"anyOf":[{"type":"string"},{"items":{"type":"object","additionalProperties":false}}]}"##.to_owned(),
                false
            ))
        );
    }

    #[test]
    fn a_property_may_be_called_as_a_constraint() {
        assert!(constrains(r#"{"minimum" : 1}"#));
        assert!(!constrains(r#"{"description":"minimum: 1","title":"minimum"}"#));
    }
}
