//! `POST /v1/embeddings`: vectors in order, every call booked, and refusals in OpenAI's form.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::Duration;

use base64::Engine as _;
use bedrock_sim::{Fault, Place};
use outcrop_tests::{Caller, Gateway, MASTER, Options, Reply};
use serde_json::{Value, json};
use store::RowStatus;

const TITAN: &str = "amazon.titan-embed-text-v2:0";
const COHERE: &str = "cohere.embed-multilingual-v3";

async fn embed(gateway: &Gateway, body: Value) -> Reply {
    Caller::bearer(gateway.addr, MASTER).openai("/v1/embeddings", &body).await
}

/// The vectors of an answer whose other parts are checked.
fn vectors(reply: &Reply) -> Vec<Vec<f64>> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["object"], "list");
    assert_eq!(body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]);
    let data = body["data"].as_array().unwrap();
    let vector = |(index, entry): (usize, &Value)| {
        assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(index)));
        entry["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    data.iter().enumerate().map(vector).collect()
}

#[tokio::test]
async fn a_list_of_texts_has_its_vectors_in_order_and_a_row_for_each_call() {
    let gateway = Gateway::start().await;
    let texts: Vec<String> = (0..20).map(|n| format!("text number {n}")).collect();
    let all = vectors(&embed(&gateway, json!({ "model": TITAN, "input": texts })).await);
    assert_eq!((all.len(), all[0].len()), (20, 1024));
    for n in [0, 7, 19] {
        let one = embed(&gateway, json!({ "model": TITAN, "input": texts[n] })).await;
        assert_eq!(vectors(&one), [all[n].clone()]);
    }
    let rows = gateway.rows(23).await;
    let of_the_list: Vec<_> = rows.iter().filter(|row| row.request_id == rows[0].request_id).collect();
    let mut rounds: Vec<_> = of_the_list.iter().map(|row| row.round).collect();
    rounds.sort_unstable();
    assert_eq!(rounds, (0..20).collect::<Vec<_>>());
    for row in of_the_list {
        assert_eq!((row.surface.as_str(), row.status, row.output_tokens), ("embeddings", RowStatus::Ok, 0));
        assert_eq!((row.input_tokens, row.estimated, row.attempts), (4, false, 1));
        assert_eq!((row.base_model.as_str(), row.http_status), (TITAN, 200));
        assert!(row.upstream_request_id.is_some());
    }
}

#[tokio::test]
async fn cohere_takes_96_texts_a_call_and_is_told_what_they_are_for() {
    let gateway = Gateway::start().await;
    let texts: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let body = json!({ "model": COHERE, "input": texts, "input_type": "search_query" });
    let reply = embed(&gateway, body).await;
    let all = vectors(&reply);
    assert_eq!(all.len(), 100);
    let last = embed(&gateway, json!({ "model": COHERE, "input": ["t99"] })).await;
    assert_eq!(vectors(&last)[0], all[99]);
    assert_eq!(gateway.sim.requests().len(), 3);
    let sent: Vec<Value> =
        gateway.sim.requests().iter().map(|sent| serde_json::from_slice(&sent.body).unwrap()).collect();
    assert_eq!(sent[0]["input_type"], "search_query");
    assert_eq!(sent[2]["input_type"], "search_document");
    assert_eq!(sent[2]["embedding_types"], json!(["float"]));
    let rows = gateway.rows(3).await;
    let tokens: u64 = rows.iter().map(|row| row.input_tokens).sum();
    let told = |reply: &Reply| reply.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(tokens, told(&reply) + told(&last), "as the upstream's headers count");
}

