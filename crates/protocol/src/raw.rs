//! JSON text that is carried as it came, and the small reader that the request schemas are made with.
//!
//! A request is read in layers: an object becomes its members with their values still raw, and only the values
//! that a schema names are read further. What no schema names stays in [`Extra`], in the caller's order.
//! A fault carries the JSON path of what is wrong, built while the error travels up, so that a good request pays
//! nothing for it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

mod open;
mod read;

pub use open::Absent;
pub(crate) use open::{duplicate, is_tag, keep, member, object, open_object, tag, tagged_union, unknown};
pub use read::{Members, Read, Shape, Slot, check_depth, nests_within};

/// Nesting that a request may have. Deeper bodies are refused before anything recurses over them.
pub const MAX_DEPTH: usize = 128;

/// JSON text, borrowed from the body where it was read from one.
#[derive(Clone, Debug)]
pub struct Raw<'a>(Cow<'a, RawValue>);

impl Raw<'_> {
    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Takes over JSON text made elsewhere; `None` if it is not one JSON value.
    pub fn from_text(text: String) -> Option<Self> {
        RawValue::from_string(text).ok().map(|raw| Self(Cow::Owned(raw)))
    }

    /// The JSON text of a value.
    pub fn of(value: &impl Serialize) -> Option<Self> {
        serde_json::value::to_raw_value(value).ok().map(|raw| Self(Cow::Owned(raw)))
    }

    /// The same text, borrowed from this one.
    pub fn reborrow(&self) -> Raw<'_> {
        Raw(Cow::Borrowed(&self.0))
    }

    /// The members and their texts, if this is an object.
    pub fn members(&self) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
        serde_json::from_str::<read::Plain<'_>>(self.get()).ok().map(|plain| plain.0)
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Raw<'_> {}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Self(Cow::Borrowed(raw)))
    }
}

/// The members of an object that its schema does not know, in the caller's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra<'a>(pub Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'a> Extra<'a> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Raw<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Adds a member at the end.
    pub fn push(&mut self, key: impl Into<Cow<'a, str>>, value: Raw<'a>) {
        self.0.push((key.into(), value));
    }

    /// The names of the members, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// A member that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }
}

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Where and why a body does not fit the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON path, dots between the segments: `messages.0.content.1.text`. Empty: the body as a whole.
    pub path: String,
    /// What is wrong, in Anthropic's wording: `Field required`.
    pub message: String,
}

impl Fault {
    /// A fault of the value at hand; the path is filled in on the way up.
    pub fn here(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The same fault, seen from one level further out.
    #[must_use]
    pub fn within(mut self, segment: impl fmt::Display) -> Self {
        self.path =
            if self.path.is_empty() { segment.to_string() } else { format!("{segment}.{}", self.path) };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Fault {}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::here(format!("invalid JSON: {error}"))
    }
}

/// A number as the caller wrote it: `0.7` stays `0.7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number<'a>(Raw<'a>);

impl Number<'_> {
    /// The nearest double; what the number means, never what is sent.
    pub fn value(&self) -> f64 {
        self.0.get().parse().unwrap_or_default()
    }

    /// The text.
    pub fn raw(&self) -> Raw<'_> {
        self.0.reborrow()
    }

    /// The same number, borrowed from this one.
    pub fn reborrow(&self) -> Number<'_> {
        Number(self.0.reborrow())
    }
}

impl From<f64> for Number<'static> {
    /// Not a number and the infinities become 0: JSON has no word for them.
    fn from(value: f64) -> Self {
        let finite = if value.is_finite() { value } else { 0.0 };
        Self(Raw(Cow::Owned(serde_json::value::to_raw_value(&finite).unwrap_or_default())))
    }
}

impl<'a> Read<'a> for Number<'a> {
    fn from_shape(_: Shape<'a>) -> Result<Self, Fault> {
        Err(Fault::here("Input should be a valid number"))
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        match raw.get().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Self(Raw::from(raw))),
            Ok(_) | Err(_) => Err(Fault::here("Input should be a valid number")),
        }
    }
}

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The text of a JSON object: a schema, a tool's input. Its bytes, key order included, are the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<'a>(Raw<'a>);

impl<'a> Object<'a> {
    /// Takes over text that is an object; `None` if it is not.
    pub fn new(raw: Raw<'a>) -> Option<Self> {
        raw.get().starts_with('{').then_some(Self(raw))
    }

    /// `{}`
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an empty object is JSON")]
    pub fn empty() -> Self {
        Self(Raw::from_text("{}".to_owned()).expect("an empty object is JSON"))
    }

    /// The same text, borrowed from this one.
    pub fn reborrow(&self) -> Object<'_> {
        Object(self.0.reborrow())
    }

    /// The text.
    pub fn raw(&self) -> Raw<'_> {
        self.0.reborrow()
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl<'a> Read<'a> for Object<'a> {
    fn from_shape(_: Shape<'a>) -> Result<Self, Fault> {
        Err(Fault::here("Input should be a valid dictionary"))
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        Self::new(Raw::from_raw(raw)?).ok_or_else(|| Fault::here("Input should be a valid dictionary"))
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
