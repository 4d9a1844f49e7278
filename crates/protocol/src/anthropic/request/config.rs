//! Settings of a request: thinking, output, caching.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::raw::{Absent, Fault, Object, Raw, Read, Shape, open_object, tagged_union};

tagged_union! {
    /// Extended thinking: <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>.
    Thinking {
        /// With a budget.
        Enabled(Enabled<'a>) = "enabled",
        /// As the model sees fit.
        Adaptive(Adaptive<'a>) = "adaptive",
        /// Not at all.
        Disabled(Disabled<'a>) = "disabled",
        /// Between tool calls alone.
        BetweenTools(BetweenTools<'a>) = "between_tools",
    }
}

open_object! {
    /// `thinking: {type: enabled}`.
    Enabled tag "enabled" {
        /// Tokens that thinking may take.
        budget_tokens: u64 = "budget_tokens",
        /// `summarized`, `omitted` or `updates`.
        display: Option<Cow<'a, str>> = "display",
    }
}

open_object! {
    /// `thinking: {type: adaptive}`.
    Adaptive tag "adaptive" {
        /// `summarized`, `omitted` or `updates`.
        display: Option<Cow<'a, str>> = "display",
    }
}

open_object! {
    /// `thinking: {type: disabled}`.
    Disabled tag "disabled" {}
}

open_object! {
    /// `thinking: {type: between_tools}`.
    BetweenTools tag "between_tools" {}
}

open_object! {
    /// How the answer is made.
    OutputConfig {
        /// `low`, `medium`, `high`, `xhigh` or `max`.
        effort: Option<Cow<'a, str>> = "effort",
        /// What the answer must look like.
        format: Option<OutputFormat<'a>> = "format",
    }
}

tagged_union! {
    /// What the answer must look like.
    OutputFormat {
        /// JSON that fits a schema.
        JsonSchema(JsonSchema<'a>) = "json_schema",
    }
}

open_object! {
    /// JSON that fits a schema.
    JsonSchema tag "json_schema" {
        /// The schema, as the caller wrote it.
        schema: Object<'a> = "schema",
        /// Its name, which older clients send.
        name: Option<Cow<'a, str>> = "name",
    }
}

open_object! {
    /// `metadata`.
    Metadata {
        /// An opaque id of the end user.
        user_id: Option<Cow<'a, str>> = "user_id",
    }
}

open_object! {
    /// A prompt-cache marker: everything up to here may be cached.
    CacheControl {
        /// `ephemeral`.
        kind: Cow<'a, str> = "type",
        /// `5m` or `1h`.
        ttl: Option<Cow<'a, str>> = "ttl",
    }
}

/// `container`: an id, or an id with skills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Container<'a> {
    /// An id.
    Id(Cow<'a, str>),
    /// An object.
    Spec(ContainerSpec<'a>),
}

open_object! {
    /// `container` as an object.
    ContainerSpec {
        /// The container to go on with.
        id: Option<Cow<'a, str>> = "id",
        /// Skills to load.
        skills: Option<Raw<'a>> = "skills",
    }
}

impl<'a> Read<'a> for Container<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(id) => Ok(Self::Id(id)),
            Shape::Object(_) | Shape::List(_) | Shape::Other(_) => {
                ContainerSpec::from_shape(shape).map(Self::Spec)
            }
        }
    }
}

impl Serialize for Container<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => serializer.serialize_str(id),
            Self::Spec(spec) => spec.serialize(serializer),
        }
    }
}

impl Absent for Container<'_> {}
