//! Tools of the Responses API: those that it shares with chat completions, and namespaces.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::openai::tool::Tool as Single;
use crate::raw::{Absent, Fault, Read, Shape, object, open_object, tag};

/// A tool on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool<'a> {
    /// Several tools under one name.
    Namespace(Namespace<'a>),
    /// One tool.
    Single(Box<Single<'a>>),
}

open_object! {
    /// Several tools under one name.
    Namespace tag "namespace" {
        /// The name.
        name: Cow<'a, str> = "name",
        /// What they have in common.
        description: Option<Cow<'a, str>> = "description",
        /// The tools.
        tools: Vec<Single<'a>> = "tools",
    }
}

impl<'a> Read<'a> for Tool<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let members = object(shape)?;
        match tag(&members)?.as_deref() {
            Some("namespace") => Namespace::from_shape(Shape::Object(members)).map(Self::Namespace),
            Some(_) | None => Read::from_shape(Shape::Object(members)).map(Self::Single),
        }
    }
}

impl Serialize for Tool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Namespace(tools) => tools.serialize(serializer),
            Self::Single(tool) => tool.serialize(serializer),
        }
    }
}

impl Absent for Tool<'_> {}
