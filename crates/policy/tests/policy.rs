//! Admission over a real store: who gets in, for how long, and what is booked.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use catalog::{Catalog, Scope, ServiceTier};
use outcrop_policy::{
    Admission, Ask, Caller, Config, Denial, End, Ended, Gate, Now, Place, Policy, RateConfig, Rows, Tables,
    Tokens, UnpricedModels,
};
use store::{
    KeyHasher, KeyId, KeyRecord, MappingRow, Memory, NewKey, PicoUsd, PresentedKey, PriceFigures, PriceRow,
    PriceSource, PriceStatus, RowStatus, Store, Timestamp, UsageRow,
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Fixture {
    policy: Policy,
    store: Arc<Memory>,
    hasher: KeyHasher,
    rows: Arc<Mutex<Vec<UsageRow>>>,
    start: Instant,
}

fn config() -> Config {
    Config {
        require_key: true,
        key_ttl: Duration::from_secs(5),
        store_grace: Duration::from_mins(5),
        key_cache: 100,
        failure_limit: 3,
        scope: Scope::Global,
        place: Place { target: "default".into(), region: "us-east-1".into() },
        others: Vec::new(),
        allow_unknown_models: false,
        tier: ServiceTier::Default,
        unpriced: UnpricedModels::default(),
        rates: RateConfig::default(),
    }
}

fn fixture(config: Config) -> Fixture {
    let store = Arc::new(Memory::new());
    let hasher = KeyHasher::new(&[7; 32]).unwrap();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&rows);
    let policy = Policy::new(
        config,
        Catalog::builtin(),
        Arc::clone(&store) as Arc<dyn Store>,
        hasher.clone(),
        Some(&PresentedKey::new("the-master-key-of-this-test")),
        Arc::new(move |row| book.lock().unwrap().push(row)),
    );
    Fixture { policy, store, hasher, rows, start: Instant::now() }
}

impl Fixture {
    fn at(&self, seconds: u64) -> Now {
        let wall = Timestamp::from_unix_millis(1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000);
        Now { wall, mono: self.start + Duration::from_secs(seconds) }
    }

    async fn key(&self, change: impl FnOnce(&mut KeyRecord)) -> (PresentedKey, KeyRecord) {
        let mut rng = rand::rng();
        let key = NewKey::generate(&mut rng);
        let now = self.at(0).wall;
        let mut record = KeyRecord::new(KeyId::generate(&mut rng), &key, "alice", "laptop", now);
        change(&mut record);
        self.store.put_new_key(&self.hasher.hash_new(&key), &record).await.unwrap();
        (PresentedKey::new(key.reveal()), record)
    }

    fn rows(&self) -> Vec<UsageRow> {
        self.rows.lock().unwrap().clone()
    }
}

fn ask(model: &str) -> Ask {
    Ask {
        request_id: "req_1".to_owned(),
        surface: "messages",
        model: model.to_owned(),
        input_estimate: 40,
        ..Ask::default()
    }
}

/// Without a budget nobody is asked, so that an admission is there at once.
fn at_once<T>(admitted: impl Future<Output = T>) -> T {
    match std::pin::pin!(admitted).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(admitted) => admitted,
        Poll::Pending => panic!("something was waited for"),
    }
}

fn done() -> End {
    End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None }
}

#[tokio::test]
async fn a_valid_key_admits_and_every_other_one_reads_the_same() {
    let f = fixture(config());
    let (key, record) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    assert_eq!((caller.key_id(), caller.user_id()), (&record.key_id, "alice"));
    let unknown = NewKey::generate(&mut rand::rng());
    for text in [unknown.reveal(), "sk-oc-short", "' OR '1'='1", ""] {
        let denied =
            f.policy.authenticate(&[PresentedKey::new(text)], "10.9.9.9".parse().unwrap(), f.at(0)).await;
        assert!(matches!(denied, Err(Denial::InvalidKey | Denial::TooManyFailures { .. })), "{text}");
    }
    assert_eq!(f.policy.authenticate(&[], HERE, f.at(0)).await.unwrap_err(), Denial::MissingKey);
}

