//! What the metrics say of the store. Alone in its process: a process has one recorder, and the first gateway takes it.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, hello, metric, on_tables};
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};

#[tokio::test]
async fn every_call_of_the_store_is_counted_by_what_it_was_and_how_it_ended() {
    let Some(tables) = stand_in::tables().await else { return };
    let proxy = FaultProxy::start(stand_in::url().unwrap()).await;
    let mut options = Options::with_keys(&["--rate-limit-enabled=false"]);
    options.settings.extend(on_tables(&tables, &proxy.url()));
    let gateway = Gateway::with(options).await;
    let counted = async |operation: &str, outcome: &str| {
        let metrics = gateway.caller().get("/metrics").await.text();
        let operation = format!("operation=\"{operation}\"");
        let outcome = format!("outcome=\"{outcome}\"");
        metric(&metrics, "outcrop_store_operations_total", &[&operation, &outcome])
    };
    let (key, record) = gateway.key_with(|_| ()).await;
    for _ in 0..3 {
        let reply = Caller::new(gateway.addr, &key).messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    gateway.rows_of(&record.key_id, 3).await;
    assert_eq!(counted("key_by_hash", "ok").await, Some(1.0), "the other requests asked nobody");
    assert!(counted("record_paid_usage", "ok").await.is_some());
    assert_eq!(gateway.store.update_key(&record).await.unwrap().version, 2);
    assert!(gateway.store.update_key(&record).await.is_err());
    assert_eq!(
        (counted("update_key", "ok").await, counted("update_key", "conflict").await),
        (Some(1.0), Some(1.0))
    );
    proxy.all(Fate::Cut);
    let unknown = Caller::new(gateway.addr, "a-key-that-nobody-has-heard-of");
    assert_eq!(unknown.messages(&hello(CLAUDE, "Hi", false)).await.status, 503);
    assert_eq!(counted("key_by_hash", "unavailable").await, Some(1.0));
    let metrics = gateway.caller().get("/metrics").await.text();
    let timed = metric(&metrics, "outcrop_store_duration_seconds_count", &["operation=\"key_by_hash\""]);
    assert_eq!(timed, Some(2.0), "{metrics}");
}
