//! Budgets, from the hold to the settlement.

use super::*;

#[tokio::test]
async fn a_budget_is_held_before_and_settled_after_and_a_model_without_a_price_is_refused() {
    let f = fixture(Config { allow_unknown_models: true, ..config() });
    // 1000 output tokens of Sonnet are 15000 micro-dollars.
    let (key, record) = f.key(|record| record.budget_total = Some(150_000)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let small = || Ask { input_estimate: 0, max_tokens: Some(1000), ..ask("claude-sonnet-4-6") };
    let mut open = Vec::new();
    for _ in 0..50 {
        match f.policy.admit(&caller, small(), f.at(0)).await {
            Ok(admission) => open.push(admission),
            Err(Denial::BudgetExceeded(why)) => {
                assert_eq!((why.limit, why.held), (PicoUsd(150_000_000_000), PicoUsd(150_000_000_000)));
                assert_eq!((why.spent, why.resets_at, why.wait), (PicoUsd::ZERO, None, None));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(open.len(), 10);
    // One leaves before its call, one used half, one is lost with its caller, one had no answer.
    open.remove(0);
    open[0].called();
    open[0].used(Tokens { output: 500, ..Tokens::default() });
    open.remove(0).settle(done(), f.at(0).mono);
    open[0].called();
    open[0].used(Tokens { output: 100, ..Tokens::default() });
    open.remove(0);
    open[0].called();
    let failed =
        End { status: RowStatus::UpstreamError, http_status: 429, error_type: None, stop_reason: None };
    open.remove(0).settle(failed, f.at(0).mono);
    let booked: u128 = f.rows().iter().filter_map(|row| row.cost_pico_usd).map(|cost| cost.0).sum();
    assert_eq!(booked, 600 * 15_000_000);
    // Of four holds 6 tenths of one are spent: three fit in again, without asking anybody.
    for _ in 0..3 {
        open.push(at_once(f.policy.admit(&caller, small(), f.at(0))).unwrap());
    }
    assert!(f.policy.admit(&caller, small(), f.at(0)).await.is_err());
    let unknown = f.policy.admit(&caller, ask("some.unknown-model"), f.at(0)).await.unwrap_err();
    let (model, base_id) = ("some.unknown-model".to_owned(), "some.unknown-model".to_owned());
    assert_eq!(unknown, Denial::UnpricedModel { model, base_id, budgeted: true });
    let counting = Ask { counting: true, ..small() };
    assert!(f.policy.admit(&caller, counting, f.at(0)).await.is_ok(), "to count costs nothing");
    assert_eq!(record.budgets().limits.total, Some(PicoUsd(150_000_000_000)));
}

#[tokio::test]
async fn a_refusal_for_its_budget_gives_back_what_the_other_limits_gave() {
    let f = fixture(config());
    let (key, _) = f
        .key(|record| {
            record.budget_daily = Some(1);
            record.rate_limit = Some(1);
            record.concurrency_limit = Some(1);
            record.tpm_limit = Some(100);
        })
        .await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let small = || Ask { input_estimate: 1, max_tokens: Some(50), ..ask("claude-sonnet-4-6") };
    for _ in 0..5 {
        let denied = f.policy.admit(&caller, small(), f.at(0)).await.unwrap_err();
        let Denial::BudgetExceeded(why) = denied else { panic!("{denied:?}") };
        let midnight: Timestamp = "2023-11-15T00:00:00Z".parse().unwrap();
        assert_eq!(why.resets_at, Some(midnight));
        assert_eq!(
            why.wait.unwrap().as_millis(),
            u128::try_from(midnight.unix_millis() - f.at(0).wall.unix_millis()).unwrap()
        );
    }
    // A count of tokens has a bucket of its own, the tokens are the same.
    let counting = Ask { counting: true, ..small() };
    let rates = *at_once(f.policy.admit(&caller, counting, f.at(0))).unwrap().rates();
    assert_eq!(rates.tokens.unwrap().remaining, 100);
}

#[tokio::test]
async fn what_is_held_is_enough_for_the_dearest_place_that_the_call_may_come_to() {
    // Where there is no global profile the same model costs a tenth more.
    let others = vec![Place { target: "gov".into(), region: "us-gov-west-1".into() }];
    let f = fixture(Config { others, ..config() });
    let small = || Ask { input_estimate: 0, max_tokens: Some(1000), ..ask("claude-sonnet-4-6") };
    for (target, budget, fits) in [
        (None, 16_499, false),
        (None, 16_500, true),
        (Some("gov"), 16_499, false),
        (Some("default"), 14_999, false),
        (Some("default"), 15_000, true),
    ] {
        let bound = |record: &mut KeyRecord| {
            record.target = target.map(str::to_owned);
            record.budget_total = Some(budget);
        };
        let (key, _) = f.key(bound).await;
        let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
        let admitted = f.policy.admit(&caller, small(), f.at(0)).await;
        assert_eq!(admitted.is_ok(), fits, "{target:?} {budget}");
        let Ok(mut admission) = admitted else { continue };
        let there = f.policy.in_region(&f.policy.tables(), admission.resolution(), "us-gov-west-1").unwrap();
        if target.is_none() {
            admission.goes_to(&Place { target: "gov".into(), region: "us-gov-west-1".into() }, &there);
        }
        admission.called();
        admission.used(Tokens { output: 1000, ..Tokens::default() });
        admission.settle(done(), f.at(0).mono);
        let cost = f.rows().last().unwrap().cost_pico_usd.unwrap();
        assert_eq!(cost.0, u128::from(budget) * 1_000_000, "all of it, and no more");
    }
}
