//! What a key makes of cache markers: their TTL in every position, what is booked for it, and none at all.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, Reply};
use serde_json::{Value, json};
use store::{CacheTtl, KeyRecord, UsageRow};

const SONNET: &str = "anthropic.claude-sonnet-4-6";
/// Caches, for five minutes alone, and not its tools.
const NOVA: &str = "amazon.nova-pro-v1:0";

async fn keyed(gateway: &Gateway, ttl: CacheTtl) -> (Caller, KeyRecord) {
    let (key, record) = gateway.key_with(|record| record.cache_ttl = Some(ttl)).await;
    (Caller::new(gateway.addr, &key), record)
}

async fn row(gateway: &Gateway, record: &KeyRecord, at: usize) -> UsageRow {
    gateway.rows_of(&record.key_id, at + 1).await.swap_remove(at)
}

/// A marker in every position: tools, system, inside a tool result, at the end. `salt` keeps caches apart.
fn marked(model: &str, salt: &str, stream: bool, first: &Value, later: &Value) -> Value {
    json!({
        "model": model, "max_tokens": 50, "stream": stream,
        "tools": [{ "name": "look", "input_schema": { "type": "object" }, "cache_control": first }],
        "system": [{ "type": "text", "text": format!("{salt} {}", "You are terse. ".repeat(1500)), "cache_control": first }],
        "messages": [
            { "role": "user", "content": "Look" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_1", "name": "look", "input": {} }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": [
                    { "type": "text", "text": "a view", "cache_control": later }] },
                { "type": "text", "text": "Go on", "cache_control": later },
            ] },
        ],
    })
}

fn ephemeral() -> Value {
    json!({ "type": "ephemeral" })
}

fn hour() -> Value {
    json!({ "type": "ephemeral", "ttl": "1h" })
}