#[tokio::test]
async fn of_two_different_credentials_either_valid_one_admits() {
    let f = fixture(config());
    let (key, _) = f.key(|_| {}).await;
    let wrong = PresentedKey::new("not-a-key-that-anybody-has");
    assert!(f.policy.authenticate(&[wrong.clone(), key.clone()], HERE, f.at(0)).await.is_ok());
    assert!(f.policy.authenticate(&[key, wrong], HERE, f.at(0)).await.is_ok());
    let master = PresentedKey::new("the-master-key-of-this-test");
    assert_eq!(f.policy.authenticate(&[master], HERE, f.at(0)).await.unwrap().key_id(), &KeyId::master());
}

#[tokio::test]
async fn an_older_key_goes_on_until_its_end_exactly_and_shares_the_limits() {
    let f = fixture(Config { key_ttl: Duration::from_hours(1), ..config() });
    let (old, record) = f.key(|record| record.rate_limit = Some(2)).await;
    let new = NewKey::generate(&mut rand::rng());
    let rotated = record.rotated(&new, 10_000, None, f.at(0).wall).unwrap();
    f.store.rotate_key(&rotated, &f.hasher.hash_new(&new)).await.unwrap();
    let new = PresentedKey::new(new.reveal());
    let mut taken = 0;
    for key in [&old, &new, &old] {
        let caller = f.policy.authenticate(std::slice::from_ref(key), HERE, f.at(1)).await.unwrap();
        assert_eq!(caller.key_id(), &record.key_id);
        taken += u32::from(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(1)).await.is_ok());
    }
    assert_eq!(taken, 2, "one limit for both");
    let nine = Now { wall: f.at(10).wall.plus_millis(-1), ..f.at(9) };
    assert!(f.policy.authenticate(std::slice::from_ref(&old), HERE, nine).await.is_ok());
    // Although it was remembered for an hour.
    let denial = f.policy.authenticate(std::slice::from_ref(&old), HERE, f.at(10)).await.unwrap_err();
    assert_eq!(denial, Denial::InvalidKey);
    assert!(f.policy.authenticate(&[new], HERE, f.at(10)).await.is_ok());
}

#[tokio::test]
async fn an_overlap_shorter_than_the_ttl_is_exact_as_soon_as_the_new_key_is_used() {
    let f = fixture(Config { key_ttl: Duration::from_hours(1), ..config() });
    let (old, record) = f.key(|_| {}).await;
    let old = std::slice::from_ref(&old);
    f.policy.authenticate(old, HERE, f.at(0)).await.unwrap();
    let new = NewKey::generate(&mut rand::rng());
    let rotated = record.rotated(&new, 2_000, None, f.at(0).wall).unwrap();
    f.store.rotate_key(&rotated, &f.hasher.hash_new(&new)).await.unwrap();
    f.policy.authenticate(&[PresentedKey::new(new.reveal())], HERE, f.at(1)).await.unwrap();
    let last = Now { wall: f.at(2).wall.plus_millis(-1), ..f.at(1) };
    f.policy.authenticate(old, HERE, last).await.unwrap();
    assert_eq!(f.policy.authenticate(old, HERE, f.at(2)).await.unwrap_err(), Denial::InvalidKey);
}

#[tokio::test]
async fn a_change_that_is_seen_under_one_key_of_a_record_holds_under_all_of_them() {
    let f = fixture(Config { key_ttl: Duration::from_hours(1), ..config() });
    let (old, record) = f.key(|_| {}).await;
    let new = NewKey::generate(&mut rand::rng());
    let rotated = record.rotated(&new, 3_600_000, None, f.at(0).wall).unwrap();
    let mut record = f.store.rotate_key(&rotated, &f.hasher.hash_new(&new)).await.unwrap();
    let old = std::slice::from_ref(&old);
    f.policy.authenticate(old, HERE, f.at(1)).await.unwrap();
    record.is_active = false;
    f.store.update_key(&record).await.unwrap();
    f.policy.authenticate(old, HERE, f.at(1)).await.unwrap();
    let seen = f.policy.authenticate(&[PresentedKey::new(new.reveal())], HERE, f.at(1)).await;
    assert_eq!(seen.unwrap_err(), Denial::InvalidKey);
    assert_eq!(f.policy.authenticate(old, HERE, f.at(1)).await.unwrap_err(), Denial::InvalidKey);
}

