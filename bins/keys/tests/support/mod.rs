//! A directory of its own, and the real binary in it.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use store::{
    KeyId, KeyRecord, PicoUsd, PresentedKey, Sqlite, Store, Timestamp, UsageRow, contract::sample,
    hash_secret,
};
use tempfile::TempDir;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.out, "", "a failure answers nothing");
        self.err
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

pub(crate) struct Desk {
    pub(crate) dir: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.dir.path().join("outcrop.db")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outcrop-keys"));
        command.env_clear().current_dir(self.dir.path()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        finish(self.command(arguments), stdin)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Makes a key and returns its id and the key.
    pub(crate) fn create(&self, name: &str) -> (String, String) {
        let made = self.run(&["create", "-u", "amalia", "-n", name, "--json"]).json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("key_id"), text("key"))
    }

    /// What the gateway would find for a presented key.
    pub(crate) fn found(&self, key: &str, secret: Option<&str>) -> Option<KeyRecord> {
        block_on(async {
            let store = Sqlite::open(self.db()).unwrap();
            let hasher = hash_secret(&store, secret).await.unwrap();
            store.key_by_hash(&hasher.hash(&PresentedKey::new(key))).await.unwrap()
        })
    }
}

pub(crate) fn finish(mut command: Command, stdin: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What a request of now left behind.
pub(crate) fn usage_row(key_id: &str, request_id: &str, cost: Option<PicoUsd>) -> UsageRow {
    UsageRow {
        key_id: key_id.parse::<KeyId>().unwrap(),
        ts: Timestamp::now(),
        cost_pico_usd: cost,
        ..sample::plain_row(request_id)
    }
}

/// Books a request of now.
pub(crate) fn spend(desk: &Desk, key_id: &str, request_id: &str, cost: PicoUsd) {
    block_on(async {
        let store = Sqlite::open(desk.db()).unwrap();
        store.record_usage(&[usage_row(key_id, request_id, Some(cost))]).await.unwrap();
    });
}
