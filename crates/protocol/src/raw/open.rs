//! Schemas of objects that stay open for what they do not know.

use std::borrow::Cow;

use super::{Extra, Fault, Members, Object, Raw, Read, Shape, Slot};

/// Whether a member is left out when its object is written.
pub trait Absent {
    /// True for `None` alone.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {}
impl Absent for Cow<'_, str> {}
impl Absent for Object<'_> {}
impl Absent for Raw<'_> {}
impl Absent for u64 {}
impl Absent for std::num::NonZeroU64 {}
impl Absent for bool {}

/// A member of an object that is being read.
pub(crate) fn member<'a, T: Read<'a>>(key: &str, slot: Option<Slot<'a>>) -> Result<T, Fault> {
    match slot {
        Some(slot) => T::from_slot(slot),
        None => T::absent(),
    }
    .map_err(|fault| fault.within(key))
}

/// The members of an opened object.
pub(crate) fn object(shape: Shape<'_>) -> Result<Members<'_>, Fault> {
    match shape {
        Shape::Object(members) => Ok(members),
        Shape::Text(_) | Shape::List(_) | Shape::Other(_) => {
            Err(Fault::here("Input should be a valid dictionary"))
        }
    }
}

/// The `type` of an object.
pub(crate) fn tag<'a>(members: &Members<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    match members.iter().find(|(key, _)| key == "type") {
        Some((_, Slot::Raw(raw))) => member("type", Some(Slot::Raw(raw))),
        Some((_, Slot::Open(_))) | None => Ok(None),
    }
}

/// Keeps a member that the schema does not know; a null says nothing and goes.
pub(crate) fn keep<'a>(extra: &mut Extra<'a>, key: Cow<'a, str>, slot: Slot<'a>) -> Result<(), Fault> {
    if !slot.is_null() {
        let value = Raw::from_slot(slot).map_err(|fault| fault.within(&key))?;
        extra.push(key, value);
    }
    Ok(())
}

/// Two members of one name.
pub(crate) fn duplicate(key: &str) -> Fault {
    Fault::here("duplicate key").within(key)
}

/// Whether a member is the `type` that led to a schema.
pub(crate) fn is_tag(key: &str, _tag: &str) -> bool {
    key == "type"
}

/// Everything an object holds, for a kind that no schema knows.
pub(crate) fn unknown(members: Members<'_>) -> Result<Extra<'_>, Fault> {
    let mut extra = Extra::default();
    for (key, slot) in members {
        let value = Raw::from_slot(slot).map_err(|fault| fault.within(&key))?;
        extra.push(key, value);
    }
    Ok(extra)
}

/// Declares an object schema: typed members, everything else in `extra`. Written in the declared order.
/// `tag` names the `type` it is written with, where it has one.
macro_rules! open_object {
    (
        $(#[$meta:meta])*
        $name:ident $(tag $tag:literal)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Members that this schema does not know.
            pub extra: $crate::raw::Extra<'a>,
        }

        impl<'a> $crate::raw::Read<'a> for $name<'a> {
            fn from_shape(shape: $crate::raw::Shape<'a>) -> Result<Self, $crate::raw::Fault> {
                let members = $crate::raw::object(shape)?;
                $(let mut $field: Option<$crate::raw::Slot<'a>> = None;)*
                let mut extra = $crate::raw::Extra::default();
                for (key, slot) in members {
                    match &*key {
                        $($key => if $field.replace(slot).is_some() {
                            return Err($crate::raw::duplicate(&key));
                        },)*
                        $(_ if $crate::raw::is_tag(&key, $tag) => {})?
                        _ => $crate::raw::keep(&mut extra, key, slot)?,
                    }
                }
                Ok(Self { $($field: $crate::raw::member($key, $field)?,)* extra })
            }
        }

        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry("type", $tag)?;)?
                $(if !$crate::raw::Absent::is_absent(&self.$field) {
                    map.serialize_entry($key, &self.$field)?;
                })*
                for (key, value) in &self.extra.0 {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }

        impl $crate::raw::Absent for $name<'_> {}
    };
}

/// Declares a union told apart by `type`. A known type must fit its schema; an unknown one is kept whole.
macro_rules! tagged_union {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident($inner:ty) = $tag:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name<'a> {
            $($(#[$variant_meta])* $variant($inner),)*
            /// A type that this schema does not know: all its members, `type` included.
            Unknown($crate::raw::Extra<'a>),
        }

        impl<'a> $crate::raw::Read<'a> for $name<'a> {
            fn from_shape(shape: $crate::raw::Shape<'a>) -> Result<Self, $crate::raw::Fault> {
                let members = $crate::raw::object(shape)?;
                let Some(tag) = $crate::raw::tag(&members)? else {
                    return Err($crate::raw::Fault::here("Field required").within("type"));
                };
                match &*tag {
                    $($tag => <$inner as $crate::raw::Read<'a>>::from_shape($crate::raw::Shape::Object(members))
                        .map(Self::$variant),)*
                    _ => $crate::raw::unknown(members).map(Self::Unknown),
                }
            }
        }

        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(inner) => inner.serialize(serializer),)*
                    Self::Unknown(extra) => extra.serialize(serializer),
                }
            }
        }

        impl $crate::raw::Absent for $name<'_> {}
    };
}

pub(crate) use {open_object, tagged_union};
