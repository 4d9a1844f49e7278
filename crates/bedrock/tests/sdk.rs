//! Our requests beside those of the AWS SDK, judged by AWS's own signer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::{ContentBlock, ConversationRole, Message};
use aws_sdk_bedrockruntime::{Client as Sdk, config};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bedrock::{Call, Client, CredentialsSource, Operation, Settings};
use http::{HeaderName, HeaderValue};
use outcrop_bedrock as bedrock;
use support::{Do, LAST_CHUNK, Seen, Upstream, chunk, event, ok, stream_head};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEA//+==";
const ARN: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
const IDS: [&str; 3] = ["amazon.nova-lite-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ARN];
const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"héllo"}]}]}"#;

fn sdk(upstream: &Upstream) -> Sdk {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let config = config::Builder::new()
        .behavior_version(config::BehaviorVersion::v2026_01_12())
        .region(config::Region::new("eu-west-1"))
        .endpoint_url(format!("http://{}", upstream.address))
        .credentials_provider(Credentials::new(KEY, SECRET, Some(TOKEN.into()), None, "test"))
        .http_client(http)
        .build();
    Sdk::from_conf(config)
}

async fn ours(upstream: &Upstream) -> Client {
    let credentials = CredentialsSource::Static {
        access_key_id: KEY.into(),
        secret_access_key: SECRET.into(),
        session_token: Some(TOKEN.into()),
    };
    Client::connect(Settings { credentials, ..upstream.settings() }).await.unwrap()
}

/// What AWS's signer makes of the request as it arrived, over the headers that the sender chose to sign.
fn signature_by_aws(seen: &Seen) -> String {
    let given = seen.header("authorization").unwrap();
    let names = given.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    // These two the signer adds by itself.
    let own = ["x-amz-date", "x-amz-security-token"];
    let headers: Vec<(&str, &str)> = names
        .split(';')
        .filter(|name| !own.contains(name))
        .map(|name| (name, seen.header(name).unwrap()))
        .collect();
    let identity = Credentials::new(KEY, SECRET, Some(TOKEN.into()), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("bedrock")
        .time(moment(seen.header("x-amz-date").unwrap()))
        .settings(settings)
        .build()
        .unwrap();
    let url = format!("http://{}{}", seen.header("host").unwrap(), seen.path);
    let request =
        SignableRequest::new(&seen.method, url, headers.into_iter(), SignableBody::Bytes(&seen.body))
            .unwrap();
    let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    headers.iter().find(|header| header.name() == "authorization").unwrap().value().to_owned()
}

/// `20261121T080000Z` as a moment, read by AWS's parser and not by ours.
fn moment(stamp: &str) -> SystemTime {
    let part = |at: std::ops::Range<usize>| &stamp[at];
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(9..11),
        part(11..13),
        part(13..15)
    );
    let format = aws_smithy_types::date_time::Format::DateTime;
    let moment = SystemTime::try_from(aws_smithy_types::DateTime::from_str(&text, format).unwrap()).unwrap();
    assert!(moment.elapsed().unwrap_or_default() < Duration::from_mins(5), "the request is dated now");
    moment
}

/// The first request is the SDK's, the second ours.
fn assert_equivalent(upstream: &Upstream) {
    let seen = upstream.seen();
    let [theirs, ours] = &seen[..] else { panic!("two requests were expected") };
    assert_eq!((&theirs.method, &theirs.path), (&ours.method, &ours.path));
    assert_eq!(theirs.body, ours.body);
    for name in ["host", "content-type", "content-length", "x-amz-security-token"] {
        assert_eq!(theirs.header(name), ours.header(name), "{name}");
    }
    for seen in &seen {
        assert_eq!(seen.header("authorization").unwrap(), signature_by_aws(seen));
    }
    let signed = ours.header("authorization").unwrap();
    for name in ["host", "content-type", "x-amz-date", "x-amz-security-token"] {
        assert!(signed.contains(name), "{name} is signed: {signed}");
    }
}

fn once(wire: Vec<u8>) -> Upstream {
    let script = vec![Do::Read, Do::Send(wire)];
    Upstream::start([script.clone(), script])
}

