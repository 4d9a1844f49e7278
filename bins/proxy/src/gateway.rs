//! What every request can reach: shared by all workers, or owned by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use policy::Policy;
use store::Store;
use tokio::sync::watch;

use crate::cors::Cors;
use crate::error::{ApiError, Kind};
use crate::health::StoreHealth;
use crate::learned::Learned;
use crate::metrics::Metrics;
use crate::profiles::Profiles;
use crate::settings::Settings;
use crate::targets::Targets;
use crate::tiers::RefusedTiers;
use crate::ways::Cooling;

/// One worker's gateway.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) shared: Arc<Shared>,
    /// With this worker's own connections: they stay on the reactor that made them.
    pub(crate) targets: Targets,
    /// Handles of this worker, so that no two workers meet on a lock.
    pub(crate) metrics: Arc<Metrics>,
}

/// What the workers share. Nothing in it is locked on the request path.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_health: StoreHealth,
    pub(crate) exporter: Option<boot::metrics::Exporter>,
    pub(crate) cors: Cors,
    pub(crate) learned: Learned,
    pub(crate) cooling: Cooling,
    pub(crate) refused_tiers: RefusedTiers,
    pub(crate) profiles: Profiles,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) started: Instant,
    pub(crate) in_flight: InFlight,
}

/// Where the program stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Readiness says no; requests are still served.
    Draining,
    /// What still streams gets an error event and ends.
    Ending,
}

/// Requests and body bytes held at once.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// One request's part of [`InFlight`], given back when it is dropped.
pub(crate) struct Held {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Held {
    pub(crate) fn request(shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let limit = shared.settings.limits.max_in_flight;
        let before = shared.in_flight.requests.fetch_add(1, Ordering::Relaxed);
        let held = Self { shared: Arc::clone(shared), bytes: 0 };
        if before < limit { Ok(held) } else { Err(overloaded()) }
    }

    /// Takes room for a body before it is read.
    pub(crate) fn body(&mut self, bytes: usize) -> Result<(), ApiError> {
        let limit = self.shared.settings.limits.max_in_flight_bytes;
        let before = self.shared.in_flight.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= limit { Ok(()) } else { Err(overloaded()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.in_flight.requests.fetch_sub(1, Ordering::Relaxed);
        self.shared.in_flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn overloaded() -> ApiError {
    ApiError::new(Kind::Overloaded, "The gateway has too many requests at the moment. Try again shortly.")
}
