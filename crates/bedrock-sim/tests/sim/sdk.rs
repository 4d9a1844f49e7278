//! The real AWS SDK against the simulator, and the validator over what it streams.
use std::process::Command;

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{BehaviorVersion, Credentials, Region, Token};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId as _;
use aws_sdk_bedrockruntime::operation::converse::ConverseError;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, ConverseTokensRequest,
    CountTokensInput, Message, ResponseStream, SpecificToolChoice, StopReason, Tool, ToolChoice,
    ToolConfiguration, ToolInputSchema, ToolSpecification,
};
use aws_smithy_types::Document;
use outcrop_bedrock_sim::{Config, Fault, Sim};

use crate::common::{QWEN, SONNET, claude, path, post, sim, sim_with};

fn config(sim: &Sim) -> aws_sdk_bedrockruntime::config::Builder {
    aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(sim.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
}

fn client(sim: &Sim) -> Client {
    let keys =
        Credentials::new("AKIASIMULATOR0000000", "simulated/secret/access/key/000000000000", None, None, "t");
    Client::from_conf(config(sim).credentials_provider(keys).build())
}

fn user(text: &str) -> Message {
    let content = ContentBlock::Text(text.to_owned());
    Message::builder().role(ConversationRole::User).content(content).build().expect("complete")
}

fn tools() -> ToolConfiguration {
    let schema = Document::Object([("type".to_owned(), Document::String("object".to_owned()))].into());
    let spec = ToolSpecification::builder().name("Bash").input_schema(ToolInputSchema::Json(schema));
    let choice = SpecificToolChoice::builder().name("Bash").build().expect("complete");
    ToolConfiguration::builder()
        .tools(Tool::ToolSpec(spec.build().expect("complete")))
        .tool_choice(ToolChoice::Tool(choice))
        .build()
        .expect("complete")
}

#[tokio::test]
async fn the_sdk_converses() {
    let sim = sim().await;
    let answer =
        client(&sim).converse().model_id(SONNET).messages(user("Reply with exactly: pong")).send().await;
    let answer = answer.expect("an answer");
    let message = answer.output().and_then(|output| output.as_message().ok()).expect("a message");
    assert_eq!(message.content(), [ContentBlock::Text("pong".to_owned())]);
    assert_eq!(answer.stop_reason(), &StopReason::EndTurn);
    assert_eq!(answer.usage().expect("usage").input_tokens(), 6);
    assert!(answer.request_id().is_some());
}

#[tokio::test]
async fn the_sdk_streams_a_conversation() {
    let sim = sim().await;
    let call =
        client(&sim).converse_stream().model_id(QWEN).messages(user("run echo hi")).tool_config(tools());
    let mut stream = call.send().await.expect("a stream").stream;
    let (mut input, mut usage, mut stop) = (String::new(), None, None);
    while let Some(event) = stream.recv().await.expect("good frames") {
        match event {
            ConverseStreamOutput::ContentBlockDelta(delta) => {
                if let Some(ContentBlockDelta::ToolUse(call)) = delta.delta {
                    input.push_str(call.input());
                }
            }
            ConverseStreamOutput::MessageStop(event) => stop = Some(event.stop_reason),
            ConverseStreamOutput::Metadata(event) => usage = event.usage,
            _ => {}
        }
    }
    assert_eq!(stop, Some(StopReason::ToolUse));
    assert_eq!(input, r#"{"command":"echo hi","description":"Run what was asked for"}"#);
    assert!(usage.is_some_and(|usage| usage.output_tokens() > 0));
}

#[tokio::test]
async fn the_sdk_invokes_streams_and_counts() {
    let sim = sim().await;
    let client = client(&sim);
    let body = Blob::new(claude(r#"[{"role":"user","content":"Say pong"}]"#, ""));
    let json = "application/json";
    let whole = client.invoke_model().model_id(SONNET).content_type(json).body(body.clone()).send().await;
    let message: serde_json::Value =
        serde_json::from_slice(whole.expect("an answer").body().as_ref()).expect("JSON");
    assert_eq!(message["content"][0]["text"], "pong");
    let stream = client.invoke_model_with_response_stream().model_id(SONNET).content_type(json).body(body);
    let mut stream = stream.send().await.expect("a stream").body;
    let mut kinds = Vec::new();
    while let Some(event) = stream.recv().await.expect("good frames") {
        let ResponseStream::Chunk(chunk) = event else { panic!("unknown {event:?}") };
        let event: serde_json::Value =
            serde_json::from_slice(chunk.bytes().expect("bytes").as_ref()).expect("JSON");
        kinds.push(event["type"].as_str().expect("a type").to_owned());
    }
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let request = ConverseTokensRequest::builder().messages(user("hello")).build();
    let base = SONNET.trim_start_matches("us.");
    let count = client.count_tokens().model_id(base).input(CountTokensInput::Converse(request)).send().await;
    assert_eq!(count.expect("a count").input_tokens(), 2);
}

#[tokio::test]
async fn the_sdk_sees_the_services_exceptions() {
    let sim = sim().await;
    let client = client(&sim);
    let error = client.converse().model_id(QWEN).messages(user(" ")).send().await.expect_err("blank");
    assert_eq!(error.code(), Some("ValidationException"));
    assert!(error.as_service_error().is_some_and(ConverseError::is_validation_exception));
    sim.script("", vec![Fault::throttle()]);
    let retried = client.converse().model_id(QWEN).messages(user("hi")).send().await;
    assert!(retried.is_ok(), "the SDK retries a throttled call by itself");
    sim.script("", vec![Fault::mid_stream("throttlingException", 2)]);
    let stream = client.converse_stream().model_id(QWEN).messages(user("hi")).send().await;
    let mut stream = stream.expect("a stream").stream;
    let error = loop {
        match stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no exception"),
            Err(error) => break error,
        }
    };
    let SdkError::ServiceError(error) = error else { panic!("{error:?}") };
    assert!(error.err().is_throttling_exception());
}

#[tokio::test]
async fn the_sdk_uses_api_keys_and_is_refused_with_a_wrong_secret() {
    let sim = sim().await;
    let keyed = Client::from_conf(config(&sim).bearer_token(Token::new(crate::common::TOKEN, None)).build());
    assert!(keyed.converse().model_id(QWEN).messages(user("hi")).send().await.is_ok());
    let keys = Credentials::new("AKIASIMULATOR0000000", "wrong", None, None, "test");
    let wrong = Client::from_conf(config(&sim).credentials_provider(keys).build());
    let error = wrong.converse().model_id(QWEN).messages(user("hi")).send().await.expect_err("refused");
    assert_eq!(error.code(), Some("InvalidSignatureException"));
}

/// Runs `OUTCROP_VALIDATOR`, a script that checks traffic against the service's own model.
fn validate(operation: &str, name: &str, content: &[u8], more: &[&str]) {
    let Ok(script) = std::env::var("OUTCROP_VALIDATOR") else {
        eprintln!(
            "SKIPPED: OUTCROP_VALIDATOR names no script, so {name} was not judged by the service's model"
        );
        return;
    };
    let file = std::env::temp_dir().join(format!("bedrock-sim-{}-{name}", std::process::id()));
    std::fs::write(&file, content).expect("written");
    let output =
        Command::new("python3").arg(script).arg(operation).arg(&file).args(more).output().expect("runs");
    drop(std::fs::remove_file(&file));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn streams_answers_and_captures_satisfy_the_services_model() {
    let sim = sim_with(Config { record: true, ..Config::default() }).await;
    let body = |text: &str, more: &str| {
        format!(r#"{{"messages":[{{"role":"user","content":[{{"text":"{text}"}}]}}]{more}}}"#)
    };
    let tools =
        r#","toolConfig":{"tools":[{"toolSpec":{"name":"Bash","inputSchema":{"json":{"type":"object"}}}}]}"#;
    let thinking = r#","inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2048}}"#;
    let cases = [
        ("text", body("hello", "")),
        ("tool", body("run echo hi", tools)),
        ("thinking", body("hello sim:redacted", thinking)),
    ];
    for (name, body) in &cases {
        let reply = post(&sim, &path(SONNET, "converse-stream"), body).await;
        validate("ConverseStream", &format!("{name}.bin"), &reply.body, &["--eventstream"]);
        let reply = post(&sim, &path(SONNET, "converse"), body).await;
        validate("Converse", &format!("{name}.json"), &reply.body, &["--direction", "output"]);
    }
    let invoke = claude(r#"[{"role":"user","content":"hello"}]"#, "");
    let reply = post(&sim, &path(SONNET, "invoke-with-response-stream"), &invoke).await;
    validate("InvokeModelWithResponseStream", "invoke.bin", &reply.body, &["--eventstream"]);
    client(&sim).converse().model_id(SONNET).messages(user("hello")).send().await.expect("an answer");
    let captures: Vec<String> = sim.requests().iter().map(outcrop_bedrock_sim::Captured::to_json).collect();
    let secret = "AKIASIMULATOR0000000:simulated/secret/access/key/000000000000";
    validate("auto", "captures.ndjson", captures.join("\n").as_bytes(), &["--sigv4", secret]);
}
