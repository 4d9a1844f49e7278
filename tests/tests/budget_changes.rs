//! Budgets that are reset and extended by the command, as the callers of running gateways meet them.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, hello};
use serde_json::{Value, json};
use store::{Bucket, KeyRecord, Timestamp};

/// `outcrop-keys`, on this database.
async fn command(db: &Path, arguments: &[&str]) -> Value {
    let line = ["outcrop-keys", "--db"].map(OsString::from).into_iter();
    let line = line.chain([db.into()]).chain(arguments.iter().map(OsString::from)).chain(["--json".into()]);
    let line: Vec<OsString> = line.collect();
    let (out, err) = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        outcrop_keys::run(line, None, &mut std::io::empty(), &mut out, &mut err);
        (out, err)
    })
    .await
    .unwrap();
    assert!(!out.is_empty(), "{}", String::from_utf8_lossy(&err));
    serde_json::from_slice(&out).unwrap()
}

/// Two gateways on one file, and a key whose day's budget pays for one large request.
struct Pair {
    db: PathBuf,
    gateways: Vec<Gateway>,
    callers: Vec<Caller>,
    record: KeyRecord,
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("outcrop.db");
        let mut gateways = Vec::new();
        for _ in 0..2 {
            let mut options = Options::with_keys(&["--key-cache-ttl-seconds=0.2", "--store=sqlite"]);
            options.settings.push(format!("--outcrop-db={}", db.display()));
            gateways.push(Gateway::with(options).await);
        }
        let (key, record) = gateways[0].key_with(|record| record.budget_daily = Some(5_000)).await;
        let callers = gateways.iter().map(|gateway| Caller::new(gateway.addr, &key)).collect();
        Self { db, gateways, callers, record, _dir: dir }
    }

    /// A request that costs nearly all of the budget.
    async fn ask(&self, n: usize) -> u16 {
        let mut body = hello(CLAUDE, "sim:words=290", false);
        body["max_tokens"] = json!(300);
        let reply = self.callers[n].messages(&body).await;
        assert!([200, 402].contains(&reply.status), "{}", reply.text());
        reply.status
    }

    /// Until the change of a key has come through.
    async fn until_paid(&self, n: usize) {
        while self.ask(n).await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_reset_lets_running_gateways_spend_the_budget_once_more_together() {
    let pair = Pair::start().await;
    let id = pair.record.key_id.as_str();
    assert_eq!(pair.ask(0).await, 200);
    pair.gateways[0].rows_of(&pair.record.key_id, 1).await;
    assert_eq!((pair.ask(0).await, pair.ask(1).await), (402, 402));
    let reset = command(&pair.db, &["budget", "reset", id]).await;
    assert_eq!(reset["budgets"]["daily"]["spent_usd"], "0.00");
    pair.until_paid(1).await;
    assert_eq!((pair.ask(0).await, pair.ask(1).await), (402, 402), "once more for both, not for each");
    let rows = pair.gateways[0].rows_of(&pair.record.key_id, 2).await;
    let store = &pair.gateways[0].store;
    let day = store.usage_totals(&pair.record.key_id, &Bucket::Day(Timestamp::now())).await.unwrap();
    let cost: u128 = rows.iter().map(|row| row.cost_pico_usd.unwrap().0).sum();
    assert_eq!((day.requests, day.cost_pico_usd.0), (2, cost), "totals are what was used");
    let listed = command(&pair.db, &["list", "--status", "active"]).await;
    assert_eq!(listed["keys"][0]["key_id"], id, "something is left");
}

#[tokio::test]
async fn an_extension_is_over_at_its_moment_on_every_gateway_though_nobody_says_so() {
    let pair = Pair::start().await;
    let id = pair.record.key_id.as_str();
    assert_eq!(pair.ask(0).await, 200);
    pair.gateways[0].rows_of(&pair.record.key_id, 1).await;
    assert_eq!(pair.ask(1).await, 402);
    let extended = command(&pair.db, &["budget", "extend", id, "--by", "10", "--for", "3s"]).await;
    let until: Timestamp =
        extended["budgets"]["daily"]["extension"]["until"].as_str().unwrap().parse().unwrap();
    for n in [1, 0] {
        pair.until_paid(n).await;
    }
    let left = until.unix_millis() - Timestamp::now().unix_millis();
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0) + 1)).await;
    // Each has a lease from before.
    assert_eq!((pair.ask(0).await, pair.ask(1).await), (402, 402));
    let shown = command(&pair.db, &["show", id]).await;
    assert_eq!(
        (&shown["status"], &shown["budgets"]["daily"]["limit_usd"]),
        (&"budget_exceeded".into(), &"0.005".into())
    );
}
