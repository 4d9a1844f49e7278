//! Tools and the choice among them.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::CacheControl;
use crate::raw::{Absent, Fault, Object, Raw, Read, Shape, object, open_object, tag, tagged_union};

/// A tool on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool<'a> {
    /// The caller's own: no `type`, or `custom`.
    Custom(CustomTool<'a>),
    /// One that Anthropic defines, run by the caller (`bash_20250124`) or by a server (`web_search_20250305`).
    Typed(TypedTool<'a>),
}

open_object! {
    /// A tool with a schema of the caller's.
    CustomTool {
        /// `custom`, where it was written.
        kind: Option<Cow<'a, str>> = "type",
        /// What the model calls it.
        name: Cow<'a, str> = "name",
        /// What it does.
        description: Option<Cow<'a, str>> = "description",
        /// Schema of its input, as the caller wrote it.
        input_schema: Object<'a> = "input_schema",
        /// Whether the input is held to the schema.
        strict: Option<bool> = "strict",
        /// Whether it stays out of the prompt until it is referenced.
        defer_loading: Option<bool> = "defer_loading",
        /// Whether its input is streamed unbuffered.
        eager_input_streaming: Option<bool> = "eager_input_streaming",
        /// Inputs to learn from.
        input_examples: Option<Raw<'a>> = "input_examples",
        /// `direct`, or a code execution tool.
        allowed_callers: Option<Vec<Cow<'a, str>>> = "allowed_callers",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A tool that Anthropic defines; its other members depend on the type.
    TypedTool {
        /// The type with its date.
        kind: Cow<'a, str> = "type",
        /// What the model calls it; toolsets have none.
        name: Option<Cow<'a, str>> = "name",
        /// Whether it stays out of the prompt until it is referenced.
        defer_loading: Option<bool> = "defer_loading",
        /// A cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

impl<'a> Tool<'a> {
    /// What the model calls it.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Custom(tool) => Some(&tool.name),
            Self::Typed(tool) => tool.name.as_deref(),
        }
    }

    /// Its cache marker.
    pub fn cache_control(&self) -> Option<&CacheControl<'a>> {
        match self {
            Self::Custom(tool) => tool.cache_control.as_ref(),
            Self::Typed(tool) => tool.cache_control.as_ref(),
        }
    }
}

impl<'a> Read<'a> for Tool<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let members = object(shape)?;
        match tag(&members)?.as_deref() {
            None | Some("custom") => CustomTool::from_shape(Shape::Object(members)).map(Self::Custom),
            Some(_) => TypedTool::from_shape(Shape::Object(members)).map(Self::Typed),
        }
    }
}

impl Serialize for Tool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Custom(tool) => tool.serialize(serializer),
            Self::Typed(tool) => tool.serialize(serializer),
        }
    }
}

impl Absent for Tool<'_> {}

tagged_union! {
    /// Which tool to use.
    ToolChoice {
        /// As the model sees fit.
        Auto(ChoiceAuto<'a>) = "auto",
        /// One at least.
        Any(ChoiceAny<'a>) = "any",
        /// This one.
        Tool(ChoiceTool<'a>) = "tool",
        /// None.
        None(ChoiceNone<'a>) = "none",
    }
}

open_object! {
    /// `tool_choice: {type: auto}`.
    ChoiceAuto tag "auto" {
        /// Whether one answer holds one call at most.
        disable_parallel_tool_use: Option<bool> = "disable_parallel_tool_use",
    }
}

open_object! {
    /// `tool_choice: {type: any}`.
    ChoiceAny tag "any" {
        /// Whether one answer holds one call at most.
        disable_parallel_tool_use: Option<bool> = "disable_parallel_tool_use",
    }
}

open_object! {
    /// `tool_choice: {type: tool}`.
    ChoiceTool tag "tool" {
        /// The tool.
        name: Cow<'a, str> = "name",
        /// Whether one answer holds one call at most.
        disable_parallel_tool_use: Option<bool> = "disable_parallel_tool_use",
    }
}

open_object! {
    /// `tool_choice: {type: none}`.
    ChoiceNone tag "none" {}
}
