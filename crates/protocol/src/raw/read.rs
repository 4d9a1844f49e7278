//! Reading a value layer by layer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Fault, MAX_DEPTH, Raw};

/// The members of one object, values still raw.
pub type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A value, opened one level (lists: down to the members of their elements, in the same pass over the text).
#[derive(Debug)]
pub enum Shape<'a> {
    /// An object.
    Object(Members<'a>),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Shape<'a>>),
    /// Null, a boolean or a number.
    Other,
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
            members.push((key, map.next_value::<&'de RawValue>()?));
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
        Ok(Shape::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
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

    /// What it means that the member is not there.
    fn absent() -> Result<Self, Fault> {
        Err(Fault::here("Field required"))
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        T::from_shape(shape).map(Some)
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

impl<'a> Read<'a> for Raw<'a> {
    fn from_shape(_: Shape<'a>) -> Result<Self, Fault> {
        Err(Fault::here("Input should be a valid value"))
    }

    fn from_raw(raw: &'a RawValue) -> Result<Self, Fault> {
        check_depth(raw.get())?;
        Ok(Self::from(raw))
    }
}

/// Refuses text that nests deeper than [`MAX_DEPTH`].
pub fn check_depth(text: &str) -> Result<(), Fault> {
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
                if depth > MAX_DEPTH {
                    return Err(Fault::here(format!("nested more than {MAX_DEPTH} levels deep")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
