//! The output format.

use protocol::anthropic::request::{JsonSchema, OutputFormat};
use protocol::raw::{Extra, Object};

use super::{Notes, refusal, strict};
use crate::Refusal;
use crate::converse::request::schema;
use crate::outcome::reason;

/// What the model is told where any JSON object will do: the Messages API has no format for that.
pub(crate) const ANY_OBJECT: &str =
    "Answer with a single JSON object and nothing else: no text before or after it, and no code fence.";

/// What the answer must look like.
pub(crate) enum Format<'a> {
    /// Text.
    Text,
    /// Any JSON object: [`ANY_OBJECT`] goes to the system prompt.
    AnyObject,
    /// JSON that fits a schema.
    Schema(OutputFormat<'a>),
}

impl<'a> Format<'a> {
    /// `output_config.format`, where there is one to send.
    pub(crate) fn schema(self) -> Option<OutputFormat<'a>> {
        match self {
            Self::Text | Self::AnyObject => None,
            Self::Schema(format) => Some(format),
        }
    }
}

/// The members of a format that a schema comes with, wherever the dialect has them.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'r, 'a> {
    pub(crate) schema: Option<&'r Object<'a>>,
    pub(crate) description: Option<&'r str>,
}

/// The format that `kind` names. `at` is its place, `at_schema` that of the members of the schema.
///
/// The Messages API always holds an answer to its schema, so that `strict` has nothing to add; a name says nothing.
pub(crate) fn format<'r>(
    notes: &mut Notes,
    at: &str,
    at_schema: &str,
    kind: &str,
    members: Option<Schema<'r, '_>>,
) -> Result<Format<'r>, Refusal> {
    match (kind, members) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) => Ok(Format::AnyObject),
        ("json_schema", Some(members)) => {
            if members.description.is_some() {
                notes.lose(format!("{at_schema}.description"), reason::NO_PLACE);
            }
            let Some(schema) = members.schema else { return Ok(Format::AnyObject) };
            notes.paths.note("output_config.format", at);
            notes.paths.note("output_config.format.schema", format!("{at_schema}.schema"));
            let mended = schema::without_nulls(schema);
            let closed = strict::closed(mended.as_ref().unwrap_or(schema));
            if closed.is_some() {
                notes.lose(format!("{at_schema}.schema"), reason::ILL_FORMED);
            }
            Ok(Format::Schema(OutputFormat::JsonSchema(JsonSchema {
                schema: closed.or(mended).unwrap_or_else(|| schema.reborrow()),
                name: None,
                extra: Extra::default(),
            })))
        }
        ("json_schema", None) => Err(refusal(at_schema, "Field required")),
        _ => Err(refusal(format!("{at}.type"), "Input should be 'text', 'json_object' or 'json_schema'")),
    }
}
