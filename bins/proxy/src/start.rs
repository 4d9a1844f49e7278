//! Putting the gateway together, and taking it down without cutting a stream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::Scope;
use httpd::{Drain, Server};
use policy::{Budgets, Now, Policy, Rows, UnpricedModels};
use store::usage::{Recorder, Writer, WriterHandle, WriterOptions};
use store::{
    DynamoDbSettings, LeaseHolder, Location, NewKey, PresentedKey, Store, Timestamp, tables::TableNames,
};
use tokio::sync::watch;

use crate::cors::Cors;
use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, InFlight, Phase, Shared};
use crate::health::StoreHealth;
use crate::learned::Learned;
use crate::measured::Measured;
use crate::metrics::{self, Metrics};
use crate::profiles::Profiles;
use crate::refresh;
use crate::request_id::RequestId;
use crate::route::Dialect;
use crate::settings::{Cli, Secret, Settings};
use crate::simulate;
use crate::spending::Spending;
use crate::targets::{self, Targets};
use crate::tiers::RefusedTiers;
use crate::turns;
use crate::ways::Cooling;

/// After the error events: time for them to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// To give back what is left of budgets and limits: one call of a store that is slow. What is not given back in that time comes
/// back by itself.
const CLOSING: Duration = Duration::from_secs(5);

