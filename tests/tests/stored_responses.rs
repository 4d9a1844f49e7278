//! Responses that are kept: going on from them, looking at them, removing them, and who may.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, LANES, Options, QWEN, Reply, events};
use serde_json::{Value, json};
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};
use store::{PicoUsd, RowStatus, StoredTurn, Timestamp};

async fn with(settings: &[&str]) -> Gateway {
    Gateway::with(Options::with_keys(settings)).await
}

async fn bearer(gateway: &Gateway) -> Caller {
    let (key, _) = gateway.key(&["*"]).await;
    Caller::bearer(gateway.addr, &key)
}

fn asking(model: &str, input: &str) -> Value {
    json!({ "model": model, "input": input })
}

/// Sends a request and reads the response, whole or from the last event of a stream.
async fn respond(caller: &Caller, body: &Value) -> Value {
    let reply = caller.openai("/v1/responses", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    if body["stream"] != true {
        return reply.json();
    }
    let (name, mut last) = events(&reply.text()).pop().unwrap();
    assert_eq!(name, "response.completed", "{}", reply.text());
    last["response"].take()
}

fn id(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

async fn get(caller: &Caller, id: &str) -> Reply {
    caller.get(&format!("/v1/responses/{id}")).await
}

async fn delete(caller: &Caller, id: &str) -> Reply {
    caller.request("DELETE", &format!("/v1/responses/{id}"), b"").await
}

async fn items(caller: &Caller, id: &str, query: &str) -> Reply {
    caller.get(&format!("/v1/responses/{id}/input_items{query}")).await
}

fn refusal(reply: &Reply) -> (u16, Option<String>, Option<String>) {
    let error = reply.openai_error();
    (error.status, error.code, error.param)
}

fn not_found(param: Option<&str>) -> (u16, Option<String>, Option<String>) {
    (404, Some("not_found".to_owned()), param.map(str::to_owned))
}

fn no_previous() -> (u16, Option<String>, Option<String>) {
    (404, Some("previous_response_not_found".to_owned()), Some("previous_response_id".to_owned()))
}

/// The texts that the model was sent last, in order.
fn sent(gateway: &Gateway) -> String {
    String::from_utf8(gateway.sim.requests().pop().unwrap().body.to_vec()).unwrap()
}

fn in_order(text: &str, parts: &[&str]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[tokio::test]
async fn a_conversation_goes_on_from_the_response_before_in_both_lanes_streamed_and_whole() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    for (model, stream) in LANES.into_iter().flat_map(|model| [(model, false), (model, true)]) {
        let body = |input: &str, before: Option<&str>| {
            let mut body = json!({ "model": model, "input": input, "stream": stream });
            if let Some(before) = before {
                body["previous_response_id"] = before.into();
            }
            body
        };
        let one = respond(&caller, &body("my first words", None)).await;
        assert_eq!((&one["store"], &one["previous_response_id"]), (&json!(true), &Value::Null));
        let two = respond(&caller, &body("my second words", Some(id(&one)))).await;
        assert_eq!(two["previous_response_id"], one["id"]);
        let three = respond(&caller, &body("my third words", Some(id(&two)))).await;
        let said =
            |response: &Value| response["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
        let all = ["my first words", &said(&one), "my second words", &said(&two), "my third words"];
        let all = all.map(|text| serde_json::to_string(text).unwrap());
        assert!(in_order(&sent(&gateway), &all.each_ref().map(String::as_str)), "{}", sent(&gateway));
        let found = get(&caller, id(&three)).await;
        assert_eq!((found.status, found.json()), (200, three), "as it was told");
        assert_eq!(found.header("cache-control"), Some("private, no-store"));
        // From one answer in two directions.
        respond(&caller, &body("other second words", Some(id(&one)))).await;
        assert!(!sent(&gateway).contains("my second words"));
    }
}

#[tokio::test]
async fn the_result_of_a_tool_alone_finds_its_call_and_the_thought_before_it() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    for stream in [false, true] {
        let tools = json!([{
            "type": "function", "name": "get_weather",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } } },
        }]);
        let body = json!({
            "model": CLAUDE, "stream": stream, "tools": tools, "reasoning": { "effort": "low" },
            "input": "[[tool]] Call get_weather", "tool_choice": "auto",
        });
        let one = respond(&caller, &body).await;
        let output = one["output"].as_array().unwrap();
        let call = output.iter().find(|item| item["type"] == "function_call");
        let call = call.unwrap_or_else(|| panic!("{one}"));
        let body = json!({
            "model": CLAUDE, "stream": stream, "tools": tools, "previous_response_id": one["id"],
            "input": [{ "type": "function_call_output", "call_id": call["call_id"], "output": "21 degrees" }],
        });
        respond(&caller, &body).await;
        assert!(in_order(&sent(&gateway), &["tool_use", "tool_result", "21 degrees"]), "{}", sent(&gateway));
    }
}

