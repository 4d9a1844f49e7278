//! Checks a JSON value against a shape of the service's model.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
use base64_len::decoded_len;

use crate::json::Json;
use crate::reject::Reject;

/// What a value may look like.
pub(crate) enum Shape {
    /// Any JSON.
    Doc,
    /// A string with its length in characters and, where there is one, its pattern.
    Text {
        min: usize,
        max: usize,
        pattern: Option<Pattern>,
    },
    /// One of a set.
    Enum(&'static [&'static str]),
    /// A 32-bit number.
    Int {
        min: i64,
    },
    /// A number within bounds.
    Float {
        max: f64,
    },
    Bool,
    /// Standard base64 of at least `min` bytes.
    Blob {
        min: usize,
    },
    List {
        of: &'static Shape,
        min: usize,
        max: usize,
    },
    Map {
        key: &'static Shape,
        value: &'static Shape,
        min: usize,
        max: usize,
    },
    Struct(&'static [Member]),
    /// Exactly one member; the name is the one that the error text uses.
    Union(&'static str, &'static [Member]),
}

/// A regular expression as the model writes it, and the same as a function.
#[derive(Clone, Copy)]
pub(crate) struct Pattern(pub(crate) &'static str, pub(crate) fn(&str) -> bool);

/// A member of a structure or union.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// A required member.
pub(crate) const fn need(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

/// A member that may be absent.
pub(crate) const fn may(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

/// What is wrong, found at the bottom of the tree; the path is built on the way up, so a good request builds none.
pub(crate) struct Fault {
    path: Vec<String>,
    kind: Kind,
}

enum Kind {
    Extra(String),
    Format(&'static str),
    Constraint(String),
    Union(&'static str, String),
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self { path: Vec::new(), kind }
    }

    fn under(mut self, segment: &impl ToString) -> Self {
        self.path.push(segment.to_string());
        self
    }

    /// The refusal that Bedrock would send.
    pub(crate) fn reject(mut self) -> Reject {
        self.path.reverse();
        let at = self.path.join(".");
        Reject::invalid(match self.kind {
            Kind::Extra(key) => {
                let pointer: String = self.path.iter().flat_map(|segment| ["/", segment]).collect();
                format!(
                    "Malformed input request: #{pointer}: extraneous key [{key}] is not permitted, please reformat \
                     your input and try again."
                )
            }
            Kind::Format(wanted) => format!(
                "The format of the value at {at} is invalid. Provide a {wanted} for the field and try again."
            ),
            Kind::Constraint(what) => {
                format!("The value at {at} failed to satisfy constraint: Member must {what}")
            }
            Kind::Union(name, keys) => {
                format!("{name} object at {at} must set one of the following keys: {keys}.")
            }
        })
    }
}

type Check = Result<(), Fault>;

/// Checks `value` and everything below it.
pub(crate) fn check(shape: &Shape, value: &Json<'_>) -> Check {
    match (shape, value) {
        (Shape::Doc, _) | (Shape::Bool, Json::Bool(_)) => Ok(()),
        (Shape::Text { min, max, pattern }, Json::Str(text)) => string(text, *min, *max, *pattern),
        (Shape::Enum(values), Json::Str(text)) => one_of(values, text),
        (Shape::Int { min }, Json::Int(number)) => {
            constraint(number >= min, || format!("have value greater than or equal to {min}"))?;
            constraint(i32::try_from(*number).is_ok(), || "be a 32-bit integer".to_owned())
        }
        (Shape::Float { max }, Json::Int(_) | Json::Float(_)) => {
            let number = value.as_number().unwrap_or_default();
            constraint(number >= 0.0, || "have value greater than or equal to 0".to_owned())?;
            constraint(number <= *max, || format!("have value less than or equal to {max}"))
        }
        (Shape::Blob { min }, Json::Str(text)) => match decoded_len(text) {
            None => Err(Fault::new(Kind::Format("base64 string"))),
            Some(bytes) => constraint(bytes >= *min, || longer(*min)),
        },
        (Shape::List { of, min, max }, Json::List(items)) => {
            constraint(items.len() >= *min, || longer(*min))?;
            constraint(items.len() <= *max, || shorter(*max))?;
            for (index, item) in items.iter().enumerate() {
                check(of, item).map_err(|fault| fault.under(&index))?;
            }
            Ok(())
        }
        (Shape::Map { key, value: of, min, max }, Json::Object(members)) => {
            constraint(members.len() >= *min, || longer(*min))?;
            constraint(members.len() <= *max, || shorter(*max))?;
            for (name, item) in members {
                check(key, &Json::Str(name.as_ref().into())).map_err(|fault| fault.under(name))?;
                check(of, item).map_err(|fault| fault.under(name))?;
            }
            Ok(())
        }
        (Shape::Struct(members), Json::Object(present)) => structure(members, present),
        (Shape::Union(name, members), Json::Object(present)) => {
            structure(members, present)?;
            let set = present.iter().filter(|(_, value)| *value != Json::Null).count();
            if set == 1 {
                return Ok(());
            }
            let keys: Vec<&str> = members.iter().map(|member| member.name).collect();
            Err(Fault::new(Kind::Union(name, keys.join(", "))))
        }
        (shape, _) => Err(Fault::new(Kind::Format(wanted(shape)))),
    }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text { .. } | Shape::Enum(_) => "string",
        Shape::Int { .. } => "integer",
        Shape::Float { .. } => "number",
        Shape::Bool => "boolean",
        Shape::Blob { .. } => "base64 string",
        Shape::List { .. } => "list",
        Shape::Doc | Shape::Map { .. } | Shape::Struct(_) | Shape::Union(..) => "json object",
    }
}

fn structure(members: &'static [Member], present: &[(std::borrow::Cow<'_, str>, Json<'_>)]) -> Check {
    for (key, value) in present {
        let Some(member) = members.iter().find(|member| member.name == key) else {
            return Err(Fault::new(Kind::Extra(key.to_string())));
        };
        if *value != Json::Null {
            check(member.shape, value).map_err(|fault| fault.under(&member.name))?;
        }
    }
    for member in members.iter().filter(|member| member.required) {
        let set = present.iter().any(|(key, value)| key == member.name && *value != Json::Null);
        constraint(set, || "not be null".to_owned()).map_err(|fault| fault.under(&member.name))?;
    }
    Ok(())
}

fn string(text: &str, min: usize, max: usize, pattern: Option<Pattern>) -> Check {
    // Characters are only counted where the bytes do not already settle it.
    constraint(!text.is_empty() || min == 0, || longer(min))?;
    constraint(text.len() <= max || text.chars().count() <= max, || shorter(max))?;
    match pattern {
        Some(Pattern(source, matches)) if !matches(text) => {
            constraint(false, || format!("satisfy regular expression pattern: {source}"))
        }
        _ => Ok(()),
    }
}

fn one_of(values: &[&str], text: &str) -> Check {
    constraint(values.contains(&text), || format!("satisfy enum value set: [{}]", values.join(", ")))
}

fn constraint(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Fault::new(Kind::Constraint(what()))) }
}

fn longer(min: usize) -> String {
    format!("have length greater than or equal to {min}")
}

fn shorter(max: usize) -> String {
    format!("have length less than or equal to {max}")
}

mod base64_len {
    /// The number of bytes that padded standard base64 stands for; nothing when it is not that.
    pub(super) fn decoded_len(text: &str) -> Option<usize> {
        if !text.len().is_multiple_of(4) {
            return None;
        }
        let body = text.trim_end_matches('=');
        let padding = text.len() - body.len();
        let plain = body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
        (padding <= 2 && plain).then(|| text.len() / 4 * 3 - padding)
    }
}
