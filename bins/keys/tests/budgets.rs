//! Budgets of keys: set, spent, reset, extended.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use store::{KeyRecord, PicoUsd, Timestamp};
use support::{Desk, spend};

#[test]
fn budgets_are_exact_and_shown_with_what_is_spent_and_when_they_reset() {
    let desk = Desk::new();
    let flags = ["--budget", "100", "--budget-daily", "0.054399", "--budget-monthly", "12.5", "--json"];
    let made = desk.run(&[&["create", "-u", "amalia", "-n", "laptop"], &flags[..]].concat()).json();
    let (id, key) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let budgets = |record: &KeyRecord| (record.budget_total, record.budget_daily, record.budget_monthly);
    assert_eq!(budgets(&desk.found(key, None).unwrap()), (Some(100_000_000), Some(54_399), Some(12_500_000)));
    let shown = desk.run(&["show", id, "--json"]).json();
    assert_eq!(
        (&shown["status"], &shown["budgets"]["daily"]["left_usd"]),
        (&"active".into(), &"0.054399".into())
    );
    spend(&desk, id, "a", PicoUsd(54_399_000_000));
    let shown = desk.run(&["show", id, "--json"]).json();
    assert_eq!(shown["status"], "budget_exceeded");
    let (total, daily) = (&shown["budgets"]["total"], &shown["budgets"]["daily"]);
    assert_eq!((&total["limit_usd"], &total["spent_usd"]), (&"100.00".into(), &"0.054399".into()));
    assert_eq!((&total["left_usd"], &total["resets_at"]), (&"99.945601".into(), &Value::Null));
    assert_eq!(daily["left_usd"], "0.00");
    assert!(daily["resets_at"].as_str().unwrap().ends_with("T00:00:00.000Z"));
    let text = desk.run(&["show", id]).ok();
    for part in ["100.00 USD total, 12.50 USD monthly, 0.054399 USD daily", "a budget is spent", "99.945601"]
    {
        assert!(text.contains(part), "{text}");
    }
    desk.run(&["update", id, "--budget-daily", "1", "--clear", "budget", "--clear", "budget-monthly"]).ok();
    assert_eq!(budgets(&desk.found(key, None).unwrap()), (None, Some(1_000_000), None));
    assert_eq!(desk.run(&["show", id, "--json"]).json()["status"], "active");
    for wrong in ["0", "-1", "1e3", "0.0000001", "1000001", "$5"] {
        desk.run(&["update", id, "--budget-daily", wrong]).fails(2);
    }
}

/// A key with these budgets, and its id.
fn with_budgets(flags: &[&str]) -> (Desk, String) {
    let desk = Desk::new();
    let made = desk.run(&[&["create", "-u", "amalia", "-n", "laptop", "--json"], flags].concat()).json();
    let id = made["key_id"].as_str().unwrap().to_owned();
    (desk, id)
}

fn shown(desk: &Desk, id: &str) -> Value {
    desk.run(&["show", id, "--json"]).json()
}

#[test]
fn a_reset_budget_can_be_spent_again_and_usage_stays_what_it_was() {
    let (desk, id) = with_budgets(&["--budget-daily", "1", "--budget-monthly", "10"]);
    desk.run(&["budget", "reset", &id]).ok();
    assert_eq!(shown(&desk, &id)["version"], 1, "nothing was spent");
    spend(&desk, &id, "a", PicoUsd::USD);
    assert_eq!(shown(&desk, &id)["status"], "budget_exceeded");
    let after = desk.run(&["budget", "reset", &id, "--period", "daily", "--json"]).json();
    assert_eq!((&after["status"], &after["version"]), (&"active".into(), &2.into()));
    let daily = &after["budgets"]["daily"];
    assert_eq!((&daily["limit_usd"], &daily["spent_usd"]), (&"1.00".into(), &"0.00".into()));
    assert_eq!(daily["reset"]["forgiven_usd"], "1.00");
    assert_eq!(after["budgets"]["monthly"]["spent_usd"], "1.00");
    assert_eq!(after["usage"]["day"]["cost_usd"], "1.00", "totals stay true");
    // A repetition changes nothing while nothing more is spent.
    let again = desk.run(&["budget", "reset", &id, "--period", "daily", "--json"]).json();
    assert_eq!((&again["version"], &again["budgets"]), (&2.into(), &after["budgets"]));
    spend(&desk, &id, "b", PicoUsd(300_000_000_000));
    assert_eq!(shown(&desk, &id)["budgets"]["daily"]["spent_usd"], "0.30");
    let text = desk.run(&["budget", "reset", &id]).ok();
    assert!(text.contains("daily: reset at ") && text.contains("1.30 spent before does not count"), "{text}");
    assert!(text.contains("monthly: reset at "), "{text}");
    let both = shown(&desk, &id);
    for period in ["daily", "monthly"] {
        assert_eq!(both["budgets"][period]["left_usd"], both["budgets"][period]["limit_usd"], "{both}");
    }
    assert_eq!(desk.run(&["budget", "reset", &id, "-q"]).ok(), format!("{id}\n"));
}

