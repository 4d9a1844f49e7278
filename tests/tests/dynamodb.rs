//! The gateway on DynamoDB: a real API on loopback, behind a proxy that can take it away.
//!
//! Needs `OUTCROP_DYNAMODB_URL` or `ministack` on the PATH; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, HASH_SECRET, Options, hello, on_tables};
use serde_json::Value;
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};
use store::{
    Bucket, DynamoDb, DynamoDbSettings, KeyId, Page, Store, Timestamp, Totals, UsageQuery, UsageRow,
};

/// Runs `outcrop-keys`, which takes the thread for itself.
async fn keys(settings: &DynamoDbSettings, arguments: &[&str]) -> Value {
    let own = ["outcrop-keys", "--store=dynamodb", "--json", "--log-level=error"].map(str::to_owned);
    let flags = [
        format!("--endpoint-url={}", settings.endpoint_url.as_ref().unwrap()),
        format!("--table-prefix={}", settings.tables.prefix),
    ];
    let line: Vec<OsString> = own
        .into_iter()
        .chain(flags)
        .chain(arguments.iter().map(ToString::to_string))
        .map(OsString::from)
        .collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        outcrop_keys::run(line, Some(HASH_SECRET), &mut std::io::empty(), &mut out, &mut err);
        (out, String::from_utf8(err).unwrap())
    };
    let (out, err) = tokio::task::spawn_blocking(run).await.unwrap();
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {err}"))
}

struct Stand {
    gateway: Gateway,
    proxy: FaultProxy,
    /// Past the proxy.
    store: DynamoDb,
    spool: tempfile::TempDir,
    key_id: KeyId,
    caller: Caller,
}

impl Stand {
    /// Tables made and a key created by the command, and a gateway that reaches them through the proxy.
    async fn start(more: &[&str]) -> Option<Self> {
        let settings = stand_in::untouched()?;
        keys(&settings, &["setup"]).await;
        let made = keys(&settings, &["create", "-u", "amalia", "-n", "laptop"]).await;
        let proxy = FaultProxy::start(stand_in::url()?).await;
        let spool = tempfile::tempdir().unwrap();
        let mut options = Options::with_keys(more);
        options.settings.extend(on_tables(&settings, &proxy.url()));
        options.settings.push(format!("--usage-spool-dir={}", spool.path().display()));
        let gateway = Gateway::with(options).await;
        let caller = Caller::new(gateway.addr, made["key"].as_str().unwrap());
        let key_id = made["key_id"].as_str().unwrap().parse().unwrap();
        let store = DynamoDb::open(&settings).await.unwrap();
        Some(Self { gateway, proxy, store, spool, key_id, caller })
    }

    async fn rows(&self) -> Vec<UsageRow> {
        let query = UsageQuery {
            key_id: self.key_id.clone(),
            since: Timestamp::EPOCH,
            until: Timestamp::now().plus_millis(60_000),
        };
        self.store.usage_rows(&query, &Page::first(1_000)).await.unwrap().items
    }