/// All markers of a body, of either kind.
fn markers(body: &Value) -> Vec<Value> {
    match body {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match name.as_str() {
                "cache_control" | "cachePoint" => vec![value.clone()],
                _ => markers(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(markers).collect(),
        _ => Vec::new(),
    }
}

fn sent(gateway: &Gateway) -> Vec<Value> {
    markers(&serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap())
}

fn good(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn an_hour_is_forced_on_every_marker_and_billed_at_twice_the_input_price() {
    let gateway = Gateway::with(Options::with_keys(&["--default-cache-ttl=5m"])).await;
    let (caller, record) = keyed(&gateway, CacheTtl::OneHour).await;
    for (at, stream) in [false, true].into_iter().enumerate() {
        let request = marked(
            CLAUDE,
            &format!("hour {stream}"),
            stream,
            &hour(),
            &json!({"type":"ephemeral","ttl":"5m"}),
        );
        good(&caller.messages(&request).await);
        assert_eq!(sent(&gateway), vec![hour(); 4]);
        let row = row(&gateway, &record, at).await;
        assert_eq!((row.cache_ttl, row.cache_write_5m_tokens), (Some(CacheTtl::OneHour), 0));
        assert!(row.cache_write_1h_tokens > 1000, "{row:?}");
        // $3, $15 and $6 per million.
        let tokens = u128::from(row.input_tokens) * 3
            + u128::from(row.output_tokens) * 15
            + u128::from(row.cache_write_1h_tokens) * 6;
        assert_eq!(row.cost_pico_usd.unwrap().0, tokens * 1_000_000);
    }
}

#[tokio::test]
async fn five_minutes_are_forced_and_none_takes_the_markers_out() {
    let gateway = Gateway::with(Options::with_keys(&["--default-cache-ttl=1h"])).await;
    let (short, short_record) = keyed(&gateway, CacheTtl::FiveMinutes).await;
    let (none, none_record) = keyed(&gateway, CacheTtl::None).await;
    for (at, stream) in [false, true].into_iter().enumerate() {
        good(
            &short.messages(&marked(CLAUDE, &format!("short {stream}"), stream, &hour(), &ephemeral())).await,
        );
        let all = sent(&gateway);
        assert!(all.len() == 4 && all.iter().all(|marker| marker["ttl"] != "1h"), "{all:?}");
        let booked = row(&gateway, &short_record, at).await;
        assert_eq!((booked.cache_ttl, booked.cache_write_1h_tokens), (Some(CacheTtl::FiveMinutes), 0));
        assert!(booked.cache_write_5m_tokens > 1000);
        good(&none.messages(&marked(CLAUDE, &format!("none {stream}"), stream, &hour(), &ephemeral())).await);
        assert_eq!(sent(&gateway), Vec::<Value>::new());
        let booked = row(&gateway, &none_record, at).await;
        let written = booked.cache_write_5m_tokens + booked.cache_write_1h_tokens;
        assert_eq!((booked.cache_ttl, written), (None, 0));
        assert!(booked.input_tokens > 1000);
    }
}

#[tokio::test]
async fn a_model_without_an_hour_gets_five_minutes_and_says_so_in_both_lanes() {
    let gateway = Gateway::with(Options::with_keys(&["--debug-headers=true"])).await;
    let (caller, record) = keyed(&gateway, CacheTtl::OneHour).await;
    let (none, _) = keyed(&gateway, CacheTtl::None).await;
    for (at, model) in ["claude-opus-4-1", NOVA].into_iter().enumerate() {
        let reply = caller.messages(&marked(model, model, false, &ephemeral(), &ephemeral())).await;
        good(&reply);
        let all = sent(&gateway);
        assert!(!all.is_empty() && all.iter().all(|marker| marker.get("ttl").is_none()), "{all:?}");
        let losses = reply.header("x-outcrop-loss").unwrap();
        assert!(losses.contains("cache_control"), "{losses}");
        let booked = row(&gateway, &record, at).await;
        assert_eq!((booked.cache_ttl, booked.cache_write_1h_tokens), (Some(CacheTtl::FiveMinutes), 0));
        good(&none.messages(&marked(model, "none", false, &ephemeral(), &ephemeral())).await);
        assert_eq!(sent(&gateway), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn without_a_decision_of_the_key_the_callers_ttl_stands_before_the_default() {
    let gateway = Gateway::with(Options::with_keys(&["--default-cache-ttl=1h"])).await;
    good(
        &gateway
            .caller()
            .messages(&marked(CLAUDE, "plain", false, &ephemeral(), &json!({"type":"ephemeral","ttl":"5m"})))
            .await,
    );
    let ttls: Vec<_> = sent(&gateway).iter().map(|marker| marker["ttl"].clone()).collect();
    assert_eq!(ttls, ["5m", "5m", "1h", "1h"], "messages, system and tools, by name");
    let booked = gateway.rows(1).await.remove(0);
    assert_eq!(booked.cache_ttl, Some(CacheTtl::OneHour));
}

#[tokio::test]
async fn bedrocks_own_operations_get_the_keys_ttl_and_nothing_else_changes() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let (caller, record) = keyed(&gateway, CacheTtl::OneHour).await;
    let (none, _) = keyed(&gateway, CacheTtl::None).await;
    let text = "You are terse. ".repeat(1500);
    let claude = format!(
        r#"{{ "anthropic_version":"bedrock-2023-05-31" ,"max_tokens":50,"system":[{{"type":"text","text":"{text}","cache_control":{{"type":"ephemeral"}}}}],"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    for (at, operation) in ["invoke", "invoke-with-response-stream"].into_iter().enumerate() {
        let path = format!("/model/{SONNET}/{operation}");
        good(&caller.post(&path, claude.as_bytes()).await);
        let body = String::from_utf8(gateway.sim.requests().last().unwrap().body.to_vec()).unwrap();
        assert_eq!(body, claude.replace(r#""ephemeral""#, r#""ephemeral","ttl":"1h""#));
        assert_eq!(row(&gateway, &record, at).await.cache_ttl, Some(CacheTtl::OneHour));
        good(&none.post(&path, claude.as_bytes()).await);
        assert_eq!(sent(&gateway), Vec::<Value>::new());
    }
    assert!(row(&gateway, &record, 0).await.cache_write_1h_tokens > 1000);
    let converse = format!(
        r#"{{"system":[{{"text":"{text}"}},{{"cachePoint":{{"type":"default"}}}}],"messages":[{{"role":"user","content":[{{"text":"Hi"}}]}}] }}"#
    );
    for operation in ["converse", "converse-stream"] {
        let path = format!("/model/{SONNET}/{operation}");
        good(&caller.post(&path, converse.as_bytes()).await);
        let body = String::from_utf8(gateway.sim.requests().last().unwrap().body.to_vec()).unwrap();
        assert_eq!(body, converse.replace(r#""default""#, r#""default","ttl":"1h""#));
        good(&none.post(&path, converse.as_bytes()).await);
        assert_eq!(sent(&gateway), Vec::<Value>::new());
    }
}