#[tokio::test]
async fn base64_holds_the_same_numbers_as_little_endian_floats() {
    let gateway = Gateway::start().await;
    let body =
        |format: &str| json!({ "model": TITAN, "input": "a", "dimensions": 256, "encoding_format": format });
    let numbers = vectors(&embed(&gateway, body("float")).await).remove(0);
    let reply = embed(&gateway, body("base64")).await.json();
    let text = reply["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    assert_eq!((numbers.len(), bytes.len()), (256, 1024));
    for (number, bytes) in numbers.iter().zip(bytes.chunks(4)) {
        let float = f32::from_le_bytes(bytes.try_into().unwrap());
        assert!((f64::from(float) - number).abs() < 1e-6);
    }
}

#[tokio::test]
async fn what_no_model_makes_is_refused_by_its_param() {
    let gateway = Gateway::with(Options::with(&["--master-key-rate-limit=1"])).await;
    for (body, status, param, code) in [
        (json!({ "model": TITAN, "input": [1, 2, 3] }), 400, "input", None),
        (json!({ "model": TITAN, "input": ["a", ""] }), 400, "input.1", None),
        (json!({ "model": TITAN, "input": "a", "dimensions": 3072 }), 400, "dimensions", None),
        (json!({ "model": COHERE, "input": "a", "dimensions": 256 }), 400, "dimensions", None),
        (json!({ "model": "claude-sonnet-4-6", "input": "a" }), 400, "model", None),
        (json!({ "model": "text-embedding-3-small", "input": "a" }), 404, "model", Some("model_not_found")),
    ] {
        let error = embed(&gateway, body.clone()).await.openai_error();
        assert_eq!((error.status, error.param.as_deref()), (status, Some(param)), "{body}");
        assert_eq!((error.kind.as_str(), error.code.as_deref()), ("invalid_request_error", code));
        assert!(code.is_none() || error.message.contains("DEFAULT_MODEL_MAPPING"), "{}", error.message);
    }
    let reply = gateway.caller().post("/openai/v1/embeddings", b"{").await;
    assert_eq!(reply.openai_error().status, 400);
    let anonymous = Caller::bearer(gateway.addr, "sk-wrong");
    let error =
        anonymous.openai("/v1/embeddings", &json!({ "model": TITAN, "input": "a" })).await.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (401, Some("invalid_api_key")));
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn a_name_of_openais_is_served_once_the_operator_maps_it() {
    let mapping = r#"--default-model-mapping={"text-embedding-3-small":"amazon.titan-embed-text-v2:0"}"#;
    let gateway = Gateway::with(Options::with(&[mapping])).await;
    let caller = Caller::bearer(gateway.addr, MASTER).header("x-outcrop-debug", "1");
    let body =
        json!({ "model": "text-embedding-3-small", "input": "a", "user": "u", "input_type": "clustering" });
    let reply = caller.openai("/v1/embeddings", &body).await;
    assert_eq!(vectors(&reply)[0].len(), 1024);
    assert_eq!(reply.json()["model"], "text-embedding-3-small");
    assert_eq!(reply.header("x-outcrop-model"), Some(TITAN));
    let losses = reply.header("x-outcrop-loss").unwrap();
    assert!(losses.contains("user=") && losses.contains("input_type="), "{losses}");
}

#[tokio::test]
async fn one_call_that_fails_is_the_answer_to_all() {
    let gateway = Gateway::with(Options::with(&["--bedrock-max-attempts=1"])).await;
    let texts: Vec<String> =
        (0..12).map(|n| if n == 5 { "sim:throttle=9".to_owned() } else { format!("t{n}") }).collect();
    let reply = embed(&gateway, json!({ "model": TITAN, "input": texts })).await;
    let error = reply.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (429, Some("rate_limit_exceeded")));
    assert!(reply.header("retry-after").is_some());
    let rows = gateway.rows(6).await;
    assert!(rows.iter().all(|row| row.request_id == rows[0].request_id));
    let failed: Vec<_> = rows.iter().filter(|row| row.status == RowStatus::UpstreamError).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].input_tokens, failed[0].http_status), (0, 429), "failures are not billed");
}

#[tokio::test]
async fn throttling_is_repeated_for_the_one_call_that_met_it() {
    let gateway =
        Gateway::with(Options::with(&["--bedrock-retry-base-ms=1", "--bedrock-retry-budget-percent=100"]))
            .await;
    let reply = embed(&gateway, json!({ "model": TITAN, "input": ["a", "sim:throttle=1", "c"] })).await;
    assert_eq!(vectors(&reply).len(), 3);
    let rows = gateway.rows(3).await;
    assert_eq!(rows.iter().map(|row| row.attempts).sum::<u32>(), 4);
}

#[tokio::test]
async fn eight_calls_run_at_once_and_all_stop_when_the_caller_leaves() {
    let gateway = Gateway::start().await;
    let stall = Fault::Stall(Place::Headers, Duration::from_mins(1));
    gateway.sim.script("", vec![stall; 20]);
    let texts: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let body = json!({ "model": TITAN, "input": texts }).to_string();
    let reply = gateway.caller().send("POST", "/v1/embeddings", body.as_bytes()).await;
    while gateway.sim.requests().len() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(reply);
    let rows = gateway.rows(8).await;
    assert_eq!((rows.len(), gateway.sim.requests().len()), (8, 8));
    for row in rows {
        assert_eq!((row.status, row.http_status, row.estimated), (RowStatus::ClientClosed, 499, true));
        assert_eq!((row.input_tokens, row.error_type.as_deref()), (1, Some("client_closed")));
    }
}

#[tokio::test]
async fn keys_limits_and_lists_hold_for_embeddings_too() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (key, _) = gateway.key(&["*claude*"]).await;
    let ask = json!({ "model": TITAN, "input": "a text of a few words" });
    let error = Caller::bearer(gateway.addr, &key).openai("/v1/embeddings", &ask).await.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (403, Some("model_not_allowed")));
    let (key, record) = gateway.key_with(|record| record.tpm_limit = Some(10)).await;
    let caller = Caller::bearer(gateway.addr, &key);
    let first = caller.openai("/v1/embeddings", &ask).await;
    assert_eq!(vectors(&first).len(), 1);
    assert_eq!(first.header("x-ratelimit-limit-tokens"), Some("10"));
    let error = caller.openai("/v1/embeddings", &ask).await.openai_error();
    assert_eq!((error.status, error.kind.as_str()), (429, "tokens"));
    assert_eq!(error.code.as_deref(), Some("rate_limit_exceeded"));
    assert_eq!(gateway.rows_of(&record.key_id, 1).await.len(), 1);
}

#[tokio::test]
async fn a_text_that_is_too_long_is_said_as_clients_know_it() {
    let gateway = Gateway::start().await;
    let long = "word ".repeat(8000);
    let error = embed(&gateway, json!({ "model": TITAN, "input": ["a", long] })).await.openai_error();
    assert_eq!((error.status, error.code.as_deref()), (400, Some("context_length_exceeded")));
    assert!(error.message.contains("8192 maximum"), "{}", error.message);
}
