//! The real binary, run as a person or a script would run it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, thread};

use serde_json::Value;
use store::{KeyRecord, KeyStatus, PicoUsd, Sqlite, Store, Timestamp};
use support::{Desk, block_on, finish, usage_row};

#[test]
fn a_created_key_is_what_the_gateway_finds() {
    let desk = Desk::new();
    let made = desk
        .run(&[
            "create",
            "--user-id",
            "amalia",
            "--name",
            "laptop",
            "--owner",
            "Amalia Ø.",
            "--expires-in",
            "90d",
            "--allow-model",
            "anthropic.*",
            "--allow-model",
            "qwen.*",
            "--deny-model",
            "*opus*",
            "--meta",
            "team=geology",
            "--meta",
            "cost=a=b",
            "--json",
        ])
        .json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("sk-oc-") && key.len() == 55, "{key}");
    let record = desk.found(key, None).unwrap();
    assert_eq!(record.key_id.as_str(), made["key_id"]);
    assert_eq!((record.user_id.as_str(), record.name.as_str()), ("amalia", "laptop"));
    assert_eq!(record.owner_name.as_deref(), Some("Amalia Ø."));
    assert_eq!(record.allowed_models.unwrap(), ["anthropic.*", "qwen.*"]);
    assert_eq!(record.denied_models.unwrap(), ["*opus*"]);
    assert_eq!(record.metadata["team"], "geology");
    assert_eq!(record.metadata["cost"], "a=b");
    let lasts = record.expires_at.unwrap().unix_millis() - record.created_at.unix_millis();
    assert_eq!(lasts, 90 * 86_400_000);
    assert_eq!(made["status"], "active");
    assert_eq!(made["version"], 1);
}

#[test]
fn the_secret_is_printed_once_and_by_create_alone() {
    let desk = Desk::new();
    let told = desk.run(&["create", "-u", "amalia", "-n", "laptop"]);
    assert!(told.err.contains("cannot be shown again"), "{}", told.err);
    let out = told.ok();
    let key = out
        .split_whitespace()
        .find(|word| word.starts_with("sk-oc-") && word.len() == 55)
        .unwrap()
        .to_owned();
    assert_eq!(out.matches(&key).count(), 1);
    let id = out.split_whitespace().find(|word| word.starts_with("key_")).unwrap().to_owned();
    for arguments in
        [vec!["list"], vec!["show", &id], vec!["revoke", &id], vec!["reactivate", &id], vec!["list", "-q"]]
    {
        for json in [false, true] {
            let mut arguments = arguments.clone();
            if json && !arguments.contains(&"-q") {
                arguments.push("--json");
            }
            let ran = desk.run(&arguments);
            assert!(!ran.out.contains(&key[10..51]) && !ran.err.contains(&key[10..51]), "{arguments:?}");
        }
    }
    // Nor is it in the database.
    let bytes = fs::read(desk.db()).unwrap();
    assert!(!bytes.windows(20).any(|window| window == &key.as_bytes()[20..40]));
}

#[test]
fn quiet_answers_with_the_key_or_the_id_alone() {
    let desk = Desk::new();
    let key = desk.run(&["create", "-u", "amalia", "-n", "laptop", "-q"]).ok();
    assert_eq!(key.len(), 56);
    let record = desk.found(key.trim_end(), None).unwrap();
    let id = format!("{}\n", record.key_id);
    assert_eq!(desk.run(&["list", "--quiet"]).ok(), id);
    for verb in ["show", "revoke", "reactivate"] {
        assert_eq!(desk.run(&[verb, id.trim_end(), "-q"]).ok(), id, "{verb}");
    }
}

#[test]
fn a_key_brought_along_is_taken_and_not_repeated() {
    let desk = Desk::new();
    let own = "sk-elsewhere-0123456789abcdef";
    let made = desk
        .run_with(&["create", "-u", "amalia", "-n", "old", "--from-stdin", "--json"], &format!("{own}\r\n"));
    assert!(!made.out.contains(own));
    let made = made.json();
    assert_eq!(made.get("key"), None);
    assert_eq!(desk.found(own, None).unwrap().key_id.as_str(), made["key_id"]);
    let again = desk.run_with(&["create", "-u", "amalia", "-n", "old", "--from-stdin"], own).fails(4);
    assert!(!again.contains(own), "{again}");
    for unusable in
        ["", "short\n", "two lines\nof some length here\n", &"x".repeat(5_000), "sk-oc-without-a-checksum-x"]
    {
        let error = desk.run_with(&["create", "-u", "a", "-n", "b", "--from-stdin"], unusable).fails(2);
        assert!(unusable.is_empty() || !error.contains(unusable.trim_end()), "{error}");
    }
    assert_eq!(desk.run(&["list", "-q"]).ok().lines().count(), 1);
}

