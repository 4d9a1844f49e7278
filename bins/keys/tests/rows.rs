//! Names of models, prices and beta flags, by the real binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;
use store::{MappingRow, PriceRow, PriceSource, Sqlite, Store, config};
use tempfile::TempDir;

const QWEN: &str = "qwen.qwen3-coder-480b-a35b-v1:0";
const SONNET: &str = "anthropic.claude-sonnet-4-6";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        self.err
    }
}

/// A database with the catalogue's prices in it or none.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        drop(Sqlite::open(dir.path().join("outcrop.db")).unwrap());
        Self(dir)
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)], stdin: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outcrop-keys"));
        command.env_clear().current_dir(self.0.path()).args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn run(&self, line: &str) -> Ran {
        self.run_with(&line.split(' ').collect::<Vec<_>>(), &[], "")
    }

    fn rows<R: config::Row>(&self) -> Vec<R> {
        let store: Box<dyn Store> = Box::new(Sqlite::open(self.0.path().join("outcrop.db")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(config::list(store.as_ref())).unwrap()
    }

    fn file(&self, text: &str) {
        fs::write(self.0.path().join("prices"), text).unwrap();
    }
}

#[test]
fn a_name_is_added_once_replaced_on_demand_listed_and_removed() {
    let desk = Desk::new();
    let added = desk.run(&format!("mapping add mine {QWEN} --json")).json();
    assert_eq!((&added["bedrock_model_id"], &added["version"]), (&QWEN.into(), &1.into()));
    let err = desk.run("mapping add mine other.model").fails(4);
    assert!(err.contains("--replace") && err.contains(QWEN), "{err}");
    desk.run("mapping add --anthropic-id mine --bedrock-id other.model --replace").ok();
    let [row] = &desk.rows::<MappingRow>()[..] else { panic!("one row") };
    assert_eq!((row.bedrock_model_id.as_str(), row.version), ("other.model", 2));
    assert_eq!(row.updated_by.as_deref(), Some("cli"));
    assert!(desk.run("mapping list").ok().contains("other.model"));
    assert_eq!(desk.run("mapping list -q").ok(), "mine\n");
    assert_eq!(desk.run("mapping list --json").json()["mappings"][0]["model_id"], "mine");
    assert_eq!(desk.run("mapping remove mine -q").ok(), "mine\n");
    desk.run("mapping remove mine").fails(3);
    for wrong in [
        "mapping",
        "mapping add",
        "mapping add a",
        "mapping add --anthropic-id a",
        "mapping add a b --bedrock-id c",
    ] {
        desk.run(wrong).fails(2);
    }
    desk.run_with(&["mapping", "add", "a b", "c"], &[], "").fails(2);
}

#[test]
fn a_test_shows_the_whole_resolution_as_a_gateway_of_this_environment_has_it() {
    let desk = Desk::new();
    let tested = desk.run("mapping test claude-sonnet-4-5@20250929[1m] --json").json();
    for (member, expected) in [
        ("normal_form", "claude-sonnet-4-5-20250929"),
        ("source", "catalogue"),
        ("id", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("base_id", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("family", "claude"),
        ("lane", "native"),
        ("scope", "global (BEDROCK_INFERENCE_SCOPE=global)"),
    ] {
        assert_eq!(tested[member], expected, "{tested}");
    }
    assert_eq!(tested["tiers"], serde_json::json!(["default", "reserved"]));
    assert_eq!((&tested["long_context"], &tested["price"]["input"]), (&true.into(), &"3.00".into()));
    let own = [
        ("DEFAULT_MODEL_MAPPING", r#"{"team": "claude-sonnet-4-6"}"#),
        ("BEDROCK_INFERENCE_SCOPE", "geo"),
        ("AWS_REGION", "eu-central-1"),
        ("ALLOW_UNKNOWN_MODELS", "no"),
    ];
    let tested = desk.run_with(&["mapping", "test", "team", "--json"], &own, "").json();
    assert_eq!(
        (&tested["source"], &tested["id"]),
        (&"DEFAULT_MODEL_MAPPING".into(), &"eu.anthropic.claude-sonnet-4-6".into())
    );
    assert_eq!(
        (&tested["price"]["regional_percent"], &tested["price"]["applies_regional"]),
        (&110.into(), &true.into())
    );
    desk.run_with(&["mapping", "test", "nobody-knows"], &own, "").fails(3);
    desk.run(&format!("mapping add team {QWEN}")).ok();
    desk.run(&format!("pricing set {QWEN} --input 9")).ok();
    let text = desk.run_with(&["mapping", "test", "team"], &own, "").ok();
    for said in ["source       store", "lane         converse", "9.00 in, 0.90 out", "by the store", QWEN] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let tested = desk.run("mapping test who.knows --json").json();
    assert_eq!((&tested["source"], &tested["price"]), (&"pass-through".into(), &Value::Null));
    let hidden = desk.run("mapping add x arn:aws:bedrock:us-east-1:123456789012:provisioned-model/y");
    assert!(hidden.err.contains("--base-model"), "{}", hidden.err);
}

#[test]
fn a_price_starts_from_the_one_in_force_and_is_shown_beside_it() {
    let desk = Desk::new();
    let shown = desk.run(&format!("pricing set {SONNET} --output 20 --dry-run"));
    assert!(desk.rows::<PriceRow>().is_empty(), "nothing is written");
    let text = shown.ok();
    for said in ["WOULD BE", "output                       15.00    20.00", "0.045", "0.05"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let set = desk.run(&format!("pricing set {SONNET} --output 20 --cache-read none --json")).json();
    for (member, expected) in [
        ("input", "3.00"),
        ("output", "20.00"),
        ("cache_write_1h", "6.00"),
        ("regional_multiplier", "1.10"),
        ("source", "manual"),
    ] {
        assert_eq!(set[member], expected, "{set}");
    }
    assert_eq!(set["cache_read"], Value::Null);
    desk.run(&format!("pricing set {SONNET} --status disabled --cache-write 4 --regional-multiplier 1.2"))
        .ok();
    let [row] = &desk.rows::<PriceRow>()[..] else { panic!("one row") };
    assert_eq!(
        (row.figures.output, row.figures.cache_write_5m, row.regional_multiplier),
        (20_000_000, Some(4_000_000), 120)
    );
    assert_eq!(row.version, 2);
    assert!(desk.run("pricing list").ok().contains("disabled"));
    desk.run(&format!("pricing remove {SONNET}")).ok();
    desk.run(&format!("pricing remove {SONNET}")).fails(3);
    let new = desk.run("pricing set a.new-one --input 1").fails(2);
    assert!(new.contains("--output"), "{new}");
}

#[test]
fn a_price_that_was_meant_for_one_token_is_stopped_or_pointed_at() {
    let desk = Desk::new();
    let err = desk.run(&format!("pricing set {SONNET} --input 3000000")).fails(2);
    assert!(err.contains("per million tokens") && err.contains("one token"), "{err}");
    for wrong in ["-1", "1001", "0.0000001", "three", "NaN"] {
        desk.run(&format!("pricing set {SONNET} --input={wrong}")).fails(2);
    }
    let low = desk.run(&format!("pricing set {SONNET} --input 0.000003 --output 0.000015"));
    assert!(low.err.contains("look like prices for one token"), "{}", low.err);
    low.ok();
}

#[test]
fn an_import_shows_the_difference_and_leaves_manual_prices_alone() {
    let desk = Desk::new();
    desk.run(&format!("pricing set {SONNET} --output 20")).ok();
    desk.file(&format!("model_id,provider,input,output\n{SONNET},anthropic,4,21\na.new,a,1,2\n"));
    let would = desk.run("pricing import prices --dry-run --json").json();
    let expected = serde_json::json!({
        "dry_run": true, "added": ["a.new"], "changed": [], "unchanged": [], "kept": [SONNET],
    });
    assert_eq!(would, expected);
    assert_eq!(desk.rows::<PriceRow>().len(), 1, "nothing is written");
    let text = desk.run("pricing import prices").ok();
    assert!(text.contains("added: 1, changed: 0, unchanged: 0; 1 set by hand and kept"), "{text}");
    assert_eq!(desk.run("pricing import prices --json").json()["unchanged"][0], "a.new");
    let text = desk.run("pricing import prices --overwrite").ok();
    assert!(text.contains("changed: 1") && text.contains("20.00") && text.contains("21.00"), "{text}");
    let row = desk.rows::<PriceRow>().into_iter().find(|row| row.model_id == SONNET).unwrap();
    assert_eq!((row.figures.input, row.source), (4_000_000, PriceSource::Import));
    // One wrong row, and none is written.
    desk.file("model_id,input,output\nb.new,1,2\nc.new,1,3000000\n");
    let err = desk.run("pricing import prices").fails(2);
    assert!(err.contains("nothing was imported") && err.contains("row 3 (c.new): output"), "{err}");
    assert_eq!(desk.rows::<PriceRow>().len(), 2);
    desk.run("pricing import nowhere").fails(1);
}

#[test]
fn what_is_listed_as_json_can_be_imported_again() {
    let desk = Desk::new();
    assert!(desk.run("setup --prices").ok().contains("prices of the catalogue written"));
    let listed = desk.run("pricing list --json").ok();
    let other = Desk::new();
    let done = other.run_with(&["pricing", "import", "-", "--json"], &[], &listed).json();
    assert_eq!(done["added"].as_array().unwrap().len(), desk.rows::<PriceRow>().len());
    let plain =
        |row: PriceRow| (row.model_id, row.figures, row.band, row.regional_multiplier, row.display_name);
    let rows = |desk: &Desk| desk.rows::<PriceRow>().into_iter().map(plain).collect::<Vec<_>>();
    assert_eq!(rows(&other), rows(&desk));
    assert!(rows(&desk).iter().any(|row| row.2.is_some()), "bands travel too");
}

#[test]
fn setup_writes_the_catalogues_prices_where_nobody_has_set_any() {
    let desk = Desk::new();
    desk.run(&format!("pricing set {SONNET} --output 20")).ok();
    let written = desk.run("setup --prices --json").json()["prices_written"].as_u64().unwrap();
    assert!(written > 20, "{written}");
    assert_eq!(desk.run("setup --prices --json").json()["prices_written"], 0);
    let rows = desk.rows::<PriceRow>();
    assert_eq!(rows.len() as u64, written + 1);
    let sonnet = rows.iter().find(|row| row.model_id == SONNET).unwrap();
    assert_eq!((sonnet.figures.output, sonnet.source), (20_000_000, PriceSource::Manual));
    assert!(rows.iter().filter(|row| row.model_id != SONNET).all(|row| row.source == PriceSource::Default));
    desk.run("setup --prices --check").fails(2);
}

#[test]
fn a_flag_is_mapped_blocked_or_allowed_and_the_decision_taken_back() {
    let desk = Desk::new();
    let set = desk
        .run("beta set a-2030-01-01 --map-to b-2030-01-01 --map-to c-2030-01-01 --model *claude* --json")
        .json();
    assert_eq!(set["header_type"], "mapping");
    assert_eq!(set["mapped_to"], serde_json::json!(["b-2030-01-01", "c-2030-01-01"]));
    let text = desk.run("beta set a-2030-01-01 --allow").ok();
    assert_eq!(text, "a-2030-01-01: sent to all models.\n");
    desk.run("beta set b-2030-01-01 --block").ok();
    let listed = desk.run("beta list --json").json();
    let kinds: Vec<_> =
        listed["beta_headers"].as_array().unwrap().iter().map(|row| &row["header_type"]).collect();
    assert_eq!(kinds, ["allow", "blocklist"]);
    assert!(desk.run("beta list").ok().contains("all models"));
    assert_eq!(desk.run("beta remove a-2030-01-01 --json").json()["removed"], "a-2030-01-01");
    desk.run("beta remove a-2030-01-01").fails(3);
    for wrong in
        ["beta set x", "beta set x --allow --block", "beta set a,b --allow", "beta set x --block --map-to y"]
    {
        desk.run(wrong).fails(2);
    }
}

#[test]
fn a_database_that_is_not_there_is_not_made_by_a_slip() {
    let desk = Desk::new();
    for line in ["mapping list", "pricing list", "beta list", "mapping add a b"] {
        let err = desk.run(&format!("{line} --db elsewhere.db")).fails(1);
        assert!(err.contains("elsewhere.db"), "{err}");
    }
    assert!(!desk.0.path().join("elsewhere.db").exists());
}
