//! Reading a value layer by layer.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{Fault, MAX_DEPTH, Raw};

/// The members of one object, values raw or opened.
pub type Members<'a> = Vec<(Cow<'a, str>, Slot<'a>)>;

/// Members that hold most of a request, and that no schema keeps as text: they are opened in the same pass, which
/// reads a conversation once instead of once a level.
const OPENED: &[&str] =
    &["text", "content", "data", "source", "thinking", "signature", "messages", "system", "tools"];

/// The value of a member.
#[derive(Debug)]
pub enum Slot<'a> {
    /// Its text.
    Raw(&'a RawValue),
    /// What it holds, for the members that hold most of a request.
    Open(Shape<'a>),
}

impl Slot<'_> {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        match self {
            Self::Raw(raw) => raw.get() == "null",
            Self::Open(shape) => matches!(shape, Shape::Other(serde_json::Value::Null)),
        }
    }
}

impl Serialize for Slot<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Open(shape) => shape.serialize(serializer),
        }
    }
}

/// A value, opened down to the members of its objects.
#[derive(Debug)]
pub enum Shape<'a> {
    /// An object.
    Object(Members<'a>),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Shape<'a>>),
    /// Null, a boolean or a number.
    Other(serde_json::Value),
}

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Text(text) => text.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'a> Shape<'a> {
    /// Opens a value.
    pub fn read(raw: &'a RawValue) -> Result<Self, Fault> {
        Ok(serde_json::from_str(raw.get())?)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shape<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(std::marker::PhantomData))
    }
}

struct ShapeVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ShapeVisitor<'a> {
    type Value = Shape<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::with_capacity(8);
        while let Some(Key(key)) = map.next_key()? {
            let slot = if OPENED.contains(&&*key) {
                Slot::Open(map.next_value()?)
            } else {
                Slot::Raw(map.next_value()?)
            };
            members.push((key, slot));
        }
        Ok(Shape::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(shape) = seq.next_element()? {
            list.push(shape);
        }
        Ok(Shape::List(list))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Shape::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Shape::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Shape::Other(serde_json::Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Shape::Other(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Shape::Other(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Shape::Other(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Shape::Other(value.into()))
    }
}

/// The members of an object, all of them raw.
pub(super) struct Plain<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Plain<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlainVisitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for PlainVisitor<'a> {
            type Value = Plain<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Plain(members))
            }
        }
        deserializer.deserialize_map(PlainVisitor(std::marker::PhantomData))
    }
}

/// A member's name, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for KeyVisitor<'a> {
            type Value = Key<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor(std::marker::PhantomData))
    }
}

/// A value that a request schema is made of.
pub trait Read<'a>: Sized {
    /// Reads the value from an opened one.
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault>;

    /// Reads the value from its text.
    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        Self::from_shape(Shape::read(raw)?)
    }

    /// Reads the value of a member.
    fn from_slot(slot: Slot<'a>) -> Result<Self, Fault> {
        match slot {
            Slot::Raw(raw) => Self::from_raw(raw),
            Slot::Open(shape) => Self::from_shape(shape),
        }
    }

    /// What it means that the member is not there.
    fn absent() -> Result<Self, Fault> {
        Err(Fault::here("Field required"))
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Other(serde_json::Value::Null) => Ok(None),
            shape => T::from_shape(shape).map(Some),
        }
    }

    /// A null means the same as an absent member.
    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        if raw.get() == "null" { Ok(None) } else { T::from_raw(raw).map(Some) }
    }

    fn absent() -> Result<Self, Fault> {
        Ok(None)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let Shape::List(list) = shape else { return Err(Fault::here("Input should be a valid list")) };
        list.into_iter()
            .enumerate()
            .map(|(index, shape)| T::from_shape(shape).map_err(|fault| fault.within(index)))
            .collect()
    }
}

impl<'a, T: Read<'a>> Read<'a> for Box<T> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        T::from_shape(shape).map(Self::new)
    }
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let Shape::Text(text) = shape else { return Err(Fault::here("Input should be a valid string")) };
        Ok(text)
    }
}

impl<'a> Read<'a> for bool {
    fn from_shape(_: Shape<'a>) -> Result<Self, Fault> {
        Err(Fault::here("Input should be a valid boolean"))
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        serde_json::from_str(raw.get()).map_err(|_| Fault::here("Input should be a valid boolean"))
    }
}

impl<'a> Read<'a> for u64 {
    fn from_shape(_: Shape<'a>) -> Result<Self, Fault> {
        Err(Fault::here("Input should be a valid integer"))
    }

    /// Whole numbers; `1024.0` counts as one, as it does for Anthropic.
    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        let text = raw.get();
        text.parse()
            .or_else(|_| text.strip_suffix(".0").unwrap_or(text).parse())
            .map_err(|_| Fault::here("Input should be a valid integer"))
    }
}

/// A whole number of at least 1.
impl<'a> Read<'a> for NonZeroU64 {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        u64::from_shape(shape).and_then(positive)
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        let below = raw.get().strip_prefix('-').is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit()));
        if below { positive(0) } else { u64::from_raw(raw).and_then(positive) }
    }
}

fn positive(number: u64) -> Result<NonZeroU64, Fault> {
    NonZeroU64::new(number).ok_or_else(|| Fault::here("Input should be greater than or equal to 1"))
}

impl<'a> Read<'a> for Raw<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        Raw::of(&shape).ok_or_else(|| Fault::here("Input should be a valid value"))
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        check_depth(raw.get())?;
        Ok(Self::from(raw))
    }
}

/// Refuses text that nests deeper than [`MAX_DEPTH`].
pub fn check_depth(text: &str) -> Result<(), Fault> {
    let fault = || Fault::here(format!("nested more than {MAX_DEPTH} levels deep"));
    nests_within(text, MAX_DEPTH).then_some(()).ok_or_else(fault)
}

/// Whether text nests no more than `most` levels deep.
pub fn nests_within(text: &str, most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > most {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}
