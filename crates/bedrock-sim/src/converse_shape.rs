//! The request shapes of Converse, ConverseStream and CountTokens, as data.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
use crate::shape::Shape::{Blob, Bool, Doc, Enum, Float, Int, List, Map, Struct, Text, Union};
use crate::shape::{Member, Pattern, Shape, may, need};

const ANY: usize = usize::MAX;

const fn text(min: usize, max: usize) -> Shape {
    Text { min, max, pattern: None }
}

const fn like(min: usize, max: usize, source: &'static str, matches: fn(&str) -> bool) -> Shape {
    Text { min, max, pattern: Some(Pattern(source, matches)) }
}

const fn list(of: &'static Shape) -> Shape {
    List { of, min: 0, max: ANY }
}

fn name_chars(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn id_chars(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

fn twelve_digits(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn s3_uri(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("s3://") else { return false };
    let bucket = rest.split('/').next().unwrap_or_default();
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| edge(b) || b == b'.' || b == b'-')
        && bucket.bytes().next().is_some_and(edge)
        && bucket.bytes().last().is_some_and(edge)
}

/// The charset of request metadata; `,-.` is a range in the vendor's expression.
pub(crate) fn metadata_chars(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c))
}

fn guardrail_id(text: &str) -> bool {
    text.starts_with("arn:aws") || text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn guardrail_version(text: &str) -> bool {
    let number = text.len() <= 8 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.is_empty() || text == "DRAFT" || number
}

static STR: Shape = text(0, ANY);
static SOME: Shape = text(1, ANY);
static DOC: Shape = Doc;
static BOOL: Shape = Bool;
static BYTES: Shape = Blob { min: 1 };
static BLOB: Shape = Blob { min: 0 };
static INDEX: Shape = Int { min: 0 };
static COUNT: Shape = Int { min: 1 };
static UNIT: Shape = Float { max: 1.0 };
static EMPTY: Shape = Struct(&[]);
static TEXT_UNION: Shape = Union("Text", &[may("text", &STR)]);

static NAME: Shape = like(1, 64, "[a-zA-Z0-9_-]+", name_chars);
static TOOL_ID: Shape = like(1, 64, "[a-zA-Z0-9_.:-]+", id_chars);
static S3: Shape = Struct(&[
    need("uri", &like(1, 1024, "s3://[a-z0-9][\\.\\-a-z0-9]{1,61}[a-z0-9](/.*)?", s3_uri)),
    may("bucketOwner", &like(0, ANY, "[0-9]{12}", twelve_digits)),
]);
static BINARY: [Member; 2] = [may("bytes", &BYTES), may("s3Location", &S3)];
static ERROR: Shape = Struct(&[may("message", &STR)]);
static IMAGE: Shape = Struct(&[
    need("format", &Enum(&["png", "jpeg", "gif", "webp"])),
    need("source", &Union("ImageSource", &BINARY)),
    may("error", &ERROR),
]);
static VIDEO: Shape = Struct(&[
    need("format", &Enum(&["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"])),
    need("source", &Union("VideoSource", &BINARY)),
]);
static AUDIO: Shape = Struct(&[
    need(
        "format",
        &Enum(&[
            "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga",
            "pcm", "webm",
        ]),
    ),
    need("source", &Union("AudioSource", &BINARY)),
    may("error", &ERROR),
]);
static CITATIONS: Shape = Struct(&[need("enabled", &BOOL)]);
static DOCUMENT: Shape = Struct(&[
    may("format", &Enum(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])),
    need("name", &text(1, 200)),
    need(
        "source",
        &Union(
            "DocumentSource",
            &[
                may("bytes", &BYTES),
                may("s3Location", &S3),
                may("text", &STR),
                may("content", &list(&TEXT_UNION)),
            ],
        ),
    ),
    may("context", &STR),
    may("citations", &CITATIONS),
]);
static SEARCH_RESULT: Shape = Struct(&[
    need("source", &STR),
    need("title", &STR),
    need("content", &list(&Struct(&[need("text", &STR)]))),
    may("citations", &CITATIONS),
]);
static TOOL_USE: Shape = Struct(&[
    need("toolUseId", &TOOL_ID),
    need("name", &NAME),
    need("input", &DOC),
    may("type", &Enum(&["server_tool_use"])),
]);
static TOOL_RESULT: Shape = Struct(&[
    need("toolUseId", &TOOL_ID),
    need(
        "content",
        &list(&Union(
            "ToolResultContentBlock",
            &[
                may("json", &DOC),
                may("text", &STR),
                may("image", &IMAGE),
                may("document", &DOCUMENT),
                may("video", &VIDEO),
                may("searchResult", &SEARCH_RESULT),
            ],
        )),
    ),
    may("status", &Enum(&["success", "error"])),
    may("type", &STR),
]);
static GUARD: Shape = Union(
    "GuardrailConverseContentBlock",
    &[
        may(
            "text",
            &Struct(&[
                need("text", &STR),
                may("qualifiers", &list(&Enum(&["grounding_source", "query", "guard_content"]))),
            ]),
        ),
        may(
            "image",
            &Struct(&[
                need("format", &Enum(&["png", "jpeg"])),
                need("source", &Union("GuardrailConverseImageSource", &[may("bytes", &BYTES)])),
            ]),
        ),
    ],
);
static CACHE_POINT: Shape = Struct(&[need("type", &Enum(&["default"])), may("ttl", &Enum(&["5m", "1h"]))]);
static REASONING: Shape = Union(
    "ReasoningContentBlock",
    &[
        may("reasoningText", &Struct(&[need("text", &STR), may("signature", &STR)])),
        may("redactedContent", &BLOB),
    ],
);
static SPAN: [Member; 3] = [may("documentIndex", &INDEX), may("start", &INDEX), may("end", &INDEX)];
static CITATION: Shape = Struct(&[
    may("title", &STR),
    may("source", &STR),
    may("sourceContent", &list(&TEXT_UNION)),
    may(
        "location",
        &Union(
            "CitationLocation",
            &[
                may("web", &Struct(&[may("url", &STR), may("domain", &STR)])),
                may("documentChar", &Struct(&SPAN)),
                may("documentPage", &Struct(&SPAN)),
                may("documentChunk", &Struct(&SPAN)),
                may(
                    "searchResultLocation",
                    &Struct(&[may("searchResultIndex", &INDEX), may("start", &INDEX), may("end", &INDEX)]),
                ),
            ],
        ),
    ),
]);
static TOOL_REFERENCE: Shape =
    Struct(&[may("type", &text(1, 64)), may("name", &text(1, 128)), may("serverName", &text(1, 128))]);
