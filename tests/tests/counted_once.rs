//! What the metrics say of refusals. Alone in its process: a process has one recorder, and the first gateway takes it.

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, hello};

#[tokio::test]
async fn a_refusal_of_our_own_is_worded_and_counted_once() {
    let gateway =
        Gateway::with(Options::with_keys(&["--auth-failure-limit=2", "--trusted-proxy-hops=1"])).await;
    let guesser = Caller::new(gateway.addr, "guess");
    for _ in 0..2 {
        assert_eq!(guesser.messages(&hello(CLAUDE, "Hi", false)).await.status, 401);
    }
    let reply = guesser.messages(&hello(CLAUDE, "Hi", true)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (429, "rate_limit_error"));
    assert_eq!(reply.header("content-type"), Some("application/json"), "no stream has begun");
    let blocks = vec!["10.0.0.0/8".parse().unwrap()];
    let (bound, _) = gateway.key_with(|record| record.allowed_ips = Some(blocks)).await;
    let bound = Caller::new(gateway.addr, &bound).header("x-forwarded-for", "10.1.2.3, 6.6.6.6");
    assert_eq!(bound.messages(&hello(CLAUDE, "Hi", false)).await.status, 403);
    let metrics = gateway.caller().get("/metrics").await.text();
    assert!(metrics.contains(r#"outcrop_auth_failures_total{reason="address_not_allowed"} 1"#), "{metrics}");
    for (status, count) in [("401", 2), ("403", 1), ("429", 1)] {
        let of = |line: &&str| {
            line.starts_with("outcrop_requests_total{") && line.contains(&format!("\"{status}\""))
        };
        let counts =
            metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        assert_eq!(counts.sum::<u64>(), count, "{status}: {metrics}");
    }
}