#[tokio::test]
async fn to_another_key_a_response_is_as_unknown_as_one_that_never_was() {
    let gateway = with(&[]).await;
    let (owner, other) = (bearer(&gateway).await, bearer(&gateway).await);
    let response = respond(&owner, &asking(CLAUDE, "mine")).await;
    let id = id(&response);
    for caller in [&other, &gateway.caller()] {
        for (id, shown) in [(id, id), ("resp_never", "resp_never"), ("a%2Fb%00", "a/b")] {
            let message = format!("Response with id '{shown}' not found.");
            for reply in [
                get(caller, id).await,
                delete(caller, id).await,
                items(caller, id, "").await,
                caller.openai(&format!("/v1/responses/{id}/cancel"), &json!({})).await,
            ] {
                assert_eq!(
                    (refusal(&reply), reply.openai_error().message),
                    (not_found(None), message.clone())
                );
            }
        }
        let mut body = asking(CLAUDE, "go on");
        body["previous_response_id"] = id.into();
        let reply = caller.openai("/v1/responses", &body).await;
        assert_eq!(refusal(&reply), no_previous());
    }
    assert_eq!(get(&owner, id).await.json(), response);
    assert_eq!(get(&Caller::bearer(gateway.addr, "sk-oc-nobody"), id).await.status, 401);
}

#[tokio::test]
async fn what_is_loaded_for_a_request_counts_among_the_bytes_that_are_held() {
    let gateway = with(&["--max-in-flight-bytes=600000"]).await;
    let caller = bearer(&gateway).await;
    let mut references = Vec::new();
    for _ in 0..4 {
        let response = respond(&caller, &asking(QWEN, &"words ".repeat(30_000))).await;
        references.push(json!({ "type": "item_reference", "id": response["output"][0]["id"] }));
    }
    let asking = |references: &[Value]| {
        let end = json!({ "role": "user", "content": "go on" });
        json!({ "model": QWEN, "input": ([references, &[end]].concat()) })
    };
    respond(&caller, &asking(&references[..2])).await;
    let reply = caller.openai("/v1/responses", &asking(&references)).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    respond(&caller, &asking(&references[2..])).await;
}

#[tokio::test]
async fn who_may_not_use_the_model_is_told_so_before_anything_is_looked_up() {
    let gateway = with(&["--allow-unknown-models=false"]).await;
    let (key, _) = gateway.key(&["qwen.*"]).await;
    let caller = Caller::bearer(gateway.addr, &key);
    let denied = (403, Some("model_not_allowed".to_owned()), Some("model".to_owned()));
    let unknown = (404, Some("model_not_found".to_owned()), Some("model".to_owned()));
    for path in ["/v1/responses", "/v1/responses/compact"] {
        for (model, expected) in
            [(CLAUDE, denied.clone()), ("nobody.knows", unknown.clone()), (QWEN, no_previous())]
        {
            let mut body = asking(model, "go on");
            body["previous_response_id"] = "resp_never".into();
            assert_eq!(refusal(&caller.openai(path, &body).await), expected, "{path} {model}");
        }
    }
}

#[tokio::test]
async fn a_removed_response_is_gone_and_those_after_it_stay_whole() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    let one = respond(&caller, &asking(QWEN, "first words")).await;
    let mut body = asking(QWEN, "second words");
    body["previous_response_id"] = one["id"].clone();
    let two = respond(&caller, &body).await;
    let reply = delete(&caller, id(&one)).await;
    assert_eq!(reply.json(), json!({ "id": one["id"], "object": "response", "deleted": true }));
    assert_eq!(refusal(&delete(&caller, id(&one)).await), not_found(None));
    assert_eq!(refusal(&get(&caller, id(&one)).await), not_found(None));
    let reply = caller.openai("/v1/responses", &body).await;
    assert_eq!(refusal(&reply), no_previous());
    body["previous_response_id"] = two["id"].clone();
    respond(&caller, &body).await;
    assert!(sent(&gateway).contains("first words"));
}

