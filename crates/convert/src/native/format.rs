//! The output format, where the model has none of its own: one more tool, which the model must call. The answer's side
//! ([`super::Relay`], [`super::message`]) makes text of its input.
//!
//! Stated policies, the same as in the Converse lane:
//! * Alone, the tool is forced by its name; beside the caller's tools any of them is, so that a conversation can go on
//!   to its answer over calls. A tool that the caller forces stays forced, and `none` leaves the answer alone to call.
//! * Thinking gives way to the forced call (a `Loss`), which contradicts it.
//! * Where nothing can be forced the tool is offered, and a `Loss` says that the form is not assured. What the model
//!   then answers in text passes as it is.

use std::collections::BTreeSet;

use catalog::Model;
use protocol::raw::{Object, Raw};

use super::doc::{Value, items};
use super::request::{Work, refusal};
use crate::Refusal;
use crate::converse::request::schema;
use crate::outcome::reason as common;
use crate::structured::{self, DESCRIPTION};

/// A format that the model does not take.
#[derive(Clone, Copy)]
pub(super) struct Format<'d> {
    value: Value<'d>,
    schema: Value<'d>,
}

impl Format<'_> {
    /// Whether this is where it stands in the request.
    pub(super) fn is(&self, value: Value<'_>) -> bool {
        self.value == value
    }
}

/// The format that has to become a tool, wherever it stands: `output_config.format`, or `output_format` as it was
/// called before.
pub(super) fn format<'d>(root: Value<'d>, model: &Model) -> Result<Option<Format<'d>>, Refusal> {
    if model.structured_output {
        return Ok(None);
    }
    let said = |value: &Value<'d>| !value.is_null();
    let newer = root.get("output_config").and_then(|config| config.get("format")).filter(said);
    let Some(value) = newer.or_else(|| root.get("output_format").filter(said)) else { return Ok(None) };
    let wrong = |step: &str, message: &str| Err(refusal(value.path() + step, message));
    if !value.get("type").is_some_and(|kind| kind.is("json_schema")) {
        return wrong(".type", "Input should be 'json_schema'");
    }
    let Some(schema) = value.get("schema") else { return wrong(".schema", "Field required") };
    if !schema.is_object() {
        return wrong(".schema", "Input should be a valid dictionary");
    }
    // The input of a tool is an object. The upstream would say so of a tool that the caller has never seen.
    if schema.get("type").is_some_and(|kind| said(&kind) && !kind.is("object")) {
        return wrong(".schema.type", "Input should be 'object'");
    }
    Ok(Some(Format { value, schema }))
}

/// Puts the tool behind the caller's own and has it called.
pub(super) fn offer(work: &mut Work<'_, '_>) -> Result<(), Refusal> {
    let Some(format) = work.format else { return Ok(()) };
    let name = structured::name(&taken(work.root));
    let schema = input_schema(format.schema, work.model.strip_schema_keyword);
    let tool = format!(r#"{{"name":"{name}","description":"{DESCRIPTION}","input_schema":{schema}}}"#);
    let tools = work.root.get("tools");
    match tools {
        Some(tools) if tools.is_array() => work.edits.append(tools, tool),
        Some(tools) if tools.is_null() => work.edits.replace(tools, format!("[{tool}]")),
        Some(_) => return Err(refusal("tools", "Input should be a valid list")),
        None => work.edits.append(work.root, format!("\"tools\":[{tool}]")),
    }
    if work.model.forced_tool_choice {
        force(work, &name, tools.is_none_or(|tools| tools.items().next().is_none()));
    } else {
        work.losses.add(format.value, common::NOT_TAKEN);
        let kind = work.root.get("tool_choice").and_then(|choice| choice.get("type"));
        if let Some(kind) = kind.filter(|kind| kind.is("none")) {
            work.losses.add(kind, common::WITH_FORMAT);
            work.edits.replace(kind, "\"auto\"");
        }
    }
    work.names.structured_output = Some(name);
    Ok(())
}

/// Forces a call. What else the caller's choice says (`disable_parallel_tool_use`) stays.
fn force(work: &mut Work<'_, '_>, name: &str, alone: bool) {
    let named = format!("\"type\":\"tool\",\"name\":\"{name}\"");
    let Some(choice) = work.root.get("tool_choice").filter(|choice| !choice.is_null()) else {
        let forced = if alone { &named } else { "\"type\":\"any\"" };
        match work.root.get("tool_choice") {
            Some(null) => work.edits.replace(null, format!("{{{forced}}}")),
            None => work.edits.append(work.root, format!("\"tool_choice\":{{{forced}}}")),
        }
        return;
    };
    let Some(kind) = choice.get("type") else { return };
    let none = kind.is("none");
    if none || (alone && (kind.is("auto") || kind.is("any"))) {
        work.edits.replace(kind, "\"tool\"");
        match choice.get("name") {
            Some(own) => work.edits.replace(own, format!("\"{name}\"")),
            None => work.edits.append(choice, format!("\"name\":\"{name}\"")),
        }
    } else if kind.is("auto") {
        work.edits.replace(kind, "\"any\"");
    }
}

/// The names that tools have in this request: of those given, the one chosen, those called before.
fn taken(root: Value<'_>) -> BTreeSet<String> {
    let calls = items(root.get("messages"))
        .flat_map(|message| items(message.get("content")))
        .filter(|block| block.get("type").is_some_and(|kind| kind.is("tool_use")));
    let named = items(root.get("tools")).chain(calls).chain(root.get("tool_choice"));
    named.filter_map(|value| Some(value.get("name")?.str()?.into_owned())).collect()
}

/// The caller's schema as the input of a tool: byte for byte, but for the repairs that every such schema gets.
fn input_schema(schema: Value<'_>, strip_schema_keyword: bool) -> String {
    let text = || schema.raw().to_owned();
    let object = Raw::from_text(text()).and_then(Object::new);
    object.map_or_else(text, |object| schema::input(&object, strip_schema_keyword).get().to_owned())
}
