//! What Converse refuses, each with the text that Bedrock sends.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use crate::common::{NOVA, OPUS5, OPUS46, OPUS55, QWEN, SONNET, get, path, post, sim};

const HI: &str = r#"{"role":"user","content":[{"text":"hi"}]}"#;
const TOOL: &str =
    r#""toolConfig":{"tools":[{"toolSpec":{"name":"a","inputSchema":{"json":{"type":"object"}}}}]}"#;

/// A Converse body: messages and more members.
fn body(messages: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    format!(r#"{{"messages":[{messages}]{more}}}"#)
}

async fn check(cases: &[(&str, String, &str)]) {
    let sim = sim().await;
    for (model, body, expected) in cases {
        for operation in ["converse", "converse-stream"] {
            let reply = post(&sim, &path(model, operation), body).await;
            assert_eq!(reply.status, 400, "{body}: {}", String::from_utf8_lossy(&reply.body));
            assert_eq!(reply.kind(), "ValidationException");
            assert_eq!(reply.message(), *expected, "{model} {body}");
            assert!(reply.header("x-amzn-requestid").is_some());
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of bodies and texts")]
async fn shapes_are_checked_member_by_member() {
    let long = "x".repeat(65);
    check(&[
        (
            QWEN,
            body(HI, r#""surprise":1"#),
            "Malformed input request: #: extraneous key [surprise] is not permitted, please reformat your input and try \
             again.",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":[{"text":"hi"}],"name":"x"}"#, ""),
            "Malformed input request: #/messages/0: extraneous key [name] is not permitted, please reformat your input \
             and try again.",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":"hi"}"#, ""),
            "The format of the value at messages.0.content is invalid. Provide a list for the field and try again.",
        ),
        (
            QWEN,
            body(r#"{"role":"tool","content":[{"text":"hi"}]}"#, ""),
            "The value at messages.0.role failed to satisfy constraint: Member must satisfy enum value set: [user, \
             assistant, system]",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":[{}]}"#, ""),
            "ContentBlock object at messages.0.content.0 must set one of the following keys: text, image, toolUse, \
             toolResult, document, video, cachePoint, reasoningContent, citationsContent, audio, guardContent, \
             searchResult, toolAddition, toolRemoval.",
        ),
        (
            QWEN,
            body(HI, r#""toolConfig":{"tools":[]}"#),
            "The value at toolConfig.tools failed to satisfy constraint: Member must have length greater than or equal \
             to 1",
        ),
        (
            QWEN,
            body(HI, &TOOL.replace("\"a\"", "\"a.b\"")),
            "The value at toolConfig.tools.0.toolSpec.name failed to satisfy constraint: Member must satisfy regular \
             expression pattern: [a-zA-Z0-9_-]+",
        ),
        (
            QWEN,
            body(HI, &TOOL.replace("\"a\"", &format!("\"{long}\""))),
            "The value at toolConfig.tools.0.toolSpec.name failed to satisfy constraint: Member must have length less \
             than or equal to 64",
        ),
        (
            QWEN,
            body(HI, r#""inferenceConfig":{"temperature":1.5}"#),
            "The value at inferenceConfig.temperature failed to satisfy constraint: Member must have value less than or \
             equal to 1",
        ),
        (
            QWEN,
            body(HI, r#""inferenceConfig":{"maxTokens":0}"#),
            "The value at inferenceConfig.maxTokens failed to satisfy constraint: Member must have value greater than or \
             equal to 1",
        ),
        (
            QWEN,
            body(HI, r#""inferenceConfig":{"topK":5}"#),
            "Malformed input request: #/inferenceConfig: extraneous key [topK] is not permitted, please reformat your \
             input and try again.",
        ),
        (
            QWEN,
            body(HI, r#""serviceTier":"flex""#),
            "The format of the value at serviceTier is invalid. Provide a json object for the field and try again.",
        ),
        (
            QWEN,
            body(HI, r#""requestMetadata":{"user":"{\"a\":1}"}"#),
            "The value at requestMetadata.user failed to satisfy constraint: Member must satisfy regular expression \
             pattern: [a-zA-Z0-9\\s:_@$#=/+,-.]{1,256}",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"not base64"}}}]}"#, ""),
            "The format of the value at messages.0.content.0.image.source.bytes is invalid. Provide a base64 string for \
             the field and try again.",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":[{"toolResult":{"content":[]}}]}"#, ""),
            "The value at messages.0.content.0.toolResult.toolUseId failed to satisfy constraint: Member must not be null",
        ),
    ])
    .await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of bodies and texts")]
async fn conversations_keep_their_order() {
    let alternate = "A conversation must alternate between user and assistant roles. Make sure the conversation \
                     alternates between user and assistant roles and try again.";
    let start = "A conversation must start with a user message. Try again with a conversation that starts with a user \
                 message.";
    let call = r#"{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"a","input":{}}}]}"#;
    let result = r#"{"toolResult":{"toolUseId":"t1","content":[{"text":"ok"}]}}"#;
    check(&[
        (QWEN, "{}".to_owned(), start),
        (QWEN, body(r#"{"role":"assistant","content":[{"text":"hi"}]}"#, ""), start),
        (QWEN, body(&format!("{HI},{HI}"), ""), alternate),
        (
            QWEN,
            body(r#"{"role":"user","content":[{"text":" \n"}]}"#, ""),
            "The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the text field, and \
             try again.",
        ),
        (
            QWEN,
            body(r#"{"role":"user","content":[]}"#, ""),
            "The content field in the Message object at messages.0 is empty. Add a ContentBlock object to the content \
             field and try again.",
        ),
        (
            QWEN,
            body(&format!("{HI},{call},{HI}"), TOOL),
            "Expected toolResult blocks at messages.2.content for the following Ids: t1",
        ),
        (
            QWEN,
            body(&format!("{HI},{call}"), TOOL),
            "Expected toolResult blocks at messages.2.content for the following Ids: t1",
        ),
        (
            QWEN,
            body(&format!(r#"{HI},{call},{{"role":"user","content":[{result},{result}]}}"#), TOOL),
            "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks of previous turn.",
        ),
        (
            QWEN,
            body(&format!(r#"{{"role":"user","content":[{result}]}}"#), TOOL),
            "The number of toolResult blocks at messages.0.content exceeds the number of toolUse blocks of previous turn.",
        ),
        (
            QWEN,
            body(&format!(r#"{HI},{call},{{"role":"user","content":[{result}]}}"#), ""),
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ),
        (
            QWEN,
            body(&format!("{HI},{}", call.replace("{}", "[]")), TOOL),
            "The format of the value at messages.1.content.0.toolUse.input is invalid. Provide a json object for the \
             field and try again.",
        ),
        (
            QWEN,
            body(
                &format!(
                    r#"{HI},{call},{{"role":"user","content":[{}]}}"#,
                    result.replace(r#"{"text":"ok"}"#, r#"{"json":[1]}"#)
                ),
                TOOL,
            ),
            "The format of the value at messages.2.content.0.toolResult.content.0.json is invalid. Provide a json object \
             for the field and try again.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn tools_and_documents_are_checked() {
    let document = |name: &str| {
        format!(r#"{{"document":{{"format":"txt","name":"{name}","source":{{"bytes":"aGVsbG8="}}}}}}"#)
    };
    check(&[
        (
            QWEN,
            body(HI, &TOOL.replace(r#"{"type":"object"}"#, r#"{"type":"array"}"#)),
            "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the following: object.",
        ),
        (
            QWEN,
            body(HI, &TOOL.replace(r#"{"type":"object"}"#, "[]")),
            "The format of the value at toolConfig.tools.0.toolSpec.inputSchema.json is invalid. Provide a json object \
             for the field and try again.",
        ),
        (
            QWEN,
            body(HI, &TOOL.replace("}}}]", "}}},{\"toolSpec\":{\"name\":\"a\",\"inputSchema\":{\"json\":{\"type\":\"object\"}}}}]")),
            "The model returned the following errors: tools: Tool names must be unique.",
        ),
        (
            QWEN,
            body(HI, &TOOL.replace("}}}]", r#"}}}],"toolChoice":{"tool":{"name":"b"}}"#)),
            "The model returned the following errors: Tool 'b' not found in provided tools",
        ),
        (
            SONNET,
            body(&format!(r#"{{"role":"user","content":[{}]}}"#, document("one")), ""),
            "A text block must be included in the content field at messages.0 when using documents. Add a text block and \
             try again.",
        ),
        (
            SONNET,
            body(&format!(r#"{{"role":"user","content":[{},{{"text":"x"}}]}}"#, document("a.b")), ""),
            "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, \
             parentheses, and square brackets. The name can't contain more than one consecutive whitespace character.",
        ),
        (
            SONNET,
            body(
                &format!(r#"{{"role":"user","content":[{},{},{{"text":"x"}}]}}"#, document("one"), document("one")),
                "",
            ),
            "Found duplicate document name: one. Document names must be unique. Rename your documents and try again.",
        ),
        (
            SONNET,
            body(
                r#"{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"/9j/4AAQSkZJRgABAQ=="}}},{"text":"x"}]}"#,
                "",
            ),
            "The model returned the following errors: messages.0.content.0.image.source.base64.data: The image was \
             specified using the image/png media type, but the image appears to be a image/jpeg image",
        ),
    ])
    .await;
}

#[tokio::test]
async fn each_family_refuses_what_it_does_not_know() {
    let point = r#"{"role":"user","content":[{"text":"hi"},{"cachePoint":{"type":"default"}}]}"#;
    let five = r#""system":[{"text":"a"},{"cachePoint":{"type":"default"}},{"text":"a"},{"cachePoint":{"type":"default"}},{"text":"a"},{"cachePoint":{"type":"default"}},{"text":"a"},{"cachePoint":{"type":"default"}}]"#;
    let stops = r#""inferenceConfig":{"stopSequences":["x"]}"#;
    let no =
        |field: &str| format!("This model doesn't support the {field} field. Remove {field} and try again.");
    let cases = [
        (QWEN, body(point, ""), no("cachePoint")),
        ("minimax.minimax-m2", body(point, ""), no("cachePoint")),
        ("openai.gpt-oss-120b-1:0", body(HI, stops), no("stopSequences")),
        ("qwen.qwen3-32b-v1:0", body(HI, stops), no("stopSequences")),
        ("us.openai.gpt-6-sol", body(HI, r#""inferenceConfig":{"temperature":0.5}"#), no("temperature")),
        ("us.xai.grok-4.7", body(HI, r#""inferenceConfig":{"topP":0.5}"#), no("topP")),
        (
            "meta.llama3-3-70b-instruct-v1:0",
            body(HI, &TOOL.replace("}}}]", r#"}}}],"toolChoice":{"any":{}}"#)),
            no("toolConfig.toolChoice.any"),
        ),
        ("us.deepseek.r1-v1:0", body(HI, TOOL), no("toolConfig")),
        (
            NOVA,
            body(HI, &TOOL.replace("}}}]", r#"}}},{"cachePoint":{"type":"default"}}]"#)),
            "Malformed input request: #: extraneous key [cachePoint] is not permitted, please reformat your input and try \
             again."
                .to_owned(),
        ),
        (
            QWEN,
            body(HI, r#""additionalModelRequestFields":{"top_k":5}"#),
            "Malformed input request: #: extraneous key [top_k] is not permitted, please reformat your input and try \
             again."
                .to_owned(),
        ),
        (
            QWEN,
            body(HI, r#""inferenceConfig":{"maxTokens":65537}"#),
            "The maximum tokens you requested exceeds the model limit of 65536. Try again with a maximum tokens value \
             that is lower than 65536."
                .to_owned(),
        ),
        (
            SONNET,
            body(HI, r#""serviceTier":{"type":"flex"}"#),
            "The provided service tier is not supported for this model.".to_owned(),
        ),
        (SONNET, body(HI, r#""serviceTier":{"type":"reserved"}"#), "Reservation not found.".to_owned()),
        (
            SONNET,
            body(point, five),
            "The model returned the following errors: A maximum of 4 blocks with cache_control may be provided. Found 5."
                .to_owned(),
        ),
        (NOVA, body(&"x".repeat(0), ""), "A conversation must start with a user message. Try again with a conversation that starts with a user message.".to_owned()),
    ];
    let cases: Vec<(&str, String, &str)> =
        cases.iter().map(|(model, body, text)| (*model, body.clone(), text.as_str())).collect();
    check(&cases).await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of bodies and texts")]
async fn claude_rules_hold_on_converse_too() {
    let from = |text: &str| format!("The model returned the following errors: {text}");
    let extra = |fields: &str| body(HI, &format!(r#""additionalModelRequestFields":{fields}"#));
    let prefill = body(&format!(r#"{HI},{{"role":"assistant","content":[{{"text":"So"}}]}}"#), "");
    let cases = [
        (OPUS5, body(HI, r#""inferenceConfig":{"temperature":1}"#), from("`temperature` is deprecated for this model.")),
        (
            SONNET,
            body(HI, r#""inferenceConfig":{"temperature":1,"topP":0.9}"#),
            from("`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        ),
        (
            OPUS5,
            extra(r#"{"thinking":{"type":"enabled","budget_tokens":2048}}"#),
            from("thinking.type: Input should be 'adaptive' or 'disabled'"),
        ),
        (
            SONNET,
            extra(r#"{"thinking":{"type":"adaptive"}}"#),
            from("adaptive thinking is not supported on this model"),
        ),
        (OPUS55, extra(r#"{"thinking":{"type":"disabled"}}"#), from("thinking.type: Input should be 'adaptive'")),
        (
            SONNET,
            extra(r#"{"thinking":{"type":"enabled","budget_tokens":10}}"#),
            from("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
        ),
        (SONNET, extra(r#"{"surprise":1}"#), from("surprise: Extra inputs are not permitted")),
        (SONNET, extra(r#"{"metadata":{"user_id":"u"}}"#), from("metadata: Extra inputs are not permitted")),
        (SONNET, extra(r#"{"anthropic_beta":["made-up-2026-01-01"]}"#), from("invalid beta flag")),
        (SONNET, extra(r#"{"anthropic_beta":["tool-search-tool-2025-10-19"]}"#), from("invalid beta flag")),
        (
            SONNET,
            extra(r#"{"max_tokens":5}"#),
            "The additional field max_tokens conflicts with an existing field. Remove the additional field and try again."
                .to_owned(),
        ),
        (
            OPUS46,
            prefill.clone(),
            from("This model does not support assistant message prefill. The conversation must end with a user message."),
        ),
        (
            SONNET,
            prefill.replace("So", "So "),
            from("messages: final assistant content cannot end with trailing whitespace"),
        ),
        (
            SONNET,
            body(HI, r#""inferenceConfig":{"stopSequences":["\n"]}"#),
            from("stop_sequences: each stop sequence must contain non-whitespace"),
        ),
        (
            SONNET,
            body(
                &format!(
                    r#"{HI},{{"role":"assistant","content":[{{"reasoningContent":{{"reasoningText":{{"text":"x"}}}}}},{{"text":"y"}}]}},{HI}"#
                ),
                "",
            ),
            from("messages.1.content.0.thinking.signature: Field required"),
        ),
        (
            SONNET,
            body(
                &format!(
                    r#"{HI},{{"role":"assistant","content":[{{"reasoningContent":{{"reasoningText":{{"text":"x","signature":"eA=="}}}}}},{{"text":"y"}}]}},{HI}"#
                ),
                "",
            ),
            from("messages.1.content.0: Invalid `signature` in `thinking` block"),
        ),
        (
            OPUS5,
            body(
                HI,
                r#""outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}"}}}}"#,
            ),
            from("output_config.format: Extra inputs are not permitted"),
        ),
        (OPUS46, body(HI, r#""outputConfig":{"effort":"xhigh"}"#), from("output_config.effort: Input should be 'low', 'medium', 'high' or 'max'")),
        (SONNET, body(HI, r#""outputConfig":{"effort":"low"}"#), from("output_config.effort: Extra inputs are not permitted")),
        (
            OPUS5,
            body(HI, &TOOL.replace(r#""name":"a","#, r#""name":"a","strict":true,"#)),
            from("tools.0.custom.strict: Extra inputs are not permitted"),
        ),
    ];
    let cases: Vec<(&str, String, &str)> =
        cases.iter().map(|(model, body, text)| (*model, body.clone(), text.as_str())).collect();
    check(&cases).await;
}

#[tokio::test]
async fn ids_and_paths_are_refused_in_the_services_words() {
    let sim = sim().await;
    let hi = body(HI, "");
    let reply = post(&sim, &path("no.such-model", "converse"), &hi).await;
    assert_eq!(
        (reply.status, reply.message()),
        (400, "The provided model identifier is invalid.".to_owned())
    );
    let reply = post(&sim, &path("anthropic.claude-opus-5", "converse"), &hi).await;
    assert_eq!(
        (reply.status, reply.message()),
        (
            400,
            "Invocation of model ID anthropic.claude-opus-5 with on-demand throughput isn\u{2019}t supported. Retry your \
             request with the ID or ARN of an inference profile that contains this model."
                .to_owned()
        )
    );
    for reply in
        [post(&sim, "/model/x/dance", "{}").await, get(&sim, "/nowhere").await, post(&sim, "/", "{}").await]
    {
        assert_eq!((reply.status, reply.kind()), (404, "UnknownOperationException"));
    }
    let reply = post(&sim, &path(QWEN, "converse"), r#"{"messages":[],"messages":[]}"#).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.message().starts_with("Malformed input request: duplicate key [messages]"),
        "{}",
        reply.message()
    );
    let deep = "[".repeat(10_000);
    assert_eq!(post(&sim, &path(QWEN, "converse"), &deep).await.status, 400);
}

#[tokio::test]
async fn a_prompt_beyond_the_window_is_refused_in_the_familys_words() {
    let sim = sim().await;
    let long = |tokens: usize| body(&HI.replace("hi", &"x".repeat(tokens * 4)), "");
    let text =
        async |model: &str, tokens| post(&sim, &path(model, "converse"), &long(tokens)).await.message();
    assert_eq!(
        text(SONNET, 200_001).await,
        "The model returned the following errors: prompt is too long: 200001 tokens > 200000 maximum"
    );
    assert_eq!(
        text(NOVA, 300_001).await,
        "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length. \
         Please update the input to try again."
    );
    assert_eq!(text(QWEN, 262_145).await, "Input is too long for requested model.");
}

#[tokio::test]
async fn grok_denies_cache_points() {
    let sim = sim().await;
    let body = body(r#"{"role":"user","content":[{"text":"hi"},{"cachePoint":{"type":"default"}}]}"#, "");
    let reply = post(&sim, &path("us.xai.grok-4.7", "converse"), &body).await;
    assert_eq!((reply.status, reply.kind()), (403, "AccessDeniedException"));
    assert_eq!(
        reply.message(),
        "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more \
         information."
    );
}
