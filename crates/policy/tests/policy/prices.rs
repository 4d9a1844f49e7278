//! What operators' rows say of names and prices.

use super::*;

/// A name for Qwen, and a price for it.
fn rows() -> Rows {
    let (qwen, updated_at) = ("qwen.qwen3-coder-480b-a35b-v1:0", Timestamp::EPOCH);
    let figures = PriceFigures {
        input: 1,
        output: 1_000_000_000,
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
    };
    let price = PriceRow {
        model_id: qwen.to_owned(),
        provider: "qwen".to_owned(),
        display_name: "Qwen".to_owned(),
        figures,
        regional_multiplier: 100,
        band: None,
        source: PriceSource::Manual,
        status: PriceStatus::Active,
        updated_at,
        version: 1,
    };
    let mapping = MappingRow {
        model_id: "claude-sonnet-4-6".to_owned(),
        bedrock_model_id: qwen.to_owned(),
        base_model_id: None,
        updated_at,
        updated_by: None,
        version: 1,
    };
    Rows { mappings: vec![mapping], prices: vec![price], betas: Vec::new() }
}

#[tokio::test]
async fn new_tables_hold_for_new_requests_and_those_under_way_keep_theirs() {
    let f = fixture(config());
    let caller = f.policy.authenticate(&[f.key(|_| {}).await.0], HERE, f.at(0)).await.unwrap();
    let end = |mut admission: Admission| {
        admission.called();
        admission.used(Tokens { input: 7, output: 1, ..Tokens::default() });
        admission.settle(done(), f.at(1).mono);
        f.rows().pop().unwrap()
    };
    let (old_tables, before) =
        (f.policy.tables(), admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap());
    f.policy.use_tables(Tables::new(Catalog::builtin(), &rows()));
    let after = admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    let looked_up_before = Ask { tables: Some(old_tables), ..ask("claude-sonnet-4-6") };
    let between = admitted(&f, &caller, looked_up_before, f.at(0)).unwrap();
    let row = end(after);
    assert_eq!((row.lane.as_str(), row.cost_pico_usd), ("converse", Some(PicoUsd(1_000_000_007))));
    for admission in [before, between] {
        let row = end(admission);
        assert_eq!((row.lane.as_str(), row.cost_pico_usd), ("native", Some(PicoUsd(36_000_000))));
    }
}

#[tokio::test]
async fn a_model_without_a_price_runs_marked_or_is_refused_and_may_be_counted_for() {
    const UNPRICED: &str = "zai.never-heard-of";
    for (unpriced, budget, may_run) in [
        (UnpricedModels::RefuseWithBudget, false, true),
        (UnpricedModels::RefuseWithBudget, true, false),
        (UnpricedModels::Flag, false, true),
        (UnpricedModels::Flag, true, true),
        (UnpricedModels::Refuse, false, false),
        (UnpricedModels::Refuse, true, false),
    ] {
        let f = fixture(Config { unpriced, allow_unknown_models: true, ..config() });
        let (key, _) = f.key(|record| record.budget_daily = budget.then_some(1_000_000)).await;
        let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
        let admitted = f.policy.admit(&caller, ask(UNPRICED), f.at(0)).await;
        if may_run {
            let mut admission = admitted.unwrap();
            admission.called();
            admission.settle(done(), f.at(1).mono);
            assert_eq!(f.rows()[0].cost_pico_usd, None);
        } else {
            let (model, base_id) = (UNPRICED.to_owned(), UNPRICED.to_owned());
            let budgeted = unpriced == UnpricedModels::RefuseWithBudget;
            assert_eq!(admitted.unwrap_err(), Denial::UnpricedModel { model, base_id, budgeted });
        }
        let counting = Ask { counting: true, ..ask(UNPRICED) };
        assert!(f.policy.admit(&caller, counting, f.at(0)).await.is_ok());
        let priced = Ask { max_tokens: Some(1), ..ask("claude-sonnet-4-6") };
        assert!(f.policy.admit(&caller, priced, f.at(0)).await.is_ok());
    }
}

#[tokio::test]
async fn who_has_spent_its_budget_may_not_run_what_has_no_price_either() {
    let unpriced = UnpricedModels::Flag;
    let f = fixture(Config { unpriced, allow_unknown_models: true, ..config() });
    let (key, _) = f.key(|record| record.budget_total = Some(15)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    // A token of Sonnet's output is all that it has.
    let one = Ask { input_estimate: 0, max_tokens: Some(1), ..ask("claude-sonnet-4-6") };
    let mut admission = f.policy.admit(&caller, one, f.at(0)).await.unwrap();
    admission.called();
    admission.used(Tokens { output: 1, ..Tokens::default() });
    admission.settle(done(), f.at(0).mono);
    let denied = f.policy.admit(&caller, ask("zai.never-heard-of"), f.at(0)).await.unwrap_err();
    assert!(matches!(denied, Denial::BudgetExceeded(_)), "{denied:?}");
}

#[tokio::test]
async fn budgets_hold_and_pay_by_the_row_that_the_request_was_admitted_under() {
    let f = fixture(config());
    f.policy.use_tables(Tables::new(Catalog::builtin(), &rows()));
    // A token of output is a thousand micro-dollars by the row, and less than one by the catalogue.
    let (key, _) = f.key(|record| record.budget_total = Some(100_000)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let ask = |tokens, tier| Ask {
        input_estimate: 0,
        max_tokens: Some(tokens),
        tier: Some(tier),
        ..ask("claude-sonnet-4-6")
    };
    let denied = f.policy.admit(&caller, ask(101, ServiceTier::Default), f.at(0)).await.unwrap_err();
    let Denial::BudgetExceeded(why) = denied else { panic!("{denied:?}") };
    assert_eq!(why.need, PicoUsd(101_000_000_000));
    let denied = f.policy.admit(&caller, ask(58, ServiceTier::Priority), f.at(0)).await.unwrap_err();
    let Denial::BudgetExceeded(why) = denied else { panic!("{denied:?}") };
    assert_eq!(why.need, PicoUsd(101_500_000_000), "at the price of the tier");
    let mut admission = f.policy.admit(&caller, ask(57, ServiceTier::Priority), f.at(0)).await.unwrap();
    f.policy.use_tables(Tables::new(Catalog::builtin(), &Rows::default()));
    admission.called();
    admission.sent(ServiceTier::Priority, None);
    admission.used(Tokens { output: 8, ..Tokens::default() });
    admission.settle(done(), f.at(1).mono);
    assert_eq!(f.rows()[0].cost_pico_usd, Some(PicoUsd(14_000_000_000)));
}
