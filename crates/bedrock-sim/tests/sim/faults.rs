//! Faults, scripted and asked for in the prompt.
use std::time::Duration;

use outcrop_bedrock_sim::{Fault, Place, Sim};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::common::{QWEN, SONNET, TOKEN, claude, dechunk, events, exchange, path, post, sim, try_send};

fn body(text: &str) -> String {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]}).to_string()
}

async fn stream(sim: &Sim, text: &str) -> (String, Vec<u8>, bool) {
    let auth = format!("Bearer {TOKEN}");
    let path = path(QWEN, "converse-stream");
    let (head, rest, ended) =
        exchange(sim, "POST", &path, &[("authorization", &auth)], body(text).as_bytes())
            .await
            .expect("connects");
    (head, rest, ended.is_ok())
}

#[tokio::test]
async fn each_scripted_fault_is_used_up_by_one_request_of_its_model() {
    let sim = sim().await;
    sim.script("qwen.*", vec![Fault::throttle(), Fault::model_not_ready()]);
    sim.script("", vec![Fault::unavailable()]);
    let claude_first =
        post(&sim, &path(SONNET, "invoke"), &claude(r#"[{"role":"user","content":"hi"}]"#, "")).await;
    assert_eq!((claude_first.status, claude_first.kind()), (503, "ServiceUnavailableException"));
    let expected = [
        (429, "ThrottlingException", "Too many requests, please wait before trying again."),
        (429, "ModelNotReadyException", "Model is getting ready for inference. Please try again."),
    ];
    for (status, kind, text) in expected {
        let reply = post(&sim, &path(QWEN, "converse"), &body("hi")).await;
        assert_eq!((reply.status, reply.kind(), reply.message().as_str()), (status, kind, text));
        assert_eq!(reply.header("retry-after"), None, "Bedrock sends none");
    }
    assert_eq!(post(&sim, &path(QWEN, "converse"), &body("hi")).await.status, 200);
    assert_eq!((sim.served().answers, sim.served().refusals), (1, 3));
}

#[tokio::test]
async fn errors_carry_what_they_were_given() {
    let sim = sim().await;
    sim.script("", vec![Fault::model_error(500), Fault::throttle().retry_after(7), Fault::Html]);
    let model = post(&sim, &path(QWEN, "converse"), &body("hi")).await;
    assert_eq!((model.status, model.kind()), (424, "ModelErrorException"));
    assert_eq!(model.json()["originalStatusCode"], 500);
    let later = post(&sim, &path(QWEN, "converse"), &body("hi")).await;
    assert_eq!((later.status, later.header("retry-after")), (429, Some("7")));
    let page = post(&sim, &path(QWEN, "converse"), &body("hi")).await;
    assert_eq!((page.status, page.header("content-type")), (503, Some("text/html")));
    for (text, status) in
        [("sim:throttle", 429), ("sim:error=424:500", 424), ("sim:error=500", 500), ("sim:html", 503)]
    {
        assert_eq!(post(&sim, &path(QWEN, "converse"), &body(text)).await.status, status, "{text}");
    }
}

#[tokio::test]
async fn an_exception_frame_ends_the_stream_where_it_was_asked_for() {
    let sim = sim().await;
    for at in [0, 3] {
        let text = format!("sim:midstream=throttlingException@{at}");
        let events = post(&sim, &path(QWEN, "converse-stream"), &body(&text)).await.events();
        assert_eq!(events.len(), at + 1);
        let (kind, payload) = events.last().expect("the exception");
        assert_eq!(kind, "throttlingException");
        assert_eq!(*payload, json!({"message": "Too many tokens, please wait before trying again."}));
    }
    sim.script("", vec![Fault::mid_stream("modelStreamErrorException", 1)]);
    let body = claude(r#"[{"role":"user","content":"hi"}]"#, "");
    let events = post(&sim, &path(SONNET, "invoke-with-response-stream"), &body).await.events();
    assert_eq!(events.last().expect("the exception").0, "modelStreamErrorException");
}

#[tokio::test]
async fn a_reset_cuts_before_the_head_or_after_some_events() {
    let sim = sim().await;
    sim.script("", vec![Fault::Reset(None), Fault::Reset(Some(2)), Fault::Truncate(2)]);
    let auth = format!("Bearer {TOKEN}");
    let path = path(QWEN, "converse-stream");
    let before = try_send(&sim, "POST", &path, &[("authorization", &auth)], body("hi").as_bytes()).await;
    assert!(before.is_err(), "nothing but a reset arrives");
    let (head, rest, orderly) = stream(&sim, "hi").await;
    assert!(head.starts_with("HTTP/1.1 200") && !orderly, "{head}");
    let (bytes, _, ended) = dechunk(&rest);
    assert!(!ended);
    assert_eq!(events(&bytes).expect("whole frames").len(), 2);
    let (_, rest, orderly) = stream(&sim, "hi").await;
    let (bytes, _, ended) = dechunk(&rest);
    assert!(ended && orderly, "truncation is an orderly end");
    assert_eq!(events(&bytes).expect("whole frames").len(), 2);
}

#[tokio::test]
async fn stalls_hold_back_the_head_or_the_events_after_it() {
    let sim = sim().await;
    let long = Duration::from_hours(1);
    for (fault, seen) in [
        (Fault::Stall(Place::Headers, long), 0),
        (Fault::Stall(Place::Events(0), long), 1),
        (Fault::Stall(Place::Events(2), long), 3),
    ] {
        sim.script("", vec![fault]);
        let mut tcp = tokio::net::TcpStream::connect(sim.addr()).await.expect("connects");
        let body = body("hi");
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            path(QWEN, "converse-stream"),
            body.len()
        );
        tcp.write_all(head.as_bytes()).await.expect("sent");
        let mut all = Vec::new();
        // What was written before the stall arrives at once; the pause after it is far longer than this wait.
        while let Ok(Ok(1..)) = timeout(Duration::from_millis(300), tcp.read_buf(&mut all)).await {}
        let text = String::from_utf8_lossy(&all);
        let parts = usize::from(text.starts_with("HTTP/1.1 200")) + text.matches(":message-type").count();
        assert_eq!(parts, seen, "{text}");
    }
}

#[tokio::test]
async fn a_whole_answer_waits_or_is_cut_off() {
    let sim = sim().await;
    let path = path(QWEN, "converse");
    sim.script("", vec![Fault::Stall(Place::Events(0), Duration::from_hours(1))]);
    let hi = body("hi");
    let waiting = post(&sim, &path, &hi);
    assert!(timeout(Duration::from_millis(300), waiting).await.is_err());
    sim.script("", vec![Fault::Reset(Some(2))]);
    let auth = format!("Bearer {TOKEN}");
    assert!(try_send(&sim, "POST", &path, &[("authorization", &auth)], hi.as_bytes()).await.is_err());
}

#[tokio::test]
async fn odd_events_arrive_as_asked_for() {
    let sim = sim().await;
    sim.script("", vec![Fault::EmptyStart, Fault::UnknownEvent, Fault::UnknownMember, Fault::NoMetadata]);
    let next = async || post(&sim, &path(QWEN, "converse-stream"), &body("hi")).await.events();
    assert_eq!(next().await[1].1["start"], json!({}));
    assert_eq!(next().await[1].0, "somethingNew");
    assert!(next().await.iter().all(|(_, payload)| payload["somethingNew"].is_object()));
    assert_eq!(next().await.last().expect("events").0, "messageStop");
    let tools = json!({"messages": [{"role": "user", "content": [{"text": "use the a tool sim:empty-input"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {"type": "object"}}}}]}});
    let events = post(&sim, &path(QWEN, "converse-stream"), &tools.to_string()).await.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["messageStart", "contentBlockStart", "contentBlockStop", "messageStop", "metadata"]);
}

