//! Keys as the data plane sees them: remembered for seconds, known and unknown ones alike.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use store::{KeyHash, KeyId, KeyRecord, KeyStatus, Store};
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::caller::{Caller, Standing};
use crate::draw::Shared;
use crate::gauge::{Gauges, Limits, RateConfig};
use crate::{Budgets, Denial, Now, Terms, Unchecked};

/// How long the requests of a known key wait for a store that hangs. Then what was known counts on, as when it is away.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// The question whether it still holds, asked once for all who want to know.
    asked: Mutex<Option<Asked>>,
}

impl Entry {
    /// Whether a later version of the record has been seen meanwhile. After a rotation that is so as soon as the new key is
    /// used: what was remembered of the old one does not know its end.
    fn is_outdated(&self) -> bool {
        self.newest.load(Ordering::Relaxed) > self.version
    }
}

type Answer = Arc<store::Result<Option<KeyRecord>>>;

#[derive(Clone)]
struct Asked {
    /// By the clock of requests: the answer is as old as the question.
    begun: Instant,
    /// The newest version that was known then.
    known: u64,
    patience: tokio::time::Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl Asked {
    /// Whether its answer is still to come, or came a moment ago. One that came when nobody waited any more grows old too.
    fn counts(&self, now: Instant, ttl: Duration) -> bool {
        match &*self.answer.borrow() {
            None => self.answer.has_changed().is_ok(),
            Some(answer) => answer.is_ok() && now.saturating_duration_since(self.begun) < ttl,
        }
    }

    /// Waits for the answer, or while there is patience; `None` where there is none in time, or nobody is left to give it.
    async fn answer(mut self, patient: bool) -> Option<Answer> {
        let patience = self.patience;
        let answer =
            async { self.answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone()) };
        if patient { answer.await } else { timeout_at(patience, answer).await.ok().flatten() }
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
        let holds = |entry: &Entry| is_fresh(entry.fetched) && !entry.is_outdated();
        let remembered = match self.cache.get(&hash) {
            Some(stale) if !holds(&stale) => self.catch_up(hash, stale),
            remembered => remembered,
        };
        let entry = match remembered {
            Some(entry) if holds(&entry) => entry,
            None if self.unknown.get(&hash).is_some_and(is_fresh) => return Err(Denial::InvalidKey),
            Some(stale) => self.refresh(hash, stale, now).await?,
            None => {
                let answer = self.store.key_by_hash(&hash).await;
                self.learn(hash, &answer, now.mono, None)?.ok_or(Denial::StoreAway(Unchecked::Key))?
            }
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

    /// What is remembered, with the answer that came when nobody waited for it any more. It may be too old to go by, but it is
    /// newer; without it a store that always answers, and always a little late, would count as one that is away.
    /// `None` where the store did not know the key.
    fn catch_up(&self, hash: KeyHash, stale: Arc<Entry>) -> Option<Arc<Entry>> {
        let asked = stale.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late = asked.and_then(|asked| {
            let answer = asked.answer.borrow().clone().filter(|answer| answer.is_ok())?;
            Some((asked.begun, asked.known, answer))
        });
        match late {
            Some((begun, known, answer)) if begun > stale.fetched => {
                self.learn(hash, &answer, begun, Some(known)).ok().flatten()
            }
            _ => Some(stale),
        }
    }

    /// A record that has had its time, as the store now has it; as it was where the store says nothing, for the grace time.
    async fn refresh(&self, hash: KeyHash, stale: Arc<Entry>, now: Now) -> Result<Arc<Entry>, Denial> {
        let in_grace = now.mono.saturating_duration_since(stale.fetched) < self.grace;
        let asked = self.ask(hash, &stale, now.mono);
        let (begun, known) = (asked.begun, Some(asked.known));
        let learnt = match asked.answer(!in_grace).await {
            Some(answer) => self.learn(hash, &answer, begun, known)?,
            None => None,
        };
        learnt.or(in_grace.then_some(stale)).ok_or(Denial::StoreAway(Unchecked::Key))
    }

    /// The question that is on its way, or has just been answered, or a new one: in a task of its own, because whoever asks
    /// it may leave and others wait for the answer too.
    fn ask(&self, hash: KeyHash, stale: &Entry, now: Instant) -> Asked {
        let mut asked = stale.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = stale.newest.load(Ordering::Relaxed);
        if let Some(asked) =
            asked.as_ref().filter(|asked| asked.known >= known && asked.counts(now, self.ttl))
        {
            return asked.clone();
        }
        let (tell, answer) = watch::channel(None);
        let store = Arc::clone(&self.store);
        tokio::spawn(async move { tell.send_replace(Some(Arc::new(store.key_by_hash(&hash).await))) });
        let patience = tokio::time::Instant::now() + PATIENCE;
        asked.insert(Asked { begun: now, known, patience, answer }).clone()
    }

    /// What the store said of a key when it was asked, and `known` the newest version that was known then; `None` where it did
    /// not answer.
    fn learn(
        &self,
        hash: KeyHash,
        answer: &store::Result<Option<KeyRecord>>,
        begun: Instant,
        known: Option<u64>,
    ) -> Result<Option<Arc<Entry>>, Denial> {
        match answer {
            Ok(Some(record)) => {
                let newest = self.newest(record);
                let version =
                    known.map_or_else(|| newest.load(Ordering::Relaxed), |known| known.max(record.version));
                let caller = Arc::new(self.caller(record.clone(), begun));
                let entry = Entry { caller, fetched: begun, version, newest, asked: Mutex::default() };
                let entry = Arc::new(entry);
                self.cache.insert(hash, Arc::clone(&entry));
                Ok(Some(entry))
            }
            Ok(None) => {
                self.cache.remove(&hash);
                self.unknown.insert(hash, begun);
                Err(Denial::InvalidKey)
            }
            Err(error) => {
                tracing::warn!(%error, "the store did not answer for a key");
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use store::contract::sample;

    use super::*;
    use crate::slow::Slow;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test]
    async fn an_answer_is_as_old_as_its_question_and_a_failure_is_none() {
        let (begun, ttl) = (Instant::now(), Duration::from_secs(5));
        let (tell, answer) = watch::channel(None);
        let asked = Asked { begun, known: 1, patience: tokio::time::Instant::now(), answer };
        assert!(asked.counts(begun + 10 * ttl, ttl), "it is on its way");
        assert!(asked.clone().answer(false).await.is_none(), "nobody waits for it any more");
        tell.send_replace(Some(Arc::new(Ok(None))));
        assert!(asked.counts(begun + ttl / 2, ttl) && !asked.counts(begun + ttl, ttl));
        assert!(asked.clone().answer(false).await.is_some_and(|answer| answer.is_ok()));
        tell.send_replace(Some(Arc::new(Err(store::Error::new(store::ErrorKind::Unavailable, "away")))));
        assert!(!asked.counts(begun, ttl));
        tell.send_replace(None);
        drop(tell);
        assert!(!asked.counts(begun, ttl), "nobody is left to give it");
    }

    /// A request every ten seconds, to a store that always answers, after more than anybody's patience.
    #[tokio::test]
    async fn a_store_that_is_always_late_is_heard_all_the_same() {
        let store = Arc::new(Slow::new());
        let (ttl, grace) = (Duration::from_secs(5), Duration::from_mins(5));
        let keys = Keys::new(Arc::clone(&store) as Arc<dyn Store>, 100, ttl, grace, RateConfig::default());
        let (mono, wall) = (Instant::now(), sample::noon());
        let at = |seconds| Now { wall, mono: mono + Duration::from_secs(seconds) };
        for n in 1..=2 {
            store.put_new_key(&sample::hash(n), &sample::record(n)).await.unwrap();
        }
        let find = async |n, seconds| keys.find(sample::hash(n), HERE, at(seconds)).await.map(|_| ());
        assert_eq!((find(1, 0).await, find(2, 0).await), (Ok(()), Ok(())));
        store.slow_down("key_by_hash", PATIENCE + Duration::from_millis(50));
        store.update_key(&KeyRecord { is_active: false, ..sample::record(1) }).await.unwrap();
        store.delete_key(&sample::record(2).key_id).await.unwrap();
        for n in 1..=2 {
            assert_eq!(find(n, 10).await, Ok(()), "as it was, while the answer is on its way");
        }
        tokio::time::sleep(PATIENCE).await;
        for n in 1..=2 {
            assert_eq!(find(n, 20).await, Err(Denial::InvalidKey), "{n}");
        }
    }
}
