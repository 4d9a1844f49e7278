//! Values made from a JSON schema: what a tool call or a structured answer of the simulator holds.
use crate::json::{Json, quote};

/// How deep a value may nest; schemas may refer to themselves.
const DEPTH: usize = 8;

/// A JSON text that fits the schema, filled from what the user said where that is possible.
pub(crate) fn value(schema: &Json<'_>, said: &str) -> String {
    let mut out = String::new();
    Maker { root: schema, said }.write(schema, "", 0, &mut out);
    out
}

struct Maker<'s> {
    root: &'s Json<'s>,
    said: &'s str,
}

impl<'s> Maker<'s> {
    fn write(&self, schema: &'s Json<'s>, name: &str, depth: usize, out: &mut String) {
        let schema = self.resolved(schema);
        if let Some(fixed) = schema.get("const").or(schema.get("default")).or(schema.list("enum").first()) {
            fixed.write(out);
            return;
        }
        match kind(schema) {
            "object" => self.object(schema, depth, out),
            "array" => self.array(schema, name, depth, out),
            "integer" | "number" => number(schema, out),
            "boolean" => out.push_str("true"),
            "null" => out.push_str("null"),
            _ => self.string(schema, name, out),
        }
    }

    /// Follows references and takes the first alternative.
    fn resolved(&self, mut schema: &'s Json<'s>) -> &'s Json<'s> {
        for _ in 0..DEPTH {
            let next = if let Some(path) = schema.text("$ref") {
                let keys: Vec<&str> = path.split('/').skip(1).collect();
                self.root.at(&keys)
            } else {
                ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema.list(key).first())
            };
            match next {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn object(&self, schema: &'s Json<'s>, depth: usize, out: &mut String) {
        let required = schema.list("required");
        let properties = schema.get("properties").map_or(&[][..], Json::members);
        out.push('{');
        let mut first = true;
        for (name, of) in properties {
            if depth >= DEPTH || !required.iter().any(|key| key.as_str() == Some(name)) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            quote(out, name);
            out.push(':');
            self.write(of, name, depth + 1, out);
        }
        out.push('}');
    }

    fn array(&self, schema: &'s Json<'s>, name: &str, depth: usize, out: &mut String) {
        let least = schema.get("minItems").and_then(Json::as_int).unwrap_or(1).clamp(1, 16);
        out.push('[');
        if let Some(items) = schema.get("items").filter(|_| depth < DEPTH) {
            for index in 0..least {
                if index > 0 {
                    out.push(',');
                }
                self.write(items, name, depth + 1, out);
            }
        }
        out.push(']');
    }

    fn string(&self, schema: &Json<'_>, name: &str, out: &mut String) {
        let lower = name.to_ascii_lowercase();
        let is = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let text = match schema.text("format") {
            Some("date") => "2026-01-01".to_owned(),
            Some("date-time") => "2026-01-01T00:00:00Z".to_owned(),
            Some("time") => "00:00:00Z".to_owned(),
            Some("email") => "someone@example.com".to_owned(),
            Some("uri" | "url") => "https://example.com/".to_owned(),
            Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
            _ if is(&["location", "city", "place", "town"]) => place(self.said).unwrap_or("Paris").to_owned(),
            _ if is(&["expression", "formula"]) => expression(self.said).unwrap_or("1 + 1").to_owned(),
            _ if is(&["query", "question", "prompt", "text", "message", "title"])
                && !self.said.is_empty() =>
            {
                self.said.chars().take(60).collect()
            }
            _ if is(&["path", "file"]) => "/tmp/example.txt".to_owned(),
            _ if is(&["url", "uri"]) => "https://example.com/".to_owned(),
            _ if is(&["date"]) => "2026-01-01".to_owned(),
            _ => "example".to_owned(),
        };
        let least = schema.get("minLength").and_then(Json::as_int).and_then(|n| usize::try_from(n).ok());
        let short = least.unwrap_or_default().min(4_096).saturating_sub(text.chars().count());
        let most = schema.get("maxLength").and_then(Json::as_int).and_then(|n| usize::try_from(n).ok());
        let text: String = text.chars().chain(std::iter::repeat_n('x', short)).collect();
        quote(out, &text.chars().take(most.unwrap_or(usize::MAX)).collect::<String>());
    }
}

fn kind<'s>(schema: &'s Json<'s>) -> &'s str {
    let first = || schema.list("type").first().and_then(Json::as_str);
    let guess = if schema.get("properties").is_some() { "object" } else { "string" };
    schema.text("type").or_else(first).unwrap_or(guess)
}

fn number(schema: &Json<'_>, out: &mut String) {
    let above = |key: &str, by: i64| schema.get(key).and_then(Json::as_int).map(|least| least + by);
    let least = above("minimum", 0).or(above("exclusiveMinimum", 1)).unwrap_or(1);
    let most = schema.get("maximum").and_then(Json::as_int).unwrap_or(i64::MAX);
    out.push_str(&least.min(most).to_string());
}

/// The words after "in", up to the end of the clause.
fn place(said: &str) -> Option<&str> {
    let (_, after) = said.rsplit_once(" in ")?;
    let place = after.split(['?', '.', '!', ';', '\n']).next()?.trim();
    (!place.is_empty() && place.len() <= 60).then_some(place)
}

/// The longest run of digits and operators.
fn expression(said: &str) -> Option<&str> {
    let outside = |c: char| !(c.is_ascii_digit() || "+-*/().% ^".contains(c));
    let runs = said.split(outside).map(str::trim).filter(|run| run.contains(|c: char| c.is_ascii_digit()));
    runs.max_by_key(|run| run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(schema: &str, said: &str) -> String {
        value(&Json::parse(schema.as_bytes()).expect("valid"), said)
    }

    #[test]
    fn required_properties_are_filled_and_the_place_is_heard() {
        let schema = r#"{"type":"object","properties":{"location":{"type":"string"},"unit":{"type":"string",
            "enum":["celsius","fahrenheit"]},"note":{"type":"string"}},"required":["location","unit"]}"#;
        assert_eq!(
            made(schema, "What is the weather in San Francisco, CA?"),
            r#"{"location":"San Francisco, CA","unit":"celsius"}"#
        );
    }

    #[test]
    fn references_alternatives_and_lists_are_followed() {
        let schema = r##"{"type":"object","required":["a","b","c"],"properties":{"a":{"$ref":"#/$defs/n"},
            "b":{"anyOf":[{"type":"boolean"},{"type":"null"}]},"c":{"type":"array","items":{"type":"string"},
            "minItems":2}},"$defs":{"n":{"type":"integer","minimum":7}}}"##;
        assert_eq!(made(schema, ""), r#"{"a":7,"b":true,"c":["example","example"]}"#);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = r##"{"type":"object","required":["next"],"properties":{"next":{"$ref":"#"}}}"##;
        assert!(made(schema, "").starts_with(r#"{"next":{"next":"#));
    }
}
