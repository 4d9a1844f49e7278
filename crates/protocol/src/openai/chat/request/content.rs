//! The content of a message.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::anthropic::request::CacheControl;
use crate::raw::{Absent, Fault, Raw, Read, Shape, open_object, tagged_union};

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content<'a> {
    /// Nothing, or null.
    #[default]
    Absent,
    /// Plain text.
    Text(Cow<'a, str>),
    /// Parts.
    Parts(Vec<Part<'a>>),
}

impl<'a> Read<'a> for Content<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Other(serde_json::Value::Null) => Ok(Self::Absent),
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(_) => Vec::from_shape(shape).map(Self::Parts),
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }

    fn absent() -> Result<Self, Fault> {
        Ok(Self::Absent)
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl Absent for Content<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

tagged_union! {
    /// A part of a message.
    Part {
        /// Text.
        Text(TextPart<'a>) = "text",
        /// An image.
        Image(ImagePart<'a>) = "image_url",
        /// A file.
        File(FilePart<'a>) = "file",
        /// Sound.
        Audio(AudioPart<'a>) = "input_audio",
        /// What the model said when it declined.
        Refusal(RefusalPart<'a>) = "refusal",
    }
}

open_object! {
    /// Text.
    TextPart tag "text" {
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
    ImagePart tag "image_url" {
        /// Where it is.
        image_url: ImageUrl<'a> = "image_url",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// OpenAI's cache marker.
        prompt_cache_breakpoint: Option<Breakpoint<'a>> = "prompt_cache_breakpoint",
    }
}

open_object! {
    /// A file.
    FilePart tag "file" {
        /// Where it is.
        file: FileSource<'a> = "file",
        /// Extension: a cache marker.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// OpenAI's cache marker.
        prompt_cache_breakpoint: Option<Breakpoint<'a>> = "prompt_cache_breakpoint",
    }
}

open_object! {
    /// Sound.
    AudioPart tag "input_audio" {
        /// Data and format.
        input_audio: Raw<'a> = "input_audio",
    }
}

open_object! {
    /// What the model said when it declined.
    RefusalPart tag "refusal" {
        /// The text.
        refusal: Cow<'a, str> = "refusal",
    }
}

open_object! {
    /// OpenAI's cache marker.
    Breakpoint {
        /// `explicit`
        mode: Option<Cow<'a, str>> = "mode",
        /// `30m` or `12h`
        ttl: Option<Cow<'a, str>> = "ttl",
    }
}

open_object! {
    /// A file, here or among uploaded ones.
    FileSource {
        /// A data URL, or base64.
        file_data: Option<Cow<'a, str>> = "file_data",
        /// An uploaded file.
        file_id: Option<Cow<'a, str>> = "file_id",
        /// Its name.
        filename: Option<Cow<'a, str>> = "filename",
    }
}

/// Where an image is; some clients write the URL alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUrl<'a> {
    /// The URL.
    Text(Cow<'a, str>),
    /// The URL and how closely to look.
    Spec(ImageSpec<'a>),
}

open_object! {
    /// An image's URL.
    ImageSpec {
        /// It, or a data URL.
        url: Cow<'a, str> = "url",
        /// `auto`, `low`, `high` or `original`.
        detail: Option<Cow<'a, str>> = "detail",
    }
}

impl<'a> Read<'a> for ImageUrl<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(url) => Ok(Self::Text(url)),
            Shape::Object(_) | Shape::List(_) | Shape::Other(_) => {
                ImageSpec::from_shape(shape).map(Self::Spec)
            }
        }
    }
}

impl Serialize for ImageUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(url) => serializer.serialize_str(url),
            Self::Spec(spec) => spec.serialize(serializer),
        }
    }
}

impl Absent for ImageUrl<'_> {}