#[tokio::test]
async fn a_response_expires_and_a_conversation_that_goes_on_does_not() {
    let gateway = with(&["--response-context-ttl-seconds=3"]).await;
    let caller = bearer(&gateway).await;
    let one = respond(&caller, &asking(QWEN, "first words")).await;
    let mut two = one.clone();
    while get(&caller, id(&one)).await.status == 200 {
        let mut body = asking(QWEN, "more words");
        body["previous_response_id"] = two["id"].clone();
        two = respond(&caller, &body).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(refusal(&get(&caller, id(&one)).await), not_found(None));
    assert!(sent(&gateway).contains("first words"));
}

#[tokio::test]
async fn a_model_that_the_key_may_no_longer_use_closes_its_responses_but_for_removal() {
    let gateway = with(&["--key-cache-ttl-seconds=0"]).await;
    let (key, record) = gateway.key(&["*"]).await;
    let caller = Caller::bearer(gateway.addr, &key);
    let response = respond(&caller, &asking(CLAUDE, "mine")).await;
    let mut record = gateway.store.key_by_id(&record.key_id).await.unwrap().unwrap();
    record.allowed_models = Some(vec!["qwen.*".to_owned()]);
    gateway.store.update_key(&record).await.unwrap();
    while get(&caller, id(&response)).await.status == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let denied = (403, Some("model_not_allowed".to_owned()), Some("model".to_owned()));
    assert_eq!(refusal(&get(&caller, id(&response)).await), denied);
    assert_eq!(refusal(&items(&caller, id(&response), "").await), denied);
    let mut body = asking(QWEN, "go on");
    body["previous_response_id"] = response["id"].clone();
    assert_eq!(caller.openai("/v1/responses", &body).await.status, 403);
    assert_eq!(delete(&caller, id(&response)).await.status, 200);
}

#[tokio::test]
async fn the_items_of_a_response_are_listed_in_pages_with_what_came_before_them() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    let one = respond(&caller, &asking(QWEN, "first words")).await;
    let body = json!({
        "model": QWEN, "previous_response_id": one["id"],
        "input": [{ "role": "developer", "content": "be brief" }, { "role": "user", "content": "second words" }],
    });
    let two = respond(&caller, &body).await;
    let list = items(&caller, id(&two), "?order=asc").await.json();
    assert_eq!((&list["object"], &list["has_more"]), (&json!("list"), &json!(false)));
    let all = list["data"].as_array().unwrap().clone();
    let shown: Vec<_> =
        all.iter().map(|item| (&item["type"], &item["role"], &item["content"][0]["type"])).collect();
    let (message, user, input) = (json!("message"), json!("user"), json!("input_text"));
    let (assistant, developer, output) = (json!("assistant"), json!("developer"), json!("output_text"));
    assert_eq!(
        shown,
        [
            (&message, &user, &input),
            (&message, &assistant, &output),
            (&message, &developer, &input),
            (&message, &user, &input)
        ],
        "{list}"
    );
    assert_eq!(all[1]["id"], one["output"][0]["id"]);
    assert!(all.iter().all(|item| item["status"] == "completed" && item["id"].is_string()), "{list}");
    // The other way, page by page.
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = items(&caller, id(&two), &query).await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!((&page["first_id"], &page["last_id"]), (&data[0]["id"], &data[data.len() - 1]["id"]));
        seen.extend(data.iter().cloned());
        if page["has_more"] == false {
            break;
        }
        query = format!("?limit=3&after={}", page["last_id"].as_str().unwrap());
    }
    seen.reverse();
    assert_eq!(seen, all);
    for (query, param) in
        [("?limit=0", "limit"), ("?limit=101", "limit"), ("?order=up", "order"), ("?after=msg_x", "after")]
    {
        assert_eq!(refusal(&items(&caller, id(&two), query).await), (400, None, Some(param.to_owned())));
    }
}

