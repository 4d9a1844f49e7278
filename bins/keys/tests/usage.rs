//! The real binary: what was used, in every form.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use store::{KeyId, PicoUsd, RowStatus, Sqlite, Store, Timestamp, UsageRow, contract::sample};
use support::{Desk, block_on};

const DAY: i64 = Timestamp::DAY_MILLIS;

/// At noon, so many days ago.
fn ago(days: i64) -> Timestamp {
    Timestamp::now().day_start().plus_millis(DAY / 2 - DAY * days)
}

fn date(days: i64) -> String {
    ago(days).to_string()[..10].to_owned()
}

fn row(key_id: &str, days: i64, model: &str, request_id: &str) -> UsageRow {
    UsageRow {
        key_id: key_id.parse().unwrap(),
        ts: ago(days),
        base_model: model.to_owned(),
        status: RowStatus::Ok,
        cost_pico_usd: Some(PicoUsd(500_000_000_000)),
        ..sample::row(request_id)
    }
}

fn book(desk: &Desk, rows: &[UsageRow]) {
    block_on(async {
        let store = Sqlite::open(desk.db()).unwrap();
        store.record_usage(rows).await.unwrap();
    });
}

/// Two keys and the master: three days, two models; the second key is deleted.
fn used() -> (Desk, String, String) {
    let desk = Desk::new();
    let (one, two) = (desk.create("one").0, desk.create("two").0);
    let failed = UsageRow { status: RowStatus::UpstreamError, ..row(&one, 2, "qwen", "c") };
    book(
        &desk,
        &[
            row(&one, 2, "claude", "a"),
            row(&one, 2, "claude", "b"),
            failed,
            row(&one, 1, "claude", "d"),
            row(&two, 1, "claude", "e"),
            row(KeyId::master().as_str(), 1, "claude", "f"),
            row(&one, 100, "claude", "old"),
        ],
    );
    desk.run(&["delete", &two, "--yes"]).ok();
    (desk, one, two)
}