    /// The rows, once there are so many.
    async fn rows_when(&self, count: usize) -> Vec<UsageRow> {
        loop {
            let rows = self.rows().await;
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn total(&self) -> Totals {
        self.store.usage_totals(&self.key_id, &Bucket::Total).await.unwrap()
    }

    fn spooled(&self) -> bool {
        let files = std::fs::read_dir(self.spool.path()).unwrap();
        files.into_iter().any(|file| file.unwrap().file_name().to_string_lossy().starts_with("usage-"))
    }
}

#[tokio::test]
async fn a_key_of_the_command_is_let_in_and_its_usage_arrives() {
    let Some(stand) = Stand::start(&[]).await else { return };
    for stream in [false, true] {
        let reply = stand.caller.messages(&hello(CLAUDE, "Hello", stream)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let rows = stand.rows_when(2).await;
    let sum = rows.iter().fold(Totals::default(), |mut sum, row| {
        sum.add(row);
        sum
    });
    assert_eq!(stand.total().await, sum);
    assert!(sum.output_tokens > 0 && sum.cost_pico_usd.0 > 0);
    let health = stand.caller.get("/health").await.json();
    assert_eq!(
        (&health["services"]["store"]["kind"], &health["services"]["store"]["status"]),
        (&"dynamodb".into(), &"healthy".into())
    );
    let wrong = Caller::new(stand.gateway.addr, "sk-oc-nobody-has-this-key")
        .messages(&hello(CLAUDE, "Hello", false))
        .await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn while_dynamodb_is_away_known_keys_work_and_usage_waits_on_disk_and_is_written_once() {
    // The record is asked for at every request, and the queue holds one row.
    let Some(stand) = Stand::start(&["--key-cache-ttl-seconds=0", "--usage-queue-rows=1"]).await else {
        return;
    };
    let ask = async || stand.caller.messages(&hello(CLAUDE, "Hello", false)).await;
    assert_eq!(ask().await.status, 200);
    stand.rows_when(1).await;
    stand.proxy.all(Fate::Cut);
    for _ in 0..3 {
        let reply = ask().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // A key that nobody has seen is not known to be wrong.
    let unknown = Caller::new(stand.gateway.addr, "a-key-that-was-never-presented");
    let refused = unknown.messages(&hello(CLAUDE, "Hello", false)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.error().1.starts_with("The key cannot be checked"), "{}", refused.text());
    while !stand.spooled() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stand.rows().await.len(), 1);
    // It comes back, and at first does what it is asked but loses its answers.
    stand.proxy.all(Fate::Forget);
    stand.rows_when(2).await;
    stand.proxy.all(Fate::Pass);
    assert_eq!(ask().await.status, 200);
    let rows = stand.rows_when(5).await;
    let total = stand.total().await;
    let Stand { gateway, store, key_id, spool, .. } = stand;
    gateway.ended().await;
    assert_eq!((rows.len(), total.requests), (5, 5));
    assert_eq!(store.usage_totals(&key_id, &Bucket::Total).await.unwrap(), total);
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "nothing is left on disk");
}

#[tokio::test]
async fn a_gateway_without_its_tables_does_not_start_and_says_what_to_do() {
    let Some(settings) = stand_in::untouched() else { return };
    let line = [
        "outcrop-proxy".to_owned(),
        "--port=0".to_owned(),
        "--store=dynamodb".to_owned(),
        format!("--key-hash-secret={HASH_SECRET}"),
        format!("--dynamodb-endpoint-url={}", settings.endpoint_url.unwrap()),
        format!("--dynamodb-table-prefix={}", settings.tables.prefix),
    ];
    let cli = outcrop_proxy::settings::read(line.map(OsString::from), |_| None).unwrap();
    let error = Box::pin(outcrop_proxy::Gate::start(cli)).await.unwrap_err().to_string();
    assert!(error.contains("outcrop-keys setup") && error.contains("DYNAMODB_"), "{error}");
}

#[tokio::test]
async fn while_dynamodb_hangs_requests_of_known_keys_do_not_wait_for_it() {
    let Some(stand) = Stand::start(&["--key-cache-ttl-seconds=0"]).await else { return };
    let ask = async || stand.caller.messages(&hello(CLAUDE, "Hello", false)).await.status;
    assert_eq!(ask().await, 200);
    stand.rows_when(1).await;
    let before = stand.proxy.seen();
    stand.proxy.all(Fate::Hang);
    for _ in 0..30 {
        assert_eq!(ask().await, 200);
    }
    // Each of them would have waited for calls of its own. One question was asked for all.
    let calls = stand.proxy.seen() - before;
    assert!(calls < 15, "{calls}");
    stand.proxy.all(Fate::Pass);
    assert_eq!(stand.rows_when(31).await.len(), 31);
}
