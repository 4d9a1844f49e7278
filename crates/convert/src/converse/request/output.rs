//! Structured output: natively, or by a tool that the model must call.

use std::borrow::Cow;

use protocol::anthropic::request::{JsonSchema, OutputFormat, Request};
use protocol::converse::request::{InputSchema, Structure, TextFormat, ToolSpec};

use super::context::{At, Context};
use super::schema;
use crate::Refusal;
use crate::structured::{DESCRIPTION, NAME};

/// How the answer gets its form.
pub(super) enum Format<'a> {
    /// It has none.
    Free,
    /// The model holds itself to the schema.
    Native(TextFormat<'a>),
    /// The input of this tool is the answer.
    Tool(ToolSpec<'a>),
}

impl<'a> Format<'a> {
    pub(super) fn is_tool(&self) -> bool {
        matches!(self, Self::Tool(_))
    }

    pub(super) fn native(&self) -> Option<TextFormat<'a>> {
        if let Self::Native(format) = self { Some(format.clone()) } else { None }
    }

    pub(super) fn tool(&self) -> Option<ToolSpec<'a>> {
        if let Self::Tool(spec) = self { Some(spec.clone()) } else { None }
    }

    pub(super) fn name(&self) -> Option<&str> {
        if let Self::Tool(spec) = self { Some(&spec.name) } else { None }
    }
}

/// The format that the request asks for.
pub(super) fn format<'a>(ctx: &mut Context<'a>, request: &'a Request<'_>) -> Result<Format<'a>, Refusal> {
    let config = request.output_config.as_ref();
    if let Some(config) = config {
        ctx.lose_extra(At::root("output_config"), &config.extra);
    }
    let (at, format) = match (config.and_then(|config| config.format.as_ref()), &request.output_format) {
        (Some(format), _) => (At::root("output_config"), format),
        (None, Some(format)) => (At::root("output_format"), format),
        (None, None) => return Ok(Format::Free),
    };
    match format {
        OutputFormat::JsonSchema(format) if ctx.rules.structured_output => Ok(Format::Native(native(format))),
        OutputFormat::JsonSchema(_) if !ctx.rules.tools => Err(at
            .key("format")
            .refuse(format!("{} does not support output formats", ctx.rules.display_name))),
        OutputFormat::JsonSchema(format) => Ok(Format::Tool(ToolSpec {
            name: Cow::Owned(ctx.names.structured_output()),
            description: Some(Cow::Borrowed(DESCRIPTION)),
            input_schema: InputSchema { json: schema::input(&format.schema, ctx.rules.strip_schema_keyword) },
            strict: None,
        })),
        OutputFormat::Unknown(_) => Err(at.key("format").key("type").refuse("Input should be 'json_schema'")),
    }
}

fn native<'a>(format: &'a JsonSchema<'_>) -> TextFormat<'a> {
    TextFormat {
        kind: "json_schema",
        structure: Structure::JsonSchema {
            schema: Cow::Borrowed(format.schema.get()),
            name: Cow::Borrowed(format.name.as_deref().unwrap_or(NAME)),
        },
    }
}