#[tokio::test]
async fn a_finished_response_is_neither_cancelled_nor_streamed_again() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    let response = respond(&caller, &asking(QWEN, "words")).await;
    let reply = caller.openai(&format!("/v1/responses/{}/cancel", id(&response)), &json!({})).await;
    assert_eq!(refusal(&reply), (400, None, None));
    let reply = get(&caller, &format!("{}?stream=true", id(&response))).await;
    assert_eq!(refusal(&reply), (400, None, Some("stream".to_owned())));
    let reply = caller.request("PUT", &format!("/v1/responses/{}", id(&response)), b"").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, DELETE")));
    let reply = caller.openai("/v1/responses/input_tokens", &asking(QWEN, "words")).await;
    assert_eq!(refusal(&reply), not_found(None));
    assert!(reply.openai_error().message.ends_with("is not supported by this gateway"), "{}", reply.text());
}

#[tokio::test]
async fn what_the_caller_or_the_operator_does_not_want_kept_is_not() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    for stream in [false, true] {
        let body = json!({ "model": QWEN, "input": "secret words", "store": false, "stream": stream });
        let response = respond(&caller, &body).await;
        assert_eq!(response["store"], false);
        assert_eq!(refusal(&get(&caller, id(&response)).await), not_found(None));
    }
    let off = with(&["--response-context-ttl-seconds=0"]).await;
    let caller = bearer(&off).await;
    let response = respond(&caller, &asking(QWEN, "words")).await;
    assert_eq!(response["store"], false);
    assert_eq!(refusal(&get(&caller, id(&response)).await), not_found(None));
    for (member, value) in [("store", json!(true)), ("previous_response_id", response["id"].clone())] {
        let mut body = asking(QWEN, "words");
        body[member] = value;
        for path in ["/v1/responses", "/v1/responses/compact"] {
            let reply = caller.openai(path, &body).await;
            assert_eq!(refusal(&reply), (400, None, Some(member.to_owned())), "{path}");
        }
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_large_to_keep_says_so_and_is_refused_to_who_insists() {
    let gateway = with(&["--response-context-max-bytes=2000"]).await;
    let caller = bearer(&gateway).await;
    let long = "words ".repeat(400);
    for stream in [false, true] {
        let mut body = json!({ "model": QWEN, "input": long, "stream": stream });
        assert_eq!(respond(&caller, &body).await["store"], false);
        body["store"] = true.into();
        let reply = caller.openai("/v1/responses", &body).await;
        assert_eq!(refusal(&reply), (400, None, Some("store".to_owned())));
        // The input fits, what is answered around it does not.
        let body = json!({ "model": QWEN, "input": "words ".repeat(300), "store": true, "stream": stream });
        let response = respond(&caller, &body).await;
        assert_eq!(response["store"], false, "{response}");
        assert_eq!(refusal(&get(&caller, id(&response)).await), not_found(None));
    }
}

#[tokio::test]
async fn a_conversation_is_compacted_to_a_summary_that_it_goes_on_from() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    for model in LANES {
        let one = respond(&caller, &asking(model, "remember the word heliotrope")).await;
        let body = json!({
            "model": model, "previous_response_id": one["id"], "instructions": "be brief",
            "input": [{ "role": "user", "content": "which word?" }],
        });
        let reply = caller.openai("/v1/responses/compact", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let compacted = reply.json();
        assert_eq!(compacted["object"], "response.compaction");
        assert!(compacted["usage"]["output_tokens"].as_u64().unwrap() > 0);
        assert!(in_order(&sent(&gateway), &["heliotrope", "Write a summary"]), "{}", sent(&gateway));
        let output = compacted["output"].as_array().unwrap();
        let kinds: Vec<_> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["compaction", "message"]);
        respond(&caller, &json!({ "model": model, "input": output })).await;
        assert!(sent(&gateway).contains("which word?") && !sent(&gateway).contains("heliotrope\""));
    }
    let reply = caller.openai("/v1/responses/compact", &json!({ "model": QWEN })).await;
    assert_eq!(refusal(&reply), (400, None, Some("input".to_owned())));
}

#[tokio::test]
async fn an_answer_that_cannot_be_told_is_billed_all_the_same() {
    let gateway = with(&[]).await;
    let (key, record) = gateway.key(&["*"]).await;
    let caller = Caller::bearer(gateway.addr, &key);
    for (model, count) in LANES.into_iter().zip(1..) {
        let reply = caller.openai("/v1/responses/compact", &asking(model, "sim:words=0")).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        let rows = gateway.rows_of(&record.key_id, count).await;
        let row = rows.iter().find(|row| row.requested_model == model).unwrap();
        assert_eq!((row.status, row.http_status, row.attempts), (RowStatus::UpstreamError, 502, 1));
        assert!(row.input_tokens > 0 && row.output_tokens > 0, "{row:?}");
        assert!(row.cost_pico_usd.is_some_and(|cost| cost > PicoUsd::default()), "{row:?}");
        assert!(row.upstream_request_id.is_some());
    }
}

