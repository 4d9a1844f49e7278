//! Names, prices and beta flags that an operator changes while the gateway runs: written by the command, read by the
//! gateway within its refresh.
//!
//! What needs DynamoDB is skipped where there is none; see `store::contract::stand_in`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, QWEN, Reply, hello};
use serde_json::Value;
use store::contract::{
    fault::{Fate, FaultProxy},
    stand_in,
};
use store::{PicoUsd, UsageRow};

/// A gateway on a database file, and the command on the same.
struct Stand {
    gateway: Gateway,
    dir: tempfile::TempDir,
}

impl Stand {
    async fn start(more: &[&str]) -> Self {
        Self::with(Options::with(more)).await
    }

    async fn with(mut options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        options.settings.extend([
            "--store=sqlite".to_owned(),
            format!("--outcrop-db={}", dir.path().join("outcrop.db").display()),
            "--config-refresh-seconds=0.02".to_owned(),
        ]);
        Self { gateway: Gateway::with(options).await, dir }
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("outcrop.db")
    }

    async fn keys(&self, arguments: &[&str]) -> Value {
        keys(&[format!("--db={}", self.db().display())], arguments).await
    }

    async fn ask(&self, model: &str) -> Reply {
        ask(&self.gateway, model).await
    }

    async fn ask_until(&self, model: &str, right: impl Fn(&Reply) -> bool) -> Reply {
        ask_until(&self.gateway, model, right).await
    }

    async fn models(&self) -> Vec<String> {
        let list = self.gateway.caller().get("/v1/models?limit=1000").await.json();
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn last_row(&self, count: usize) -> UsageRow {
        self.gateway.rows(count).await.pop().unwrap()
    }
}

/// Runs `outcrop-keys`, which takes the thread for itself.
async fn keys(store: &[String], arguments: &[&str]) -> Value {
    let own = ["outcrop-keys".to_owned(), "--json".to_owned()].into_iter().chain(store.iter().cloned());
    let line: Vec<OsString> =
        own.chain(arguments.iter().map(ToString::to_string)).map(OsString::from).collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        outcrop_keys::run(line, None, &mut std::io::empty(), &mut out, &mut err);
        (out, String::from_utf8(err).unwrap())
    };
    let (out, err) = tokio::task::spawn_blocking(run).await.unwrap();
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {err}"))
}

async fn ask(gateway: &Gateway, model: &str) -> Reply {
    gateway.caller().header("x-outcrop-debug", "1").messages(&hello(model, "Hello", false)).await
}

