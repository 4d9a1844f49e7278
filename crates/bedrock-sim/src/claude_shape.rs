//! The body of InvokeModel for Claude, as data, checked in Claude's own wording.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>
use Shape::{Any, Bool, Enum, Int, List, Number, Object, Open, Str, StrOr, Tagged};

use crate::json::Json;

/// What a value may look like.
pub(crate) enum Shape {
    Any,
    Str,
    Bool,
    Int {
        min: i64,
    },
    Number {
        max: f64,
    },
    Enum(&'static [&'static str]),
    List(&'static Shape),
    /// Any object.
    Open,
    Object(&'static [Field]),
    /// An object whose members depend on its `type`; the second part is the type of an object without one.
    Tagged(&'static [(&'static str, &'static [Field])], Option<&'static str>),
    /// A string, or this.
    StrOr(&'static Shape),
}

/// A member: its name, whether it is required, its shape.
pub(crate) struct Field(&'static str, bool, &'static Shape);

const fn need(name: &'static str, shape: &'static Shape) -> Field {
    Field(name, true, shape)
}

const fn may(name: &'static str, shape: &'static Shape) -> Field {
    Field(name, false, shape)
}

/// What is wrong: the path, built on the way up, and the text.
pub(crate) struct Fault {
    path: Vec<String>,
    text: String,
}

impl Fault {
    fn new(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into() }
    }

    fn under(mut self, segment: &impl ToString) -> Self {
        self.path.push(segment.to_string());
        self
    }

    /// `messages.0.content.0.text.foo: Extra inputs are not permitted`.
    pub(crate) fn message(mut self) -> String {
        self.path.reverse();
        if self.path.is_empty() { self.text } else { format!("{}: {}", self.path.join("."), self.text) }
    }
}

type Check = Result<(), Fault>;

/// Checks `value` and everything below it.
pub(crate) fn check(shape: &Shape, value: &Json<'_>) -> Check {
    match (shape, value) {
        (Int { min }, Json::Int(number)) if number < min => {
            Err(Fault::new(format!("Input should be greater than or equal to {min}")))
        }
        (Any, _)
        | (Str | StrOr(_), Json::Str(_))
        | (Bool, Json::Bool(_))
        | (Open, Json::Object(_))
        | (Int { .. }, Json::Int(_)) => Ok(()),
        (Number { max }, Json::Int(_) | Json::Float(_)) => match value.as_number() {
            Some(number) if number < 0.0 => Err(Fault::new("Input should be greater than or equal to 0")),
            Some(number) if number > *max => {
                Err(Fault::new(format!("Input should be less than or equal to {max}")))
            }
            _ => Ok(()),
        },
        (Enum(values), Json::Str(text)) => {
            if values.contains(&text.as_ref()) {
                Ok(())
            } else {
                Err(Fault::new(expected(values)))
            }
        }
        (List(of), Json::List(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check(of, item).map_err(|fault| fault.under(&index))),
        (Object(fields), Json::Object(_)) => object(fields, value),
        (Tagged(variants, default), Json::Object(_)) => tagged(variants, *default, value),
        (StrOr(of), _) => check(of, value),
        (shape, _) => Err(Fault::new(wanted(shape))),
    }
}

fn object(fields: &'static [Field], value: &Json<'_>) -> Check {
    for (key, item) in value.members() {
        let Some(Field(name, _, shape)) = fields.iter().find(|field| field.0 == key) else {
            return Err(Fault::new("Extra inputs are not permitted").under(&key));
        };
        if *item != Json::Null {
            check(shape, item).map_err(|fault| fault.under(name))?;
        }
    }
    for Field(name, required, _) in fields {
        if *required && value.get(name).is_none() {
            return Err(Fault::new("Field required").under(name));
        }
    }
    Ok(())
}

fn tagged(
    variants: &'static [(&'static str, &'static [Field])],
    default: Option<&'static str>,
    value: &Json<'_>,
) -> Check {
    let Some(tag) = value.text("type").or(default) else {
        return Err(Fault::new("Unable to extract tag using discriminator 'type'"));
    };
    if let Some((name, fields)) = variants.iter().find(|(name, _)| *name == tag) {
        return object(fields, value).map_err(|fault| fault.under(name));
    }
    let tags: Vec<String> = variants.iter().map(|(name, _)| format!("'{name}'")).collect();
    Err(Fault::new(format!(
        "Input tag '{tag}' found using 'type' does not match any of the expected tags: {}",
        tags.join(", ")
    )))
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Any | Str | Enum(_) => "Input should be a valid string",
        Bool => "Input should be a valid boolean",
        Int { .. } => "Input should be a valid integer",
        Number { .. } => "Input should be a valid number",
        List(_) | StrOr(_) => "Input should be a valid list",
        Open | Object(_) | Tagged(..) => "Input should be a valid dictionary",
    }
}

fn expected(values: &[&str]) -> String {
    let Some((last, first)) = values.split_last() else { return String::new() };
    if first.is_empty() {
        return format!("Input should be '{last}'");
    }
    let first: Vec<String> = first.iter().map(|value| format!("'{value}'")).collect();
    format!("Input should be {} or '{last}'", first.join(", "))
}

static TYPE: Shape = Str;
static CACHE: Shape =
    Tagged(&[("ephemeral", &[need("type", &TYPE), may("ttl", &Enum(&["5m", "1h"]))])], None);
static CITATIONS: Shape = Object(&[may("enabled", &Bool)]);
static TEXT_FIELDS: &[Field] =
    &[need("type", &TYPE), need("text", &Str), may("cache_control", &CACHE), may("citations", &Any)];
static TEXTS: Shape = List(&Tagged(&[("text", TEXT_FIELDS)], None));
static IMAGE_FIELDS: &[Field] = &[
    need("type", &TYPE),
    need(
        "source",
        &Tagged(
            &[(
                "base64",
                &[
                    need("type", &TYPE),
                    need("media_type", &Enum(&["image/jpeg", "image/png", "image/gif", "image/webp"])),
                    need("data", &Str),
                ],
            )],
            None,
        ),
    ),
    may("cache_control", &CACHE),
];
static DOCUMENT_FIELDS: &[Field] = &[
    need("type", &TYPE),
    need(
        "source",
        &Tagged(
            &[
                (
                    "base64",
                    &[
                        need("type", &TYPE),
                        need("media_type", &Enum(&["application/pdf"])),
                        need("data", &Str),
                    ],
                ),
                (
                    "text",
                    &[need("type", &TYPE), need("media_type", &Enum(&["text/plain"])), need("data", &Str)],
                ),
                ("content", &[need("type", &TYPE), need("content", &StrOr(&TEXTS))]),
            ],
            None,
        ),
    ),
    may("title", &Str),
    may("context", &Str),
    may("citations", &CITATIONS),
    may("cache_control", &CACHE),
];
static SEARCH_FIELDS: &[Field] = &[
    need("type", &TYPE),
    need("source", &Str),
    need("title", &Str),
    need("content", &TEXTS),
    may("citations", &CITATIONS),
    may("cache_control", &CACHE),
];
static REFERENCE_FIELDS: &[Field] =
    &[need("type", &TYPE), need("tool_name", &Str), may("cache_control", &CACHE)];
static RESULT_BLOCKS: Shape = List(&Tagged(
    &[
        ("text", TEXT_FIELDS),
        ("image", IMAGE_FIELDS),
        ("document", DOCUMENT_FIELDS),
        ("search_result", SEARCH_FIELDS),
        ("tool_reference", REFERENCE_FIELDS),
    ],
    None,
));
static CALL_FIELDS: &[Field] = &[
    need("type", &TYPE),
    need("id", &Str),
    need("name", &Str),
    need("input", &Open),
    may("cache_control", &CACHE),
];
static CHANGE_FIELDS: &[Field] = &[need("type", &TYPE), need("tool", &Open), may("cache_control", &CACHE)];
static BLOCKS: Shape = List(&Tagged(
    &[
        ("text", TEXT_FIELDS),
        ("image", IMAGE_FIELDS),
        ("document", DOCUMENT_FIELDS),
        ("tool_use", CALL_FIELDS),
        (
            "tool_result",
            &[
                need("type", &TYPE),
                need("tool_use_id", &Str),
                may("content", &StrOr(&RESULT_BLOCKS)),
                may("is_error", &Bool),
                may("cache_control", &CACHE),
            ],
        ),
        ("thinking", &[need("type", &TYPE), need("thinking", &Str), need("signature", &Str)]),
        ("redacted_thinking", &[need("type", &TYPE), need("data", &Str)]),
        ("search_result", SEARCH_FIELDS),
        ("server_tool_use", CALL_FIELDS),
        (
            "tool_search_tool_result",
            &[
                need("type", &TYPE),
                need("tool_use_id", &Str),
                need("content", &Any),
                may("cache_control", &CACHE),
            ],
        ),
        ("tool_reference", REFERENCE_FIELDS),
        ("compaction", &[need("type", &TYPE), need("content", &Any), may("cache_control", &CACHE)]),
        ("tool_addition", CHANGE_FIELDS),
        ("tool_removal", CHANGE_FIELDS),
    ],
    None,
));
static MESSAGES: Shape = List(&Object(&[
    need("role", &Enum(&["user", "assistant", "system"])),
    may("content", &StrOr(&BLOCKS)),
    may("output_config", &Object(&[may("effort", &Str)])),
]));
static NAMED: &[Field] = &[
    need("type", &TYPE),
    need("name", &Str),
    may("cache_control", &CACHE),
    may("defer_loading", &Bool),
    may("max_characters", &Int { min: 1 }),
];
static COMPUTER: &[Field] = &[
    need("type", &TYPE),
    need("name", &Str),
    need("display_width_px", &Int { min: 1 }),
    need("display_height_px", &Int { min: 1 }),
    may("display_number", &Int { min: 0 }),
    may("enable_zoom", &Bool),
    may("cache_control", &CACHE),
];
/// The tools of one request; the version suffixes are the ones that Bedrock lists.
pub(crate) static TOOLS: Shape = List(&Tagged(
    &[
        (
            "custom",
            &[
                may("type", &TYPE),
                need("name", &Str),
                may("description", &Str),
                need("input_schema", &Open),
                may("cache_control", &CACHE),
                may("strict", &Bool),
                may("defer_loading", &Bool),
                may("input_examples", &List(&Open)),
            ],
        ),
        ("bash_20241022", NAMED),
        ("bash_20250124", NAMED),
        ("text_editor_20241022", NAMED),
        ("text_editor_20250124", NAMED),
        ("text_editor_20250429", NAMED),
        ("text_editor_20250728", NAMED),
        ("memory_20250818", NAMED),
        ("computer_20241022", COMPUTER),
        ("computer_20250124", COMPUTER),
        ("computer_20251124", COMPUTER),
        ("tool_search_tool_regex", NAMED),
        ("tool_search_tool_bm25", NAMED),
        ("tool_search_tool_regex_20251119", NAMED),
        ("tool_search_tool_bm25_20251119", NAMED),
    ],
    Some("custom"),
));
/// `tool_choice`.
pub(crate) static CHOICE: Shape = {
    static PARALLEL: Shape = Bool;
    Tagged(
        &[
            ("auto", &[need("type", &TYPE), may("disable_parallel_tool_use", &PARALLEL)]),
            ("any", &[need("type", &TYPE), may("disable_parallel_tool_use", &PARALLEL)]),
            ("tool", &[need("type", &TYPE), need("name", &Str), may("disable_parallel_tool_use", &PARALLEL)]),
            ("none", &[need("type", &TYPE)]),
        ],
        None,
    )
};
static DISPLAY: Shape = Enum(&["summarized", "omitted", "updates"]);
/// `thinking`.
pub(crate) static THINKING: Shape = Tagged(
    &[
        (
            "enabled",
            &[need("type", &TYPE), need("budget_tokens", &Int { min: 1024 }), may("display", &DISPLAY)],
        ),
        ("adaptive", &[need("type", &TYPE), may("display", &DISPLAY)]),
        ("between_tools", &[need("type", &TYPE), may("display", &DISPLAY)]),
        ("disabled", &[need("type", &TYPE)]),
    ],
    None,
);
/// `output_config`.
pub(crate) static OUTPUT: Shape = Object(&[
    may("effort", &Str),
    may(
        "format",
        &Tagged(&[("json_schema", &[need("type", &TYPE), need("schema", &Open), may("name", &Str)])], None),
    ),
]);
/// The whole body.
pub(crate) static BODY: Shape = Object(&[
    need("anthropic_version", &Enum(&["bedrock-2023-05-31"])),
    need("max_tokens", &Int { min: 1 }),
    need("messages", &MESSAGES),
    may("anthropic_beta", &List(&Str)),
    may("system", &StrOr(&TEXTS)),
    may("stop_sequences", &List(&Str)),
    may("temperature", &Number { max: 1.0 }),
    may("top_p", &Number { max: 1.0 }),
    may("top_k", &Int { min: 0 }),
    may("tools", &TOOLS),
    may("tool_choice", &CHOICE),
    may("thinking", &THINKING),
    may("metadata", &Object(&[may("user_id", &Str)])),
    may("output_config", &OUTPUT),
    may("safeguards", &List(&Open)),
    may("context_management", &Open),
    may("compaction_control", &Open),
]);
