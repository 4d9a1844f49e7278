//! Keys as the data plane sees them: remembered for seconds, known and unknown ones alike.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use store::{KeyHash, KeyId, KeyRecord, KeyStatus, Store};

use crate::caller::{Caller, Standing};
use crate::gauge::{Gauge, Gauges, Limits, RateConfig};
use crate::{Denial, Now};

pub(crate) struct Keys {
    store: Arc<dyn Store>,
    cache: Cache<KeyHash, Arc<Entry>>,
    ttl: Duration,
    grace: Duration,
    rates: RateConfig,
    gauges: Gauges,
    master: Arc<Caller>,
    anonymous: Arc<Caller>,
}

struct Entry {
    /// None: the store does not know this hash.
    caller: Option<Arc<Caller>>,
    fetched: Instant,
}

impl Keys {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        size: usize,
        ttl: Duration,
        grace: Duration,
        rates: RateConfig,
    ) -> Self {
        let special = |id, standing, limits| {
            Arc::new(Caller { id, standing, limits, gauge: Arc::new(Gauge::new(rates.window)) })
        };
        Self {
            store,
            cache: Cache::new(size.max(1)),
            ttl,
            grace: grace.max(ttl),
            master: special(KeyId::master(), Standing::Master, Limits::of_master(&rates)),
            anonymous: special(KeyId::anonymous(), Standing::Anonymous, Limits::of_anonymous(&rates)),
            gauges: Gauges::new(rates.window),
            rates,
        }
    }

    pub(crate) fn master(&self) -> Arc<Caller> {
        Arc::clone(&self.master)
    }

    pub(crate) fn anonymous(&self) -> Arc<Caller> {
        Arc::clone(&self.anonymous)
    }

    /// The caller with this key, as of at most the TTL ago; expiry is exact.
    pub(crate) async fn find(&self, hash: KeyHash, now: Now) -> Result<Arc<Caller>, Denial> {
        let remembered = self.cache.get(&hash);
        let entry = match remembered {
            Some(entry) if now.mono.saturating_duration_since(entry.fetched) < self.ttl => entry,
            stale => self.fetch(hash, stale, now).await?,
        };
        let caller = entry.caller.as_ref().ok_or(Denial::InvalidKey)?;
        if let Standing::Key(record) = &caller.standing {
            match record.status(now.wall) {
                KeyStatus::Active => {}
                KeyStatus::Revoked => return Err(Denial::InvalidKey),
                KeyStatus::Expired => return Err(Denial::ExpiredKey),
            }
        }
        Ok(Arc::clone(caller))
    }

    fn caller(&self, record: KeyRecord, now: Instant) -> Caller {
        Caller {
            id: record.key_id.clone(),
            limits: Limits::of_key(&record, &self.rates),
            gauge: self.gauges.of(&record.key_id, now),
            standing: Standing::Key(Box::new(record)),
        }
    }

    async fn fetch(&self, hash: KeyHash, stale: Option<Arc<Entry>>, now: Now) -> Result<Arc<Entry>, Denial> {
        match self.store.key_by_hash(&hash).await {
            Ok(record) => {
                let caller = record.map(|record| Arc::new(self.caller(record, now.mono)));
                let entry = Arc::new(Entry { caller, fetched: now.mono });
                self.cache.insert(hash, Arc::clone(&entry));
                Ok(entry)
            }
            Err(error) => {
                let age = |entry: &Arc<Entry>| now.mono.saturating_duration_since(entry.fetched);
                tracing::warn!(%error, "the store did not answer for a key");
                stale.filter(|entry| age(entry) < self.grace).ok_or(Denial::StoreAway)
            }
        }
    }
}
