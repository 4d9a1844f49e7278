//! What the metrics say of budgets and of calls to the upstream. Alone in its process: a process has one recorder, and the first gateway takes it.

use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, hello, metric};

#[tokio::test]
async fn a_share_of_a_budget_is_told_once_by_whichever_gateway_sees_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let settings = ["--store=sqlite", "--budget-alert-percents=50,100", "--lease-ttl-seconds=1"];
        let mut options = Options::with_keys(&settings);
        options.settings.push(format!("--outcrop-db={}", dir.path().join("outcrop.db").display()));
        Gateway::with(options).await
    };
    let (first, second) = (start().await, start().await);
    let (key, record) = first.key_with(|record| record.budget_daily = Some(12_000)).await;
    let ask = async |gateway: &Gateway| {
        let reply = Caller::new(gateway.addr, &key).messages(&hello(CLAUDE, "sim:words=290", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    let name = "outcrop_budget_alerts_total";
    let scraped = async || first.caller().get("/metrics").await.text();
    // Two thirds of it, by two gateways: both see the half.
    ask(&first).await;
    first.rows_of(&record.key_id, 1).await;
    ask(&second).await;
    first.rows_of(&record.key_id, 2).await;
    while metric(&scraped().await, name, &[]).is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = Caller::new(first.addr, &key).messages(&hello(CLAUDE, "sim:words=290", false)).await;
    second.ended().await;
    // A third one begins anew and finds it told.
    let third = start().await;
    let mut small = hello(CLAUDE, "Hi", false);
    small["max_tokens"] = 5.into();
    assert_eq!(Caller::new(third.addr, &key).messages(&small).await.status, 200);
    third.ended().await;
    let metrics = scraped().await;
    assert_eq!(metric(&metrics, name, &["period=\"daily\"", "percent=\"50\""]), Some(1.0), "{metrics}");
    let model = format!("model=\"anthropic.{CLAUDE}\"");
    let took = metric(&metrics, "outcrop_upstream_duration_seconds_count", &[&model, "target=\"default\""]);
    assert!(took.is_some_and(|calls| calls >= 3.0), "{metrics}");
    // By the gateway that is scraped, every few seconds.
    let refills = async || metric(&scraped().await, "outcrop_lease_refills_total", &["outcome=\"granted\""]);
    while refills().await.is_none_or(|count| count < 1.0) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
