//! Keys as the data plane sees them: remembered for seconds, known and unknown ones alike.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use store::{KeyHash, KeyId, KeyStatus, Store, Timestamp};

use crate::caller::{Caller, Standing};
use crate::{Denial, Now};

/// Last use is exact to this; a busy key is noted once in it.
const LAST_USED_GRAIN_MS: i64 = 30_000;

pub(crate) struct Keys {
    store: Arc<dyn Store>,
    cache: Cache<KeyHash, Arc<Entry>>,
    ttl: Duration,
    grace: Duration,
    master: Arc<Caller>,
    anonymous: Arc<Caller>,
    used: Mutex<HashMap<KeyId, Timestamp>>,
}

struct Entry {
    /// None: the store does not know this hash.
    caller: Option<Arc<Caller>>,
    fetched: Instant,
    noted_ms: AtomicI64,
}

impl Keys {
    pub(crate) fn new(store: Arc<dyn Store>, size: usize, ttl: Duration, grace: Duration) -> Self {
        let special = |id, standing| Arc::new(Caller { id, standing });
        Self {
            store,
            cache: Cache::new(size.max(1)),
            ttl,
            grace: grace.max(ttl),
            master: special(KeyId::master(), Standing::Master),
            anonymous: special(KeyId::anonymous(), Standing::Anonymous),
            used: Mutex::default(),
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
        self.note_use(&entry, caller, now.wall);
        Ok(Arc::clone(caller))
    }

    async fn fetch(&self, hash: KeyHash, stale: Option<Arc<Entry>>, now: Now) -> Result<Arc<Entry>, Denial> {
        match self.store.key_by_hash(&hash).await {
            Ok(record) => {
                let noted_ms = stale.map_or(0, |entry| entry.noted_ms.load(Ordering::Relaxed));
                let caller = record.map(|record| Arc::new(Caller::key(record)));
                let entry = Arc::new(Entry { caller, fetched: now.mono, noted_ms: noted_ms.into() });
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

    fn note_use(&self, entry: &Entry, caller: &Caller, now: Timestamp) {
        let millis = now.unix_millis();
        if millis - entry.noted_ms.load(Ordering::Relaxed) < LAST_USED_GRAIN_MS {
            return;
        }
        entry.noted_ms.store(millis, Ordering::Relaxed);
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(caller.id.clone(), now);
    }

    pub(crate) async fn flush_last_used(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return;
        }
        let touched: Vec<_> = used.into_iter().collect();
        if let Err(error) = self.store.touch_last_used(&touched).await {
            tracing::warn!(%error, "the last use of keys was not written");
        }
    }
}
