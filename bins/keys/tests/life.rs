//! The real binary: the life of a key from its addresses to its end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::thread;

use serde_json::Value;
use store::{KeyStatus, Timestamp};
use support::Desk;

const DAY: i64 = Timestamp::DAY_MILLIS;

#[test]
fn a_rotated_key_is_shown_once_and_the_old_one_goes_on() {
    let desk = Desk::new();
    let base = ["create", "-u", "amalia", "-n", "laptop", "-r", "7", "--owner", "Bea", "--json"];
    let made = desk.run(&base).json();
    let (id, old) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let before = Timestamp::now();
    let told = desk.run(&["rotate", id]);
    assert!(told.err.contains("cannot be shown again") && told.err.contains("goes on until"), "{}", told.err);
    let out = told.ok();
    let new = out.split_whitespace().find(|word| word.starts_with("sk-oc-") && word.len() == 55).unwrap();
    assert_eq!(out.matches(new).count(), 1);
    let (by_old, by_new) = (desk.found(old, None).unwrap(), desk.found(new, None).unwrap());
    assert_eq!(by_new.key_id.as_str(), id);
    assert_eq!((by_new.rate_limit, by_new.owner_name.as_deref()), (Some(7), Some("Bea")));
    assert_eq!((by_new.valid_until, by_new.version), (None, 2));
    let until = by_old.valid_until.unwrap();
    assert!(
        until >= before.plus_millis(DAY) && until <= Timestamp::now().plus_millis(DAY),
        "a day by default"
    );
    assert!(desk.run(&["show", id]).ok().contains(&format!("until {until}")));
    for arguments in [&["show", id, "--json"][..], &["list", "--json"]] {
        let shown = desk.run(arguments).ok();
        assert!(!shown.contains(new) && !shown.contains(old) && !shown.contains("hash"), "{shown}");
    }
    // Again while the first overlap lasts: each old key has its own end.
    let third = desk.run(&["rotate", id, "--overlap", "1h", "-q"]).ok();
    assert_eq!(desk.found(old, None).unwrap().valid_until, Some(until));
    assert!(desk.found(new, None).unwrap().valid_until.unwrap() < until);
    assert_eq!(desk.found(third.trim_end(), None).unwrap().valid_until, None);
    assert_eq!(desk.run(&["list", "-q"]).ok().lines().count(), 1);
}

#[test]
fn a_rotation_without_overlap_ends_the_old_key_at_once() {
    let desk = Desk::new();
    let (id, old) = desk.create("laptop");
    let rotated = desk.run(&["rotate", &id, "--overlap", "0", "--json"]).json();
    assert!(desk.found(&old, None).is_none());
    assert_eq!(desk.found(rotated["key"].as_str().unwrap(), None).unwrap().key_id.as_str(), id);
    assert_eq!((&rotated["status"], &rotated["version"]), (&"active".into(), &2.into()));
}

#[test]
fn one_idempotency_key_makes_one_key_and_a_repeat_says_so_and_is_a_conflict() {
    let desk = Desk::new();
    let (id, old) = desk.create("laptop");
    let rotate = ["rotate", id.as_str(), "--idempotency-key", "deploy-7", "-q"];
    let new = desk.run(&rotate).ok();
    let error = desk.run(&rotate).fails(4);
    assert!(error.contains("shown then"), "{error}");
    // Also after another rotation, and from several hands at once.
    desk.run(&["rotate", &id, "-q"]).ok();
    desk.run(&rotate).fails(4);
    let parallel = ["rotate", id.as_str(), "--idempotency-key", "deploy-8", "-q"];
    let codes: Vec<_> = thread::scope(|scope| {
        let desk = &desk;
        let hands: Vec<_> = (0..4).map(|_| scope.spawn(move || desk.run(&parallel).code)).collect();
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    });
    let count = |code| codes.iter().filter(|&&it| it == code).count();
    assert_eq!((count(0), count(4)), (1, 3), "{codes:?}");
    let record = desk.found(new.trim_end(), None).unwrap();
    assert_eq!((record.version, record.previous.len()), (4, 3));
    assert!(desk.found(&old, None).unwrap().valid_until.is_some());
    desk.run(&["rotate", &id, "--idempotency-key", ""]).fails(2);
    desk.run(&["rotate", &id, "--idempotency-key", "two\nlines"]).fails(2);
}

