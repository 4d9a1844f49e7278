//! Bedrock's own operations with the gateway's keys, over real TCP: bytes travel, frames come back as they were sent.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bedrock_sim::Fault;
use outcrop_tests::{Caller, Gateway, MASTER, Options, QWEN, Reply, hello};
use serde_json::{Value, json};
use store::RowStatus;
use tokio::io::AsyncReadExt as _;

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// A caller as an SDK is with `AWS_BEARER_TOKEN_BEDROCK`.
fn bearer(gateway: &Gateway) -> Caller {
    gateway.caller().anonymous().header("authorization", &format!("Bearer {MASTER}"))
}

/// A Messages body as Claude Code sends it to Bedrock, with odd spacing that must survive.
fn invoke_body(text: &str) -> String {
    let text = Value::from(text);
    format!(
        r#"{{ "anthropic_version" : "bedrock-2023-05-31","max_tokens":300, "temperature": 1.0 ,"messages":[{{"role":"user","content":{text}}}]}}"#
    )
}

fn converse_body(text: &str) -> String {
    json!({ "messages": [{ "role": "user", "content": [{ "text": text }] }], "inferenceConfig": { "maxTokens": 300 } })
        .to_string()
}

/// One frame: its headers of text, and its payload.
struct Frame {
    headers: Vec<(String, String)>,
    payload: Value,
}

impl Frame {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// The event in a chunk.
    fn event(&self) -> Value {
        assert_eq!(self.header(":event-type"), "chunk");
        serde_json::from_slice(&STANDARD.decode(self.payload["bytes"].as_str().unwrap()).unwrap()).unwrap()
    }
}

/// Reads frames as the format says, both checksums included.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (total, block) = (word(0) as usize, word(4) as usize);
        assert_eq!(word(8), crc32fast::hash(&bytes[..8]));
        assert_eq!(word(total - 4), crc32fast::hash(&bytes[..total - 4]));
        let (mut rest, payload) = bytes[12..total - 4].split_at(block);
        let mut headers = Vec::new();
        while let Some((&length, tail)) = rest.split_first() {
            let (name, tail) = tail.split_at(usize::from(length));
            assert_eq!(tail[0], 7, "a string");
            let length = usize::from(u16::from_be_bytes([tail[1], tail[2]]));
            let (value, tail) = tail[3..].split_at(length);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            headers.push((text(name), text(value)));
            rest = tail;
        }
        all.push(Frame { headers, payload: serde_json::from_slice(payload).unwrap() });
        bytes = &bytes[total..];
    }
    all
}

fn streamed(reply: &Reply) -> Vec<Frame> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    assert!(reply.complete && reply.header("x-amzn-requestid").is_some());
    frames(&reply.body)
}