#[tokio::test]
async fn a_rotated_or_deleted_key_is_refused_within_the_ttl() {
    let f = fixture(config());
    let (replaced, record) = f.key(|_| {}).await;
    let (deleted, other) = f.key(|_| {}).await;
    let both = [&replaced, &deleted].map(std::slice::from_ref);
    for key in both {
        f.policy.authenticate(key, HERE, f.at(0)).await.unwrap();
    }
    let new = NewKey::generate(&mut rand::rng());
    let rotated = record.rotated(&new, 0, None, f.at(0).wall).unwrap();
    f.store.rotate_key(&rotated, &f.hasher.hash_new(&new)).await.unwrap();
    f.store.delete_key(&other.key_id).await.unwrap();
    for key in both {
        assert!(f.policy.authenticate(key, HERE, f.at(4)).await.is_ok(), "still remembered");
        assert_eq!(f.policy.authenticate(key, HERE, f.at(5)).await.unwrap_err(), Denial::InvalidKey);
    }
}

#[tokio::test]
async fn an_address_outside_the_keys_blocks_is_refused_and_no_other_credential_is_spoiled_by_it() {
    let f = fixture(config());
    let blocks = ["10.0.0.0/8", "2001:db8::/32"].map(|block| block.parse().unwrap()).to_vec();
    let (bound, _) = f.key(|record| record.allowed_ips = Some(blocks)).await;
    let (free, _) = f.key(|_| {}).await;
    let from = |address: &str| address.parse::<IpAddr>().unwrap();
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::9"] {
        assert!(f.policy.authenticate(std::slice::from_ref(&bound), from(inside), f.at(0)).await.is_ok());
    }
    for outside in ["11.1.2.3", "::ffff:11.1.2.3", "2001:db9::9", "::", "::1"] {
        let denied = f.policy.authenticate(std::slice::from_ref(&bound), from(outside), f.at(0)).await;
        assert_eq!(denied.unwrap_err(), Denial::AddressNotAllowed, "{outside}");
        assert!(f.policy.authenticate(&[bound.clone(), free.clone()], from(outside), f.at(0)).await.is_ok());
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_the_store_once_each_and_drives_out_no_known_one() {
    let f = fixture(Config { failure_limit: 0, ..config() });
    let (known, record) = f.key(|_| {}).await;
    f.policy.authenticate(std::slice::from_ref(&known), HERE, f.at(0)).await.unwrap();
    let key = NewKey::generate(&mut rand::rng());
    let unknown = PresentedKey::new(key.reveal());
    let refused = async |seconds| {
        let denied = f.policy.authenticate(std::slice::from_ref(&unknown), HERE, f.at(seconds)).await;
        assert_eq!(denied.unwrap_err(), Denial::InvalidKey);
    };
    refused(0).await;
    // Had the store been asked again, it would have known the key by now.
    let late = KeyRecord::new(KeyId::generate(&mut rand::rng()), &key, "bea", "desk", f.at(0).wall);
    f.store.put_new_key(&f.hasher.hash_new(&key), &late).await.unwrap();
    for _ in 0..1_000 {
        refused(4).await;
    }
    assert!(f.policy.authenticate(&[unknown], HERE, f.at(5)).await.is_ok());
    f.store.update_key(&KeyRecord { is_active: false, ..record }).await.unwrap();
    for _ in 0..1_000 {
        let invented = PresentedKey::new(NewKey::generate(&mut rand::rng()).reveal());
        assert!(f.policy.authenticate(&[invented], HERE, f.at(4)).await.is_err());
    }
    assert!(f.policy.authenticate(&[known], HERE, f.at(4)).await.is_ok(), "still remembered");
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_the_ttl_and_an_expired_one_at_once() {
    let f = fixture(config());
    let expires = f.at(3).wall;
    let (expiring, _) = f.key(|record| record.expires_at = Some(expires)).await;
    let (revoked, mut record) = f.key(|_| {}).await;
    for key in [&expiring, &revoked] {
        f.policy.authenticate(std::slice::from_ref(key), HERE, f.at(0)).await.unwrap();
    }
    record.is_active = false;
    f.store.update_key(&record).await.unwrap();
    f.policy.authenticate(std::slice::from_ref(&revoked), HERE, f.at(4)).await.unwrap();
    assert_eq!(f.policy.authenticate(&[revoked], HERE, f.at(5)).await.unwrap_err(), Denial::InvalidKey);
    assert_eq!(f.policy.authenticate(&[expiring], HERE, f.at(3)).await.unwrap_err(), Denial::ExpiredKey);
}

#[tokio::test]
async fn guessing_is_slowed_by_address() {
    let f = fixture(config());
    let guesser: IpAddr = "192.0.2.1".parse().unwrap();
    for _ in 0..3 {
        let denied =
            f.policy.authenticate(&[PresentedKey::new("guess-guess-guess-guess")], guesser, f.at(0)).await;
        assert_eq!(denied.unwrap_err(), Denial::InvalidKey);
    }
    let denied =
        f.policy.authenticate(&[PresentedKey::new("guess-guess-guess-guess")], guesser, f.at(1)).await;
    assert_eq!(denied.unwrap_err(), Denial::TooManyFailures { wait: Duration::from_secs(59) });
}

#[tokio::test]
async fn lists_are_checked_on_the_model_that_will_be_called() {
    let f = fixture(Config { allow_unknown_models: true, ..config() });
    let (key, _) = f
        .key(|record| {
            record.allowed_models = Some(vec!["*claude*".to_owned(), "qwen.*".to_owned()]);
            record.denied_models = Some(vec!["*opus*".to_owned()]);
        })
        .await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    for (model, allowed) in [
        ("claude-sonnet-4-6", true),
        ("us.anthropic.claude-sonnet-4-6", true),
        ("claude-opus-4-6", false),
        ("global.anthropic.claude-opus-4-6-v1", false),
        ("qwen.qwen3-coder-480b-a35b-v1:0", true),
        ("amazon.nova-pro-v1:0", false),
    ] {
        let admitted = at_once(f.policy.admit(&caller, ask(model), f.at(0)));
        assert_eq!(admitted.is_ok(), allowed, "{model}: {admitted:?}");
    }
}

#[tokio::test]
async fn an_unknown_model_is_told_by_its_name() {
    let f = fixture(config());
    let (key, _) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let denial = at_once(f.policy.admit(&caller, ask("gpt-17"), f.at(0))).unwrap_err();
    assert_eq!(denial, Denial::UnknownModel { model: "gpt-17".to_owned() });
    assert!(f.rows().is_empty(), "a refused request makes no row");
}

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

/// Admits and says which gate refused.
fn admitted(f: &Fixture, caller: &Arc<Caller>, ask: Ask, now: Now) -> Result<Admission, Gate> {
    at_once(f.policy.admit(caller, ask, now)).map_err(|denial| match denial {
        Denial::RateLimited { gate, .. } => gate,
        other => panic!("{other:?}"),
    })
}

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

#[tokio::test]
async fn the_key_decides_on_the_tier_then_the_request_then_the_default() {
    let f = fixture(Config { tier: ServiceTier::Reserved, ..config() });
    let (deciding, _) = f.key(|record| record.service_tier = Some(store::ServiceTier::Default)).await;
    let (silent, _) = f.key(|_| {}).await;
    let (flex, reserved) = (ServiceTier::Flex, ServiceTier::Reserved);
    for (key, asked, expected) in [
        (&deciding, Some(flex), ServiceTier::Default),
        (&deciding, None, ServiceTier::Default),
        (&silent, Some(flex), flex),
        (&silent, None, reserved),
    ] {
        let caller = f.policy.authenticate(std::slice::from_ref(key), HERE, f.at(0)).await.unwrap();
        let admission =
            admitted(&f, &caller, Ask { tier: asked, ..ask("claude-sonnet-4-6") }, f.at(0)).unwrap();
        assert_eq!(admission.tier(), expected);
    }
}

#[tokio::test]
async fn the_tier_that_served_is_priced_and_both_tiers_are_booked() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.service_tier = Some(store::ServiceTier::Priority)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    for served in [ServiceTier::Priority, ServiceTier::Flex, ServiceTier::Default] {
        let mut admission = admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
        admission.called();
        admission.sent(ServiceTier::Priority, Some(store::CacheTtl::OneHour));
        admission.served(served);
        admission.used(Tokens { input: 1000, ..Tokens::default() });
        admission.settle(done(), f.at(1).mono);
    }
    let rows = f.rows();
    let costs: Vec<_> = rows.iter().map(|row| row.cost_pico_usd.unwrap().0).collect();
    assert_eq!(costs, [5_250_000_000, 1_500_000_000, 3_000_000_000]);
    assert!(rows.iter().all(|row| row.tier_requested == store::ServiceTier::Priority));
    assert_eq!(rows[1].tier_served, store::ServiceTier::Flex);
    assert!(rows.iter().all(|row| row.cache_ttl == Some(store::CacheTtl::OneHour)));
}

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