#[test]
fn what_cannot_be_rotated_stays_as_it_is() {
    let desk = Desk::new();
    let (id, key) = desk.create("laptop");
    for wrong in ["soon", "-1h", "24", ""] {
        desk.run(&["rotate", &id, &format!("--overlap={wrong}")]).fails(2);
    }
    desk.run(&["rotate", "key_0000000000000000"]).fails(3);
    desk.run(&["rotate", &key]).fails(2);
    desk.run(&["revoke", &id]).ok();
    let error = desk.run(&["rotate", &id]).fails(4);
    assert!(error.contains("reactivate"), "{error}");
    let record = desk.found(&key, None).unwrap();
    assert_eq!((record.status(Timestamp::now()), record.previous.len()), (KeyStatus::Revoked, 0));
}

#[test]
fn a_revoked_key_is_revoked_under_every_secret_it_has() {
    let desk = Desk::new();
    let (id, old) = desk.create("laptop");
    let new = desk.run(&["rotate", &id, "-q"]).ok();
    desk.run(&["revoke", &id]).ok();
    for key in [&old, new.trim_end()] {
        assert_eq!(desk.found(key, None).unwrap().status(Timestamp::now()), KeyStatus::Revoked);
    }
}

#[test]
fn a_key_is_deleted_only_on_a_yes() {
    let desk = Desk::new();
    let (id, old) = desk.create("laptop");
    let (other, _) = desk.create("desk");
    let new = desk.run(&["rotate", &id, "-q"]).ok();
    let error = desk.run(&["delete", &id]).fails(2);
    assert!(error.contains("--yes"), "{error}");
    desk.run_with(&["delete", &id], "yes\n").fails(2);
    assert!(desk.found(new.trim_end(), None).is_some());
    let told = desk.run(&["delete", &id, "--yes", "--json"]).json();
    assert_eq!((&told["key_id"], &told["deleted"]), (&id.as_str().into(), &true.into()));
    assert!(desk.found(new.trim_end(), None).is_none() && desk.found(&old, None).is_none());
    assert_eq!(desk.run(&["list", "-q"]).ok().trim_end(), other);
    for arguments in [&["delete", &id, "--yes"][..], &["show", &id], &["rotate", &id], &["revoke", &id]] {
        desk.run(arguments).fails(3);
    }
    assert_eq!(desk.run(&["delete", &other, "--yes", "-q"]).ok().trim_end(), other);
    desk.run(&["delete", "key_", "--yes"]).fails(3);
}

#[test]
fn addresses_are_set_shown_and_taken_away() {
    let desk = Desk::new();
    let base = ["create", "-u", "amalia", "-n", "laptop", "--json"];
    let made = desk
        .run(&[&base[..], &["--allow-ip", "10.0.0.0/8", "--allow-ip", "::ffff:192.0.2.7"]].concat())
        .json();
    assert_eq!(made["allowed_ips"], serde_json::json!(["10.0.0.0/8", "192.0.2.7/32"]));
    let id = made["key_id"].as_str().unwrap();
    assert!(desk.run(&["show", id]).ok().contains("10.0.0.0/8, 192.0.2.7/32"));
    desk.run(&["update", id, "--allow-ip", "2001:db8::/32"]).ok();
    let shown = desk.run(&["show", id, "--json"]).json();
    assert_eq!(shown["allowed_ips"], serde_json::json!(["2001:db8::/32"]));
    for wrong in ["", "10.0.0.5/8", "10.0.0.0/33", "localhost", "*"] {
        let error = desk.run(&["update", id, "--allow-ip", wrong]).fails(2);
        assert!(error.contains("--allow-ip"), "{error}");
        desk.run(&[&base[..], &["--allow-ip", wrong]].concat()).fails(2);
    }
    let many: Vec<_> = (0..65).flat_map(|n| ["--allow-ip".to_owned(), format!("10.0.0.{n}")]).collect();
    let many: Vec<_> = base.into_iter().chain(many.iter().map(String::as_str)).collect();
    desk.run(&many).fails(2);
    desk.run(&["update", id, "--clear", "allow-ip"]).ok();
    assert_eq!(desk.run(&["show", id, "--json"]).json()["allowed_ips"], Value::Null);
}