/// Why the gateway cannot start or run.
#[derive(Debug)]
pub enum StartError {
    /// A setting turned out unusable; the text names it.
    Setting(String),
    /// Something outside failed.
    Failed(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that is bound and ready to serve.
pub struct Gate {
    server: Server,
    metrics_server: Option<Server>,
    shared: Arc<Shared>,
    targets: Targets,
    phase: watch::Sender<Phase>,
    usage: WriterHandle,
    recorder: Recorder,
    rows: Rows,
    fresh_key: Option<NewKey>,
    simulator: Option<bedrock_sim::Sim>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Gate {
    /// Opens the store, finds AWS, binds the port. Nothing is served before [`Gate::serve`].
    pub async fn start(cli: Cli) -> Result<Self, StartError> {
        let settings = cli.settings;
        let exporter = if settings.observe.enable_metrics.0 { exporter() } else { None };
        let (location, variables) = location(&settings);
        let store = store::open(&location).await.map_err(|error| {
            StartError::Failed(format!("{variables}: the store cannot be opened: {error}"))
        })?;
        let store = Measured::over(store);
        let secret = settings.keys.key_hash_secret.as_ref().map(Secret::expose);
        let hasher = store::hash_secret(store.as_ref(), secret).await.map_err(failed("KEY_HASH_SECRET"))?;
        let simulator = if cli.simulate { Some(simulate::start().await?) } else { None };
        let fresh_key = match &simulator {
            Some(_) => Some(simulate::fresh_key(store.as_ref(), &hasher).await?),
            None => None,
        };
        let targets = Box::pin(targets::connect(&settings, simulator.as_ref())).await?;
        let budgets = budgets(&settings, &store);
        let (recorder, usage) = Writer::start(Arc::clone(&store), writer_options(&settings, &budgets))
            .map_err(failed("the usage writer cannot start"))?;
        let policy = policy(&settings, &targets, Arc::clone(&store), hasher, recorder.clone());
        let policy = policy.with_budgets(budgets);
        let rows = refresh::begin(&settings, store.as_ref(), &policy).await?;
        let server =
            bind(&settings, SocketAddr::new(settings.listen.host, settings.listen.port), "HOST, PORT")?;
        let metrics_server = metrics_server(&settings, exporter.is_some())?;
        let (phase, listening) = watch::channel(Phase::Serving);
        let shared = Arc::new(Shared {
            cors: Cors::new(&settings),
            cooling: Cooling::new(settings.bedrock.target_cooldown.0),
            profiles: Profiles::new(settings.models.profile_ttl.0),
            settings,
            policy,
            store,
            store_health: StoreHealth::default(),
            exporter,
            learned: Learned::default(),
            refused_tiers: RefusedTiers::default(),
            phase: listening,
            started: Instant::now(),
            in_flight: InFlight::default(),
        });
        Ok(Self {
            server,
            metrics_server,
            shared,
            targets,
            phase,
            usage,
            recorder,
            rows,
            fresh_key,
            simulator,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The key that `--simulate` made.
    pub fn fresh_key(&self) -> Option<&str> {
        self.fresh_key.as_ref().map(NewKey::reveal)
    }

    /// The simulator of `--simulate`, for tests that script it.
    pub fn simulator(&self) -> Option<&bedrock_sim::Sim> {
        self.simulator.as_ref()
    }

    /// The store, for tests that look at what was booked.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shared.store)
    }

    /// Serves until `terminated`, then drains: readiness says no while requests are still accepted; then open ones
    /// finish; then what still streams gets an error event.
    pub async fn serve(self, terminated: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { server, metrics_server, shared, targets, phase, usage, recorder, rows, simulator, .. } =
            self;
        let region = &*targets.first().place.region;
        tracing::info!(address = %server.local_addr(), region, targets = targets.iter().len(), "outcrop-proxy is serving");
        let budgets = Arc::clone(shared.policy.budgets());
        let tending = tokio::spawn(tend(Arc::clone(&shared)));
        let upkeep = tokio::spawn(upkeep(Arc::clone(&shared), targets.clone(), recorder));
        let refresh = tokio::spawn(refresh::run(Arc::clone(&shared), rows));
        let tidying = tokio::spawn(turns::tidy(Arc::clone(&shared)));
        let (drain, draining) = Drain::new();
        let workers = (Arc::clone(&shared), targets);
        let make = move |_| Gateway {
            shared: Arc::clone(&workers.0),
            targets: workers.1.for_worker(),
            metrics: Arc::new(Metrics::default()),
        };
        let scraped = metrics_server.map(|server| tokio::spawn(serve_metrics(server, Arc::clone(&shared))));
        let mut serving = tokio::spawn(server.run(make, draining));
        tokio::select! {
            ended = &mut serving => return joined(ended),
            () = terminated => {}
        }
        let listen = &shared.settings.listen;
        tracing::info!(grace_seconds = listen.drain_grace.0.as_secs(), "draining");
        phase.send_replace(Phase::Draining);
        tokio::time::sleep(listen.drain_grace.0).await;
        drain.start();
        if tokio::time::timeout(listen.drain_timeout.0, &mut serving).await.is_err() {
            tracing::warn!("requests are still open at the end of the drain; they get an error event");
            phase.send_replace(Phase::Ending);
            if tokio::time::timeout(LAST_WORDS, &mut serving).await.is_err() {
                drain.cut();
                joined(serving.await)?;
            }
        }
        upkeep.abort();
        refresh.abort();
        tidying.abort();
        if let Some(scraped) = scraped {
            scraped.abort();
        }
        let booked = usage.stop().await;
        // Extended until the last row was booked.
        tending.abort();
        let closing =
            async { tokio::join!(budgets.close(Timestamp::now()), shared.policy.close_limits(Now::read())) };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!(
                "the store does not take back what is left of budgets and limits; leases end by themselves"
            );
        }
        tracing::info!(usage_rows = booked.written, lost = booked.lost, "outcrop-proxy has stopped");
        if let Some(simulator) = simulator {
            simulator.stop().await;
        }
        Ok(())
    }
}

fn joined(ended: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), StartError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(StartError::Failed(format!("serving failed: {error}"))),
        Err(error) => Err(StartError::Failed(format!("serving ended early: {error}"))),
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> StartError {
    move |error| StartError::Failed(format!("{what}: {error}"))
}

/// The process has one recorder; a second gateway in it (tests) goes without.
fn exporter() -> Option<boot::metrics::Exporter> {
    let exporter = boot::metrics::install().ok();
    if exporter.is_some() {
        metrics::describe();
    }
    exporter
}

/// Where the store is, and which variables say so.
fn location(settings: &Settings) -> (Location, &'static str) {
    match settings.store.store.as_str() {
        "memory" => (Location::Memory, "STORE"),
        "dynamodb" => {
            let own = &settings.dynamodb;
            let dynamodb = DynamoDbSettings {
                region: settings.bedrock.aws_region.clone(),
                endpoint_url: own.endpoint_url.clone(),
                tables: TableNames { prefix: own.table_prefix.clone(), full: own.full_names() },
                keep_usage: kept(settings),
            };
            (Location::DynamoDb(dynamodb), "STORE, AWS_REGION, DYNAMODB_*")
        }
        _ => (Location::Sqlite(settings.store.database.clone()), "OUTCROP_DB"),
    }
}

/// What this process has of the keys' budgets, under a name that no other one has.
fn budgets(settings: &Settings, store: &Arc<dyn Store>) -> Arc<Budgets> {
    let replica = format!("{:016x}", rand::random::<u64>());
    Arc::new(Budgets::new(Arc::clone(store), settings.budgets.terms(replica)))
}

fn writer_options(settings: &Settings, budgets: &Arc<Budgets>) -> WriterOptions {
    WriterOptions {
        queue_rows: settings.store.usage_queue_rows as usize,
        flush_interval: settings.store.usage_flush_interval.0,
        spool_dir: settings.store.usage_spool_dir.clone(),
        // What the store forgets at the end is worth no files.
        lanes: if settings.store.store == "memory" { 0 } else { workers(settings) },
        keep: kept(settings),
        leases: Some(Arc::clone(budgets) as Arc<dyn LeaseHolder>),
        ..WriterOptions::default()
    }
}

fn workers(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    settings.listen.workers.map_or_else(cores, usize::from)
}

/// How long usage rows are kept; `None` is for ever.
fn kept(settings: &Settings) -> Option<Duration> {
    let days = settings.store.usage_ttl_days;
    (days > 0).then(|| Duration::from_hours(24 * u64::from(days)))
}

fn policy(
    settings: &Settings,
    targets: &Targets,
    store: Arc<dyn Store>,
    hasher: store::KeyHasher,
    recorder: Recorder,
) -> Policy {
    let keys = &settings.keys;
    let config = policy::Config {
        require_key: keys.require_api_key.0,
        key_ttl: keys.cache_ttl.0,
        store_grace: keys.store_grace.0,
        key_cache: keys.cache_size,
        failure_limit: keys.auth_failure_limit,
        scope: match settings.models.inference_scope.to_ascii_lowercase().as_str() {
            "geo" => Scope::Geo,
            "base" => Scope::Base,
            _ => Scope::Global,
        },
        place: targets.first().place.clone(),
        others: targets.iter().skip(1).map(|target| target.place.clone()).collect(),
        allow_unknown_models: settings.models.allow_unknown.0,
        tier: settings.tiers.default_service_tier.0,
        unpriced: match settings.models.unpriced.to_ascii_lowercase().as_str() {
            "refuse" => UnpricedModels::Refuse,
            "flag" => UnpricedModels::Flag,
            _ => UnpricedModels::RefuseWithBudget,
        },
        // Nobody else sees a store in memory.
        rates: settings.rates.config((settings.store.store != "memory").then(|| settings.budgets.sharing())),
    };
    let master = keys.master_api_key.as_ref().map(|key| PresentedKey::new(key.expose()));
    let spent = Spending::new();
    let book: policy::Book = Arc::new(move |row| {
        spent.count(&row);
        recorder.record(row);
    });
    Policy::new(config, refresh::catalog(settings), store, hasher, master.as_ref(), book)
}

fn bind(settings: &Settings, addr: SocketAddr, names: &str) -> Result<Server, StartError> {
    let limits = &settings.limits;
    let error = ApiError::new(Kind::Overloaded, "The gateway has too many connections. Try again shortly.");
    let body = error.body(Dialect::Anthropic, RequestId::new(std::time::SystemTime::now()));
    let overload = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let config = httpd::Config {
        workers: workers(settings),
        max_connections: limits.max_connections,
        max_header_bytes: limits.max_header_bytes,
        header_timeout: limits.header_timeout.0,
        keep_alive: limits.keep_alive.0,
        write_timeout: limits.write_timeout.0,
        overload_reply: Bytes::from(overload),
    };
    Server::bind(addr, config)
        .map_err(|error| StartError::Setting(format!("{names}: cannot listen on {addr}: {error}")))
}

fn metrics_server(settings: &Settings, exporting: bool) -> Result<Option<Server>, StartError> {
    let Some(addr) = settings.observe.metrics_addr.filter(|_| exporting) else { return Ok(None) };
    Server::bind(addr, httpd::Config::default())
        .map(Some)
        .map_err(|error| StartError::Setting(format!("METRICS_ADDR: cannot listen on {addr}: {error}")))
}

async fn serve_metrics(server: Server, shared: Arc<Shared>) {
    let (_drain, draining) = Drain::new();
    let made = server.run(|_| crate::health::Scraped { shared: Arc::clone(&shared) }, draining).await;
    if let Err(error) = made {
        tracing::error!(%error, "the metrics listener failed");
    }
}

/// Looks after what this gateway has of the keys' budgets and limits: each by itself, because a lease that nobody extends
/// ends, whatever the others wait for.
async fn tend(shared: Arc<Shared>) {
    let (policy, budgets) = (&shared.policy, shared.policy.budgets());
    let pace = budgets.pace();
    tokio::join!(
        at_a_pace(pace, || budgets.extend(Timestamp::now())),
        at_a_pace(pace, || budgets.renew(Timestamp::now())),
        at_a_pace(pace, || budgets.tell(Timestamp::now())),
        at_a_pace(pace, || policy.tend_limits(Now::read())),
    );
}

async fn at_a_pace<F: Future<Output = ()>>(pace: Duration, work: impl Fn() -> F) {
    let mut pace = tokio::time::interval(pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        work().await;
    }
}

/// Keeps the exporter's figures fresh, scraped or not.
async fn upkeep(shared: Arc<Shared>, targets: Targets, recorder: Recorder) {
    let Some(exporter) = &shared.exporter else { return };
    let mut pace = tokio::time::interval(boot::metrics::UPKEEP);
    loop {
        pace.tick().await;
        metrics::usage(&recorder.stats());
        metrics::targets(&targets);
        metrics::leases(&shared.policy.budgets().refills());
        exporter.upkeep();
    }
}