#[test]
fn an_extension_is_in_force_until_its_moment_and_not_in_the_limit() {
    let (desk, id) = with_budgets(&["--budget-daily", "1"]);
    spend(&desk, &id, "a", PicoUsd::USD);
    let far = "2999-12-31";
    let extend = ["budget", "extend", &id, "--by", "0.5", "--until", far, "--json"];
    let after = desk.run(&extend).json();
    assert_eq!((&after["status"], &after["version"]), (&"active".into(), &2.into()));
    let daily = &after["budgets"]["daily"];
    assert_eq!((&daily["limit_usd"], &daily["left_usd"]), (&"1.50".into(), &"0.50".into()));
    assert_eq!(daily["extension"]["by_usd"], "0.50");
    assert_eq!(daily["extension"]["until"], "2999-12-31T00:00:00.000Z");
    assert_eq!(after["budget_daily"], 1_000_000, "the limit is what it was");
    // The same again is the same.
    assert_eq!(desk.run(&extend).json()["version"], 2);
    let text = desk.run(&["show", &id]).ok();
    assert!(text.contains("daily: extended by 0.50 until 2999-12-31T00:00:00.000Z"), "{text}");
    // Another one takes its place, and lapses.
    desk.run(&["budget", "extend", &id, "--by", "2", "--for", "1s", "--period", "daily"]).ok();
    assert_eq!(shown(&desk, &id)["budgets"]["daily"]["limit_usd"], "3.00");
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    let over = shown(&desk, &id);
    assert_eq!((&over["status"], &over["version"]), (&"budget_exceeded".into(), &3.into()));
    assert_eq!(over["budgets"]["daily"]["extension"], Value::Null);
    // One can be ended.
    desk.run(&["budget", "extend", &id, "--by", "2", "--for", "1h"]).ok();
    let ended = desk.run(&["budget", "extend", &id, "--end", "--json"]).json();
    assert_eq!(ended["status"], "budget_exceeded");
    desk.run(&["budget", "extend", &id, "--end"]).fails(4);
}

#[test]
fn what_cannot_be_reset_or_extended_says_why_and_stays_as_it_is() {
    let (desk, id) = with_budgets(&["--budget-daily", "1", "--budget", "5"]);
    let bare = desk.create("bare").0;
    let now = Timestamp::now().plus_millis(-1).to_string();
    for (code, arguments) in [
        (2, &["extend", &id, "--by", "1", "--for", "1h"][..]),
        (2, &["extend", &id, "--by", "1", "--period", "daily"]),
        (2, &["extend", &id, "--for", "1h", "--period", "daily"]),
        (2, &["extend", &id, "--by", "0", "--for", "1h", "--period", "daily"]),
        (2, &["extend", &id, "--by", "1", "--until", &now, "--period", "daily"]),
        (2, &["extend", &id, "--by", "1", "--for", "1h", "--until", "2999-01-01", "--period", "daily"]),
        (2, &["extend", &id, "--end", "--by", "1", "--period", "daily"]),
        (2, &["extend", &id, "--by", "1", "--for", "1h", "--period", "weekly"]),
        (4, &["extend", &id, "--by", "1", "--for", "1h", "--period", "monthly"]),
        (4, &["extend", &id, "--by", "1", "--for", "1h", "--period", "daily", "--if-version", "7"]),
        (4, &["extend", &id, "--end", "--period", "daily"]),
        (4, &["reset", &id, "--period", "monthly"]),
        (4, &["reset", &id, "--if-version", "7"]),
        (4, &["reset", &bare]),
        (4, &["extend", &bare, "--by", "1", "--for", "1h", "--period", "daily"]),
        (3, &["reset", "key_0000000000000000"]),
        (2, &["raise", &id]),
    ] {
        let told = desk.run(&[&["budget"], arguments].concat()).fails(code);
        assert!(!told.is_empty(), "{arguments:?}");
    }
    for id in [&id, &bare] {
        assert_eq!(shown(&desk, id)["version"], 1);
    }
}

#[test]
fn many_who_reset_and_extend_at_once_all_get_their_way_or_are_told() {
    let (desk, id) = with_budgets(&["--budget-daily", "1", "--budget", "5"]);
    spend(&desk, &id, "a", PicoUsd(250_000_000_000));
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (desk, id) = (&desk, id.as_str());
            scope.spawn(move || {
                let run = match n % 3 {
                    0 => desk.run(&["budget", "reset", id, "--period", "daily"]),
                    1 => desk.run(&[
                        "budget",
                        "extend",
                        id,
                        "--by",
                        "1",
                        "--until",
                        "2999-01-01",
                        "--period",
                        "total",
                    ]),
                    _ => desk.run(&["update", id, "--owner", &n.to_string()]),
                };
                assert!([0, 4].contains(&run.code), "{}", run.err);
            });
        }
    });
    let after = shown(&desk, &id);
    assert_eq!(after["budgets"]["daily"]["spent_usd"], "0.00");
    assert_eq!(after["budgets"]["total"]["limit_usd"], "6.00");
}
