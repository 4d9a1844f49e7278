//! The client: what a call goes through, and what all calls share.

mod attempts;
mod control;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::call::{Call, Operation, Reply, Site};
use crate::clock::Clock;
use crate::credentials::{Auth, Readiness};
use crate::endpoint::{Control, Endpoint};
use crate::error::{Error, Kind};
use crate::health::{Health, Ledger, Tally};
use crate::http1::{Body, Broken, Connection, Connector, Head, Outgoing, Trust};
use crate::pool::Pool;
use crate::retry::{self, Budget};
use crate::settings::Settings;
use crate::stream::EventStream;
use attempts::{Attempts, Signed};

/// A client of Bedrock in one region. Clones share everything; see [`for_worker`](Self::for_worker).
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    pools: Arc<Pools>,
    tally: Arc<Tally>,
}

struct Shared {
    settings: Settings,
    region: String,
    runtime: Connector,
    mantle: Mantle,
    control: Control,
    auth: Auth,
    policy: retry::Policy,
    /// Of all clients that were made beside each other.
    budget: Arc<Budget>,
    clock: Clock,
    ledger: Ledger,
    places: Option<Arc<Semaphore>>,
}

/// What most installations never call: certificate authorities are loaded with the first call.
struct Mantle {
    endpoint: Endpoint,
    /// The runtime's, where it has any.
    trust: Option<Trust>,
    connector: OnceLock<Result<Connector, Error>>,
}

impl Mantle {
    fn connector(&self, limit: Duration) -> Result<&Connector, Error> {
        let make = || self.beside(self.endpoint.clone(), limit);
        self.connector.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// A connector to any other endpoint, with the runtime's trust or one that is loaded for it.
    fn beside(&self, endpoint: Endpoint, limit: Duration) -> Result<Connector, Error> {
        let trust = match &self.trust {
            None if endpoint.tls => Some(Trust::native()?),
            kept => kept.clone(),
        };
        Connector::new(endpoint, limit, trust.as_ref())
    }
}

/// Idle connections, by where they lead.
struct Pools {
    runtime: Arc<Pool>,
    mantle: Arc<Pool>,
}

impl Pools {
    fn new(idle: Duration) -> Arc<Self> {
        let pool = || Arc::new(Pool::new(idle));
        Arc::new(Self { runtime: pool(), mantle: pool() })
    }

    fn of(&self, site: Site) -> &Arc<Pool> {
        match site {
            Site::Runtime => &self.runtime,
            Site::Mantle => &self.mantle,
        }
    }
}

impl Client {
    /// Finds region, endpoint and the source of credentials. Credentials themselves are loaded with the first call or
    /// probe, so a start does not depend on them; an endpoint that cannot be one is an error here.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        Self::make(settings, None).await
    }

    /// A client of another account or region whose repetitions come out of the same retry budget: a storm is one, wherever
    /// it goes.
    pub async fn beside(&self, settings: Settings) -> Result<Self, Error> {
        Self::make(settings, Some(self)).await
    }

    async fn make(settings: Settings, beside: Option<&Self>) -> Result<Self, Error> {
        let found = crate::credentials::discover(&settings).await?;
        let ledger = Ledger::new();
        let tally = ledger.open();
        let places = (settings.max_concurrency > 0)
            .then(|| Arc::new(Semaphore::new(settings.max_concurrency.min(Semaphore::MAX_PERMITS))));
        let policy = retry::Policy {
            max_attempts: settings.max_attempts.max(1),
            base: settings.retry_base,
            max_wait: settings.retry_max_wait,
        };
        let trust = match beside.and_then(|client| client.shared.mantle.trust.clone()) {
            None if found.endpoint.tls => Some(Trust::native()?),
            kept => kept,
        };
        let budget = beside.map(|client| Arc::clone(&client.shared.budget));
        let budget = budget.unwrap_or_else(|| Arc::new(Budget::new(settings.retry_budget_percent)));
        Ok(Self {
            pools: Pools::new(settings.pool_idle),
            tally,
            shared: Arc::new(Shared {
                runtime: Connector::new(found.endpoint, settings.connect_timeout, trust.as_ref())?,
                mantle: Mantle { endpoint: found.mantle, trust, connector: OnceLock::new() },
                control: found.control,
                region: found.region,
                auth: found.auth,
                policy,
                budget,
                clock: Clock::default(),
                ledger,
                places,
                settings,
            }),
        })
    }