#[tokio::test]
async fn bytes_are_cut_and_checksums_broken() {
    let sim = sim().await;
    let (_, rest, _) = stream(&sim, "sim:bytes hi").await;
    let (bytes, chunks, _) = dechunk(&rest);
    assert!(chunks.iter().all(|chunk| chunk.len() == 1) && chunks.len() > 100);
    assert!(events(&bytes).is_ok());
    let (_, rest, _) = stream(&sim, "sim:utf8 hi").await;
    let (bytes, chunks, _) = dechunk(&rest);
    assert!(chunks.iter().any(|chunk| chunk.first().is_some_and(|byte| byte & 0xc0 == 0x80)));
    let text: String = events(&bytes)
        .expect("whole frames")
        .iter()
        .filter_map(|(_, payload)| payload["delta"]["text"].as_str().map(str::to_owned))
        .collect();
    assert!(text.ends_with("Grüße 🦀 日本語 ✓"), "{text}");
    let (_, rest, _) = stream(&sim, "sim:crc@1 hi").await;
    assert!(events(&dechunk(&rest).0).is_err());
}

#[tokio::test]
async fn the_same_words_are_throttled_as_often_as_they_ask() {
    let sim = sim().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post(&sim, &path(QWEN, "converse"), &body("sim:throttle=2 hi")).await.status);
    }
    assert_eq!(statuses, [429, 429, 200, 429]);
}

#[tokio::test]
async fn reasons_can_be_asked_for() {
    let sim = sim().await;
    let answer = post(&sim, &path(QWEN, "converse"), &body("sim:stop=refusal")).await.json();
    assert_eq!(answer["stopReason"], "content_filtered");
    let message = claude(r#"[{"role":"user","content":"sim:stop=content_filtered"}]"#, "");
    assert_eq!(post(&sim, &path(SONNET, "invoke"), &message).await.json()["stop_reason"], "refusal");
}
