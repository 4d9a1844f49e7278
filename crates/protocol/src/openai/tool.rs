//! Tools and the choice among them, for chat completions and for responses: the one nests a function's members in
//! `function`, the other has them beside the `type`, and both are read in either place.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::anthropic::request::CacheControl;
use crate::raw::{Absent, Fault, Object, Raw, Read, Shape, open_object};

open_object! {
    /// A tool on offer.
    Tool {
        /// `function`, `custom`, or one that OpenAI runs.
        kind: Option<Cow<'a, str>> = "type",
        /// A function, nested.
        function: Option<Function<'a>> = "function",
        /// A tool that takes text, nested.
        custom: Option<Custom<'a>> = "custom",
        /// The flat form's name.
        name: Option<Cow<'a, str>> = "name",
        /// The flat form's description.
        description: Option<Cow<'a, str>> = "description",
        /// The flat form's schema.
        parameters: Option<Object<'a>> = "parameters",
        /// The flat form's strictness.
        strict: Option<bool> = "strict",
        /// The flat form's grammar.
        format: Option<CustomFormat<'a>> = "format",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A function with a schema.
    Function {
        /// What the model calls it.
        name: Cow<'a, str> = "name",
        /// What it does.
        description: Option<Cow<'a, str>> = "description",
        /// Schema of its arguments, as the caller wrote it.
        parameters: Option<Object<'a>> = "parameters",
        /// Whether the arguments are held to the schema.
        strict: Option<bool> = "strict",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A tool that takes text of its own form.
    Custom {
        /// What the model calls it.
        name: Cow<'a, str> = "name",
        /// What it does.
        description: Option<Cow<'a, str>> = "description",
        /// The form of the text.
        format: Option<CustomFormat<'a>> = "format",
    }
}

open_object! {
    /// The form of a custom tool's input.
    CustomFormat {
        /// `text` or `grammar`.
        kind: Cow<'a, str> = "type",
        /// The grammar, nested as chat completions have it.
        grammar: Option<Grammar<'a>> = "grammar",
        /// The flat form's grammar.
        definition: Option<Cow<'a, str>> = "definition",
        /// The flat form's syntax.
        syntax: Option<Cow<'a, str>> = "syntax",
    }
}

open_object! {
    /// A grammar.
    Grammar {
        /// Its text.
        definition: Cow<'a, str> = "definition",
        /// `lark` or `regex`.
        syntax: Cow<'a, str> = "syntax",
    }
}

/// Which tool to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// `none`, `auto` or `required`.
    Word(Cow<'a, str>),
    /// One tool, or some of them.
    Spec(Box<ChoiceSpec<'a>>),
}

open_object! {
    /// A tool choice that is an object, and an element of `allowed_tools`.
    ChoiceSpec {
        /// `function`, `custom`, `allowed_tools`, or a tool that OpenAI runs. Legacy `function_call` has none.
        kind: Option<Cow<'a, str>> = "type",
        /// The function, nested.
        function: Option<Named<'a>> = "function",
        /// The custom tool, nested.
        custom: Option<Named<'a>> = "custom",
        /// The flat form's name.
        name: Option<Cow<'a, str>> = "name",
        /// The tools that may be used, nested.
        allowed_tools: Option<AllowedTools<'a>> = "allowed_tools",
        /// The flat form's `auto` or `required`.
        mode: Option<Cow<'a, str>> = "mode",
        /// The flat form's tools.
        tools: Option<Vec<AllowedTool<'a>>> = "tools",
    }
}

open_object! {
    /// A name.
    Named {
        /// It.
        name: Cow<'a, str> = "name",
    }
}

open_object! {
    /// The tools that may be used.
    AllowedTools {
        /// `auto` or `required`.
        mode: Option<Cow<'a, str>> = "mode",
        /// They.
        tools: Vec<AllowedTool<'a>> = "tools",
    }
}

open_object! {
    /// One tool that may be used.
    AllowedTool {
        /// `function`, `custom`, …
        kind: Option<Cow<'a, str>> = "type",
        /// The function, nested.
        function: Option<Named<'a>> = "function",
        /// The custom tool, nested.
        custom: Option<Named<'a>> = "custom",
        /// The flat form's name.
        name: Option<Cow<'a, str>> = "name",
    }
}

impl<'a> Read<'a> for ToolChoice<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(word) => Ok(Self::Word(word)),
            Shape::Object(_) => Read::from_shape(shape).map(Self::Spec),
            Shape::List(_) | Shape::Other(_) => {
                Err(Fault::here("Input should be a valid string or dictionary"))
            }
        }
    }
}

impl Serialize for ToolChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => serializer.serialize_str(word),
            Self::Spec(spec) => spec.serialize(serializer),
        }
    }
}

impl Absent for ToolChoice<'_> {}

impl AllowedTool<'_> {
    /// Its name, in whichever form it was written.
    pub fn named(&self) -> Option<&str> {
        let nested = self.function.as_ref().or(self.custom.as_ref());
        nested.map(|named| &*named.name).or(self.name.as_deref())
    }
}

impl ChoiceSpec<'_> {
    /// The one tool's name, in whichever form it was written.
    pub fn named(&self) -> Option<&str> {
        let nested = self.function.as_ref().or(self.custom.as_ref());
        nested.map(|named| &*named.name).or(self.name.as_deref())
    }
}

open_object! {
    /// A call of a function in the history.
    FunctionCall {
        /// The function.
        name: Cow<'a, str> = "name",
        /// The arguments: JSON text in a string. Some clients write the object itself.
        arguments: Option<Raw<'a>> = "arguments",
    }
}

open_object! {
    /// A call of a custom tool in the history.
    CustomCall {
        /// The tool.
        name: Cow<'a, str> = "name",
        /// The text it was given.
        input: Cow<'a, str> = "input",
    }
}