#[tokio::test]
async fn half_a_summary_is_an_error_that_no_sdk_repeats() {
    let gateway = with(&[]).await;
    let caller = bearer(&gateway).await;
    let (cut, full) = (Some("max_output_tokens"), Some("context_length_exceeded"));
    for model in LANES {
        for (said, code, param) in [
            ("sim:words=300", None, cut),
            ("sim:stop=model_context_window_exceeded", full, None),
            ("sim:stop=refusal", Some("content_filter"), None),
        ] {
            let mut body = asking(model, said);
            body["max_output_tokens"] = json!(200);
            let reply = caller.openai("/v1/responses/compact", &body).await;
            let expected = (400, code.map(str::to_owned), param.map(str::to_owned));
            assert_eq!(refusal(&reply), expected, "{model} {said}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn on_sqlite_a_conversation_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |dir: &Path| {
        let mut options = Options::with_keys(&["--store=sqlite"]);
        options.settings.push(format!("--outcrop-db={}", dir.join("outcrop.db").display()));
        Gateway::with(options).await
    };
    let gateway = start(dir.path()).await;
    let (key, record) = gateway.key(&["*"]).await;
    let long_ago = Timestamp::EPOCH;
    let expired = StoredTurn {
        id: "resp_old".to_owned(),
        key_id: record.key_id,
        created_at: long_ago,
        expires_at: long_ago,
        payload: "old words".to_owned(),
    };
    gateway.store.put_turn(&expired).await.unwrap();
    let response = respond(&Caller::bearer(gateway.addr, &key), &asking(QWEN, "first words")).await;
    drop(gateway.ended().await);
    let gateway = start(dir.path()).await;
    let caller = Caller::bearer(gateway.addr, &key);
    assert_eq!(get(&caller, id(&response)).await.json(), response);
    let mut body = asking(QWEN, "second words");
    body["previous_response_id"] = response["id"].clone();
    respond(&caller, &body).await;
    assert!(in_order(&sent(&gateway), &["first words", "second words"]));
    // What has expired is not left lying about.
    let file = rusqlite::Connection::open(dir.path().join("outcrop.db")).unwrap();
    let left = || file.query_row("SELECT count(*) FROM turns WHERE id = 'resp_old'", [], |row| row.get(0));
    while left().unwrap_or(1) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn two_gateways_on_one_dynamodb_share_conversations_and_an_answer_survives_its_absence() {
    let Some(settings) = stand_in::tables().await else { return };
    let proxy = FaultProxy::start(stand_in::url().unwrap()).await;
    let start = async || {
        let mut options = Options::with_keys(&["--store=dynamodb"]);
        options.settings.extend([
            format!("--dynamodb-endpoint-url={}", proxy.url()),
            format!("--dynamodb-table-prefix={}", settings.tables.prefix),
        ]);
        Gateway::with(options).await
    };
    let (one, two) = (start().await, start().await);
    let (key, _) = one.key(&["*"]).await;
    let (here, there) = (Caller::bearer(one.addr, &key), Caller::bearer(two.addr, &key));
    for stream in [false, true] {
        let mut before = Value::Null;
        for (turn, caller) in [&here, &there, &here, &there].into_iter().enumerate() {
            let mut body = json!({ "model": QWEN, "stream": stream, "input": format!("words {turn}") });
            body["previous_response_id"] = before;
            before = respond(caller, &body).await["id"].take();
        }
        assert!(in_order(&sent(&two), &["words 0", "words 1", "words 2", "words 3"]));
        assert_eq!(delete(&here, before.as_str().unwrap()).await.status, 200);
        assert_eq!(get(&there, before.as_str().unwrap()).await.status, 404);
        // An answer that cannot be kept is an answer all the same.
        let response = respond(&here, &asking(QWEN, "words")).await;
        proxy.all(Fate::error(503, "InternalServerError"));
        let lost = respond(&here, &json!({ "model": QWEN, "input": "words", "stream": stream })).await;
        assert_eq!(lost["store"], false);
        let reply = get(&here, id(&response)).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        proxy.all(Fate::Pass);
        assert_eq!(get(&there, id(&response)).await.json(), response);
    }
}
