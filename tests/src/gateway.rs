//! A gateway of this process, in front of a simulator that the test can script.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedrock_sim::{Config, Sim};
use outcrop_proxy::{Gate, settings};
use store::{DynamoDbSettings, KeyId, KeyRecord, Store, Timestamp, UsageQuery, UsageRow};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Caller, put_key};

/// The static key of every test gateway.
pub const MASTER: &str = "master-key-of-the-black-box-tests";
/// The pepper of [`Options::with_keys`].
pub const HASH_SECRET: &str = "a-hash-secret-of-thirty-two-bytes-or-more";
/// What the gateway authenticates to the simulator with.
pub const BEDROCK_KEY: &str = "ABSKblackboxtests";

/// Settings of a gateway in front of a simulator that knows [`BEDROCK_KEY`], with a directory for its rows.
pub fn in_front_of(sim: &Sim, spool: &Path) -> Vec<String> {
    vec![
        format!("--usage-spool-dir={}", spool.display()),
        format!("--bedrock-endpoint-url={}", sim.url()),
        format!("--bedrock-mantle-endpoint-url={}", sim.mantle_url()),
        format!("--aws-bearer-token-bedrock={BEDROCK_KEY}"),
        "--aws-region=us-east-1".to_owned(),
    ]
}

/// Settings of one whose store is a file.
pub fn on_file(path: &Path) -> Vec<String> {
    vec!["--store=sqlite".to_owned(), format!("--outcrop-db={}", path.display())]
}

/// Settings of one whose store is a DynamoDB, at this address.
pub fn on_tables(tables: &DynamoDbSettings, url: &str) -> Vec<String> {
    vec![
        "--store=dynamodb".to_owned(),
        format!("--dynamodb-endpoint-url={url}"),
        format!("--dynamodb-table-prefix={}", tables.tables.prefix),
    ]
}

/// How a test wants its gateway.
#[derive(Debug, Default)]
pub struct Options {
    /// `--name=value` settings.
    pub settings: Vec<String>,
    /// Pause between the events of a stream.
    pub delay: Duration,
    /// Sign with the credentials of the process's environment instead of a Bedrock API key.
    pub signed: bool,
    /// ARNs of application inference profiles that the simulator has, and the ids behind them.
    pub profiles: Vec<(String, String)>,
    /// Models that the account has reserved capacity of.
    pub reservations: Vec<String>,
}

impl Options {
    /// With a known pepper, so that [`Gateway::key`] can store keys.
    pub fn with_keys(settings: &[&str]) -> Self {
        let mut options = Self::with(settings);
        options.settings.push(format!("--key-hash-secret={HASH_SECRET}"));
        options
    }

    /// With these settings.
    pub fn with(settings: &[&str]) -> Self {
        Self { settings: settings.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// A running gateway.
#[expect(missing_debug_implementations, reason = "a test never prints it")]
pub struct Gateway {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The simulator behind it.
    pub sim: Sim,
    /// Its store.
    pub store: Arc<dyn Store>,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
    _spool: tempfile::TempDir,
}

impl Gateway {
    /// With the defaults.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With options. Usage is flushed at once, so that tests need not wait for it.
    pub async fn with(options: Options) -> Self {
        let config = Config {
            bearer_tokens: vec![BEDROCK_KEY.to_owned()],
            record: true,
            delay: options.delay,
            profiles: options.profiles,
            reservations: options.reservations,
            ..Config::default()
        };
        let sim = Sim::start(config).await.unwrap();
        let spool = tempfile::tempdir().unwrap();
        let mut line = vec![
            "outcrop-proxy".to_owned(),
            "--port=0".to_owned(),
            "--workers=1".to_owned(),
            "--store=memory".to_owned(),
            "--enable-metrics=true".to_owned(),
            "--usage-flush-interval-ms=1".to_owned(),
            "--drain-grace-seconds=0".to_owned(),
            format!("--master-api-key={MASTER}"),
        ];
        line.extend(in_front_of(&sim, spool.path()));
        if options.signed {
            line.retain(|known| !known.starts_with("--aws-bearer-token-bedrock"));
        }
        // These are of the one target that there is without a list.
        if options.settings.iter().any(|setting| setting.starts_with("--bedrock-targets=")) {
            line.retain(|known| {
                !known.starts_with("--bedrock-endpoint-url") && !known.starts_with("--bedrock-mantle")
            });
        }
        // A setting of the test replaces the one above: an argument may be given once.
        for setting in options.settings {
            let name = setting.split('=').next().unwrap_or_default().to_owned();
            line.retain(|known| known.split('=').next() != Some(&name));
            line.push(setting);
        }
        let cli =
            settings::read(line.into_iter().map(OsString::from), |_| None).expect("the settings of the test");
        let gate = Box::pin(Gate::start(cli)).await.unwrap();
        let (addr, store) = (gate.addr(), gate.store());
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            gate.serve(stopped).await.unwrap();
        });
        Self { addr, sim, store, stop: Some(stop), done, _spool: spool }
    }

    /// A caller with the master key.
    pub fn caller(&self) -> Caller {
        Caller::new(self.addr, MASTER)
    }

    /// Stores a key that may use these models; needs [`Options::with_keys`].
    pub async fn key(&self, allowed_models: &[&str]) -> (String, KeyRecord) {
        let models = allowed_models.iter().map(ToString::to_string).collect();
        self.key_with(|record| record.allowed_models = Some(models)).await
    }

    /// Stores a key with a record of the test's own making; needs [`Options::with_keys`].
    pub async fn key_with(&self, change: impl FnOnce(&mut KeyRecord)) -> (String, KeyRecord) {
        put_key(self.store.as_ref(), change).await
    }

    /// Begins the drain.
    pub fn terminate(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the gateway has drained and everything is booked.
    pub async fn ended(mut self) -> Arc<dyn Store> {
        self.terminate();
        self.done.await.unwrap();
        self.store
    }

    /// The rows booked under the master key, once there are at least `count`.
    pub async fn rows(&self, count: usize) -> Vec<UsageRow> {
        self.rows_of(&KeyId::master(), count).await
    }

    /// The rows booked under a key, once there are at least `count`.
    pub async fn rows_of(&self, key_id: &KeyId, count: usize) -> Vec<UsageRow> {
        let query = UsageQuery {
            key_id: key_id.clone(),
            since: Timestamp::EPOCH,
            until: Timestamp::now().plus_millis(60_000),
        };
        loop {
            let rows = self.store.usage_rows(&query, &store::Page::first(10_000)).await.unwrap().items;
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