static TOOL_CHANGE: Shape = Struct(&[need("tool", &TOOL_REFERENCE)]);
static CONTENT: Shape = Union(
    "ContentBlock",
    &[
        may("text", &STR),
        may("image", &IMAGE),
        may("toolUse", &TOOL_USE),
        may("toolResult", &TOOL_RESULT),
        may("document", &DOCUMENT),
        may("video", &VIDEO),
        may("cachePoint", &CACHE_POINT),
        may("reasoningContent", &REASONING),
        may(
            "citationsContent",
            &Struct(&[may("content", &list(&TEXT_UNION)), may("citations", &list(&CITATION))]),
        ),
        may("audio", &AUDIO),
        may("guardContent", &GUARD),
        may("searchResult", &SEARCH_RESULT),
        may("toolAddition", &TOOL_CHANGE),
        may("toolRemoval", &TOOL_CHANGE),
    ],
);
static MESSAGES: Shape =
    list(&Struct(&[need("role", &Enum(&["user", "assistant", "system"])), need("content", &list(&CONTENT))]));
static SYSTEM: Shape = list(&Union(
    "SystemContentBlock",
    &[may("text", &SOME), may("guardContent", &GUARD), may("cachePoint", &CACHE_POINT)],
));
static INFERENCE: Shape = Struct(&[
    may("maxTokens", &COUNT),
    may("temperature", &UNIT),
    may("topP", &UNIT),
    may("stopSequences", &List { of: &SOME, min: 0, max: 2500 }),
]);
static TOOL: Shape = Union(
    "Tool",
    &[
        may(
            "toolSpec",
            &Struct(&[
                need("name", &NAME),
                may("description", &SOME),
                need("inputSchema", &Union("ToolInputSchema", &[may("json", &DOC)])),
                may("strict", &BOOL),
            ]),
        ),
        may("systemTool", &Struct(&[need("name", &NAME)])),
        may("cachePoint", &CACHE_POINT),
    ],
);
static TOOL_CONFIG: Shape = Struct(&[
    need("tools", &List { of: &TOOL, min: 1, max: ANY }),
    may(
        "toolChoice",
        &Union(
            "ToolChoice",
            &[may("auto", &EMPTY), may("any", &EMPTY), may("tool", &Struct(&[need("name", &NAME)]))],
        ),
    ),
]);
static GUARDRAIL_ID: Shape = like(0, 2048, "(|([a-z0-9]+)|(arn:aws(-[^:]+)?:bedrock:.+))", guardrail_id);
static GUARDRAIL_VERSION: Shape = like(0, ANY, "(|([1-9][0-9]{0,7})|(DRAFT))", guardrail_version);
static GUARDRAIL_TRACE: Shape = Enum(&["enabled", "disabled", "enabled_full"]);
static GUARDRAIL_CONFIG: Shape = Struct(&[
    may("guardrailIdentifier", &GUARDRAIL_ID),
    may("guardrailVersion", &GUARDRAIL_VERSION),
    may("trace", &GUARDRAIL_TRACE),
]);
static GUARDRAIL_STREAM: Shape = Struct(&[
    may("guardrailIdentifier", &GUARDRAIL_ID),
    may("guardrailVersion", &GUARDRAIL_VERSION),
    may("trace", &GUARDRAIL_TRACE),
    may("streamProcessingMode", &Enum(&["sync", "async"])),
]);
const METADATA: &str = "[a-zA-Z0-9\\s:_@$#=/+,-.]{1,256}";
static OUTPUT_CONFIG: Shape = Struct(&[
    may(
        "textFormat",
        &Struct(&[
            need("type", &Enum(&["json_schema"])),
            need(
                "structure",
                &Union(
                    "OutputFormatStructure",
                    &[may(
                        "jsonSchema",
                        &Struct(&[need("schema", &STR), may("name", &STR), may("description", &STR)]),
                    )],
                ),
            ),
        ]),
    ),
    may("effort", &text(0, 16)),
]);

