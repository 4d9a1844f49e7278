//! The real binary on a real DynamoDB API.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::Value;
use store::{DynamoDbSettings, contract::stand_in};

const SECRET: &str = "a-hash-secret-of-thirty-two-bytes-or-more";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs with the settings in the environment, as a container would.
fn run(settings: &DynamoDbSettings, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_outcrop-keys"))
        .env_clear()
        .current_dir(std::env::temp_dir())
        .args(arguments)
        .env("STORE", "dynamodb")
        .env("DYNAMODB_ENDPOINT_URL", settings.endpoint_url.as_ref().unwrap())
        .env("DYNAMODB_TABLE_PREFIX", &settings.tables.prefix)
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn setup_makes_tables_once_and_check_only_compares() {
    let Some(settings) = stand_in::untouched() else { return };
    let table = format!("{}usage-stats", settings.tables.prefix);
    let checked = run(&settings, &["setup", "--check"], &[]);
    assert_eq!((checked.code, checked.out.as_str()), (4, ""), "{}", checked.err);
    assert!(checked.err.contains(&format!("{table}  missing")), "{}", checked.err);
    // Nothing works before, and what is said tells how to go on.
    let listed = run(&settings, &["list"], &[]);
    assert_eq!(listed.code, 1);
    assert!(listed.err.contains("outcrop-keys setup"), "{}", listed.err);
    let made = run(&settings, &["setup"], &[]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains(&format!("{table}  made")), "{}", made.out);
    let again = run(&settings, &["setup", "--check", "--json"], &[]);
    let again: Value = serde_json::from_str(&again.out).unwrap();
    let tables = again["tables"].as_array().unwrap();
    assert!(
        tables.len() == store::tables::TABLES.len()
            && tables.iter().all(|table| table["state"] == "in_order"),
        "{again}"
    );
    assert_eq!(run(&settings, &["setup", "--quiet"], &[]).out, "");
}

#[test]
fn keys_are_made_listed_and_revoked_as_in_a_file() {
    let Some(settings) = stand_in::untouched() else { return };
    let secret = &[("KEY_HASH_SECRET", SECRET)][..];
    assert_eq!(run(&settings, &["setup"], &[]).code, 0);
    let without = run(&settings, &["create", "-u", "amalia", "-n", "laptop"], &[]);
    assert_eq!(without.code, 2);
    assert!(without.err.contains("KEY_HASH_SECRET"), "{}", without.err);
    let made = run(&settings, &["create", "-u", "amalia", "-n", "laptop", "--json"], secret);
    assert_eq!(made.code, 0, "{}", made.err);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let key_id = made["key_id"].as_str().unwrap();
    assert!(made["key"].as_str().unwrap().starts_with("sk-oc-"));
    for list in [&["list", "-q"][..], &["list", "-q", "-u", "amalia"]] {
        assert_eq!(run(&settings, list, &[]).out, format!("{key_id}\n"));
    }
    // By a beginning of its id, without the secret.
    assert_eq!(run(&settings, &["revoke", &key_id[..12], "-q"], &[]).out, format!("{key_id}\n"));
    let shown = run(&settings, &["show", key_id, "--json"], &[]);
    assert_eq!(serde_json::from_str::<Value>(&shown.out).unwrap()["status"], "revoked");
    assert_eq!(run(&settings, &["revoke", key_id], &[]).code, 4);
    assert_eq!(run(&settings, &["show", "key_0000000000000000"], &[]).code, 3);
    assert_eq!(run(&settings, &["rotate", key_id], secret).code, 4, "it is revoked");
    assert_eq!(run(&settings, &["reactivate", key_id], &[]).code, 0);
    assert_eq!(run(&settings, &["rotate", key_id], &[]).code, 2, "without the secret");
    let rotated = run(&settings, &["rotate", key_id, "-q"], secret);
    assert!(rotated.code == 0 && rotated.out.starts_with("sk-oc-"), "{}", rotated.err);
    assert_eq!(run(&settings, &["update", key_id, "--budget-daily", "1"], &[]).code, 0);
    let extend = ["budget", "extend", key_id, "--by", "0.25", "--until", "2999-01-01", "--json"];
    let extended: Value = serde_json::from_str(&run(&settings, &extend, &[]).out).unwrap();
    assert_eq!(extended["budgets"]["daily"]["limit_usd"], "1.25");
    assert_eq!(run(&settings, &["budget", "reset", key_id, "-q"], &[]).out, format!("{key_id}\n"));
    let active = ["list", "-q", "--status", "active", "--name", "laptop"];
    assert_eq!(run(&settings, &active, &[]).out, format!("{key_id}\n"));
    assert_eq!(run(&settings, &["list", "-q", "--status", "budget_exceeded"], &[]).out, "");
    let usage = run(&settings, &["usage", "--json"], &[]);
    assert_eq!(serde_json::from_str::<Value>(&usage.out).unwrap()["total"]["requests"], 0, "{}", usage.err);
    assert_eq!(run(&settings, &["usage", "rebuild", "--all"], &[]).code, 0);
    assert_eq!(run(&settings, &["delete", key_id, "--yes", "-q"], &[]).out, format!("{key_id}\n"));
    assert_eq!(run(&settings, &["list", "-q"], &[]).out, "");
}

#[test]
fn the_other_stores_need_no_setup_and_wrong_settings_are_named() {
    let nowhere = DynamoDbSettings {
        region: None,
        endpoint_url: Some("http://127.0.0.1:1".to_owned()),
        tables: store::tables::TableNames::with_prefix("p-"),
        keep_usage: None,
    };
    for kind in ["sqlite", "memory"] {
        let ran = run(&nowhere, &["setup"], &[("STORE", kind)]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("Nothing to set up"), "{}", ran.out);
    }
    let away = run(&nowhere, &["setup"], &[]);
    assert_eq!((away.code, away.out.as_str()), (1, ""), "{}", away.err);
    let wrong = run(&nowhere, &["list"], &[("DYNAMODB_TABLE_PREFIX", "a b")]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("table-prefix"), "{}", wrong.err);
}
