//! An upstream that refuses, stalls, resets, throttles, or dies mid-stream.

use std::collections::BTreeSet;
use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{CLAUDE, Gateway, LANES, Options, events, hello};
use store::{Bucket, KeyId, RowStatus};

fn no_waits() -> Options {
    Options::with(&["--bedrock-retry-base-ms=1", "--bedrock-retry-budget-percent=100"])
}

#[tokio::test]
async fn each_exception_has_its_status_and_type() {
    // Without a pool: a reused connection that dies unanswered is replaced without counting as an attempt.
    let gateway =
        Gateway::with(Options::with(&["--bedrock-max-attempts=1", "--bedrock-pool-idle-seconds=0"])).await;
    let cases = [
        (Fault::error(400, "ValidationException", "A certain wording."), 400, "invalid_request_error"),
        (Fault::error(400, "ServiceQuotaExceededException", "quota"), 429, "rate_limit_error"),
        (Fault::error(403, "AccessDeniedException", "You don't have access"), 403, "permission_error"),
        (Fault::error(403, "ExpiredTokenException", "expired"), 502, "api_error"),
        (Fault::error(404, "ResourceNotFoundException", "nowhere"), 404, "not_found_error"),
        (Fault::error(408, "ModelTimeoutException", "slow"), 504, "timeout_error"),
        (Fault::model_error(500), 502, "api_error"),
        (Fault::model_error(400), 400, "invalid_request_error"),
        (Fault::throttle(), 429, "rate_limit_error"),
        (Fault::model_not_ready(), 503, "overloaded_error"),
        (Fault::error(500, "InternalServerException", "oops"), 500, "api_error"),
        (Fault::unavailable(), 503, "overloaded_error"),
        (Fault::Html, 503, "overloaded_error"),
        (Fault::Reset(None), 502, "api_error"),
    ];
    for model in LANES {
        for stream in [false, true] {
            for (fault, status, kind) in &cases {
                gateway.sim.script("", vec![fault.clone()]);
                let reply = gateway.caller().messages(&hello(model, "Hi", stream)).await;
                assert_eq!(reply.status, *status, "{model} {stream} {fault:?}: {}", reply.text());
                assert_eq!(reply.error().0, *kind, "{model} {stream} {fault:?}");
                if matches!(status, 429 | 503) {
                    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
                }
            }
        }
    }
}

#[tokio::test]
async fn upstream_wording_is_kept_and_freed_of_accounts() {
    let gateway = Gateway::start().await;
    let text = "User: arn:aws:sts::123456789012:assumed-role/r is not authorized";
    gateway.sim.script(
        "",
        vec![
            Fault::error(400, "ValidationException", "max_tokens: 7 > 5, which is the maximum"),
            Fault::error(403, "AccessDeniedException", text),
        ],
    );
    let kept = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await.error().1;
    assert_eq!(kept, "max_tokens: 7 > 5, which is the maximum");
    let freed = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await.error().1;
    assert!(!freed.contains("123456789012") && !freed.contains("arn:"), "{freed}");
}

