//! From a file to tables and back, with the real binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use store::{
    Bucket, DynamoDb, DynamoDbSettings, KeyId, PicoUsd, PresentedKey, Store, Timestamp, UsageRow,
    contract::stand_in, hash_secret,
};
use support::{Desk, Ran, block_on, finish, spend, usage_row};

/// With a set-up that may be another one than the file's.
fn run(desk: &Desk, tables: &DynamoDbSettings, secret: Option<&str>, arguments: &[&str]) -> Ran {
    let mut command = desk.command(arguments);
    command.env("DYNAMODB_ENDPOINT_URL", tables.endpoint_url.as_ref().unwrap());
    command.env("DYNAMODB_TABLE_PREFIX", &tables.tables.prefix);
    command.envs(secret.map(|secret| ("KEY_HASH_SECRET", secret)));
    finish(command, "")
}

fn counts(copied: usize, there_already: usize) -> Value {
    json!({ "copied": copied, "there_already": there_already })
}

#[test]
fn keys_and_what_they_have_spent_are_the_same_on_the_other_store_however_often_they_are_copied() {
    let Some(tables) = stand_in::untouched() else { return };
    let desk = Desk::new();
    let (rotated, first) = desk.create("rotated");
    let newest = desk.run(&["rotate", &rotated, "--overlap", "1h", "-q"]).ok().trim().to_owned();
    let (plain, key) = desk.create("plain");
    desk.run(&["update", &plain, "--budget-daily", "3", "--rate-limit", "7"]).ok();
    desk.run(&["mapping", "add", "team-opus", "anthropic.claude-opus-5"]).ok();
    for n in 0..3 {
        spend(&desk, &plain, &format!("r{n}"), PicoUsd(500_000_000_000));
    }
    spend(&desk, "anonymous", "r4", PicoUsd(1));
    let secret = desk.run(&["hash-secret", "-q"]).ok();
    let secret = Some(secret.trim());
    assert_eq!(run(&desk, &tables, None, &["setup", "--store", "dynamodb"]).code, 0);

    let copy = ["copy", "--to", "dynamodb", "--json"];
    let unnamed = run(&desk, &tables, None, &copy).fails(2);
    assert!(unnamed.contains("outcrop-keys hash-secret"), "{unnamed}");
    let ran = run(&desk, &tables, secret, &copy);
    assert!(ran.err.contains(&format!("{rotated}: an older key")), "{}", ran.err);
    let copied = ran.json();
    assert_eq!((&copied["keys"], &copied["usage_rows"]), (&counts(2, 0), &counts(4, 0)));
    assert_eq!((&copied["mapping"], &copied["pricing"]), (&counts(1, 0), &counts(0, 0)));
    // Another request, another copy.
    spend(&desk, &plain, "r5", PicoUsd(500_000_000_000));
    let again = run(&desk, &tables, secret, &copy).json();
    assert_eq!((&again["keys"], &again["usage_rows"]), (&counts(0, 2), &counts(1, 4)));
    assert_eq!(again["mapping"], counts(0, 1));

    let shown = run(&desk, &tables, secret, &["show", &plain, "--json", "--store", "dynamodb"]).json();
    assert_eq!(shown["budgets"]["daily"]["spent_usd"], "2.00");
    assert_eq!(shown["rate_limit"], 7);
    block_on(async {
        let store = DynamoDb::open(&tables).await.unwrap();
        let hasher = hash_secret(&store, secret).await.unwrap();
        let known = async |key: &str| {
            let found = store.key_by_hash(&hasher.hash(&PresentedKey::new(key))).await.unwrap();
            found.map(|record| record.key_id.to_string())
        };
        assert_eq!(known(&key).await, Some(plain.clone()));
        assert_eq!(known(&newest).await, Some(rotated.clone()));
        assert_eq!(known(&first).await, None);
        let nobody = store.usage_totals(&KeyId::anonymous(), &Bucket::Total).await.unwrap();
        assert_eq!(nobody.cost_pico_usd, PicoUsd(1));
    });

    // And back, into a file of its own.
    let back = ["copy", "--store", "dynamodb", "--to", "sqlite", "--db", "back.db", "--json"];
    let back = run(&desk, &tables, secret, &back).json();
    assert_eq!((&back["keys"], &back["usage_rows"]), (&counts(2, 0), &counts(5, 0)));
    let total = |db| desk.run(&["show", &plain, "--json", "--db", db]).json()["usage"]["total"].clone();
    assert_eq!(total("back.db"), total("outcrop.db"));
}