/// Asks until the answer is as it should be; the refresh is on its way.
async fn ask_until(gateway: &Gateway, model: &str, right: impl Fn(&Reply) -> bool) -> Reply {
    loop {
        let reply = ask(gateway, model).await;
        if right(&reply) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn called(model: &'static str) -> impl Fn(&Reply) -> bool {
    move |reply| reply.status == 200 && reply.header("x-outcrop-model") == Some(model)
}

#[tokio::test]
async fn a_name_holds_after_the_refresh_and_so_does_its_removal() {
    let stand = Stand::start(&["--allow-unknown-models=false"]).await;
    assert_eq!(stand.ask("claude-qwen3-coder").await.status, 404);
    stand.keys(&["mapping", "add", "claude-qwen3-coder", QWEN]).await;
    let reply = stand.ask_until("claude-qwen3-coder", called(QWEN)).await;
    assert_eq!(reply.header("x-outcrop-lane"), Some("converse"));
    assert!(stand.models().await.contains(&"claude-qwen3-coder".to_owned()));
    stand.keys(&["mapping", "add", "claude-qwen3-coder", "amazon.nova-pro-v1:0", "--replace"]).await;
    stand.ask_until("claude-qwen3-coder", called("amazon.nova-pro-v1:0")).await;
    stand.keys(&["mapping", "remove", "claude-qwen3-coder"]).await;
    stand.ask_until("claude-qwen3-coder", |reply| reply.status == 404).await;
    assert!(!stand.models().await.contains(&"claude-qwen3-coder".to_owned()));
}

#[tokio::test]
async fn a_name_of_claudes_may_run_in_the_other_lane_and_wins_over_the_settings() {
    let setting = r#"--default-model-mapping={"claude-sonnet-4-6": "amazon.nova-pro-v1:0"}"#;
    let stand = Stand::start(&[setting]).await;
    stand.ask_until(CLAUDE, called("amazon.nova-pro-v1:0")).await;
    stand.keys(&["mapping", "add", "--anthropic-id", CLAUDE, "--bedrock-id", QWEN]).await;
    let reply = stand.ask_until(CLAUDE, called(QWEN)).await;
    assert_eq!(reply.header("x-outcrop-lane"), Some("converse"));
    assert_eq!(reply.json()["model"], CLAUDE, "the caller reads the name it used");
    // Another form of the same name means the same.
    assert!(called(QWEN)(&stand.ask("claude-sonnet-4-6[1m]").await));
    let tested = stand.keys(&["mapping", "test", CLAUDE]).await;
    assert_eq!((&tested["id"], &tested["lane"]), (&QWEN.into(), &"converse".into()));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_leaves_everything_as_it_was() {
    let stand = Stand::start(&[]).await;
    stand.keys(&["mapping", "add", "mine", QWEN]).await;
    stand.ask_until("mine", called(QWEN)).await;
    let (db, bad) = (rusqlite::Connection::open(stand.db()).unwrap(), "bad");
    db.execute("INSERT INTO config VALUES ('model-pricing', ?1, 1, '{\"input\": \"cheap\"}')", [bad])
        .unwrap();
    stand.keys(&["mapping", "add", "theirs", QWEN]).await;
    // Several refreshes later the old names hold, and the new one is not there.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(called(QWEN)(&stand.ask("mine").await));
    assert!(!stand.models().await.contains(&"theirs".to_owned()));
    db.execute("DELETE FROM config WHERE id = ?1", [bad]).unwrap();
    stand.ask_until("theirs", called(QWEN)).await;
}

#[tokio::test]
async fn a_price_that_was_set_is_what_is_booked() {
    let stand = Stand::start(&["--unpriced-models=refuse"]).await;
    // The catalogue has no price for it.
    let new = "amazon.nova-pro-v1:0";
    let refused = stand.ask(new).await;
    assert_eq!((refused.status, refused.error().0.as_str()), (403, "permission_error"));
    assert!(refused.error().1.contains("UNPRICED_MODELS"), "{}", refused.text());
    stand.keys(&["pricing", "set", new, "--input", "0.000007", "--output", "0.000011"]).await;
    stand.ask_until(new, |reply| reply.status == 200).await;
    let row = stand.last_row(1).await;
    let pico = u128::from(row.input_tokens * 7 + row.output_tokens * 11);
    assert_eq!(row.cost_pico_usd, Some(PicoUsd(pico)));
    // Over the catalogue's price too, by the base id; what is not named stays.
    stand.keys(&["pricing", "set", "anthropic.claude-sonnet-4-6", "--input", "1000"]).await;
    let mut seen = 1;
    let row = loop {
        stand.ask(CLAUDE).await;
        seen += 1;
        let row = stand.last_row(seen).await;
        if row.cost_pico_usd
            > Some(PicoUsd(u128::from(row.output_tokens * 15_000_000 + row.input_tokens * 3_000_000)))
        {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let pico = u128::from(row.input_tokens) * 1_000_000_000 + u128::from(row.output_tokens) * 15_000_000;
    assert_eq!(row.cost_pico_usd, Some(PicoUsd(pico)));
}

#[tokio::test]
async fn a_key_with_a_budget_may_use_a_model_once_it_has_a_price_and_holds_and_pays_by_it() {
    const NOVA: &str = "amazon.nova-pro-v1:0";
    let stand = Stand::with(Options::with_keys(&[])).await;
    let (key, record) = stand.gateway.key_with(|record| record.budget_total = Some(10_000)).await;
    let caller = Caller::new(stand.gateway.addr, &key);
    let until = async |caller: &Caller, status: u16| loop {
        let reply = caller.messages(&hello(NOVA, "Hello", false)).await;
        if reply.status == status {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let refused = until(&caller, 403).await;
    assert!(refused.error().1.contains("This API key has a budget"), "{}", refused.text());
    let (free, _) = stand.gateway.key_with(|_| {}).await;
    let unpriced = Caller::new(stand.gateway.addr, &free).messages(&hello(NOVA, "Hello", false)).await;
    assert_eq!(unpriced.status, 200, "who has no budget may");
    stand.keys(&["pricing", "set", NOVA, "--input", "2", "--output", "4"]).await;
    until(&caller, 200).await;
    let flex = Caller::new(stand.gateway.addr, &key).header("x-amzn-bedrock-service-tier", "flex");
    until(&flex, 200).await;
    let rows = stand.gateway.rows_of(&record.key_id, 2).await;
    for (row, percent) in rows.iter().zip([100, 50]) {
        let list = u128::from(row.input_tokens * 2_000_000 + row.output_tokens * 4_000_000);
        assert_eq!(row.cost_pico_usd, Some(PicoUsd(list * percent / 100)), "{:?}", row.tier_served);
    }
    // All the tokens that may come no longer fit in, at this price.
    stand.keys(&["pricing", "set", NOVA, "--output", "1000"]).await;
    let refused = until(&caller, 402).await;
    assert!(refused.error().1.contains("total budget of $0.01"), "{}", refused.text());
}

#[tokio::test]
async fn decisions_about_flags_hold_for_their_models_and_win_over_the_settings() {
    const SEARCH: &str = "tool-search-tool-2025-10-19";
    const THINKING: &str = "interleaved-thinking-2025-05-14";
    const STRANGE: &str = "never-heard-of-2031-01-01";
    let stand = Stand::start(&[&format!("--beta-headers-blocklist={THINKING}")]).await;
    let flags = async || {
        let asked = format!("{SEARCH}, {THINKING}, {STRANGE}, mine-2030-01-01");
        let caller = stand.gateway.caller().header("anthropic-beta", &asked);
        // The simulator refuses a strange flag, as Bedrock does; the first try is what was decided.
        let before = stand.gateway.sim.requests().len();
        caller.messages(&hello("claude-opus-5", "Hello", false)).await;
        let sent: Value = serde_json::from_slice(&stand.gateway.sim.requests()[before].body).unwrap();
        let flags = sent["anthropic_beta"].as_array().cloned().unwrap_or_default();
        flags.iter().map(|flag| flag.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let until = async |wanted: &[&str]| {
        while flags().await != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(&[SEARCH]).await;
    stand.keys(&["beta", "set", THINKING, "--allow", "--model", "*opus*"]).await;
    until(&[SEARCH, THINKING]).await;
    stand.keys(&["beta", "set", SEARCH, "--block", "--model", "*opus-5*"]).await;
    until(&[THINKING]).await;
    stand.keys(&["beta", "set", SEARCH, "--block", "--model", "*sonnet*"]).await;
    until(&[SEARCH, THINKING]).await;
    stand.keys(&["beta", "remove", SEARCH]).await;
    stand.keys(&["beta", "set", "mine-2030-01-01", "--map-to", "context-management-2025-06-27"]).await;
    until(&[SEARCH, THINKING, "context-management-2025-06-27"]).await;
    stand.keys(&["beta", "remove", "mine-2030-01-01"]).await;
    until(&[SEARCH, THINKING]).await;
    // Last, because a flag that was refused once is not sent to this model again.
    stand.keys(&["beta", "set", STRANGE, "--allow", "--model", "anthropic.claude-opus-5"]).await;
    stand.keys(&["beta", "set", THINKING, "--block"]).await;
    until(&[SEARCH]).await;
    stand.keys(&["beta", "set", STRANGE, "--allow", "--model", "*claude-opus-5"]).await;
    until(&[SEARCH, STRANGE]).await;
}

#[tokio::test]
async fn gateways_that_share_tables_go_by_the_same_rows_and_keep_them_while_the_tables_are_away() {
    let Some(tables) = stand_in::tables().await else { return };
    let url = stand_in::url().unwrap();
    let proxy = FaultProxy::start(url).await;
    let prefix = &tables.tables.prefix;
    let gateway = async |url: &str| {
        let mut options = Options::with_keys(&["--store=dynamodb", "--config-refresh-seconds=0.05"]);
        let place = [format!("--dynamodb-endpoint-url={url}"), format!("--dynamodb-table-prefix={prefix}")];
        options.settings.extend(place);
        Gateway::with(options).await
    };
    let (near, far) = (gateway(url).await, gateway(&proxy.url()).await);
    let store = ["--store=dynamodb", "--region=us-east-1"].map(str::to_owned).into_iter();
    let store: Vec<_> =
        store.chain([format!("--endpoint-url={url}"), format!("--table-prefix={prefix}")]).collect();
    keys(&store, &["mapping", "add", CLAUDE, QWEN]).await;
    for gateway in [&near, &far] {
        ask_until(gateway, CLAUDE, called(QWEN)).await;
    }
    proxy.all(Fate::Cut);
    keys(&store, &["mapping", "remove", CLAUDE]).await;
    let own = "global.anthropic.claude-sonnet-4-6";
    ask_until(&near, CLAUDE, called(own)).await;
    assert!(called(QWEN)(&ask(&far, CLAUDE).await), "what was read last holds on");
    proxy.all(Fate::Pass);
    ask_until(&far, CLAUDE, called(own)).await;
}

#[tokio::test]
async fn embeddings_have_a_price_from_the_operator_and_are_paid_from_the_budget_call_by_call() {
    const TITAN: &str = "amazon.titan-embed-text-v2:0";
    let stand = Stand::with(Options::with_keys(&[])).await;
    // A tenth of a cent buys a thousand tokens at a dollar a million.
    let (key, record) = stand.gateway.key_with(|record| record.budget_total = Some(1000)).await;
    let caller = Caller::bearer(stand.gateway.addr, &key);
    let texts: Vec<String> = (0..20).map(|n| format!("text number {n}")).collect();
    let body = serde_json::json!({ "model": TITAN, "input": texts });
    assert_eq!(caller.openai("/v1/embeddings", &body).await.status, 403, "nobody has said what it costs");
    stand.keys(&["pricing", "set", TITAN, "--input", "1", "--output", "0"]).await;
    let reply = loop {
        let reply = caller.openai("/v1/embeddings", &body).await;
        if reply.status != 403 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(reply.status, 200, "{}", reply.text());
    let tokens = reply.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    let rows = stand.gateway.rows_of(&record.key_id, 20).await;
    let costs: Vec<_> = rows.iter().map(|row| row.cost_pico_usd.unwrap().0).collect();
    assert_eq!(rows.iter().map(|row| row.input_tokens).sum::<u64>(), tokens);
    assert_eq!(costs, rows.iter().map(|row| u128::from(row.input_tokens) * 1_000_000).collect::<Vec<_>>());
    // What the calls held and did not use is free again, and what they used is gone.
    let mut served = 1;
    let refused = loop {
        let reply = caller.openai("/v1/embeddings", &body).await;
        if reply.status != 200 {
            break reply;
        }
        served += 1;
    };
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("insufficient_quota")));
    assert!(served > 1 && served * tokens <= 1000, "{served} requests of {tokens} tokens");
}
