//! What the metrics say of money. Alone in its process: a process has one recorder, and the first gateway takes it.

use outcrop_tests::{CLAUDE, Gateway, Options, QWEN, hello};

/// The catalogue has no price for it.
const NOVA: &str = "amazon.nova-pro-v1:0";

#[tokio::test]
async fn what_is_booked_is_counted_by_model_and_what_has_no_price_apart() {
    let gateway = Gateway::with(Options::with(&["--unpriced-models=flag"])).await;
    let caller = gateway.caller();
    for model in [CLAUDE, QWEN, CLAUDE, NOVA] {
        assert_eq!(caller.messages(&hello(model, "Hello", false)).await.status, 200, "{model}");
    }
    // Bedrock does not know it either.
    assert_eq!(caller.messages(&hello("acme.never-heard-of", "Hello", false)).await.status, 400);
    let rows = gateway.rows(5).await;
    let metrics = caller.get("/metrics").await.text();
    let value = |name: &str, model: &str, more: &str| {
        let series = format!("{name}{{model=\"{model}\"{more}}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |count| count.parse::<u128>().unwrap())
    };
    for base in ["anthropic.claude-sonnet-4-6", QWEN] {
        let costs = rows.iter().filter(|row| row.base_model == base).map(|row| row.cost_pico_usd.unwrap().0);
        let micro = costs.sum::<u128>() / 1_000_000;
        assert!(micro > 0);
        assert_eq!(value("outcrop_cost_micro_usd_total", base, ",tier=\"default\""), micro, "{metrics}");
    }
    for model in [NOVA, "other"] {
        assert_eq!(value("outcrop_unpriced_requests_total", model, ""), 1, "{model}");
    }
    assert!(!metrics.contains("never-heard-of"), "a label is none of the caller's words");
}
