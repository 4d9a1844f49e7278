//! What the metrics say of tiers. Alone in its process: a process has one recorder, and the first gateway takes it.

use outcrop_tests::{CLAUDE, Gateway, Options, QWEN, hello};
use serde_json::json;

#[tokio::test]
async fn every_call_by_default_for_want_of_its_tier_is_counted_by_model_and_tier() {
    let gateway = Gateway::with(Options::default()).await;
    for (model, tier) in
        [(CLAUDE, "flex"), (CLAUDE, "reserved"), (QWEN, "reserved"), (QWEN, "flex"), (QWEN, "auto")]
    {
        for stream in [false, true] {
            let mut request = hello(model, "Hi", stream);
            request["service_tier"] = json!(tier);
            assert_eq!(gateway.caller().messages(&request).await.status, 200);
        }
    }
    let metrics = gateway.caller().get("/metrics").await.text();
    let mut counts: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("outcrop_tier_fallbacks_total{")).collect();
    counts.sort_unstable();
    let line = |model, tier| format!("outcrop_tier_fallbacks_total{{model=\"{model}\",tier=\"{tier}\"}} 2");
    let sonnet = "anthropic.claude-sonnet-4-6";
    assert_eq!(counts, [line(sonnet, "flex"), line(sonnet, "reserved"), line(QWEN, "reserved")], "{metrics}");
}