#[test]
fn wrong_usage_and_wrong_values_are_exit_code_2_and_make_nothing() {
    let desk = Desk::new();
    let long = "x".repeat(129);
    let base = ["create", "-u", "amalia", "-n", "laptop"];
    let with = |more: &[&str]| desk.run(&[&base[..], more].concat());
    for more in [
        &["--expires-in", "soon"][..],
        &["--expires-in", "0d"],
        &["--expires-at", "2001-01-01"],
        &["--expires-at", "tomorrow"],
        &["--expires-in", "1d", "--expires-at", "2999-01-01"],
        &["--meta", "no equals sign"],
        &["--meta", "a=1", "--meta", "a=2"],
        &["--allow-model", ""],
        &["--deny-model", "two words"],
        &["--owner", &long],
        &["--budget", "five"],
        &["--store", "memory"],
        &["--store", "postgres"],
        &["--json", "--quiet"],
        &["extra"],
    ] {
        with(more).fails(2);
    }
    desk.run(&[]).fails(2);
    desk.run(&["create", "-u", "amalia"]).fails(2);
    desk.run(&["create", "-u", "", "-n", "laptop"]).fails(2);
    desk.run(&["create", "-u", &long, "-n", "laptop"]).fails(2);
    desk.run(&["create", "-u", "a\u{1b}[31m", "-n", "laptop"]).fails(2);
    desk.run(&["frobnicate"]).fails(2);
    desk.run(&["list", "--status", "gone"]).fails(2);
    desk.run(&["list", "--limit", "0"]).fails(2);
    desk.create("the only one");
    desk.run(&["list", "--cursor", "nonsense"]).fails(2);
    assert_eq!(desk.run(&["list", "-q"]).ok().lines().count(), 1);
    assert!(desk.run(&["--help"]).ok().contains("revoke"));
}

#[test]
fn what_is_not_there_is_exit_code_3_and_hostile_ids_are_only_text() {
    let desk = Desk::new();
    desk.create("laptop");
    for id in [
        "key_0000000000000000",
        "nobody",
        "' OR '1'='1",
        "key_%",
        "key_*",
        "x'; DROP TABLE api_keys; --",
        "../outcrop.db",
    ] {
        for verb in ["show", "revoke", "reactivate"] {
            desk.run(&[verb, "--", id]).fails(3);
        }
    }
    desk.run(&["show", ""]).fails(2);
    assert_eq!(desk.run(&["list", "-u", "' OR '1'='1", "-q"]).ok(), "");
    assert_eq!(desk.run(&["list", "-q"]).ok().lines().count(), 1);
}

#[test]
fn a_secret_in_the_place_of_an_id_is_refused_and_not_repeated() {
    let desk = Desk::new();
    let (_, key) = desk.create("laptop");
    let error = desk.run(&["revoke", &key]).fails(2);
    assert!(!error.contains(&key[6..]), "{error}");
}

#[test]
fn an_id_may_be_shortened_while_it_stays_the_only_one() {
    let desk = Desk::new();
    let (first, _) = desk.create("one");
    assert_eq!(desk.run(&["show", "key_", "-q"]).ok().trim_end(), first);
    let (second, _) = desk.create("two");
    let error = desk.run(&["revoke", "key_"]).fails(2);
    assert!(error.contains(&first) && error.contains(&second), "{error}");
    let same = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    assert_eq!(desk.run(&["show", &first[..=same], "-q"]).ok().trim_end(), first);
    assert_eq!(desk.run(&["list", "--status", "active", "-q"]).ok().lines().count(), 2);
}

