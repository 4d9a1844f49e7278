//! Whose key it is, how long it counts, and what its lists allow.

use super::*;

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
