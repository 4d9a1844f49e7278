//! The simulator as a server.
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use httpd::{Drain, DrainHandle, Peer, Request, Response, Server, Service};
use tokio::task::JoinHandle;

use crate::auth::Accepted;
use crate::fault::Fault;
use crate::routes;
use crate::state::{Answered, Captured, Served, State};

/// How a simulator is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port on 127.0.0.1; 0 asks the system for one.
    pub port: u16,
    /// The access key that is accepted.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The session token that has to come with it.
    pub session_token: Option<String>,
    /// Bedrock API keys that are accepted.
    pub bearer_tokens: Vec<String>,
    /// The region that signatures and profile ids must be of; any when absent.
    pub region: Option<String>,
    /// Keep the requests for [`Sim::requests`].
    pub record: bool,
    /// A pause between the events of a stream.
    pub delay: Duration,
    /// Write all events that need no waiting at once; for load tests.
    pub gather: bool,
    /// How many text deltas every plain answer has; for load tests.
    pub events: Option<usize>,
    /// Worker threads; 0 serves on the runtime that calls [`Sim::start`].
    pub workers: usize,
    /// ARNs of application inference profiles and the ids behind them. They can be called, and described.
    pub profiles: Vec<(String, String)>,
    /// Base ids of the models that the account has reserved capacity of.
    pub reservations: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            access_key_id: "AKIASIMULATOR0000000".to_owned(),
            secret_access_key: "simulated/secret/access/key/000000000000".to_owned(),
            session_token: None,
            bearer_tokens: Vec::new(),
            region: None,
            record: false,
            delay: Duration::ZERO,
            gather: false,
            events: None,
            workers: 0,
            profiles: Vec::new(),
            reservations: Vec::new(),
        }
    }
}

/// A running simulator. Dropping it leaves it running until its runtime ends; [`Sim::stop`] ends it.
pub struct Sim {
    addr: SocketAddr,
    state: Arc<State>,
    drain: DrainHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Sim {
    /// Binds and serves.
    pub async fn start(config: Config) -> io::Result<Self> {
        let mut state = State::new(Accepted {
            access_key_id: config.access_key_id,
            secret_access_key: config.secret_access_key,
            session_token: config.session_token,
            bearer_tokens: config.bearer_tokens,
            region: config.region,
        });
        state.record = config.record;
        state.delay = config.delay;
        state.gather = config.gather;
        state.events = config.events;
        state.profiles = config.profiles;
        state.reservations = config.reservations;
        let state = Arc::new(state);
        let http = httpd::Config { workers: config.workers, ..httpd::Config::default() };
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, config.port)), http)?;
        let addr = server.local_addr();
        let (handle, drain) = Drain::new();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(server.run(move |_| Bedrock(Arc::clone(&shared)), drain));
        // The task listens once it has run; the socket does so already.
        tokio::task::yield_now().await;
        Ok(Self { addr, state, drain: handle, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as an endpoint URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The same for `bedrock-mantle`, which has a host of its own at AWS.
    pub fn mantle_url(&self) -> String {
        format!("{}{}", self.url(), routes::MANTLE)
    }

    /// Queues faults for the next requests whose model id matches the pattern (`*` is any text, "" every model); the
    /// control plane's requests go by their path, as it was sent. Each request uses up one fault.
    pub fn script(&self, model_glob: &str, faults: Vec<Fault>) {
        self.state.script(model_glob, faults);
    }

    /// The requests so far, when [`Config::record`] is set.
    pub fn requests(&self) -> Vec<Captured> {
        self.state.requests()
    }

    /// What was answered so far.
    pub fn served(&self) -> Served {
        self.state.served()
    }

    /// The answers one by one, oldest first, when [`Config::record`] is set.
    pub fn answers(&self) -> Vec<Answered> {
        self.state.answers()
    }

    /// Stops listening and cuts what is still open.
    pub async fn stop(self) {
        self.drain.start();
        self.drain.cut();
        drop(self.task.await);
    }

    /// Serves until the process ends.
    pub async fn wait(self) -> io::Result<()> {
        self.task.await.map_err(io::Error::other)?
    }
}

struct Bedrock(Arc<State>);

impl Service for Bedrock {
    async fn call(&self, request: Request, peer: Peer) -> Response {
        routes::answer(&self.0, request, peer).await
    }
}
