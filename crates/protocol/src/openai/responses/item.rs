//! The items that a conversation is made of.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::anthropic::request::CacheControl;
use crate::openai::chat::request::Breakpoint;
use crate::raw::{
    Absent, Extra, Fault, Members, Raw, Read, Shape, Slot, object, open_object, tag, tagged_union, unknown,
};

/// One item. A known type must fit its schema; an unknown one is kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// What somebody said. The `type` may be missing.
    Message(Message<'a>),
    /// A call of a function.
    FunctionCall(FunctionCall<'a>),
    /// What it gave.
    FunctionCallOutput(CallOutput<'a>),
    /// A call of a tool that takes text.
    CustomToolCall(CustomToolCall<'a>),
    /// What it gave.
    CustomToolCallOutput(CustomCallOutput<'a>),
    /// A command for the caller's shell.
    LocalShellCall(LocalShellCall<'a>),
    /// What it gave.
    LocalShellCallOutput(LocalShellCallOutput<'a>),
    /// What the model thought.
    Reasoning(Reasoning<'a>),
    /// What stands for an earlier part of the conversation.
    Compaction(Compaction<'a>),
    /// An item of an earlier turn, by its id. The `type` may be missing.
    Reference(Reference<'a>),
    /// An item of a type that this schema does not know: all its members, `type` included.
    Unknown(Extra<'a>),
}

impl<'a> Read<'a> for Item<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let members = object(shape)?;
        let kind = kind(&members)?;
        let named = |name: &str| members.iter().any(|(key, _)| key == name);
        let kind = match kind.as_deref() {
            Some(kind) => kind,
            None if named("role") => "message",
            None if named("id") => "item_reference",
            None => return Err(Fault::here("Field required").within("type")),
        };
        let known: fn(Shape<'a>) -> Result<Self, Fault> = match kind {
            "message" => |shape| Read::from_shape(shape).map(Self::Message),
            "function_call" => |shape| Read::from_shape(shape).map(Self::FunctionCall),
            "function_call_output" => |shape| Read::from_shape(shape).map(Self::FunctionCallOutput),
            "custom_tool_call" => |shape| Read::from_shape(shape).map(Self::CustomToolCall),
            "custom_tool_call_output" => |shape| Read::from_shape(shape).map(Self::CustomToolCallOutput),
            "local_shell_call" => |shape| Read::from_shape(shape).map(Self::LocalShellCall),
            "local_shell_call_output" => |shape| Read::from_shape(shape).map(Self::LocalShellCallOutput),
            "reasoning" => |shape| Read::from_shape(shape).map(Self::Reasoning),
            "compaction" => |shape| Read::from_shape(shape).map(Self::Compaction),
            "item_reference" => |shape| Read::from_shape(shape).map(Self::Reference),
            _ => return unknown(members).map(Self::Unknown),
        };
        known(Shape::Object(members))
    }
}

/// The `type` of an item; a null counts as none.
fn kind<'a>(members: &Members<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    let null = |(key, slot): &(Cow<'a, str>, Slot<'a>)| key == "type" && slot.is_null();
    if members.iter().any(null) { Ok(None) } else { tag(members) }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Message(item) => item.serialize(serializer),
            Self::FunctionCall(item) => item.serialize(serializer),
            Self::FunctionCallOutput(item) => item.serialize(serializer),
            Self::CustomToolCall(item) => item.serialize(serializer),
            Self::CustomToolCallOutput(item) => item.serialize(serializer),
            Self::LocalShellCall(item) => item.serialize(serializer),
            Self::LocalShellCallOutput(item) => item.serialize(serializer),
            Self::Reasoning(item) => item.serialize(serializer),
            Self::Compaction(item) => item.serialize(serializer),
            Self::Reference(item) => item.serialize(serializer),
            Self::Unknown(item) => item.serialize(serializer),
        }
    }
}

impl Absent for Item<'_> {}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller's side.
    User,
    /// The model.
    Assistant,
    /// The operator.
    System,
    /// The operator, in the newer word.
    Developer,
}

impl Role {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::Developer => "developer",
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Absent for Role {}

impl<'a> Read<'a> for Role {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) if text == "user" => Ok(Self::User),
            Shape::Text(text) if text == "assistant" => Ok(Self::Assistant),
            Shape::Text(text) if text == "system" => Ok(Self::System),
            Shape::Text(text) if text == "developer" => Ok(Self::Developer),
            Shape::Text(_) | Shape::Object(_) | Shape::List(_) | Shape::Other(_) => {
                Err(Fault::here("Input should be 'user', 'assistant', 'system' or 'developer'"))
            }
        }
    }
}

open_object! {
    /// What somebody said.
    Message tag "message" {
        /// `msg_…`
        id: Option<Cow<'a, str>> = "id",
        /// Who speaks.
        role: Role = "role",
        /// What is said.
        content: Content<'a> = "content",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
        /// `commentary` or `final_answer`.
        phase: Option<Cow<'a, str>> = "phase",
    }
}

/// What is said, or what a tool gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Parts.
    Parts(Vec<Part<'a>>),
}

impl<'a> Read<'a> for Content<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(_) => Read::from_shape(shape).map(Self::Parts),
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl Absent for Content<'_> {}

tagged_union! {
    /// A part of what is said.
    Part {
        /// Text of the caller's.
        InputText(InputText<'a>) = "input_text",
        /// An image.
        InputImage(InputImage<'a>) = "input_image",
        /// A file.
        InputFile(InputFile<'a>) = "input_file",
        /// Text of the model's.
        OutputText(OutputText<'a>) = "output_text",
        /// What the model said instead of an answer.
        Refusal(Refusal<'a>) = "refusal",
    }
}

open_object! {
    /// Text of the caller's.
    InputText tag "input_text" {
        /// The text.
        text: Cow<'a, str> = "text",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// OpenAI's cache marker.
        prompt_cache_breakpoint: Option<Breakpoint<'a>> = "prompt_cache_breakpoint",
    }
}

open_object! {
    /// An image.
    InputImage tag "input_image" {
        /// `low`, `high`, `auto` or `original`.
        detail: Option<Cow<'a, str>> = "detail",
        /// An address, or a `data:` one that holds the image.
        image_url: Option<Cow<'a, str>> = "image_url",
        /// A file that is kept by the vendor.
        file_id: Option<Cow<'a, str>> = "file_id",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// OpenAI's cache marker.
        prompt_cache_breakpoint: Option<Breakpoint<'a>> = "prompt_cache_breakpoint",
    }
}

open_object! {
    /// A file.
    InputFile tag "input_file" {
        /// Its name.
        filename: Option<Cow<'a, str>> = "filename",
        /// What it holds, as a `data:` address or base64.
        file_data: Option<Cow<'a, str>> = "file_data",
        /// Its address.
        file_url: Option<Cow<'a, str>> = "file_url",
        /// A file that is kept by the vendor.
        file_id: Option<Cow<'a, str>> = "file_id",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// OpenAI's cache marker.
        prompt_cache_breakpoint: Option<Breakpoint<'a>> = "prompt_cache_breakpoint",
    }
}

open_object! {
    /// Text of the model's.
    OutputText tag "output_text" {
        /// The text.
        text: Cow<'a, str> = "text",
        /// Where it comes from.
        annotations: Option<Raw<'a>> = "annotations",
        /// How probable its tokens were.
        logprobs: Option<Raw<'a>> = "logprobs",
    }
}

open_object! {
    /// What the model said instead of an answer.
    Refusal tag "refusal" {
        /// The words.
        refusal: Cow<'a, str> = "refusal",
    }
}

open_object! {
    /// A call of a function.
    FunctionCall tag "function_call" {
        /// `fc_…`
        id: Option<Cow<'a, str>> = "id",
        /// What the output names it by.
        call_id: Cow<'a, str> = "call_id",
        /// The namespace that the function belongs to.
        namespace: Option<Cow<'a, str>> = "namespace",
        /// The function.
        name: Cow<'a, str> = "name",
        /// JSON, as text.
        arguments: Cow<'a, str> = "arguments",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// What a function gave.
    CallOutput tag "function_call_output" {
        /// The item's id.
        id: Option<Cow<'a, str>> = "id",
        /// The call.
        call_id: Cow<'a, str> = "call_id",
        /// What it gave.
        output: Content<'a> = "output",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// A call of a tool that takes text.
    CustomToolCall tag "custom_tool_call" {
        /// `ctc_…`
        id: Option<Cow<'a, str>> = "id",
        /// What the output names it by.
        call_id: Cow<'a, str> = "call_id",
        /// The namespace that the tool belongs to.
        namespace: Option<Cow<'a, str>> = "namespace",
        /// The tool.
        name: Cow<'a, str> = "name",
        /// The text.
        input: Cow<'a, str> = "input",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// What a tool that takes text gave.
    CustomCallOutput tag "custom_tool_call_output" {
        /// The item's id.
        id: Option<Cow<'a, str>> = "id",
        /// The call.
        call_id: Cow<'a, str> = "call_id",
        /// What it gave.
        output: Content<'a> = "output",
    }
}

open_object! {
    /// A command for the caller's shell.
    LocalShellCall tag "local_shell_call" {
        /// The item's id.
        id: Option<Cow<'a, str>> = "id",
        /// What the output names it by.
        call_id: Option<Cow<'a, str>> = "call_id",
        /// The command and its surroundings.
        action: crate::raw::Object<'a> = "action",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// What a command gave.
    LocalShellCallOutput tag "local_shell_call_output" {
        /// The call.
        id: Cow<'a, str> = "id",
        /// What it gave.
        output: Cow<'a, str> = "output",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// What the model thought.
    Reasoning tag "reasoning" {
        /// `rs_…`
        id: Option<Cow<'a, str>> = "id",
        /// What the caller may read of it.
        summary: Option<Vec<Thought<'a>>> = "summary",
        /// The thoughts themselves, of models that show them.
        content: Option<Vec<Thought<'a>>> = "content",
        /// The thoughts themselves, for the vendor alone.
        encrypted_content: Option<Cow<'a, str>> = "encrypted_content",
        /// `completed`, `incomplete` or `in_progress`.
        status: Option<Cow<'a, str>> = "status",
    }
}

open_object! {
    /// A part of what the model thought.
    Thought {
        /// `summary_text` or `reasoning_text`.
        kind: Cow<'a, str> = "type",
        /// The text.
        text: Cow<'a, str> = "text",
    }
}

open_object! {
    /// What stands for an earlier part of the conversation.
    Compaction tag "compaction" {
        /// `cmp_…`
        id: Option<Cow<'a, str>> = "id",
        /// What it stands for, for the vendor alone.
        encrypted_content: Cow<'a, str> = "encrypted_content",
    }
}

open_object! {
    /// An item of an earlier turn.
    Reference tag "item_reference" {
        /// Its id.
        id: Cow<'a, str> = "id",
    }
}
