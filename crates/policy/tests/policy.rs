//! Admission over a real store: who gets in, for how long, and what is booked.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::{Catalog, Scope};
use outcrop_policy::{Ask, Config, Denial, End, Now, Policy, Tokens};
use store::{
    KeyHasher, KeyId, KeyRecord, Memory, NewKey, PicoUsd, PresentedKey, RowStatus, Store, Timestamp, UsageRow,
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
        region: "us-east-1".to_owned(),
        target: "default".to_owned(),
        allow_unknown_models: false,
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
        let admitted = f.policy.admit(&caller, ask(model), f.at(0));
        assert_eq!(admitted.is_ok(), allowed, "{model}: {admitted:?}");
    }
}

#[tokio::test]
async fn an_unknown_model_is_told_by_its_name() {
    let f = fixture(config());
    let (key, _) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let denial = f.policy.admit(&caller, ask("gpt-17"), f.at(0)).unwrap_err();
    assert_eq!(denial, Denial::UnknownModel { model: "gpt-17".to_owned() });
    assert!(f.rows().is_empty(), "a refused request makes no row");
}

#[tokio::test]
async fn a_settled_call_is_booked_once_with_its_price() {
    let f = fixture(config());
    let (key, record) = f.key(|_| {}).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    let mut admission = f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
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
    drop(f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap());
    assert!(f.rows().is_empty(), "the upstream was not called");
    let mut admission = f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
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
    let mut refused = f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    refused.called();
    refused.settle(failed.clone(), f.at(0).mono);
    let mut died = f.policy.admit(&caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
    died.called();
    died.used(Tokens { input: 25, output: 1, ..Tokens::default() });
    died.content(80, f.at(0).mono);
    died.settle(failed, f.at(0).mono);
    let rows = f.rows();
    assert_eq!((rows[0].input_tokens, rows[0].output_tokens, rows[0].estimated), (0, 0, false));
    assert_eq!((rows[1].input_tokens, rows[1].output_tokens, rows[1].estimated), (25, 20, true));
}
