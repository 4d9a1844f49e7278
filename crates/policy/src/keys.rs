//! Keys as the data plane sees them: remembered for seconds, known and unknown ones alike.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use store::{KeyHash, KeyId, KeyRecord, KeyStatus, Store};

use crate::caller::{Caller, Standing};
use crate::draw::Shared;
use crate::gauge::{Gauges, Limits, RateConfig};
use crate::{Budgets, Denial, Now, Terms};

pub(crate) struct Keys {
    store: Arc<dyn Store>,
    cache: Cache<KeyHash, Arc<Entry>>,
    /// When the store said that it does not know a hash. Apart from the others, so that no flood of invented keys drives
    /// out one that is in use.
    unknown: Cache<KeyHash, Instant>,
    /// The newest version of each record that was seen, under whichever of its hashes.
    versions: Cache<KeyId, Arc<AtomicU64>>,
    ttl: Duration,
    grace: Duration,
    rates: RateConfig,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) budgets: Arc<Budgets>,
    master: Arc<Caller>,
    anonymous: Arc<Caller>,
}

struct Entry {
    caller: Arc<Caller>,
    fetched: Instant,
    /// The newest version that was known when it was fetched: its own, unless the record was deleted and put again.
    version: u64,
    newest: Arc<AtomicU64>,
}

impl Entry {
    /// Whether a later version of the record has been seen meanwhile. After a rotation that is so as soon as the new key is
    /// used: what was remembered of the old one does not know its end.
    fn is_outdated(&self) -> bool {
        self.newest.load(Ordering::Relaxed) > self.version
    }
}

impl Keys {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        size: usize,
        ttl: Duration,
        grace: Duration,
        rates: RateConfig,
    ) -> Self {
        let grace = grace.max(ttl);
        let shared = rates.shared.map(|sharing| Shared { store: Arc::clone(&store), sharing, grace });
        let gauges = Arc::new(Gauges::new(rates.window, shared));
        let special = |id, standing, limits| {
            Arc::new(Caller { gauge: gauges.special(&id), id, standing, limits, funding: None })
        };
        Self {
            // Alone with its store until it is told otherwise.
            budgets: Arc::new(Budgets::new(Arc::clone(&store), Terms::new("local"))),
            store,
            cache: Cache::new(size.max(1)),
            unknown: Cache::new(size.max(1)),
            versions: Cache::new(size.max(1)),
            ttl,
            grace,
            master: special(KeyId::master(), Standing::Master, Limits::of_master(&rates)),
            anonymous: special(KeyId::anonymous(), Standing::Anonymous, Limits::of_anonymous(&rates)),
            gauges,
            rates,
        }
    }

    pub(crate) fn master(&self) -> Arc<Caller> {
        Arc::clone(&self.master)
    }

    pub(crate) fn anonymous(&self) -> Arc<Caller> {
        Arc::clone(&self.anonymous)
    }

    /// The caller with this key, as of at most the TTL ago. Expiry is exact, and so is the end of an
    /// older key after a rotation, if that was made longer ago than the TTL or the new key has been used here.
    pub(crate) async fn find(&self, hash: KeyHash, address: IpAddr, now: Now) -> Result<Arc<Caller>, Denial> {
        let is_fresh = |fetched: Instant| now.mono.saturating_duration_since(fetched) < self.ttl;
        let remembered = self.cache.get(&hash);
        let entry = match remembered {
            Some(entry) if is_fresh(entry.fetched) && !entry.is_outdated() => entry,
            None if self.unknown.get(&hash).is_some_and(is_fresh) => return Err(Denial::InvalidKey),
            stale => self.fetch(hash, stale, now).await?,
        };
        if let Standing::Key(record) = &entry.caller.standing {
            if record.valid_until.is_some_and(|until| until <= now.wall) {
                return Err(Denial::InvalidKey);
            }
            match record.status(now.wall) {
                // A spent budget is a matter of the request, not of the key.
                KeyStatus::Active | KeyStatus::BudgetExceeded => {}
                KeyStatus::Revoked => return Err(Denial::InvalidKey),
                KeyStatus::Expired => return Err(Denial::ExpiredKey),
            }
            let allowed = record.allowed_ips.as_deref();
            if allowed.is_some_and(|blocks| !blocks.iter().any(|block| block.contains(address))) {
                return Err(Denial::AddressNotAllowed);
            }
        }
        Ok(Arc::clone(&entry.caller))
    }

    fn caller(&self, record: KeyRecord, now: Instant) -> Caller {
        Caller {
            id: record.key_id.clone(),
            limits: Limits::of_key(&record, &self.rates),
            gauge: self.gauges.of(&record.key_id, now),
            funding: self.budgets.of(&record),
            standing: Standing::Key(Box::new(record)),
        }
    }

    /// Notes that a version was seen.
    fn newest(&self, record: &KeyRecord) -> Arc<AtomicU64> {
        let newest = self.versions.get(&record.key_id).unwrap_or_else(|| {
            let newest = Arc::new(AtomicU64::new(0));
            self.versions.insert(record.key_id.clone(), Arc::clone(&newest));
            newest
        });
        newest.fetch_max(record.version, Ordering::Relaxed);
        newest
    }

    async fn fetch(&self, hash: KeyHash, stale: Option<Arc<Entry>>, now: Now) -> Result<Arc<Entry>, Denial> {
        match self.store.key_by_hash(&hash).await {
            Ok(Some(record)) => {
                let newest = self.newest(&record);
                let version = newest.load(Ordering::Relaxed);
                let caller = Arc::new(self.caller(record, now.mono));
                let entry = Arc::new(Entry { caller, fetched: now.mono, version, newest });
                self.cache.insert(hash, Arc::clone(&entry));
                Ok(entry)
            }
            Ok(None) => {
                self.cache.remove(&hash);
                self.unknown.insert(hash, now.mono);
                Err(Denial::InvalidKey)
            }
            Err(error) => {
                let age = |entry: &Arc<Entry>| now.mono.saturating_duration_since(entry.fetched);
                tracing::warn!(%error, "the store did not answer for a key");
                stale.filter(|entry| age(entry) < self.grace).ok_or(Denial::StoreAway)
            }
        }
    }
}
