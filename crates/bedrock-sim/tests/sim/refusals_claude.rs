//! What InvokeModel refuses for Claude, each with Claude's text.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>
use crate::common::{OPUS5, OPUS46, OPUS55, QWEN, SONNET, claude, path, post, send, sim};

const HI: &str = r#"[{"role":"user","content":"hi"}]"#;
const HAIKU35: &str = "anthropic.claude-3-5-haiku-20241022-v1:0";
const OPUS45: &str = "us.anthropic.claude-opus-4-5-20251101-v1:0";
const TOOL: &str = r#""tools":[{"name":"a","input_schema":{"type":"object"}}]"#;
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async fn check(cases: &[(&str, String, &str)]) {
    let sim = sim().await;
    for (model, body, expected) in cases {
        for operation in ["invoke", "invoke-with-response-stream"] {
            let reply = post(&sim, &path(model, operation), body).await;
            assert_eq!(reply.status, 400, "{body}: {}", String::from_utf8_lossy(&reply.body));
            assert_eq!(
                (reply.kind(), reply.message().as_str()),
                ("ValidationException", *expected),
                "{model} {body}"
            );
        }
    }
}

fn user(block: &str) -> String {
    claude(&format!(r#"[{{"role":"user","content":[{block}]}}]"#), "")
}

#[tokio::test]
async fn required_fields_are_missed_and_unknown_ones_refused_at_every_depth() {
    let with = |more: &str| claude(HI, more);
    check(&[
        (SONNET, with("").replace(r#""anthropic_version":"bedrock-2023-05-31","#, ""), "anthropic_version: Field required"),
        (SONNET, with("").replace(r#""max_tokens":1024,"#, ""), "max_tokens: Field required"),
        (SONNET, with("").replace("1024", "0"), "max_tokens: Input should be greater than or equal to 1"),
        (SONNET, with("").replace("1024", "\"9\""), "max_tokens: Input should be a valid integer"),
        (SONNET, with("").replace("bedrock-2023-05-31", "2023-06-01"), "anthropic_version: Input should be 'bedrock-2023-05-31'"),
        (SONNET, with(r#""model":"m""#), "model: Extra inputs are not permitted"),
        (SONNET, with(r#""stream":true"#), "stream: Extra inputs are not permitted"),
        (SONNET, with(r#""totally_made_up_field":1"#), "totally_made_up_field: Extra inputs are not permitted"),
        (SONNET, with(r#""service_tier":"auto""#), "service_tier: Extra inputs are not permitted"),
        (SONNET, with(r#""container":"c""#), "container: Extra inputs are not permitted"),
        (SONNET, with(r#""mcp_servers":[]"#), "mcp_servers: Extra inputs are not permitted"),
        (SONNET, with(r#""cache_control":{"type":"ephemeral"}"#), "cache_control: Extra inputs are not permitted"),
        (SONNET, with(r#""context_management":{"edits":[]}"#), "context_management: Extra inputs are not permitted"),
        (SONNET, with(r#""safeguards":[]"#), "safeguards: Extra inputs are not permitted"),
        (SONNET, user(r#"{"type":"text","text":"hi","foo":1}"#), "messages.0.content.0.text.foo: Extra inputs are not permitted"),
        (SONNET, with(&TOOL.replace("\"name\"", "\"defer_loading\":true,\"name\"")), "tools.0.custom.defer_loading: Extra inputs are not permitted"),
        (SONNET, with(&TOOL.replace("\"name\"", "\"eager_input_streaming\":true,\"name\"")), "tools.0.custom.eager_input_streaming: Extra inputs are not permitted"),
        (OPUS5, with(&TOOL.replace("\"name\"", "\"strict\":true,\"name\"")), "tools.0.custom.strict: Extra inputs are not permitted"),
        (OPUS5, with(r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}"#), "output_config.format: Extra inputs are not permitted"),
        (SONNET, with(r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}"#), "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"),
        (SONNET, user(r#"{"type":"text","text":"hi","cache_control":{"type":"ephemeral","scope":"global"}}"#), "messages.0.content.0.text.cache_control.ephemeral.scope: Extra inputs are not permitted"),
        (SONNET, user(r#"{"type":"image","source":{"type":"url","url":"https://example.com/x.png"}}"#), "messages.0.content.0.image.source: Input tag 'url' found using 'type' does not match any of the expected tags: 'base64'"),
        (SONNET, with(r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#), "tools.0: tool type 'web_search_20250305' is not supported for this model"),
        (SONNET, claude(r#"[{"role":"user","content":"hi"},{"role":"system","content":"x"}]"#, ""), "messages.1.role: Input should be 'user' or 'assistant'"),
        (OPUS5, claude(r#"[{"role":"user","content":"hi","output_config":{"effort":"low"}}]"#, ""), "messages.0.output_config: Extra inputs are not permitted"),
    ])
    .await;
}

#[tokio::test]
async fn beta_flags_are_refused_without_being_named() {
    let with = |flag: &str| claude(HI, &format!(r#""anthropic_beta":["{flag}"]"#));
    let refused: Vec<(&str, String, &str)> = [
        "made-up-2026-01-01",
        "claude-code-20250219",
        "prompt-caching-scope-2026-01-05",
        "output-128k-2025-02-19",
        "dangerous-tool-use-2026-09-03",
        "advanced-tool-use-2025-11-20",
    ]
    .iter()
    .map(|flag| (SONNET, with(flag), "invalid beta flag"))
    .collect();
    check(&refused).await;
    let sim = sim().await;
    for flag in ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "tool-search-tool-2025-10-19"] {
        assert_eq!(post(&sim, &path(SONNET, "invoke"), &with(flag)).await.status, 200, "{flag}");
    }
}

#[tokio::test]
async fn generations_differ_in_sampling_thinking_effort_and_prefill() {
    let with = |more: &str| claude(HI, more);
    let prefill = |text: &str| {
        claude(
            &format!(r#"[{{"role":"user","content":"hi"}},{{"role":"assistant","content":"{text}"}}]"#),
            "",
        )
    };
    let enabled = r#""thinking":{"type":"enabled","budget_tokens":1024}"#;
    let forced = format!(r#"{TOOL},"tool_choice":{{"type":"any"}}"#);
    check(&[
        (OPUS5, with(r#""temperature":1"#), "`temperature` is deprecated for this model."),
        (OPUS5, with(r#""top_p":0.9"#), "`top_p` is deprecated for this model."),
        (OPUS5, with(r#""top_k":5"#), "`top_k` is deprecated for this model."),
        (SONNET, with(r#""temperature":1,"top_p":0.9"#), "`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        (OPUS5, with(enabled), "thinking.type: Input should be 'adaptive' or 'disabled'"),
        (OPUS55, with(enabled), "thinking.type: Input should be 'adaptive'"),
        (OPUS55, with(r#""thinking":{"type":"disabled"}"#), "thinking.type: Input should be 'adaptive'"),
        (SONNET, with(r#""thinking":{"type":"adaptive"}"#), "adaptive thinking is not supported on this model"),
        (HAIKU35, with(enabled), "thinking is not supported on this model"),
        (SONNET, with(&enabled.replace("1024", "5")), "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
        (SONNET, with(enabled), "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"),
        (OPUS46, with(&format!(r#""thinking":{{"type":"adaptive"}},{forced}"#)), "Thinking may not be enabled when tool_choice forces tool use."),
        (OPUS55, with(&forced), "Thinking may not be enabled when tool_choice forces tool use."),
        (OPUS46, with(r#""thinking":{"type":"adaptive"},"temperature":0.5"#), "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking"),
        (OPUS46, with(r#""thinking":{"type":"adaptive"},"top_k":5"#), "`top_k` must be unset when thinking is enabled."),
        (OPUS5, with(r#""thinking":{"type":"disabled"},"output_config":{"effort":"max"}"#), "thinking.type: disabled is not supported with effort 'xhigh' or 'max'"),
        (OPUS45, with(r#""output_config":{"effort":"low"}"#), "output_config.effort: Extra inputs are not permitted"),
        (SONNET, with(r#""output_config":{"effort":"low"}"#), "output_config.effort: Extra inputs are not permitted"),
        (OPUS46, with(r#""output_config":{"effort":"xhigh"}"#), "output_config.effort: Input should be 'low', 'medium', 'high' or 'max'"),
        (OPUS46, prefill("So"), "This model does not support assistant message prefill. The conversation must end with a user message."),
        (SONNET, prefill("So "), "messages: final assistant content cannot end with trailing whitespace"),
        (SONNET, with("").replace("1024", "64001"), "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5-20250929"),
        (SONNET, with(r#""stop_sequences":[" "]"#), "stop_sequences: each stop sequence must contain non-whitespace"),
        (HAIKU35, claude(HI, "").replace("hi", &"x".repeat(4 * 199_000)), "input length and `max_tokens` exceed context limit: 199000 + 1024 > 200000, decrease input length or `max_tokens` and try again"),
        (SONNET, claude(HI, "").replace("hi", &"x".repeat(4 * 200_001)), "prompt is too long: 200001 tokens > 200000 maximum"),
    ])
    .await;
}

#[tokio::test]
async fn conversations_and_tools_are_checked() {
    let call = r#"{"type":"tool_use","id":"t1","name":"a","input":{}}"#;
    let result = r#"{"type":"tool_result","tool_use_id":"t1","content":"ok"}"#;
    let turns = |list: &[(&str, &str)]| {
        let list: Vec<String> = list
            .iter()
            .map(|(role, blocks)| format!(r#"{{"role":"{role}","content":[{blocks}]}}"#))
            .collect();
        claude(&format!("[{}]", list.join(",")), TOOL)
    };
    let text = r#"{"type":"text","text":"hi"}"#;
    let two = r#""tools":[{"name":"a","input_schema":{"type":"object"}},{"name":"a","input_schema":{"type":"object"}}]"#;
    check(&[
        (SONNET, claude("[]", ""), "messages: at least one message is required"),
        (SONNET, turns(&[("assistant", text)]), "messages: first message must use the \"user\" role"),
        (SONNET, turns(&[("user", r#"{"type":"text","text":""}"#)]), "messages: text content blocks must be non-empty"),
        (SONNET, turns(&[("user", r#"{"type":"text","text":" "}"#)]), "messages: text content blocks must contain non-whitespace text"),
        (SONNET, turns(&[("user", "")]), "messages.0: all messages must have non-empty content except for the optional final assistant message"),
        (SONNET, turns(&[("user", text), ("assistant", call), ("user", text)]), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1. Each `tool_use` block must have a corresponding `tool_result` block in the next message."),
        (SONNET, turns(&[("user", text), ("assistant", call)]), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1. Each `tool_use` block must have a corresponding `tool_result` block in the next message."),
        (SONNET, turns(&[("user", result)]), "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."),
        (SONNET, turns(&[("user", text), ("assistant", &format!("{call},{call}")), ("user", result)]), "messages.1.content.1: `tool_use` ids must be unique"),
        (SONNET, turns(&[("user", text), ("assistant", call), ("user", &format!("{result},{result}"))]), "messages.2.content.1: each tool_use must have a single result. Found multiple `tool_result` blocks with id: t1"),
        (SONNET, turns(&[("user", call)]), "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
        (SONNET, turns(&[("user", text), ("assistant", &call.replace("{}", "[]"))]), "messages.1.content.0.tool_use.input: Input should be a valid dictionary"),
        (SONNET, claude(HI, two), "tools: Tool names must be unique."),
        (SONNET, claude(HI, &TOOL.replace("\"a\"", "\"a.b\"")), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
        (SONNET, claude(HI, &TOOL.replace(r#"{"type":"object"}"#, "{}")), "tools.0.custom.input_schema.type: Field required"),
        (SONNET, claude(HI, &format!(r#"{TOOL},"tool_choice":{{"type":"tool","name":"b"}}"#)), "Tool 'b' not found in provided tools"),
        (SONNET, claude(HI, r#""tool_choice":{"type":"auto"}"#), "tool_choice: may only be specified while providing tools"),
        (SONNET, claude(HI, r#""system":[{"type":"text","text":" "}]"#), "system: text content blocks must be non-empty"),
    ])
    .await;
}

#[tokio::test]
async fn cache_marks_thinking_and_images_are_checked() {
    let mark = |ttl: &str| {
        format!(r#"{{"type":"text","text":"x","cache_control":{{"type":"ephemeral","ttl":"{ttl}"}}}}"#)
    };
    let blocks = |list: &[String]| user(&list.join(","));
    let image = |kind: &str, data: &str| {
        user(&format!(
            r#"{{"type":"image","source":{{"type":"base64","media_type":"image/{kind}","data":"{data}"}}}}"#
        ))
    };
    let thinking = |block: &str| {
        claude(
            &format!(
                r#"[{{"role":"user","content":"hi"}},{{"role":"assistant","content":[{block},{{"type":"text","text":"y"}}]}},{{"role":"user","content":"hi"}}]"#
            ),
            "",
        )
    };
    let replay = claude(
        r#"[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"a","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]"#,
        &format!(r#"{TOOL},"thinking":{{"type":"enabled","budget_tokens":1024}}"#),
    )
    .replace("\"max_tokens\":1024", "\"max_tokens\":2048");
    check(&[
        (SONNET, blocks(&std::array::from_fn::<_, 5, _>(|_| mark("5m"))), "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        (SONNET, blocks(&[mark("5m"), mark("1h")]), "messages.0.content.1.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`."),
        (SONNET, blocks(&[mark("9m")]), "messages.0.content.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'"),
        (SONNET, thinking(r#"{"type":"thinking","thinking":"x"}"#), "messages.1.content.0.thinking.signature: Field required"),
        (SONNET, thinking(r#"{"type":"thinking","thinking":"x","signature":"eA=="}"#), "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (SONNET, thinking(r#"{"type":"redacted_thinking","data":"eA=="}"#), "messages.1.content.0: Invalid `data` in `redacted_thinking` block"),
        (SONNET, replay, "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block"),
        (SONNET, image("jpeg", PNG), "messages.0.content.0.image.source.base64.data: The image was specified using the image/jpeg media type, but the image appears to be a image/png image"),
        (SONNET, image("png", "aGVsbG8gd29ybGQ="), "messages.0.content.0.image.source.base64.data: Could not process image"),
        (SONNET, image("png", "a b"), "messages.0.content.0.image.source.base64.data: Invalid base64 data"),
    ])
    .await;
    let sim = sim().await;
    assert_eq!(post(&sim, &path(SONNET, "invoke"), &image("png", PNG)).await.status, 200);
}

#[tokio::test]
async fn headers_of_invoke_are_checked() {
    let sim = sim().await;
    let token = format!("Bearer {}", crate::common::TOKEN);
    let with = async |name: &str, value: &str| {
        let headers = [("authorization", token.as_str()), (name, value)];
        send(&sim, "POST", &path(SONNET, "invoke"), &headers, claude(HI, "").as_bytes()).await
    };
    let tier = with("x-amzn-bedrock-service-tier", "priority").await;
    assert_eq!(tier.message(), "The provided service tier is not supported for this model.");
    assert_eq!(
        with("x-amzn-bedrock-service-tier", "auto").await.message(),
        "service tier provided is invalid"
    );
    let good = with("x-amzn-bedrock-service-tier", "default").await;
    assert_eq!((good.status, good.header("x-amzn-bedrock-service-tier")), (200, Some("default")));
    let metadata = with("x-amzn-bedrock-request-metadata", r#"{"user":"{}"}"#).await;
    assert_eq!(metadata.message(), "Request metadata contains a value that violates the regular expression");
    assert_eq!(with("x-amzn-bedrock-request-metadata", r#"{"user":"u-1"}"#).await.status, 200);
}

#[tokio::test]
async fn count_tokens_takes_base_ids_of_claude_alone() {
    let sim = sim().await;
    let body = r#"{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"hello"}]}]}}}"#;
    let base = SONNET.trim_start_matches("us.");
    let count = async |id: &str, body: &str| post(&sim, &path(id, "count-tokens"), body).await;
    assert_eq!(count(base, body).await.json(), serde_json::json!({"inputTokens": 2}));
    for id in [SONNET, QWEN, "anthropic.claude-opus-5"] {
        assert_eq!(
            count(id, body).await.message(),
            "The provided model doesn't support counting tokens.",
            "{id}"
        );
    }
    let invoke = |inner: &str| {
        use base64::Engine as _;
        let inner = base64::engine::general_purpose::STANDARD.encode(inner);
        format!(r#"{{"input":{{"invokeModel":{{"body":"{inner}"}}}}}}"#)
    };
    assert_eq!(count(base, &invoke(&claude(HI, ""))).await.json(), serde_json::json!({"inputTokens": 1}));
    let message = count(base, &invoke(r#"{"messages":[]}"#)).await.message();
    assert_eq!(message, "anthropic_version: Field required");
}
