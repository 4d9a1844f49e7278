//! What is tried again and what is not, over real TCP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::time::Duration;

use bedrock::{Client, Health, Kind, Settings};
use outcrop_bedrock as bedrock;
use support::{Do, Upstream, answer, converse, exception, ok};

/// An upstream that gives these answers in turn, whatever the connection.
fn answering(answers: &[Vec<u8>]) -> Upstream {
    let steps = answers.iter().flat_map(|wire| [Do::Read, Do::Send(wire.clone())]).collect();
    Upstream::start([steps])
}

#[tokio::test]
async fn a_throttled_call_is_tried_again() {
    let upstream = answering(&[exception("429 Too Many", "ThrottlingException", "slow"), ok("{}")]);
    let client = upstream.client().await;
    assert_eq!(client.send(&converse("{\"same\":1}")).await.unwrap().attempts, 2);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(client.health(), Health { succeeded: 1, ..Health::default() });
}

#[tokio::test]
async fn attempts_end_where_the_settings_say() {
    let down = || answer("503 Service Unavailable", "", "<html>down</html>");
    let upstream = answering(&[down(), down(), down(), down()]);
    let client = upstream.client().await;
    let error = client.send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts, error.status), (Kind::ServiceUnavailable, 3, Some(503)));
    assert_eq!(error.message, "The upstream answered with status 503: down");
    assert_eq!(upstream.seen().len(), 3);
    assert_eq!(client.health().failed, 1);
}

#[tokio::test]
async fn refusals_are_attempted_exactly_once() {
    for (status, name, kind) in [
        ("400 Bad Request", "ValidationException", Kind::Validation),
        ("403 Forbidden", "AccessDeniedException", Kind::AccessDenied),
        ("404 Not Found", "ResourceNotFoundException", Kind::NotFound),
        ("400 Bad Request", "ServiceQuotaExceededException", Kind::ServiceQuota),
        ("403 Forbidden", "InvalidSignatureException", Kind::Credentials),
    ] {
        let upstream = answering(&[exception(status, name, "no"), ok("{}")]);
        let error = upstream.client().await.send(&converse("{}")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (kind, 1));
        assert_eq!(upstream.seen().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_long_retry_after_is_passed_on_instead_of_waited_for() {
    let upstream = answering(&[answer("429 Too Many", "Retry-After: 60\r\n", "{}"), ok("{}")]);
    let error = upstream.client().await.send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::Throttling, 1));
    assert_eq!(error.retry_after, Some(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let upstream = answering(&[answer("429 Too Many", "retry-after: 0\r\n", "{}"), ok("{}")]);
    assert_eq!(upstream.client().await.send(&converse("{}")).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    let expired = || exception("403 Forbidden", "ExpiredTokenException", "The security token is expired");
    let upstream = answering(&[expired(), ok("{}")]);
    assert_eq!(upstream.client().await.send(&converse("{}")).await.unwrap().attempts, 2);

    let upstream = answering(&[expired(), expired(), ok("{}")]);
    let error = upstream.client().await.send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::Credentials, 2));
}

#[tokio::test]
async fn a_refused_signature_is_repeated_once_by_the_upstreams_clock() {
    let headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-amzn-ErrorType: InvalidSignatureException\r\n";
    let refused = || answer("403 Forbidden", headers, r#"{"message":"Signature expired"}"#);
    let upstream = answering(&[refused(), ok("{}"), refused()]);
    let client = upstream.client().await;
    assert_eq!(client.send(&converse("{}")).await.unwrap().attempts, 2);
    let dates: Vec<String> =
        upstream.seen().iter().map(|seen| seen.header("x-amz-date").unwrap().to_owned()).collect();
    assert!(!dates[0].starts_with("19941106T") && dates[1].starts_with("19941106T08"), "{dates:?}");

    let error = client.send(&converse("{}")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.attempts),
        (Kind::Credentials, 1),
        "the clocks agree now, so it is not the clock"
    );
}

#[tokio::test]
async fn the_retry_budget_ends_retries_for_all() {
    let down = answer("500 Oops", "", "{}");
    let upstream =
        Upstream::start(vec![vec![Do::Read, Do::Send(down.clone()), Do::Read, Do::Send(down)]; 40]);
    let settings = Settings { retry_budget_percent: 1, max_attempts: 2, ..upstream.settings() };
    let client = Client::connect(settings).await.unwrap();
    for _ in 0..20 {
        client.for_worker().send(&converse("{}")).await.unwrap_err();
    }
    assert_eq!(upstream.seen().len(), 20 + 10, "ten retries, and what 20 requests earn at 1 % is none");
}

#[tokio::test]
async fn a_caller_that_leaves_during_the_back_off_stops_the_retries() {
    let upstream = answering(&[answer("429 Too Many", "Retry-After: 1\r\n", "{}"), ok("{}")]);
    let client = upstream.client().await;
    let task = tokio::spawn(async move { client.send(&converse("{}")).await.map(|_| ()) });
    upstream.heard(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    task.abort();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(upstream.seen().len(), 1);
}