fn lines(shown: &Value, name: &str) -> Vec<(String, u64)> {
    let line = |line: &Value| (line[name].as_str().unwrap().to_owned(), line["requests"].as_u64().unwrap());
    shown["lines"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn totals_are_by_day_month_model_or_key() {
    let (desk, one, two) = used();
    let shown = desk.run(&["usage", &one, "--json"]).json();
    assert_eq!(lines(&shown, "day"), [(date(2), 3), (date(1), 1)]);
    assert_eq!((&shown["total"]["requests"], &shown["total"]["cost_usd"]), (&4.into(), &"2.00".into()));
    let by = |more: &[&str]| desk.run(&[&["usage", "--json"], more].concat()).json();
    let mut keys = vec![(one.clone(), 4), (two.clone(), 1), ("master".to_owned(), 1)];
    keys.sort();
    assert_eq!(lines(&by(&[]), "key_id"), keys, "deleted keys and the master too");
    let models = [("claude".to_owned(), 5), ("qwen".to_owned(), 1)];
    assert_eq!(lines(&by(&["--by", "model"]), "model"), models);
    assert_eq!(lines(&by(&["--by", "day", "--model", "qwen"]), "day"), [(date(2), 1)]);
    assert_eq!(lines(&by(&["-u", "amalia"]), "key_id"), [(one.clone(), 4)], "of keys that are there");
    let months = by(&["--by", "month"]);
    assert_eq!(months["total"]["requests"], 7, "a year by default");
    assert_eq!(by(&["--by", "month", "--model", "claude"])["total"]["requests"], 6);
    let since = by(&["--since", &date(1), "--until", &date(0)]);
    assert_eq!(since["total"]["requests"], 3);
    assert_eq!(by(&["--since", &date(200), "--until", &date(50)])["total"]["requests"], 1);
    let table = desk.run(&["usage", &one]).ok();
    assert!(table.starts_with("DAY") && table.lines().last().unwrap().starts_with("all"), "{table}");
    assert_eq!(desk.run(&["usage", &two, "-q"]).ok().trim_end(), two);
    let nothing = desk.run(&["usage", &one, "--since", "2001-01-01", "--until", "2001-01-02"]);
    assert!(nothing.err.contains("Nothing was used"), "{}", nothing.err);
    for wrong in [
        &["--since", "2026-11-21T10:00:00Z"][..],
        &["--since", "2026-11-21", "--until", "2026-11-21"],
        &["--status", "ok"],
        &["--by", "hour"],
        &["--csv", "--json"],
        &["--rows", "--by", "day"],
        &["--cursor", "x"],
    ] {
        desk.run(&[&["usage"], wrong].concat()).fails(2);
    }
    desk.run(&["usage", "key_nobody"]).fails(3);
}

#[test]
fn rows_are_filtered_paged_and_no_older_than_they_are_kept() {
    let (desk, one, _) = used();
    let ids = |shown: &Value| {
        let rows = shown["rows"].as_array().unwrap();
        rows.iter().map(|row| row["request_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rows = |more: &[&str]| desk.run(&[&["usage", &one, "--rows", "--json"], more].concat()).json();
    assert_eq!(ids(&rows(&[])), ["a", "b", "c", "d"]);
    assert_eq!(ids(&rows(&["--model", "claude"])), ["a", "b", "d"]);
    assert_eq!(ids(&rows(&["--status", "upstream_error"])), ["c"]);
    assert_eq!(ids(&rows(&["--since", &ago(1).to_string()])), ["d"]);
    // The store has not pruned it yet; it counts as gone all the same.
    let old = ["usage", &one, "--rows", "--since", "2020-01-01", "-q"];
    let told = desk.run(&old);
    assert!(told.err.contains("USAGE_TTL_DAYS"), "{}", told.err);
    assert!(!told.ok().contains("old"));
    let mut command = desk.command(&old);
    command.env("USAGE_TTL_DAYS", "0");
    assert!(support::finish(command, "").ok().contains("old"));
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut more = vec!["--limit", "2", "--model", "claude"];
        more.extend(cursor.iter().flat_map(|cursor| ["--cursor", cursor.as_str()]));
        let page = rows(&more);
        seen.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = Some(next.to_owned());
    }
    assert_eq!(seen, ["a", "b", "d"]);
    let all = desk.run(&["usage", "--rows", "--limit", "3"]);
    assert!(all.err.contains("--limit"), "{}", all.err);
    assert_eq!(all.ok().lines().count(), 4);
}

#[test]
fn csv_is_safe_in_a_spreadsheet_and_text_on_a_terminal() {
    let desk = Desk::new();
    let (one, _) = desk.create("one");
    let evil =
        UsageRow { session: Some("@SUM(A1)".to_owned()), ..row(&one, 1, "=cmd|' /C calc'!A0", "-1+2") };
    book(&desk, &[evil, row(&one, 1, "a,\"b\"\0\u{1b}[31m", "plain")]);
    let rows = desk.run(&["usage", &one, "--rows", "--csv"]).ok();
    assert!(rows.starts_with("ts,key_id,user_id,request_id,"), "{rows}");
    for text in
        [",'=cmd|' /C calc'!A0,", ",'-1+2,", ",'@SUM(A1),", "\"a,\"\"b\"\"\u{fffd}\u{1b}[31m\"", ",0.50\r\n"]
    {
        assert!(rows.contains(text), "{text} in {rows}");
    }
    let models = desk.run(&["usage", "--by", "model", "--csv"]).ok();
    assert!(models.starts_with("model,requests,") && models.contains("\r\n'=cmd"), "{models}");
    for form in [&["--rows"][..], &["--by", "model"]] {
        let table = desk.run(&[&["usage", &one], form].concat()).ok();
        assert!(!table.contains(['\u{1b}', '\0']), "{table:?}");
    }
}

#[test]
fn totals_are_counted_again_from_rows() {
    let (desk, one, _) = used();
    let right = desk.run(&["usage", "rebuild", "--all", "--json"]).json();
    assert_eq!(right, json!({ "dry_run": false, "keys": 3, "corrected": [] }));
    // Rows that are missing look like rows that were pruned: the oldest one, and one of two days ago.
    block_on(async {
        let store = Sqlite::open(desk.db()).unwrap();
        assert_eq!(store.prune_usage(ago(0), 2).await.unwrap(), 2);
    });
    let before = desk.run(&["usage", &one, "--json"]).json();
    let seen = desk.run(&["usage", "rebuild", &one, "--dry-run", "--json"]).json();
    let buckets: Vec<_> =
        seen["corrected"].as_array().unwrap().iter().map(|total| total["bucket"].clone()).collect();
    let (day, month) = (date(2), ago(2).to_string()[..7].to_owned());
    let expected =
        [format!("day#{day}"), format!("day#{day}#claude"), format!("month#{month}"), "total".to_owned()];
    assert_eq!(buckets, expected);
    let error = desk.run(&["usage", "rebuild", "--all"]).fails(4);
    assert!(error.contains("--from"), "{error}");
    assert_eq!(desk.run(&["usage", &one, "--json"]).json()["total"], before["total"], "only looked at");
    let table = desk.run(&["usage", "rebuild", &one, "--from", &date(10)]).ok();
    assert!(table.contains("total"), "{table}");
    let after = desk.run(&["usage", &one, "--json"]).json();
    assert_eq!((&after["total"]["requests"], &after["total"]["cost_usd"]), (&3.into(), &"1.50".into()));
    assert_eq!(
        desk.run(&["show", &one, "--json"]).json()["usage"]["total"]["requests"],
        4,
        "older days stay"
    );
    desk.run(&["usage", "rebuild"]).fails(2);
    desk.run(&["usage", "rebuild", &one, "--all"]).fails(2);
}