#[tokio::test]
async fn what_is_safe_to_repeat_is_repeated_before_the_first_byte() {
    let gateway = Gateway::with(no_waits()).await;
    for model in LANES {
        for stream in [false, true] {
            let faults = [Fault::throttle(), Fault::unavailable()];
            gateway.sim.script("", faults.to_vec());
            let reply =
                gateway.caller().header("x-outcrop-debug", "1").messages(&hello(model, "Hi", stream)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-outcrop-attempts"), Some("3"));
            gateway.sim.script("", vec![Fault::mid_stream("throttlingException", 0)]);
            let first_frame = gateway.caller().messages(&hello(model, "Hi", stream)).await;
            assert_eq!(first_frame.status, 200, "an exception as the first frame: {}", first_frame.text());
        }
    }
}

#[tokio::test]
async fn what_will_fail_again_is_tried_once() {
    let gateway = Gateway::with(no_waits()).await;
    for kind in ["ValidationException", "AccessDeniedException"] {
        let status = if kind == "ValidationException" { 400 } else { 403 };
        let before = gateway.sim.requests().len();
        gateway.sim.script("", vec![Fault::error(status, kind, "no")]);
        assert_eq!(gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await.status, status);
        assert_eq!(gateway.sim.requests().len(), before + 1, "{kind}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_one_error_event_and_is_not_replayed() {
    let gateway = Gateway::with(no_waits()).await;
    let cases = [
        (Fault::mid_stream("throttlingException", 4), "rate_limit_error"),
        (Fault::mid_stream("modelStreamErrorException", 4), "api_error"),
        (Fault::mid_stream("serviceUnavailableException", 4), "overloaded_error"),
        (Fault::mid_stream("internalServerException", 4), "api_error"),
        (Fault::mid_stream("validationException", 4), "invalid_request_error"),
        (Fault::mid_stream("modelTimeoutException", 4), "timeout_error"),
        (Fault::Reset(Some(4)), "api_error"),
        (Fault::Truncate(4), "api_error"),
        (Fault::WrongChecksum(4), "api_error"),
    ];
    for model in LANES {
        for (fault, kind) in &cases {
            let before = gateway.sim.requests().len();
            gateway.sim.script("", vec![fault.clone()]);
            let reply = gateway.caller().messages(&hello(model, "sim:words=20", true)).await;
            assert_eq!(reply.status, 200);
            assert!(reply.complete, "the reply itself ends properly");
            let stream = events(&reply.text());
            let (name, last) = stream.last().unwrap();
            assert_eq!(
                (name.as_str(), last["error"]["type"].as_str().unwrap()),
                ("error", *kind),
                "{fault:?}"
            );
            assert_eq!(last["request_id"].as_str(), reply.header("request-id"));
            assert_eq!(stream.iter().filter(|(name, _)| name == "error").count(), 1, "{fault:?}");
            assert_eq!(stream.iter().filter(|(name, _)| name == "message_start").count(), 1);
            assert_eq!(gateway.sim.requests().len(), before + 1, "nothing is replayed");
        }
    }
    let rows = gateway.rows(cases.len() * 2).await;
    // Some four short words came: what frames them is not booked.
    let few = |tokens: u64| (1..10).contains(&tokens);
    assert!(
        rows.iter().all(|row| row.status == RowStatus::UpstreamError && few(row.output_tokens)),
        "{rows:?}"
    );
    // The caller got its headers before.
    assert!(rows.iter().all(|row| row.http_status == 200 && row.error_type.is_some()), "{rows:?}");
}

#[tokio::test]
async fn an_upstream_that_stalls_meets_its_deadline() {
    let settings = [
        "--bedrock-first-byte-timeout-seconds=0.3",
        "--bedrock-idle-timeout-seconds=0.3",
        "--bedrock-timeout=0.5",
        "--bedrock-max-attempts=1",
    ];
    let gateway = Gateway::with(Options::with(&settings)).await;
    let long = Duration::from_secs(5);
    for model in LANES {
        for stream in [false, true] {
            gateway.sim.script("", vec![Fault::Stall(Place::Headers, long)]);
            let reply = gateway.caller().messages(&hello(model, "Hi", stream)).await;
            assert_eq!((reply.status, reply.error().0.as_str()), (504, "timeout_error"), "{model} {stream}");
        }
        gateway.sim.script("", vec![Fault::Stall(Place::Events(3), long)]);
        let reply = gateway.caller().messages(&hello(model, "sim:words=20", true)).await;
        let stream = events(&reply.text());
        assert_eq!(stream.last().unwrap().1["error"]["type"], "timeout_error", "{model}");
    }
}

#[tokio::test]
async fn frames_cut_anywhere_and_unknown_parts_change_nothing() {
    let gateway = Gateway::start().await;
    for model in LANES {
        let plain = gateway.caller().messages(&hello(model, "sim:words=12", true)).await;
        let text = |reply: &outcrop_tests::Reply| -> String {
            let deltas = events(&reply.text());
            deltas.iter().filter_map(|(_, data)| data["delta"]["text"].as_str().map(str::to_owned)).collect()
        };
        for fault in [
            Fault::OneByteWrites,
            Fault::SplitUtf8,
            Fault::UnknownEvent,
            Fault::UnknownMember,
            Fault::EmptyStart,
        ] {
            gateway.sim.script("", vec![fault.clone()]);
            let reply = gateway.caller().messages(&hello(model, "sim:words=12", true)).await;
            assert_eq!(text(&reply), text(&plain), "{model} {fault:?}");
            assert_eq!(events(&reply.text()).last().unwrap().0, "message_stop", "{model} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_overflow_is_worded_so_that_clients_compact() {
    let gateway = Gateway::start().await;
    for wording in [
        "Input is too long for requested model.",
        "Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
    ] {
        gateway.sim.script("", vec![Fault::error(400, "ValidationException", wording)]);
        let (_, message) = gateway.caller().messages(&hello(CLAUDE, "Hi", true)).await.error();
        assert!(message.starts_with("prompt is too long: ") && message.contains(" tokens > "), "{message}");
    }
}

#[tokio::test]
async fn a_field_that_bedrock_refuses_by_name_is_left_out_and_remembered() {
    let gateway = Gateway::start().await;
    let mut request = hello(CLAUDE, "Hi", false);
    request["brand_new_field"] = serde_json::json!({ "a": 1 });
    assert_eq!(gateway.caller().messages(&request).await.status, 200);
    assert_eq!(gateway.sim.requests().len(), 2, "refused once, then sent without it");
    assert_eq!(gateway.caller().messages(&request).await.status, 200);
    assert_eq!(gateway.sim.requests().len(), 3, "remembered");
}

#[tokio::test]
async fn streams_of_one_caller_after_another_share_an_upstream_connection() {
    let gateway = Gateway::start().await;
    for model in LANES {
        for _ in 0..5 {
            let reply = gateway.caller().messages(&hello(model, "Hi", true)).await;
            assert_eq!(events(&reply.text()).last().unwrap().0, "message_stop");
        }
    }
    let connections: BTreeSet<_> = gateway.sim.requests().iter().map(|request| request.peer).collect();
    assert_eq!(connections.len(), 1, "a stream that is read to its end gives its connection back");
}

#[tokio::test]
async fn a_call_after_two_retries_is_one_row_and_one_charge() {
    let gateway = Gateway::with(no_waits()).await;
    for model in LANES {
        for stream in [false, true] {
            gateway.sim.script("", vec![Fault::throttle(), Fault::unavailable()]);
            assert_eq!(gateway.caller().messages(&hello(model, "Hi", stream)).await.status, 200);
        }
    }
    let (rows, served) = (gateway.rows(4).await, gateway.sim.served());
    assert!(rows.iter().all(|row| row.attempts == 3 && row.round == 0), "{rows:?}");
    let store = gateway.ended().await;
    let totals = store.usage_totals(&KeyId::master(), &Bucket::Total).await.unwrap();
    assert_eq!((totals.requests, totals.errors), (4, 0));
    assert_eq!((totals.input_tokens, totals.output_tokens), (served.input_tokens, served.output_tokens));
    let costs: u128 = rows.iter().map(|row| row.cost_pico_usd.unwrap().0).sum();
    assert_eq!(totals.cost_pico_usd.0, costs);
}

#[tokio::test]
async fn a_base_id_that_needs_a_profile_is_a_400_that_says_so() {
    let gateway = Gateway::with(Options::with(&["--bedrock-inference-scope=base"])).await;
    for stream in [false, true] {
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", stream)).await;
        let (kind, message) = reply.error();
        assert_eq!((reply.status, kind.as_str()), (400, "invalid_request_error"));
        assert!(
            message.contains("on-demand throughput") && message.contains("inference profile"),
            "{message}"
        );
    }
    assert_eq!(gateway.sim.requests().len(), 2, "each was tried once");
}