#[test]
fn what_cannot_be_copied_is_said() {
    let Some(tables) = stand_in::untouched() else { return };
    let desk = Desk::new();
    let (key_id, _) = desk.create("old");
    assert_eq!(run(&desk, &tables, None, &["setup", "--store", "dynamodb"]).code, 0);
    block_on(async {
        let store = store::Sqlite::open(desk.db()).unwrap();
        let old = UsageRow {
            ts: Timestamp::now().plus_millis(-40 * Timestamp::DAY_MILLIS),
            ..usage_row(&key_id, "old", Some(PicoUsd(2_000_000_000_000)))
        };
        store.record_usage(&[old]).await.unwrap();
        store.prune_usage(Timestamp::now(), 10).await.unwrap();
    });
    spend(&desk, &key_id, "new", PicoUsd(500_000_000_000));
    let other = Some("a-hash-secret-of-thirty-two-bytes-or-more");
    let ran = run(&desk, &tables, other, &["copy", "--to", "dynamodb"]);
    assert!(ran.err.contains("of $2.50 that was spent in all only $0.50 counts there"), "{}", ran.err);
    assert!(ran.err.contains("not the secret that this store keeps"), "{}", ran.err);
    assert!(ran.ok().contains("keys: 1 copied, 0 there already\n"));
    run(&desk, &tables, other, &["copy", "--to", "sqlite"]).fails(2);
    // A store without a secret of its own has none to show.
    run(&desk, &tables, None, &["hash-secret", "--store", "dynamodb"]).fails(3);
    let bare = run(&desk, &tables, None, &["copy", "--store", "dynamodb", "--to", "sqlite"]).fails(2);
    assert!(bare.contains("KEY_HASH_SECRET"), "{bare}");
}

#[test]
fn a_reset_forgives_no_more_there_than_was_copied_of_what_was_spent() {
    let Some(tables) = stand_in::untouched() else { return };
    let desk = Desk::new();
    let keys = ["pruned", "whole"].map(|name| desk.create(name).0);
    assert_eq!(run(&desk, &tables, None, &["setup", "--store", "dynamodb"]).code, 0);
    block_on(async {
        let store = store::Sqlite::open(desk.db()).unwrap();
        let old = UsageRow {
            ts: Timestamp::now().plus_millis(-40 * Timestamp::DAY_MILLIS),
            ..usage_row(&keys[0], "old", Some(PicoUsd(2_000_000_000_000)))
        };
        store.record_usage(&[old]).await.unwrap();
        store.prune_usage(Timestamp::now(), 10).await.unwrap();
    });
    for key in &keys {
        spend(&desk, key, &format!("before {key}"), PicoUsd(500_000_000_000));
        desk.run(&["update", key, "--budget", "3"]).ok();
        desk.run(&["budget", "reset", key]).ok();
        spend(&desk, key, &format!("after {key}"), PicoUsd(250_000_000_000));
    }
    let secret = desk.run(&["hash-secret", "-q"]).ok();
    let secret = Some(secret.trim());
    let ran = run(&desk, &tables, secret, &["copy", "--to", "dynamodb"]);
    let note = "of $2.75 that was spent in all only $0.75 counts there, because the rows of the rest are gone; \
                its budget was reset since";
    assert!(ran.err.contains(note), "{}", ran.err);
    ran.ok();
    let reset = |store: &dyn Store, key: &str| {
        let record = block_on(store.key_by_id(&key.parse().unwrap())).unwrap().unwrap();
        record.budget_changes.total.reset.map(|reset| reset.spent)
    };
    let there = block_on(DynamoDb::open(&tables)).unwrap();
    assert_eq!(
        reset(&there, &keys[0]),
        Some(PicoUsd(500_000_000_000)),
        "2.50 without the 2.00 of the pruned row"
    );
    assert_eq!(reset(&there, &keys[1]), Some(PicoUsd(500_000_000_000)), "all of it");
    for key in &keys {
        let shown = run(&desk, &tables, secret, &["show", key, "--json", "--store", "dynamodb"]).json();
        assert_eq!(shown["budgets"]["total"]["spent_usd"], "0.25", "as before");
    }
    // Without usage nothing was spent there that could be forgiven.
    let bare = ["copy", "--store", "dynamodb", "--to", "sqlite", "--db", "bare.db", "--without-usage"];
    run(&desk, &tables, secret, &bare).ok();
    let bare = store::Sqlite::open(desk.dir.path().join("bare.db")).unwrap();
    assert_eq!(keys.each_ref().map(|key| reset(&bare, key)), [None, None]);
}