#[test]
fn a_revoked_key_says_so_until_it_is_reactivated() {
    let desk = Desk::new();
    let (id, key) = desk.create("laptop");
    desk.run(&["reactivate", &id]).fails(4);
    assert!(desk.run(&["revoke", &id, "--reason", "lost on a train"]).ok().contains("revoked"));
    let shown = desk.run(&["show", &id, "--json"]).json();
    assert_eq!(shown["status"], "revoked");
    assert_eq!(shown["deactivated_reason"], "lost on a train");
    assert_eq!((shown["is_active"].clone(), shown["version"].clone()), (Value::Bool(false), 2.into()));
    assert!(desk.run(&["show", &id]).ok().contains("revoked (lost on a train)"));
    assert_eq!(desk.found(&key, None).unwrap().status(Timestamp::now()), KeyStatus::Revoked);
    assert_eq!(desk.run(&["list", "--status", "revoked", "-q"]).ok().trim_end(), id);
    assert_eq!(desk.run(&["list", "--status", "active", "-q"]).ok(), "");
    let error = desk.run(&["revoke", &id]).fails(4);
    assert!(error.contains("already"), "{error}");
    desk.run(&["reactivate", &id]).ok();
    let back = desk.found(&key, None).unwrap();
    assert_eq!((back.status(Timestamp::now()), back.deactivated_reason), (KeyStatus::Active, None));
}

#[test]
fn a_tier_and_a_cache_ttl_are_set_shown_and_taken_away() {
    let desk = Desk::new();
    let base = ["create", "-u", "amalia", "-n", "laptop", "--json"];
    let made = desk.run(&[&base[..], &["-t", "flex", "--cache-ttl", "1h"]].concat()).json();
    assert_eq!((&made["service_tier"], &made["cache_ttl"]), (&"flex".into(), &"1h".into()));
    let (id, key) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let stored = desk.found(key, None).unwrap();
    assert_eq!(stored.service_tier, Some(store::ServiceTier::Flex));
    assert_eq!(stored.cache_ttl, Some(store::CacheTtl::OneHour));
    let shown = desk.run(&["show", id]).ok();
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("tier").ends_with("flex") && line("cache ttl").ends_with("1h"), "{shown}");
    let listed = desk.run(&["list"]).ok();
    assert!(listed.contains("  flex  1h     "), "{listed}");
    desk.run(&["update", id, "--service-tier", "reserved", "--cache-ttl", "none"]).ok();
    let stored = desk.found(key, None).unwrap();
    assert_eq!(stored.service_tier, Some(store::ServiceTier::Reserved));
    assert_eq!(stored.cache_ttl, Some(store::CacheTtl::None));
    desk.run(&["update", id, "--clear", "service-tier", "--clear", "cache-ttl"]).ok();
    let stored = desk.found(key, None).unwrap();
    assert_eq!((stored.service_tier, stored.cache_ttl), (None, None));
    assert!(desk.run(&["list"]).ok().contains("  –     –      "));
    for wrong in [&["-t", "turbo"][..], &["-t", "standard"], &["--cache-ttl", "2h"], &["--cache-ttl", "5 m"]]
    {
        desk.run(&[&base[..], wrong].concat()).fails(2);
    }
}

