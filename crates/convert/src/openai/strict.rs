//! Schemas of output formats. The Messages API holds an answer to its schema in a mode that takes less of JSON Schema than
//! OpenAI does, and wants every object closed:
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
//!
//! A keyword that is not taken goes, and the description says it, so that the model still knows. An object that says
//! nothing of other properties is closed, unless another schema may speak of the same value (a branch of `allOf`, what
//! stands beside `$ref`): closed, each would forbid what the other wants, and no answer would fit. A schema that needs
//! neither stays byte for byte.

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

/// Keywords by which other schemas speak of the same value.
const APPLIED: &[&str] = &["$ref", "anyOf", "oneOf", "allOf"];

/// The schema as the mode takes it, which is narrower or says less than the caller's; `None` where it is taken as it is.
pub(crate) fn closed(schema: &Object<'_>) -> Option<Object<'static>> {
    let mut walk = Walk { shared: false };
    let mut text = walk.rewritten(&schema.raw(), 1, true);
    if walk.shared {
        // Known at the end of the first walk, and wanted from the start.
        text = walk.rewritten(&schema.raw(), 1, true);
    }
    Raw::from_text(text?).and_then(Object::new)
}

struct Walk {
    /// Whether some `$ref` stands where other schemas speak of the same value: definitions are not closed then.
    shared: bool,
}

impl Walk {
    /// A schema with its changes; `None` where there are none. `alone`: no other schema speaks of the same value.
    fn rewritten(&mut self, schema: &Raw<'_>, depth: usize, alone: bool) -> Option<String> {
        let members = schema.members().filter(|_| depth <= MAX_DEPTH)?;
        let has = |name: &str| members.iter().any(|(key, _)| key == name);
        let applied = APPLIED.iter().filter(|keyword| has(keyword)).count();
        let inner = ["properties", "items", "prefixItems"].into_iter().any(has);
        let alone_below = alone && applied + usize::from(inner) <= 1;
        self.shared |= has("$ref") && !alone_below;
        let open = members.iter().any(|(key, value)| key == "type" && value.get() == "\"object\"")
            && !has("additionalProperties")
            && alone
            && applied == 0;
        let mut changed = open;
        let mut out = Writer::object();
        let (mut told, mut description) = (Vec::new(), None);
        for (key, value) in &members {
            let gone =
                NOT_TAKEN.contains(&&**key) || (key == "minItems" && !matches!(value.get(), "0" | "1"));
            if gone {
                told.push(format!("{key}: {}", value.get()));
            } else if key == "description" {
                description = serde_json::from_str::<String>(value.get()).ok();
                if description.is_none() {
                    out.member(key, value.get());
                }
            } else {
                let new = self.below(key, value, depth, alone_below);
                changed |= new.is_some();
                out.member(key, new.as_deref().unwrap_or(value.get()));
            }
        }
        if !told.is_empty() {
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
    fn below(&mut self, key: &str, value: &RawValue, depth: usize, alone: bool) -> Option<String> {
        match key {
            "items" => self.rewritten(&Raw::from(value), depth + 1, alone),
            "properties" | "$defs" | "definitions" => {
                let raw = Raw::from(value);
                let mut changed = false;
                let mut out = Writer::object();
                for (name, schema) in raw.members()? {
                    let alone = if key == "properties" { alone } else { !self.shared };
                    let new = self.rewritten(&Raw::from(schema), depth + 1, alone);
                    changed |= new.is_some();
                    out.member(&name, new.as_deref().unwrap_or(schema.get()));
                }
                changed.then(|| out.finish('}'))
            }
            "anyOf" | "allOf" | "oneOf" | "prefixItems" => {
                let mut changed = false;
                let mut out = Writer::list();
                let schemas = serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?;
                let alone = alone && (key != "allOf" || schemas.len() == 1);
                for schema in schemas {
                    let new = self.rewritten(&Raw::from(schema), depth + 1, alone);
                    changed |= new.is_some();
                    out.element(new.as_deref().unwrap_or(schema.get()));
                }
                changed.then(|| out.finish(']'))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str) -> Option<String> {
        let schema = Raw::from_text(schema.to_owned()).and_then(Object::new).unwrap();
        closed(&schema).map(|closed| closed.get().to_owned())
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
            of(r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1,"description":"A number.","maximum":1e2}}}"#).unwrap(),
            r#"{"type":"object","properties":{"n":{"type":"integer","description":"A number. (minimum: 1, maximum: 1e2)"}},"additionalProperties":false}"#
        );
        assert_eq!(
            of(r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","z":1.50}}}"##).unwrap(),
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","z":1.50,"additionalProperties":false}}}"##
        );
        assert_eq!(
            of(r#"{"anyOf":[{"type":"string"},{"items":{"type":"object"}}]}"#).unwrap(),
            r#"{"anyOf":[{"type":"string"},{"items":{"type":"object","additionalProperties":false}}]}"#
        );
        assert_eq!(
            of(r#"{"allOf":[{"type":"object"}]}"#).unwrap(),
            r#"{"allOf":[{"type":"object","additionalProperties":false}]}"#
        );
    }

    #[test]
    fn an_object_of_which_two_schemas_speak_stays_open() {
        for schema in [
            r#"{"allOf":[{"type":"object","properties":{"a":{"type":"object"}}},{"type":"object"}]}"#,
            r#"{"type":"object","properties":{"a":{}},"anyOf":[{"type":"object","required":["b"]},{"type":"null"}]}"#,
            r##"{"type":"object","$ref":"#/$defs/a","$defs":{"a":{"additionalProperties":false}}}"##,
            r##"{"$defs":{"a":{"type":"object"}},"allOf":[{"$ref":"#/$defs/a"},{"properties":{"b":{}}}]}"##,
            r##"{"$defs":{"a":{"type":"object"}},"$ref":"#/$defs/a","properties":{"b":{}}}"##,
        ] {
            assert_eq!(of(schema), None, "{schema}");
        }
    }

    #[test]
    fn a_property_may_be_called_as_a_constraint() {
        assert!(constrains(r#"{"minimum" : 1}"#));
        assert!(!constrains(r#"{"description":"minimum: 1","title":"minimum"}"#));
    }
}