/// What is done on the other store.
fn there(desk: &Desk, tables: &DynamoDbSettings, arguments: &[&str]) -> String {
    run(desk, tables, None, &[arguments, &["--store", "dynamodb"]].concat()).ok()
}

/// With the secret that the file keeps.
fn copy(desk: &Desk, tables: &DynamoDbSettings) -> Ran {
    let secret = desk.run(&["hash-secret", "-q"]).ok();
    run(desk, tables, Some(secret.trim()), &["copy", "--to", "dynamodb"])
}

#[test]
fn a_key_that_was_changed_or_deleted_between_two_copies_is_a_conflict_until_both_stores_have_the_same() {
    let Some(tables) = stand_in::untouched() else { return };
    let desk = Desk::new();
    let [revoked, rotated, deleted, kept] =
        ["revoked", "rotated", "deleted", "kept"].map(|name| desk.create(name).0);
    there(&desk, &tables, &["setup"]);
    copy(&desk, &tables).ok();
    copy(&desk, &tables).ok();

    desk.run(&["revoke", &revoked]).ok();
    desk.run(&["rotate", &rotated]).ok();
    desk.run(&["delete", &deleted, "--yes"]).ok();
    // Changed, and changed back: another version that says the same.
    for change in [["--rate-limit", "7"], ["--clear", "rate-limit"]] {
        desk.run(&[&["update", &kept], &change[..]].concat()).ok();
    }
    // Changed there too: the same version that says something else.
    there(&desk, &tables, &["update", &rotated, "--rate-limit", "7"]);
    let told = copy(&desk, &tables).fails(4);
    for said in [
        format!(
            "{revoked}: version 2 was not copied over version 1, which is there; it is revoked here and active there."
        ),
        format!("{rotated}: version 2 was not copied over version 2"),
        format!("{deleted}: is there (active) and not here"),
        "keys: 0 copied, 3 there already".to_owned(),
    ] {
        assert!(told.contains(&said), "{said}\n{told}");
    }
    assert!(!told.contains(&kept), "{told}");

    for key in [&revoked, &rotated, &deleted] {
        there(&desk, &tables, &["delete", key, "--yes"]);
    }
    assert!(copy(&desk, &tables).ok().contains("keys: 2 copied, 1 there already"));
    let shown = there(&desk, &tables, &["show", &revoked, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["status"], "revoked");
    copy(&desk, &tables).ok();
}

#[test]
fn a_row_that_was_changed_or_removed_between_two_copies_is_a_conflict_until_both_stores_have_the_same() {
    let Some(tables) = stand_in::untouched() else { return };
    let desk = Desk::new();
    desk.create("any");
    let on_desk = |line: &str| desk.run(&line.split(' ').collect::<Vec<_>>()).ok();
    for line in [
        "mapping add moved anthropic.claude-opus-5",
        "mapping add removed anthropic.claude-opus-5",
        "mapping add same anthropic.claude-opus-5",
        "pricing set a.moved --input 1 --output 2",
        "pricing set a.same --input 1 --output 2",
        "beta set moved-2030-01-01 --map-to c-2030-01-01 --model *claude*",
        "beta set same-2030-01-01 --map-to c-2030-01-01 --model *claude*",
    ] {
        on_desk(line);
    }
    // Prices of the catalogue that the other store has alone are no difference.
    there(&desk, &tables, &["setup", "--prices"]);
    copy(&desk, &tables).ok();
    copy(&desk, &tables).ok();

    for line in [
        "mapping remove moved",
        "mapping add moved anthropic.claude-sonnet-5",
        "mapping remove removed",
        "mapping remove same",
        "mapping add same anthropic.claude-opus-5",
        "mapping add new anthropic.claude-opus-5",
        "pricing set a.moved --input 3",
        "beta set moved-2030-01-01 --block",
    ] {
        on_desk(line);
    }
    let told = copy(&desk, &tables).fails(4);
    for said in [
        "name moved: was not copied over another one",
        "name removed: is there and not here",
        "price of a.moved: was not copied over another one",
        "beta flag moved-2030-01-01: was not copied over another one",
        "names of models: 1 copied, 2 there already",
    ] {
        assert!(told.contains(said), "{said}\n{told}");
    }
    let named = told.lines().filter(|line| line.contains("there;") || line.contains("not here;")).count();
    assert_eq!(named, 4, "{told}");

    for (what, id) in [("mapping", "moved"), ("mapping", "removed"), ("pricing", "a.moved")] {
        there(&desk, &tables, &[what, "remove", id]);
    }
    there(&desk, &tables, &["beta", "remove", "moved-2030-01-01"]);
    copy(&desk, &tables).ok();
    copy(&desk, &tables).ok();
}