    /// The same client for another runtime thread: settings, credentials, retry budget and limits are shared, the
    /// connections are its own and stay on the reactor that made them.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            pools: Pools::new(self.shared.settings.pool_idle),
            tally: self.shared.ledger.open(),
        }
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// Whether calls can be authenticated. A failure is remembered for up to 10 seconds.
    pub async fn ready(&self) -> Readiness {
        match &self.shared.auth {
            Auth::Bearer(_) => Readiness::Ready,
            Auth::Signed(credentials) => credentials.ready().await,
        }
    }

    /// How the last minute went, over all workers.
    pub fn health(&self) -> Health {
        self.shared.ledger.summary()
    }

    /// Takes one repetition out of the retry budget, for a call that goes on elsewhere; false where none is left.
    pub fn may_repeat(&self) -> bool {
        self.shared.budget.spend()
    }

    /// One call with its whole answer, retries included.
    pub async fn send(&self, call: &Call<'_>) -> Result<Reply, Error> {
        self.send_within(call, u32::MAX).await
    }

    /// The same with no more than so many attempts; 0 counts as 1. The settings' own limit holds all the same.
    pub async fn send_within(&self, call: &Call<'_>, most: u32) -> Result<Reply, Error> {
        let mut attempts = Attempts::new(&self.shared, most);
        let limit = self.shared.settings.total_timeout;
        let outcome = timeout(limit, self.send_retrying(call, &mut attempts)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let late = Error::new(Kind::TotalTimeout, "Bedrock did not answer in time.");
            Err(Error { attempts: attempts.made, ..late })
        });
        self.shared.ledger.record(&self.tally, &outcome);
        outcome
    }

    /// One call whose answer streams. Returns with its first frame at hand, so that an exception there can still be
    /// retried, here or on another target; retries until then are included.
    pub async fn stream(&self, call: &Call<'_>) -> Result<EventStream, Error> {
        self.stream_within(call, u32::MAX).await
    }

    /// The same with no more than so many attempts, as in [`send_within`](Self::send_within).
    pub async fn stream_within(&self, call: &Call<'_>, most: u32) -> Result<EventStream, Error> {
        let mut attempts = Attempts::new(&self.shared, most);
        let outcome = self.stream_retrying(call, &mut attempts).await;
        self.shared.ledger.record(&self.tally, &outcome);
        outcome
    }

    async fn send_retrying(&self, call: &Call<'_>, attempts: &mut Attempts<'_>) -> Result<Reply, Error> {
        call.check()?;
        let _place = self.shared.place().await?;
        loop {
            let signer = attempts.begin().await?;
            match self.reply(call, &signer).await {
                Ok(reply) => return Ok(Reply { attempts: attempts.made, ..reply }),
                Err(error) => attempts.after(error, signer).await?,
            }
        }
    }

    async fn stream_retrying(
        &self,
        call: &Call<'_>,
        attempts: &mut Attempts<'_>,
    ) -> Result<EventStream, Error> {
        call.check()?;
        let place = self.shared.place().await?;
        loop {
            let signer = attempts.begin().await?;
            let opening = timeout(self.shared.settings.first_byte_timeout, self.open(call, &signer));
            let opened = opening.await.unwrap_or_else(|_| {
                Err(Error::new(Kind::FirstByteTimeout, "Bedrock's stream did not begin in time."))
            });
            match opened {
                Ok(mut stream) => {
                    stream.attempts = attempts.made;
                    stream.permit = place;
                    return Ok(stream);
                }
                Err(error) => attempts.after(error, signer).await?,
            }
        }
    }

    async fn reply(&self, call: &Call<'_>, signer: &Signed<'_>) -> Result<Reply, Error> {
        let (mut connection, mut head) = self.answer(call, signer).await?;
        let body = self.read_whole(&mut connection, &mut head.body).await;
        let body = body.map_err(|error| Error { request_id: head.request_id.clone(), ..error })?;
        if head.keep_alive {
            self.pools.of(call.operation.site()).put(connection);
        }
        if !head.is_success() || is_unknown_operation(call.operation, &body) {
            return Err(self.shared.refused(head, &body));
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
            request_id: head.request_id,
            attempts: 0,
        })
    }

    async fn open(&self, call: &Call<'_>, signer: &Signed<'_>) -> Result<EventStream, Error> {
        let (mut connection, mut head) = self.answer(call, signer).await?;
        let pool = self.pools.of(call.operation.site());
        let framing = call.operation.framing();
        if head.is_success() && head.framing == Some(framing) {
            let idle = self.shared.settings.idle_timeout;
            let mut stream = EventStream::new(connection, head, framing, Arc::clone(pool), idle);
            stream.peek().await?;
            return Ok(stream);
        }
        // A refusal is JSON, never frames.
        let body = self.read_whole(&mut connection, &mut head.body).await;
        let body = body.map_err(|error| Error { request_id: head.request_id.clone(), ..error })?;
        if head.keep_alive {
            pool.put(connection);
        }
        Err(self.shared.refused(head, &body))
    }

    /// Sends the request on a connection of the pool or a new one and reads the head of the answer.
    async fn answer(&self, call: &Call<'_>, signer: &Signed<'_>) -> Result<(Connection, Head), Error> {
        let site = call.operation.site();
        let connector = match site {
            Site::Runtime => &self.shared.runtime,
            Site::Mantle => self.shared.mantle.connector(self.shared.settings.connect_timeout)?,
        };
        let now = self.shared.clock.now();
        let outgoing = Outgoing::new(call, &connector.endpoint, &signer.as_signer(), now);
        if let Some(mut connection) = self.pools.of(site).take() {
            match connection.exchange(&outgoing).await {
                Ok(head) => return Ok((connection, head)),
                // The upstream closed it while it was idle, and we met on the way: not the call's fault.
                Err(Broken::Unanswered(error)) => {
                    tracing::debug!(%error, "an idle connection had been closed");
                }
                Err(broken) => return Err(broken.into_error()),
            }
        }
        let mut connection = connector.connect().await?;
        let head = connection.exchange(&outgoing).await.map_err(Broken::into_error)?;
        Ok((connection, head))
    }

    async fn read_whole(&self, connection: &mut Connection, body: &mut Body) -> Result<Bytes, Error> {
        connection.read_whole(body, self.shared.settings.idle_timeout).await
    }
}

