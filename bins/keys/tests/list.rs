//! Which keys there are, and which of them are meant.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use store::PicoUsd;
use support::{Desk, spend};

#[test]
fn a_list_is_a_table_and_goes_on_where_it_ended() {
    let desk = Desk::new();
    let ids: Vec<_> = ["one", "two", "three"].into_iter().map(|name| desk.create(name).0).collect();
    desk.run(&["create", "-u", "bea", "-n", "hers", "--expires-at", "2999-12-31"]).ok();
    let table = desk.run(&["list"]).ok();
    assert_eq!(table.lines().count(), 5);
    assert!(table.starts_with("KEY ID"), "{table}");
    assert!(table.lines().any(|line| line.contains("bea") && line.ends_with("2999-12-31")), "{table}");
    let amalias = desk.run(&["list", "-u", "amalia", "-q"]).ok();
    let mut sorted = ids.clone();
    sorted.sort();
    let mut listed: Vec<_> = amalias.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, sorted);
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["list", "--limit", "1", "--json"];
        arguments.extend(cursor.iter().flat_map(|cursor| ["--cursor", cursor.as_str()]));
        let page = desk.run(&arguments).json();
        seen.extend(
            page["keys"].as_array().unwrap().iter().map(|key| key["key_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = Some(next.to_owned());
    }
    assert_eq!(seen.len(), 4);
    let more = desk.run(&["list", "--limit", "2"]);
    assert!(more.err.contains("--cursor"), "{}", more.err);
}

fn listed(desk: &Desk, flags: &[&str]) -> Vec<String> {
    desk.run(&[&["list", "-q"], flags].concat()).ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_list_tells_whose_budget_is_spent_and_finds_them_by_it() {
    let desk = Desk::new();
    let make = |name: &str, more: &[&str]| {
        let made = desk.run(&[&["create", "-u", "amalia", "-n", name, "-q"], more].concat()).ok();
        desk.found(made.trim_end(), None).unwrap().key_id.to_string()
    };
    let free = make("free", &[]);
    let spent: Vec<_> = (0..3).map(|n| make(&format!("spent {n}"), &["--budget-daily", "1"])).collect();
    let rich = make("rich", &["--budget-monthly", "5"]);
    let revoked = make("revoked", &["--budget", "1"]);
    let expired = make("expired", &["--expires-in", "1s", "--budget", "1"]);
    for (n, id) in spent.iter().chain([&rich, &revoked, &expired]).enumerate() {
        spend(&desk, id, &n.to_string(), PicoUsd::USD);
    }
    desk.run(&["revoke", &revoked]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(listed(&desk, &["--status", "budget_exceeded"]), spent);
    assert_eq!(listed(&desk, &["--status", "active"]), [free, rich]);
    assert_eq!(listed(&desk, &["--status", "revoked"]), [revoked]);
    assert_eq!(listed(&desk, &["--status", "expired"]), [expired]);
    let all = desk.run(&["list", "--json"]).json();
    let statuses: Vec<_> =
        all["keys"].as_array().unwrap().iter().map(|key| key["status"].as_str().unwrap()).collect();
    let exceeded = "budget_exceeded";
    assert_eq!(statuses, ["active", exceeded, exceeded, exceeded, "active", "revoked", "expired"]);
    assert_eq!(desk.run(&["list"]).ok().matches(exceeded).count(), 3);
    // Pages are of what is wanted, not of what was looked at.
    let page = desk.run(&["list", "--status", exceeded, "--limit", "2", "--json"]).json();
    assert_eq!(page["keys"].as_array().unwrap().len(), 2);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = listed(&desk, &["--status", exceeded, "--limit", "2", "--cursor", next]);
    assert_eq!(rest, spent[2..]);
    let last = desk.run(&["list", "--status", exceeded, "--limit", "3", "--json"]).json();
    assert_eq!(last["next_cursor"], serde_json::Value::Null);
    desk.run(&["list", "--status", "broke"]).fails(2);
}

#[test]
fn a_list_is_filtered_by_name_owner_and_pairs() {
    let desk = Desk::new();
    let make = |name: &str, owner: &str, team: &str| {
        let flags = ["--owner", owner, "--meta", team, "--meta", "env=prod", "-q"];
        let made = desk.run(&[&["create", "-u", "amalia", "-n", name], &flags[..]].concat()).ok();
        desk.found(made.trim_end(), None).unwrap().key_id.to_string()
    };
    let one = make("ci", "Bea", "team=geology");
    let two = make("ci", "Amalia Ø.", "team=botany");
    let three = make("laptop", "Bea", "team=botany");
    assert_eq!(listed(&desk, &["--name", "ci"]), [one, two.clone()]);
    assert_eq!(listed(&desk, &["--owner", "Amalia Ø."]), std::slice::from_ref(&two));
    assert_eq!(listed(&desk, &["--owner", "Bea", "--meta", "team=botany"]), std::slice::from_ref(&three));
    assert_eq!(listed(&desk, &["--meta", "env=prod", "--meta", "team=botany"]), [two, three]);
    assert!(listed(&desk, &["--name", "c"]).is_empty());
    desk.run(&["list", "--meta", "team"]).fails(2);
}