/// Name and message of a refusal in Bedrock's form.
fn refused(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    assert!(body.get("error").is_none() && reply.header("x-amzn-requestid").is_some(), "{body}");
    let name = reply.header("x-amzn-errortype").unwrap().to_owned();
    (reply.status, name, body["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_body_travels_byte_for_byte_to_the_same_operation() {
    let gateway = Gateway::start().await;
    let (claude, qwen) = (invoke_body("Hi"), converse_body("Hi"));
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-sonnet-4-6";
    for (label, operation, body) in [
        (CLAUDE, "invoke", &claude),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1%3A0", "invoke-with-response-stream", &claude),
        (arn, "converse", &qwen),
        (QWEN, "converse", &qwen),
        (QWEN, "converse-stream", &qwen),
    ] {
        let reply = bearer(&gateway).post(&format!("/model/{label}/{operation}"), body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{label} {operation}: {}", reply.text());
        let sent = gateway.sim.requests().pop().unwrap();
        assert_eq!(sent.body, body.as_bytes());
        assert_eq!(sent.path, format!("/model/{}/{operation}", label.replace(':', "%3A")));
        assert_ne!(sent.header("authorization").unwrap(), format!("Bearer {MASTER}"));
    }
}

#[tokio::test]
async fn the_version_of_the_messages_api_becomes_bedrocks() {
    let gateway = Gateway::start().await;
    let asked = invoke_body("Hi").replace("bedrock-2023-05-31", "2026-10-21");
    let reply = bearer(&gateway).post(&format!("/model/{CLAUDE}/invoke"), asked.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(gateway.sim.requests().pop().unwrap().body, invoke_body("Hi").as_bytes());
}

#[tokio::test]
async fn whole_answers_come_back_with_the_upstreams_own_headers() {
    let gateway = Gateway::start().await;
    let path = format!("/model/{CLAUDE}/invoke");
    // The Rust and JavaScript SDKs name no JSON here.
    let caller = bearer(&gateway).header("content-type", "application/octet-stream");
    let reply = caller.post(&path, invoke_body("Reply with exactly: pong").as_bytes()).await;
    let message = reply.json();
    assert_eq!(message["content"][0]["text"], "pong");
    assert_eq!(message["model"], "claude-sonnet-4-5-20250929", "the upstream's name, as it came");
    let count = message["usage"]["input_tokens"].to_string();
    assert_eq!(reply.header("x-amzn-bedrock-input-token-count"), Some(count.as_str()));
    let row = gateway.rows(1).await.remove(0);
    assert_eq!(row.upstream_request_id.as_deref(), reply.header("x-amzn-requestid"));
}

#[tokio::test]
async fn frames_come_back_as_the_upstream_sent_them() {
    let gateway = Gateway::start().await;
    let path = format!("/model/{CLAUDE}/invoke-with-response-stream");
    let all = streamed(&bearer(&gateway).post(&path, invoke_body("sim:words=20").as_bytes()).await);
    let events: Vec<Value> = all.iter().map(Frame::event).collect();
    assert_eq!(events[0]["type"], "message_start");
    let last = events.last().unwrap();
    assert_eq!(last["type"], "message_stop");
    assert!(last["amazon-bedrock-invocationMetrics"].is_object(), "nothing is taken out: {last}");
    assert!(all.iter().all(|frame| frame.payload["p"].is_string()), "nor is the padding");

    let path = format!("/model/{QWEN}/converse-stream");
    let all = streamed(&bearer(&gateway).post(&path, converse_body("Hi").as_bytes()).await);
    let names: Vec<&str> = all.iter().map(|frame| frame.header(":event-type")).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("messageStart", "metadata"));
}

#[tokio::test]
async fn usage_is_read_in_passing_and_booked_as_bedrocks_surface() {
    let gateway = Gateway::start().await;
    let caller = bearer(&gateway);
    for (model, operation, body) in [
        (CLAUDE, "invoke", invoke_body("Hi")),
        (CLAUDE, "invoke-with-response-stream", invoke_body("Hi")),
        (QWEN, "converse", converse_body("Hi")),
        (QWEN, "converse-stream", converse_body("Hi")),
        (QWEN, "invoke-with-response-stream", invoke_body("Hi")),
        (QWEN, "invoke", invoke_body("Hi")),
        ("amazon.titan-embed-text-v2:0", "invoke", json!({ "inputText": "Hi there" }).to_string()),
    ] {
        let reply = caller.post(&format!("/model/{model}/{operation}"), body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{model} {operation}: {}", reply.text());
    }
    let rows = gateway.rows(7).await;
    let served = gateway.sim.served();
    assert_eq!(rows.iter().map(|row| row.input_tokens).sum::<u64>(), served.input_tokens);
    assert_eq!(rows.iter().map(|row| row.output_tokens).sum::<u64>(), served.output_tokens);
    for row in &rows {
        assert_eq!(
            (row.surface.as_str(), row.estimated, row.http_status),
            ("bedrock", false, 200),
            "{row:?}"
        );
    }
    assert_eq!(rows.iter().filter(|row| row.stream).count(), 3);
}

#[tokio::test]
async fn only_flags_that_the_model_refuses_leave_a_body() {
    let gateway = Gateway::start().await;
    let path = format!("/model/{CLAUDE}/invoke");
    let body = |flags: &str| invoke_body("Hi").replacen('{', &format!("{{\"anthropic_beta\": {flags} , "), 1);
    let odd = r#"["claude-code-20250219", "interleaved-thinking-2025-05-14","made-up-1"]"#;
    let reply =
        bearer(&gateway).header("anthropic-beta", "oauth-2025-04-20").post(&path, body(odd).as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = gateway.sim.requests().pop().unwrap();
    assert_eq!(sent.body, body(r#"["interleaved-thinking-2025-05-14"]"#).as_bytes());
    assert_eq!(sent.header("anthropic-beta"), None);
}

#[tokio::test]
async fn a_refused_flag_is_left_out_once_and_remembered() {
    let gateway = Gateway::start().await;
    gateway.sim.script("", vec![Fault::error(400, "ValidationException", "invalid beta flag")]);
    let body =
        invoke_body("Hi").replacen('{', r#"{"anthropic_beta":["interleaved-thinking-2025-05-14"],"#, 1);
    for _ in 0..2 {
        let reply = bearer(&gateway).post(&format!("/model/{CLAUDE}/invoke"), body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let sent = gateway.sim.requests();
    assert_eq!(sent.len(), 3);
    assert!(sent[1..].iter().all(|sent| !String::from_utf8_lossy(&sent.body).contains("anthropic_beta")));
}

#[tokio::test]
async fn a_messages_body_for_an_open_model_is_converted_and_answered_in_chunks() {
    let gateway = Gateway::start().await;
    let path = format!("/model/{QWEN}/invoke-with-response-stream");
    let all =
        streamed(&bearer(&gateway).post(&path, invoke_body("Reply with exactly: pong").as_bytes()).await);
    let events: Vec<Value> = all.iter().map(Frame::event).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("message_start", "message_stop"));
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, "pong");
    assert!(gateway.sim.requests()[0].path.ends_with("/converse-stream"));

    let body = invoke_body("Reply with exactly: pong");
    let whole = bearer(&gateway).post(&format!("/model/{QWEN}/invoke"), body.as_bytes()).await;
    let message = whole.json();
    assert_eq!((&message["type"], &message["content"][0]["text"]), (&json!("message"), &json!("pong")));
}

#[tokio::test]
async fn refusals_keep_the_upstreams_status_name_and_wording_without_its_arns() {
    let gateway = Gateway::start().await;
    for stream in [false, true] {
        let operation = if stream { "converse-stream" } else { "converse" };
        for (status, name) in [
            (400, "ValidationException"),
            (400, "ServiceQuotaExceededException"),
            (403, "AccessDeniedException"),
            (404, "ResourceNotFoundException"),
        ] {
            let text = "User: arn:aws:iam::123456789012:role/x may not";
            gateway.sim.script("", vec![Fault::error(status, name, text)]);
            let reply = bearer(&gateway)
                .post(&format!("/model/{QWEN}/{operation}"), converse_body("Hi").as_bytes())
                .await;
            let expected = (status, name.to_owned(), "User: [arn] may not".to_owned());
            assert_eq!(refused(&reply), expected, "{operation}");
        }
    }
    let rows = gateway.rows(8).await;
    assert!(rows.iter().all(|row| row.status == RowStatus::UpstreamError && row.input_tokens == 0));
}

#[tokio::test]
async fn the_gateways_own_credentials_are_no_concern_of_the_callers() {
    let gateway = Gateway::start().await;
    let error = Fault::error(403, "UnrecognizedClientException", "The security token is invalid.");
    gateway.sim.script("", vec![error.clone(), error]);
    let reply =
        bearer(&gateway).post(&format!("/model/{QWEN}/converse"), converse_body("Hi").as_bytes()).await;
    let (status, name, _) = refused(&reply);
    assert_eq!((status, name.as_str()), (500, "InternalServerException"));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_upstreams_exception_frame() {
    let gateway = Gateway::start().await;
    for (model, operation, body) in [
        (CLAUDE, "invoke-with-response-stream", invoke_body("sim:midstream=throttlingException@3")),
        (QWEN, "converse-stream", converse_body("sim:midstream=throttlingException@3")),
        (QWEN, "invoke-with-response-stream", invoke_body("sim:midstream=throttlingException@3")),
    ] {
        let reply = bearer(&gateway).post(&format!("/model/{model}/{operation}"), body.as_bytes()).await;
        let all = streamed(&reply);
        let last = all.last().unwrap();
        assert!(all.len() > 1);
        assert_eq!(last.header(":message-type"), "exception");
        assert_eq!(last.header(":exception-type"), "throttlingException");
        assert_eq!(last.payload["message"], "Too many tokens, please wait before trying again.");
    }
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_exception_frame_of_ours() {
    let gateway = Gateway::start().await;
    for (model, operation, body) in [
        (CLAUDE, "invoke-with-response-stream", invoke_body as fn(&str) -> String),
        (QWEN, "converse-stream", converse_body),
        (QWEN, "invoke-with-response-stream", invoke_body),
    ] {
        for fault in ["sim:reset@3", "sim:truncate@3", "sim:crc@3"] {
            let reply =
                bearer(&gateway).post(&format!("/model/{model}/{operation}"), body(fault).as_bytes()).await;
            let all = streamed(&reply);
            let last = all.last().unwrap();
            assert_eq!(
                last.header(":exception-type"),
                "internalServerException",
                "{model} {operation} {fault}"
            );
            assert!(last.payload["message"].is_string());
        }
    }
    let rows = gateway.rows(9).await;
    let said = |row: &store::UsageRow| (row.status, row.http_status);
    assert!(rows.iter().all(|row| said(row) == (RowStatus::UpstreamError, 200)), "{rows:?}");
}

#[tokio::test]
async fn a_caller_that_leaves_stops_the_upstream_and_is_booked() {
    let gateway = Gateway::with(Options { delay: Duration::from_millis(30), ..Options::default() }).await;
    let path = format!("/model/{CLAUDE}/invoke-with-response-stream");
    let body = invoke_body("sim:words=500").replace("300", "3000");
    let mut reply = bearer(&gateway).send("POST", &path, body.as_bytes()).await;
    let mut seen = 0;
    let mut buffer = [0; 4096];
    while seen < 3000 {
        seen += reply.read(&mut buffer).await.unwrap();
    }
    drop(reply);
    let row = gateway.rows(1).await.remove(0);
    assert_eq!(
        (row.status, row.http_status, row.surface.as_str()),
        (RowStatus::ClientClosed, 499, "bedrock")
    );
    assert!(row.input_tokens > 0 && row.output_tokens > 0 && row.output_tokens < 400, "{row:?}");
}

#[tokio::test]
async fn a_signature_is_no_key_and_either_key_header_is_one() {
    let gateway = Gateway::start().await;
    let path = format!("/model/{QWEN}/converse");
    let body = converse_body("Hi");
    let signed = gateway.caller().anonymous().header(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0",
    );
    for (caller, expected) in
        [(signed, 403), (gateway.caller().anonymous(), 401), (Caller::new(gateway.addr, "wrong"), 401)]
    {
        for reply in [caller.post(&path, body.as_bytes()).await, caller.get("/inference-profiles").await] {
            let (status, name, _) = refused(&reply);
            assert_eq!((status, name.as_str()), (expected, "UnrecognizedClientException"));
        }
    }
    assert!(gateway.sim.requests().is_empty());
    for caller in [gateway.caller(), bearer(&gateway)] {
        assert_eq!(caller.post(&path, body.as_bytes()).await.status, 200);
    }
    let (status, name, _) = refused(&bearer(&gateway).post("/model/x/invoke-async", b"{}").await);
    assert_eq!((status, name.as_str()), (404, "UnknownOperationException"));
}

#[tokio::test]
async fn tokens_are_counted_under_the_base_id_and_nothing_is_booked() {
    let gateway = Gateway::start().await;
    let inner = STANDARD.encode(invoke_body("Hi"));
    let body = json!({ "input": { "invokeModel": { "body": inner } } }).to_string();
    let reply = bearer(&gateway).post(&format!("/model/{CLAUDE}/count-tokens"), body.as_bytes()).await;
    assert!(reply.json()["inputTokens"].as_u64().unwrap() > 0, "{}", reply.text());
    let sent = gateway.sim.requests().pop().unwrap();
    assert_eq!(sent.path, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens");
    assert_eq!(sent.body, body.as_bytes());
    let uncounted = bearer(&gateway).post(&format!("/model/{QWEN}/count-tokens"), body.as_bytes()).await;
    assert_eq!(refused(&uncounted).0, 400, "no estimate stands in for an operation of Bedrock's");
    gateway.caller().messages(&hello(QWEN, "Hi", false)).await;
    assert_eq!(gateway.rows(1).await.len(), 1);
}

#[tokio::test]
async fn profiles_are_listed_in_the_control_planes_shape_without_an_account() {
    let gateway = Gateway::start().await;
    let caller = bearer(&gateway);
    let list = caller.get("/inference-profiles?type=SYSTEM_DEFINED").await.json();
    let all = list["inferenceProfileSummaries"].as_array().unwrap();
    let id = |profile: &Value| profile["inferenceProfileId"].as_str().unwrap().to_owned();
    let ids: Vec<String> = all.iter().map(id).collect();
    assert!(ids.contains(&CLAUDE.to_owned()) && ids.contains(&"global.anthropic.claude-opus-5".to_owned()));
    assert!(ids.iter().all(|id| id.starts_with("us.") || id.starts_with("global.")), "{ids:?}");
    for profile in all {
        assert_eq!((&profile["status"], &profile["type"]), (&json!("ACTIVE"), &json!("SYSTEM_DEFINED")));
        let arn = format!("arn:aws:bedrock:us-east-1::inference-profile/{}", id(profile));
        assert_eq!(profile["inferenceProfileArn"], arn);
        assert!(profile["models"][0]["modelArn"].as_str().unwrap().contains("::foundation-model/"));
    }
    let none = caller.get("/inference-profiles?type=APPLICATION").await.json();
    assert_eq!(none["inferenceProfileSummaries"], json!([]));
    let page = caller.get("/inference-profiles?maxResults=2").await.json();
    assert_eq!(page["inferenceProfileSummaries"], json!(all[..2]));
    let token = page["nextToken"].as_str().unwrap();
    let next = caller.get(&format!("/inference-profiles?maxResults=1&nextToken={token}")).await.json();
    assert_eq!(next["inferenceProfileSummaries"][0], all[2]);
    for path in [
        format!("/inference-profiles/{CLAUDE}"),
        format!(
            "/inference-profiles/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F{CLAUDE}"
        ),
    ] {
        assert_eq!(id(&caller.get(&path).await.json()), CLAUDE);
    }
    let unknown = "/inference-profiles/arn:aws:bedrock:us-east-1:1:application-inference-profile%2Fx";
    let (status, name, _) = refused(&caller.get(unknown).await);
    assert_eq!((status, name.as_str()), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn a_key_calls_and_sees_only_the_models_of_its_lists() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let caller = Caller::new(gateway.addr, &gateway.key(&["*claude-sonnet-4-5*"]).await.0);
    let allowed = caller.post(&format!("/model/{CLAUDE}/invoke"), invoke_body("Hi").as_bytes()).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    for operation in ["invoke", "converse-stream", "count-tokens"] {
        let reply = caller.post(&format!("/model/{QWEN}/{operation}"), converse_body("Hi").as_bytes()).await;
        let (status, name, _) = refused(&reply);
        assert_eq!((status, name.as_str()), (403, "AccessDeniedException"), "{operation}");
    }
    let list = caller.get("/inference-profiles").await.json();
    let all = list["inferenceProfileSummaries"].as_array().unwrap();
    assert!(!all.is_empty());
    for profile in all {
        assert!(profile["inferenceProfileId"].as_str().unwrap().ends_with("claude-sonnet-4-5-20250929-v1:0"));
    }
    assert_eq!(caller.get("/inference-profiles/global.anthropic.claude-opus-5").await.status, 404);
    assert_eq!(gateway.sim.requests().len(), 1);
}

#[tokio::test]
async fn what_still_streams_at_the_end_of_the_drain_gets_an_exception_frame() {
    let mut gateway = Gateway::with(Options {
        delay: Duration::from_millis(50),
        ..Options::with(&["--drain-timeout-seconds=0.3"])
    })
    .await;
    let caller = bearer(&gateway);
    let path = format!("/model/{QWEN}/converse-stream");
    let streaming =
        tokio::spawn(async move { caller.post(&path, converse_body("sim:words=250").as_bytes()).await });
    while gateway.sim.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.terminate();
    let reply = streaming.await.unwrap();
    let all = streamed(&reply);
    assert_eq!(all.last().unwrap().header(":exception-type"), "serviceUnavailableException");
    gateway.ended().await;
}
