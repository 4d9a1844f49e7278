//! `anthropic-version`: what a version does not have is refused before anything is called, whatever the model would take.

use outcrop_tests::{Gateway, LANES, hello};
use serde_json::{Value, json};

/// What `2026-10-21` does not have, and how its refusal begins.
fn gone() -> Vec<(Value, &'static str)> {
    let document =
        json!({ "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "d" } });
    let citation = json!({ "type": "char_location", "cited_text": "d", "document_index": 0, "document_title": null,
        "start_char_index": 0, "end_char_index": 1 });
    let user = json!({ "role": "user", "content": "Hi" });
    vec![
        (json!({ "temperature": 1.0 }), "temperature: Extra inputs are not permitted"),
        (json!({ "top_p": 0.9 }), "top_p: Extra inputs are not permitted"),
        (json!({ "top_k": 5 }), "top_k: Extra inputs are not permitted"),
        (
            json!({ "messages": [user, { "role": "assistant", "content": [document] }, user] }),
            "messages.1.content.0: document blocks",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "t", "citations": [citation] }] }] }),
            "messages.0.content.0.citations: Extra inputs are not permitted",
        ),
    ]
}

#[tokio::test]
async fn what_the_new_version_does_not_have_is_refused_in_either_lane_and_in_counts() {
    let gateway = Gateway::start().await;
    let caller = gateway.caller().header("anthropic-version", "2026-10-21");
    for model in LANES {
        for (members, message) in gone() {
            let mut body = hello(model, "Hi", false);
            for (name, value) in members.as_object().unwrap() {
                body[name] = value.clone();
            }
            for path in ["/v1/messages", "/v1/messages/count_tokens"] {
                let reply = caller.messages_at(path, &body).await;
                assert_eq!(
                    (reply.status, reply.error().0.as_str()),
                    (400, "invalid_request_error"),
                    "{body}"
                );
                assert!(reply.error().1.starts_with(message), "{}", reply.text());
            }
        }
    }
    assert!(gateway.sim.requests().is_empty());
}

#[tokio::test]
async fn other_versions_and_plain_requests_are_served_as_ever() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let mut body = hello(model, "Hi", false);
        body["temperature"] = json!(null);
        let newest = gateway.caller().header("anthropic-version", "2026-10-21").messages(&body).await;
        assert_eq!(newest.status, 200, "{}", newest.text());
        body["temperature"] = json!(0.5);
        for version in ["2023-06-01", "2099-01-01"] {
            let reply = gateway.caller().header("anthropic-version", version).messages(&body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(gateway.caller().messages(&body).await.status, 200);
    }
}