static VARIABLES: Shape = Map { key: &STR, value: &TEXT_UNION, min: 0, max: ANY };
static FIELD_PATHS: Shape = List { of: &text(1, 256), min: 0, max: 10 };
static REQUEST_METADATA: Shape = Map {
    key: &like(1, 256, METADATA, metadata_chars),
    value: &like(0, 256, METADATA, metadata_chars),
    min: 1,
    max: 16,
};
static PERFORMANCE: Shape = Struct(&[may("latency", &Enum(&["standard", "optimized"]))]);
static TIER: Shape = Struct(&[need("type", &Enum(&["priority", "default", "flex", "reserved"]))]);

const fn request(guardrail: &'static Shape) -> [Member; 12] {
    [
        may("messages", &MESSAGES),
        may("system", &SYSTEM),
        may("inferenceConfig", &INFERENCE),
        may("toolConfig", &TOOL_CONFIG),
        may("guardrailConfig", guardrail),
        may("additionalModelRequestFields", &DOC),
        may("promptVariables", &VARIABLES),
        may("additionalModelResponseFieldPaths", &FIELD_PATHS),
        may("requestMetadata", &REQUEST_METADATA),
        may("performanceConfig", &PERFORMANCE),
        may("serviceTier", &TIER),
        may("outputConfig", &OUTPUT_CONFIG),
    ]
}

/// The body of Converse.
pub(crate) static CONVERSE: Shape = {
    static MEMBERS: [Member; 12] = request(&GUARDRAIL_CONFIG);
    Struct(&MEMBERS)
};

/// The body of ConverseStream.
pub(crate) static CONVERSE_STREAM: Shape = {
    static MEMBERS: [Member; 12] = request(&GUARDRAIL_STREAM);
    Struct(&MEMBERS)
};

/// The body of CountTokens.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>
pub(crate) static COUNT_TOKENS: Shape = Struct(&[need(
    "input",
    &Union(
        "CountTokensInput",
        &[
            may("invokeModel", &Struct(&[need("body", &BLOB)])),
            may(
                "converse",
                &Struct(&[
                    may("messages", &MESSAGES),
                    may("system", &SYSTEM),
                    may("toolConfig", &TOOL_CONFIG),
                    may("additionalModelRequestFields", &DOC),
                ]),
            ),
        ],
    ),
)]);