/// Where an endpoint lacks the Messages API, its front end says so with a 200:
/// `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`.
fn is_unknown_operation(operation: Operation, body: &[u8]) -> bool {
    const LONGEST: usize = 512;
    matches!(operation, Operation::Messages { .. })
        && body.len() <= LONGEST
        && memchr::memmem::find(body, b"#UnknownOperationException").is_some()
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Shared {
    /// An answer that is not what was asked for, as an error.
    fn refused(&self, head: Head, body: &[u8]) -> Error {
        let mut error = Error::from_answer(head.status, head.error_type.as_deref(), body);
        // Some front ends say 200 and mean an exception; without its name it is only not a stream.
        if head.is_success() && error.code.is_none() {
            error.kind = Kind::Protocol;
            error.message = "Bedrock did not answer with a stream.".into();
        }
        if let Some(date) = head.date.filter(|_| error.may_be_clock()) {
            self.clock.learn(&date);
        }
        error.request_id = head.request_id;
        error.retry_after = head.retry_after;
        error
    }

    /// A place among the calls in flight.
    async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let Some(places) = &self.places else { return Ok(None) };
        match timeout(self.settings.connect_timeout, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            _ => Err(Error::new(Kind::ServiceUnavailable, "Too many calls to Bedrock are in flight.")),
        }
    }
}