#[tokio::test]
async fn converse_is_sent_as_the_sdk_sends_it() {
    for id in IDS {
        let upstream = once(ok(
            r#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}"#,
        ));
        let message = Message::builder()
            .role(ConversationRole::User)
            .content(ContentBlock::Text("héllo".into()))
            .build()
            .unwrap();
        sdk(&upstream).converse().model_id(id).messages(message).send().await.unwrap();
        let call = Call { operation: Operation::Converse, model_id: id, body: BODY.into(), headers: &[] };
        ours(&upstream).await.send(&call).await.unwrap();
        assert_equivalent(&upstream);
    }
}

#[tokio::test]
async fn a_converse_stream_is_asked_for_and_read_as_by_the_sdk() {
    let events = [
        event("messageStart", r#"{"role":"assistant","p":"abc"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
    ];
    let upstream = once([stream_head(), chunk(&events.concat()), LAST_CHUNK.to_vec()].concat());
    let message = Message::builder()
        .role(ConversationRole::User)
        .content(ContentBlock::Text("héllo".into()))
        .build()
        .unwrap();
    let mut theirs =
        sdk(&upstream).converse_stream().model_id(IDS[0]).messages(message).send().await.unwrap().stream;
    let mut count = 0;
    while theirs.recv().await.unwrap().is_some() {
        count += 1;
    }
    let call =
        Call { operation: Operation::ConverseStream, model_id: IDS[0], body: BODY.into(), headers: &[] };
    let mut stream = ours(&upstream).await.stream(&call).await.unwrap();
    while let Some(frame) = stream.next().await {
        frame.unwrap();
        count -= 1;
    }
    assert_eq!(count, 0, "both read the same number of events");
    assert_equivalent(&upstream);
}

#[tokio::test]
async fn invoke_model_with_its_headers_is_sent_as_the_sdk_sends_it() {
    for id in IDS {
        let upstream = once(ok("{}"));
        sdk(&upstream)
            .invoke_model()
            .model_id(id)
            .content_type("application/json")
            .guardrail_identifier("g-1")
            .guardrail_version("DRAFT")
            .body(Blob::new(BODY))
            .send()
            .await
            .unwrap();
        let headers = [
            (HeaderName::from_static("x-amzn-bedrock-guardrailversion"), HeaderValue::from_static("DRAFT")),
            (HeaderName::from_static("x-amzn-bedrock-guardrailidentifier"), HeaderValue::from_static("g-1")),
        ];
        let call =
            Call { operation: Operation::InvokeModel, model_id: id, body: BODY.into(), headers: &headers };
        ours(&upstream).await.send(&call).await.unwrap();
        assert_equivalent(&upstream);
        let seen = upstream.seen();
        for (name, _) in &headers {
            assert_eq!(seen[0].header(name.as_str()), seen[1].header(name.as_str()));
        }
    }
}

#[tokio::test]
async fn the_other_operations_have_the_sdks_paths() {
    let script = vec![Do::Read, Do::Send(ok(r#"{"inputTokens":1}"#))];
    let upstream = Upstream::start([script.clone(), script]);
    let input = aws_sdk_bedrockruntime::types::CountTokensInput::InvokeModel(
        aws_sdk_bedrockruntime::types::InvokeModelTokensRequest::builder()
            .body(Blob::new("{}"))
            .build()
            .unwrap(),
    );
    sdk(&upstream).count_tokens().model_id(ARN).input(input).send().await.unwrap();
    let body = r#"{"input":{"invokeModel":{"body":"e30="}}}"#;
    let call = Call { operation: Operation::CountTokens, model_id: ARN, body: body.into(), headers: &[] };
    ours(&upstream).await.send(&call).await.unwrap();
    assert_equivalent(&upstream);

    let script =
        vec![Do::Read, Do::Send([stream_head(), chunk(&event("chunk", "{}")), LAST_CHUNK.to_vec()].concat())];
    let upstream = Upstream::start([script.clone(), script]);
    let theirs =
        sdk(&upstream).invoke_model_with_response_stream().model_id(ARN).content_type("application/json");
    theirs.body(Blob::new(BODY)).send().await.unwrap();
    let operation = Operation::InvokeModelWithResponseStream;
    let call = Call { operation, model_id: ARN, body: BODY.into(), headers: &[] };
    ours(&upstream).await.stream(&call).await.unwrap();
    assert_equivalent(&upstream);
}
