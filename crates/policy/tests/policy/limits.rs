//! Limits of requests and of tokens.

use super::*;

#[tokio::test]
async fn limits_come_last_and_a_request_that_is_refused_before_them_costs_nothing() {
    let f = fixture(config());
    let (key, _) = f
        .key(|record| {
            record.rate_limit = Some(2);
            record.denied_models = Some(vec!["*opus*".to_owned()]);
        })
        .await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    for _ in 0..10 {
        for model in ["gpt-17", "claude-opus-4-6"] {
            let denial = at_once(f.policy.admit(&caller, ask(model), f.at(0))).unwrap_err();
            assert!(matches!(denial, Denial::UnknownModel { .. } | Denial::ModelNotAllowed { .. }));
        }
    }
    let admission = admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    assert_eq!(admission.rates().requests.unwrap().remaining, 1);
    assert_eq!(admission.rates().tokens, None);
    drop(admission);
    // A request that was admitted is one, whatever became of it.
    admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    assert_eq!(admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap_err(), Gate::Requests);
    let denial = at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(1))).unwrap_err();
    let Denial::RateLimited { wait, rates, .. } = denial else { panic!("{denial:?}") };
    assert_eq!((wait, rates.requests.unwrap().remaining), (Duration::from_secs(29), 0));
    admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(30)).unwrap();
}

#[tokio::test]
async fn new_limits_hold_within_the_ttl_and_what_was_spent_stays_spent() {
    let f = fixture(config());
    let (key, mut record) = f.key(|record| record.rate_limit = Some(4)).await;
    let keys = [key];
    let caller = f.policy.authenticate(&keys, HERE, f.at(0)).await.unwrap();
    for _ in 0..4 {
        admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    }
    record.rate_limit = Some(6);
    record = f.store.update_key(&record).await.unwrap();
    let caller = f.policy.authenticate(&keys, HERE, f.at(4)).await.unwrap();
    assert_eq!(admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap_err(), Gate::Requests);
    let caller = f.policy.authenticate(&keys, HERE, f.at(5)).await.unwrap();
    let last: Vec<_> =
        (0..3).map(|_| admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).map(drop)).collect();
    assert_eq!(last, [Ok(()), Ok(()), Err(Gate::Requests)]);
    record.rate_limit = Some(0);
    f.store.update_key(&record).await.unwrap();
    let caller = f.policy.authenticate(&keys, HERE, f.at(1000)).await.unwrap();
    assert_eq!(admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(1000)).unwrap_err(), Gate::Requests);
}

#[tokio::test]
async fn five_parallel_requests_under_a_hundred_tokens_reserve_no_more_than_that() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.tpm_limit = Some(100)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let small = || Ask { input_estimate: 10, max_tokens: Some(30), ..ask("claude-sonnet-4-6") };
    let open: Vec<_> = (0..5).filter_map(|_| admitted(&f, &caller, small(), f.at(0)).ok()).collect();
    assert_eq!(open.len(), 2, "40 tokens each");
    // Settled as Bedrock counts: output five times, cache reads not at all.
    for mut admission in open {
        admission.called();
        admission.used(Tokens {
            input: 5,
            output: 12,
            cache_read: 8000,
            cache_write_5m: 1,
            ..Tokens::default()
        });
        admission.settle(done(), f.at(0).mono);
    }
    // 2 × (5 + 1 + 5 × 12) is 32 more than there were; the debt is paid before the next runs.
    let denial = at_once(f.policy.admit(&caller, small(), f.at(0))).unwrap_err();
    let Denial::RateLimited { gate: Gate::Tokens, wait, .. } = denial else { panic!("{denial:?}") };
    assert_eq!(wait, Duration::from_millis((32 + 40) * 600));
    assert_eq!(admitted(&f, &caller, small(), f.at(43)).unwrap_err(), Gate::Tokens);
    admitted(&f, &caller, small(), f.at(44)).unwrap();
}

#[tokio::test]
async fn tokens_that_were_reserved_and_not_used_come_back() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.tpm_limit = Some(100)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let large = || Ask { max_tokens: Some(60), ..ask("claude-sonnet-4-6") };
    let left = |f: &Fixture| {
        let counting = Ask { counting: true, ..ask("claude-sonnet-4-6") };
        let admission = at_once(f.policy.admit(&caller, counting, f.at(0))).unwrap();
        admission.rates().tokens.unwrap().remaining
    };
    drop(admitted(&f, &caller, large(), f.at(0)).unwrap());
    assert_eq!(left(&f), 100, "the upstream was never called");
    let mut refused = admitted(&f, &caller, large(), f.at(0)).unwrap();
    refused.called();
    let failed =
        End { status: RowStatus::UpstreamError, http_status: 429, error_type: None, stop_reason: None };
    refused.settle(failed, f.at(0).mono);
    assert_eq!(left(&f), 100, "the upstream refused and billed nothing");
    let mut gone = admitted(&f, &caller, large(), f.at(0)).unwrap();
    gone.called();
    gone.used(Tokens { input: 20, output: 2, ..Tokens::default() });
    drop(gone);
    assert_eq!(left(&f), 70, "the caller left and pays for what it got");
}

#[tokio::test]
async fn without_a_number_of_its_own_a_request_reserves_what_the_model_makes_at_most() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.tpm_limit = Some(1_000_000)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let left = |max_tokens, model| {
        let admission = admitted(&f, &caller, Ask { max_tokens, ..ask(model) }, f.at(0)).unwrap();
        1_000_000 - admission.rates().tokens.unwrap().remaining
    };
    assert_eq!(left(None, "claude-sonnet-4-5"), 64_000 + 40);
    assert_eq!(left(Some(u64::MAX), "claude-sonnet-4-5"), 64_000 + 40, "more is clamped before it is sent");
    assert_eq!(left(Some(7), "claude-sonnet-4-5"), 47);
    assert_eq!(left(None, "amazon.titan-embed-text-v2:0"), 40);
}

#[tokio::test]
async fn callers_without_a_record_have_the_limits_of_the_settings() {
    let rates = RateConfig { requests: 2, master_requests: 3, ..RateConfig::default() };
    let f = fixture(Config { require_key: false, rates, ..config() });
    let master = PresentedKey::new("the-master-key-of-this-test");
    for (keys, limit) in [(vec![master], 3), (vec![], 2)] {
        let caller = f.policy.authenticate(&keys, HERE, f.at(0)).await.unwrap();
        let passed =
            (0..5).filter(|_| admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).is_ok()).count();
        assert_eq!(passed, limit);
    }
}