#[test]
fn limits_are_set_shown_and_taken_away() {
    let desk = Desk::new();
    let made = desk
        .run(&[
            "create",
            "-u",
            "amalia",
            "-n",
            "laptop",
            "-r",
            "0",
            "--tpm-limit",
            "50000",
            "--concurrency",
            "3",
            "--target",
            "frankfurt",
            "--json",
        ])
        .json();
    assert_eq!(made["target"], "frankfurt");
    assert_eq!((&made["rate_limit"], &made["tpm_limit"]), (&Value::from(0), &Value::from(50_000)));
    assert_eq!(made["concurrency_limit"], 3);
    let (id, key) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let shown = desk.run(&["show", id]).ok();
    for line in ["0 requests a window", "50000 tokens a minute", "3 open at once", "frankfurt"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(desk.run(&["list"]).ok().contains("0/50000/3"));
    let cleared = ["--clear", "tpm-limit", "--clear", "concurrency", "--clear", "target"];
    desk.run(&[&["update", id, "--rate-limit", "7"], &cleared[..]].concat()).ok();
    let record = desk.found(key, None).unwrap();
    assert_eq!((record.rate_limit, record.tpm_limit, record.concurrency_limit), (Some(7), None, None));
    assert_eq!(record.target, None);
    assert!(desk.run(&["list"]).ok().contains("7/–/–"));
    for wrong in
        [&["--rate-limit", "-1"][..], &["--tpm-limit", "0"], &["--concurrency", "0"], &["-r", "many"]]
    {
        desk.run(&[&["update", id], wrong].concat()).fails(2);
        desk.run(&[&["create", "-u", "amalia", "-n", "desk"], wrong].concat()).fails(2);
    }
    assert_eq!(desk.found(key, None).unwrap(), record);
}

#[test]
fn an_update_changes_what_is_named_and_nothing_else() {
    let desk = Desk::new();
    let base = ["create", "-u", "amalia", "-n", "laptop", "--owner", "Bea", "--expires-at", "2999-12-31"];
    let more = [
        "--allow-model",
        "a.*",
        "--deny-model",
        "b.*",
        "--meta",
        "x=1",
        "--meta",
        "y=2",
        "-r",
        "5",
        "--json",
    ];
    let made = desk.run(&[&base[..], &more].concat()).json();
    let (id, key) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let before = desk.found(key, None).unwrap();
    let told = desk.run(&["update", id, "--name", "desk", "--json"]).json();
    assert_eq!((&told["name"], &told["version"], told.get("key")), (&"desk".into(), &2.into(), None));
    let after = desk.found(key, None).unwrap();
    let expected =
        KeyRecord { name: "desk".to_owned(), version: 2, updated_at: after.updated_at, ..before.clone() };
    assert_eq!(after, expected);
    assert!(after.updated_at >= before.updated_at);
    desk.run(&[
        "update",
        id,
        "--allow-model",
        "c.*",
        "--meta",
        "z=3",
        "--owner",
        "Cem",
        "--expires-in",
        "1d",
    ])
    .ok();
    let after = desk.found(key, None).unwrap();
    assert_eq!(
        (after.allowed_models.unwrap(), after.owner_name.unwrap()),
        (vec!["c.*".to_owned()], "Cem".to_owned())
    );
    assert_eq!(after.metadata, [("z".to_owned(), "3".to_owned())].into());
    assert!(after.expires_at < before.expires_at);
    let all = ["owner", "expires", "allow-model", "deny-model", "rate-limit", "meta"];
    let clear: Vec<_> = all.iter().flat_map(|field| ["--clear", field]).collect();
    assert_eq!(desk.run(&[&["update", id, "-q"], &clear[..]].concat()).ok().trim_end(), id);
    let after = desk.found(key, None).unwrap();
    let gone =
        (after.owner_name, after.expires_at, after.allowed_models, after.denied_models, after.rate_limit);
    assert_eq!(gone, (None, None, None, None, None));
    assert!(after.metadata.is_empty());
}

#[test]
fn an_update_that_cannot_be_made_says_why_and_changes_nothing() {
    let desk = Desk::new();
    let (id, key) = desk.create("laptop");
    desk.run(&["update", &id]).fails(2);
    desk.run(&["update", &id, "--clear", "name"]).fails(2);
    desk.run(&["update", &id, "--user-id", "mallory"]).fails(2);
    desk.run(&["update", &id, "--rate-limit", "5", "--clear", "rate-limit"]).fails(2);
    desk.run(&["update", &id, "--expires-in", "1d", "--clear", "expires"]).fails(2);
    desk.run(&["update", &id, "--name", ""]).fails(2);
    desk.run(&["update", "key_0000000000000000", "-r", "1"]).fails(3);
    desk.run(&["update", &key, "-r", "1"]).fails(2);
    desk.run(&["update", &id, "-r", "1", "--if-version", "2"]).fails(4);
    assert_eq!(desk.found(&key, None).unwrap().version, 1);
    desk.run(&["update", &id, "-r", "1", "--if-version", "1"]).ok();
    let error = desk.run(&["update", &id, "-r", "2", "--if-version", "1"]).fails(4);
    assert!(error.contains("version 2"), "{error}");
    // A revoked key stays revoked.
    desk.run(&["revoke", &id]).ok();
    desk.run(&["update", &id, "-r", "3"]).ok();
    assert_eq!(desk.found(&key, None).unwrap().status(Timestamp::now()), KeyStatus::Revoked);
}

#[test]
fn show_tells_what_was_used() {
    let desk = Desk::new();
    let (id, _) = desk.create("laptop");
    let row = |request_id: &str, cost| usage_row(&id, request_id, cost);
    block_on(async {
        let store = Sqlite::open(desk.db()).unwrap();
        store.record_usage(&[row("a", Some(PicoUsd(54_399_000_000))), row("b", None)]).await.unwrap();
    });
    let shown = desk.run(&["show", &id, "--json"]).json();
    for period in ["total", "month", "day"] {
        let used = &shown["usage"][period];
        assert_eq!(used["requests"], 2, "{used}");
        assert_eq!(used["output_tokens"], 1_100);
        assert_eq!(used["cache_write_5m_tokens"], 24_608);
        assert_eq!(used["cost_pico_usd"], "54399000000");
        assert_eq!(used["cost_usd"], "0.054399");
        assert_eq!(used["unpriced_requests"], 1);
    }
    let text = desk.run(&["show", &id]).ok();
    assert!(text.contains("0.054399 + 1 unpriced"), "{text}");
}

#[test]
fn settings_come_from_the_environment_and_from_the_env_file() {
    let desk = Desk::new();
    let secret = "0123456789abcdef0123456789abcdef";
    fs::write(desk.dir.path().join(".env"), format!("OUTCROP_DB=from-file.db\nKEY_HASH_SECRET={secret}\n"))
        .unwrap();
    let key = desk.run(&["create", "-u", "amalia", "-n", "laptop", "-q"]).ok();
    let path = desk.dir.path().join("from-file.db");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::copy(&path, desk.db()).unwrap();
    assert!(desk.found(key.trim_end(), Some(secret)).is_some());
    assert!(desk.found(key.trim_end(), Some(&secret.repeat(2))).is_none());
    // The environment wins over the file, the flag over both.
    let mut command = desk.command(&["list", "-q"]);
    command.env("OUTCROP_DB", "nowhere.db");
    assert!(finish(command, "").fails(1).contains("nowhere.db"));
    let mut command = desk.command(&["list", "-q", "--db", "from-file.db"]);
    command.env("OUTCROP_DB", "nowhere.db");
    assert_eq!(finish(command, "").ok().lines().count(), 1);
    let mut command = desk.command(&["create", "-u", "amalia", "-n", "weak"]);
    command.env("KEY_HASH_SECRET", "short");
    let error = finish(command, "").fails(2);
    assert!(error.contains("KEY_HASH_SECRET") && !error.contains("short"), "{error}");
    desk.run(&["list", "--env-file", "missing.env"]).fails(2);
}

#[test]
fn reading_from_a_path_that_is_not_there_makes_no_database() {
    let desk = Desk::new();
    let error = desk.run(&["list"]).fails(1);
    assert!(error.contains("outcrop.db") && error.contains("--db"), "{error}");
    assert!(!desk.db().exists());
    fs::write(desk.db(), "this is not a database, but some text that is long enough".repeat(50)).unwrap();
    desk.run(&["list"]).fails(1);
}

#[test]
fn many_processes_at_once_lose_nothing_and_share_one_secret() {
    let desk = Desk::new();
    let made: Vec<_> = thread::scope(|scope| {
        let desk = &desk;
        let makers: Vec<_> = (0..8).map(|n| scope.spawn(move || desk.create(&format!("key {n}")))).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert_eq!(desk.run(&["list", "-q"]).ok().lines().count(), 8);
    // The first of all made the secret; every key must have been hashed under that one.
    for (id, key) in &made {
        assert_eq!(desk.found(key, None).unwrap().key_id.as_str(), id);
    }
    let (id, _) = &made[0];
    let codes: Vec<_> = thread::scope(|scope| {
        let desk = &desk;
        let revokers: Vec<_> = (0..4).map(|_| scope.spawn(move || desk.run(&["revoke", id]).code)).collect();
        revokers.into_iter().map(|revoker| revoker.join().unwrap()).collect()
    });
    let count = |code| codes.iter().filter(|&&it| it == code).count();
    assert_eq!((count(0), count(4)), (1, 3), "{codes:?}");
    assert_eq!(desk.run(&["show", id, "--json"]).json()["version"], 2);
}
