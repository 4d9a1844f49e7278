//! What a call leaves behind.

use super::*;

#[tokio::test]
async fn a_settled_call_is_booked_once_with_its_price() {
    let f = fixture(config());
    let (key, record) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let mut admission = at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0))).unwrap();
    admission.called();
    admission.answered(Some("upstream-1"), 2);
    admission.used(Tokens { input: 10, output: 1, ..Tokens::default() });
    admission.content(4, f.at(1).mono);
    admission.used(Tokens { input: 10, output: 20, ..Tokens::default() });
    admission.settle(done(), f.at(2).mono);
    let rows = f.rows();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((&row.key_id, row.user_id.as_str()), (&record.key_id, "alice"));
    assert_eq!((row.input_tokens, row.output_tokens, row.estimated), (10, 20, false));
    assert_eq!(row.cost_pico_usd, Some(PicoUsd(10 * 3_000_000 + 20 * 15_000_000)));
    assert_eq!((row.latency_ms, row.ttft_ms, row.attempts), (2000, Some(1000), 2));
    assert_eq!(row.resolved_model, "global.anthropic.claude-sonnet-4-6");
}

#[tokio::test]
async fn a_caller_that_leaves_is_booked_with_what_it_got() {
    let f = fixture(config());
    let (key, _) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    drop(at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0))).unwrap());
    assert!(f.rows().is_empty(), "the upstream was not called");
    let mut admission = at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0))).unwrap();
    admission.called();
    admission.content(401, f.at(0).mono);
    drop(admission);
    let row = &f.rows()[0];
    assert_eq!((row.status, row.http_status, row.estimated), (RowStatus::ClientClosed, 499, true));
    assert_eq!((row.input_tokens, row.output_tokens), (40, 101));
}

#[tokio::test]
async fn an_upstream_that_refuses_costs_nothing_and_one_that_dies_costs_what_it_gave() {
    let f = fixture(config());
    let (key, _) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let failed = End {
        status: RowStatus::UpstreamError,
        http_status: 500,
        error_type: Some("api_error"),
        stop_reason: None,
    };
    let mut refused = at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0))).unwrap();
    refused.called();
    refused.settle(failed.clone(), f.at(0).mono);
    let mut died = at_once(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0))).unwrap();
    died.called();
    died.used(Tokens { input: 25, output: 1, ..Tokens::default() });
    died.content(80, f.at(0).mono);
    died.settle(failed, f.at(0).mono);
    let rows = f.rows();
    assert_eq!((rows[0].input_tokens, rows[0].output_tokens, rows[0].estimated), (0, 0, false));
    assert_eq!((rows[1].input_tokens, rows[1].output_tokens, rows[1].estimated), (25, 20, true));
}

#[tokio::test]
async fn several_calls_under_one_admission_have_a_row_each_and_count_together() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.tpm_limit = Some(100)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let ask = Ask { input_estimate: 60, ..ask("amazon.titan-embed-text-v2:0") };
    let mut admission = admitted(&f, &caller, ask, f.at(0)).unwrap();
    let begun: Vec<_> = (0..4).map(|_| admission.begin(15, f.at(0).mono)).collect();
    let ended = |input: Option<u64>, end: End| Ended {
        tokens: input.map(|input| Tokens { input, ..Tokens::default() }),
        end,
        attempts: 2,
        upstream_request_id: Some("x".to_owned()),
        place: None,
    };
    let failed = End { status: RowStatus::UpstreamError, http_status: 429, ..done() };
    admission.ended(begun[2], ended(Some(10), done()), f.at(1).mono);
    admission.ended(begun[0], ended(Some(7), done()), f.at(2).mono);
    admission.ended(begun[1], ended(None, failed.clone()), f.at(3).mono);
    // The fourth was given up: it may have run all the same.
    assert_eq!(admission.settle(failed, f.at(3).mono).input, 7 + 10 + 15);
    let rows = f.rows();
    let brief: Vec<_> = rows
        .iter()
        .map(|row| (row.round, row.input_tokens, row.estimated, row.status, row.attempts, row.latency_ms))
        .collect();
    assert_eq!(
        brief,
        [
            (0, 7, false, RowStatus::Ok, 2, 2000),
            (1, 0, false, RowStatus::UpstreamError, 2, 3000),
            (2, 10, false, RowStatus::Ok, 2, 1000),
            (3, 15, true, RowStatus::ClientClosed, 1, 3000),
        ]
    );
    assert!(rows.iter().all(|row| row.request_id == rows[0].request_id));
    let next = Ask { input_estimate: 90, ..self::ask("amazon.titan-embed-text-v2:0") };
    assert_eq!(admitted(&f, &caller, next.clone(), f.at(3)).unwrap_err(), Gate::Tokens);
    admitted(&f, &caller, Ask { input_estimate: 68, ..next }, f.at(3)).unwrap();
}
