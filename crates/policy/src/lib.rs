//! May this request run, and how: authentication, model resolution, admission and settlement.
//!
//! The order is the policy, and it reads top to bottom:
//!
//! 1. [`Policy::authenticate`] turns what a caller presented into a [`Caller`], before its body is read;
//! 2. [`Policy::admit`] turns the caller's [`Ask`] into an [`Admission`]: the model is resolved and the key's lists are
//!    checked against the id that will really be called, then the limits of the key: requests, tokens, open requests, and
//!    last its budgets, of which the most that the call can cost is held;
//! 3. whoever calls the upstream needs an `Admission`, and ends it with [`Admission::settle`]. An admission that is dropped
//!    without it, because the caller left, books what was used until then.
//!
//! Time is an argument ([`Now`]); nothing here reads a clock except the drop of an unsettled admission.

mod admission;
mod alert;
mod ask;
mod budget;
mod caller;
mod denial;
mod draw;
mod failures;
mod gauge;
pub mod glob;
mod keys;
mod meter;
mod parts;
mod patience;
mod price;
mod purse;
mod rate;
#[cfg(test)]
mod slow;
mod sync;
mod tables;
mod tier;
mod weight;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use catalog::{Catalog, Resolution, Scope, ServiceTier};
use store::{CacheTtl, KeyHasher, PicoUsd, PresentedKey, Store, Timestamp, UsageRow};

pub use admission::{Admission, End, Place, Tokens};
pub use alert::{Alert, BudgetAlert};
pub use ask::{Ask, Marks};
pub use budget::{BudgetWarning, Budgets, Overdrawn, Refills, Terms};
pub use caller::{Caller, Standing};
pub use denial::{Denial, Unchecked};
pub use draw::Sharing;
pub use gauge::{Gate, RateConfig, Rates};
pub use parts::Ended;
pub use price::{Figures, Tariff, cost, listed};
pub use rate::Level;
pub use tables::{PricedBy, Rows, Tables, UnpricedModels};
pub use weight::Weights;

use admission::Grant;
use failures::Failures;
use gauge::Want;
use keys::Keys;
use purse::Hold;

/// One instant on both clocks: the calendar for expiry and periods, the monotonic one for everything that only lasts.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Calendar.
    pub wall: Timestamp,
    /// Monotonic.
    pub mono: Instant,
}

impl Now {
    /// This instant. For the edge of the program; everything below gets it as an argument.
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), mono: Instant::now() }
    }
}

/// What the policy is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether a request needs a key.
    pub require_key: bool,
    /// How long a key's record is trusted without asking the store.
    pub key_ttl: Duration,
    /// How long it is trusted while the store is away.
    pub store_grace: Duration,
    /// How many keys are remembered, and how many that the store does not know.
    pub key_cache: usize,
    /// Wrong keys a minute from one address; 0 is no limit.
    pub failure_limit: u32,
    /// Which inference profile an id without one gets.
    pub scope: Scope,
    /// The target that calls go to unless somebody says otherwise. Its region decides the geography of profiles, its name
    /// stands in usage rows.
    pub place: Place,
    /// Where calls may go besides: what is held of a budget is enough for the dearest of them.
    pub others: Vec<Place>,
    /// Whether names that nothing knows go upstream as they are.
    pub allow_unknown_models: bool,
    /// The tier of calls for which neither key nor request wishes one.
    pub tier: ServiceTier,
    /// What becomes of models without a price.
    pub unpriced: UnpricedModels,
    /// What keys may use where their records say nothing.
    pub rates: RateConfig,
}

/// Where rows of usage go; must not block.
pub type Book = Arc<dyn Fn(UsageRow) + Send + Sync>;

/// The policy of one gateway, shared by its workers.
pub struct Policy {
    config: Config,
    tables: ArcSwap<Tables>,
    hasher: KeyHasher,
    /// Hash of the static key, compared in constant time because hashes are.
    master: Option<store::KeyHash>,
    keys: Keys,
    failures: Failures,
    book: Book,
}

impl Policy {
    /// A policy over a store. `catalog` holds the names of the settings; the rows of the store come with
    /// [`Policy::use_tables`]. `master` is the static key, if there is one.
    pub fn new(
        config: Config,
        catalog: Catalog,
        store: Arc<dyn Store>,
        hasher: KeyHasher,
        master: Option<&PresentedKey>,
        book: Book,
    ) -> Self {
        let master = master.map(|key| hasher.hash(key));
        let rates = config.rates.clone();
        let keys = Keys::new(store, config.key_cache, config.key_ttl, config.store_grace, rates);
        let failures = Failures::new(config.failure_limit);
        let tables = ArcSwap::from_pointee(Tables::new(catalog, &Rows::default()));
        Self { config, tables, hasher, master, keys, failures, book }
    }

    /// Budgets that others watch or share too: whoever writes the rows has to tell them what is booked.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Arc<Budgets>) -> Self {
        self.keys.budgets = budgets;
        self
    }

    /// What this process has of the keys' budgets.
    pub fn budgets(&self) -> &Arc<Budgets> {
        &self.keys.budgets
    }

    /// What holds at the moment.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.load_full()
    }

    /// From now on these hold. Requests under way go on with those that they were admitted under.
    pub fn use_tables(&self, tables: Tables) {
        self.tables.store(Arc::new(tables));
    }

    /// Looks after what this process has of the keys' limits, where they are shared. Due every second or so.
    pub async fn tend_limits(&self, now: Now) {
        self.keys.gauges.tend(now).await;
    }

    /// Gives back what this process has of the keys' limits and has not used, when nothing runs any more.
    pub async fn close_limits(&self, now: Now) {
        self.keys.gauges.close(now).await;
    }

    /// Who is calling. Several keys may be presented, the header's first: any valid one admits. `address` is the caller's;
    /// one that cannot be told is the unspecified one (`::`), which no narrower block than all of IPv6 holds.
    pub async fn authenticate(
        &self,
        presented: &[PresentedKey],
        address: IpAddr,
        now: Now,
    ) -> Result<Arc<Caller>, Denial> {
        if presented.is_empty() {
            return if self.config.require_key { Err(Denial::MissingKey) } else { Ok(self.keys.anonymous()) };
        }
        self.failures.check(address, now.mono)?;
        let mut denial = Denial::InvalidKey;
        for key in presented {
            match self.identify(key, address, now).await {
                Ok(caller) => return Ok(caller),
                // "Expired", "not from here" and "the store is away" say more than "invalid".
                Err(Denial::InvalidKey) => {}
                Err(other) => denial = other,
            }
        }
        if matches!(denial, Denial::InvalidKey) {
            self.failures.note(address, now.mono);
        }
        Err(denial)
    }

    async fn identify(&self, key: &PresentedKey, address: IpAddr, now: Now) -> Result<Arc<Caller>, Denial> {
        let hash = self.hasher.hash(key);
        if self.master.is_some_and(|master| master == hash) {
            return Ok(self.keys.master());
        }
        // A key whose checksum is wrong costs the same hash and no look-up.
        if !key.may_be_stored() {
            return Err(Denial::InvalidKey);
        }
        self.keys.find(hash, address, now).await
    }

    /// Whether this caller may do this, and on which model. What a limit gave is given back when a later gate refuses, and
    /// when this is dropped. Nothing is waited for but the store, where what was drawn of a limit or the lease of a budget has not
    /// enough for the request.
    pub async fn admit(&self, caller: &Arc<Caller>, mut ask: Ask, now: Now) -> Result<Admission, Denial> {
        let tables = ask.tables.take().unwrap_or_else(|| self.tables());
        let resolution = self.resolve(&tables, caller, &ask)?;
        let tariff = tables.tariff(&resolution).map(|(tariff, _)| tariff);
        let unpriced = self.config.unpriced;
        // To count costs nothing.
        if tariff.is_none() && !ask.counting && !unpriced.may_run_unpriced(caller.funding.is_some()) {
            let budgeted = unpriced.may_run_unpriced(false);
            return Err(Denial::UnpricedModel { model: ask.model, base_id: resolution.base_id, budgeted });
        }
        let want =
            if ask.counting { Want::Count } else { Want::Run { tokens: ask.most_tokens(&resolution) } };
        let (permit, rates) = self.keys.gauges.take(&caller.gauge, &caller.limits, want, now).await?;
        // The key decides, then the request.
        let tier = caller.tier().or(ask.tier).unwrap_or(self.config.tier);
        let ask = Ask { tier: Some(tier), ..ask };
        let hold = self.fund(caller, &ask, &resolution, (&tables, tariff.as_ref()), now).await?;
        let grant = Grant { tables, permit, rates, weights: self.config.rates.weights, hold };
        let place = self.config.place.clone();
        Ok(Admission::new(Arc::clone(caller), resolution, ask, place, now, grant, Arc::clone(&self.book)))
    }

    /// What the model's name means, where the caller's lists allow it: the first of the gates, for those who have to know
    /// before the others are asked.
    pub fn resolve(&self, tables: &Tables, caller: &Caller, ask: &Ask) -> Result<Resolution, Denial> {
        let Config { scope, place, allow_unknown_models, .. } = &self.config;
        let behind = ask.base_model.as_deref();
        let resolution = tables
            .catalog()
            .resolve_behind(&ask.model, behind, *scope, &place.region, *allow_unknown_models)
            .map_err(|_| Denial::UnknownModel { model: ask.model.clone() })?;
        if !caller.may_use(&resolution.base_id) {
            return Err(Denial::ModelNotAllowed { model: ask.model.clone() });
        }
        Ok(resolution)
    }

    /// Holds the most that the call can cost, where the caller has a budget. Counting costs nothing.
    async fn fund(
        &self,
        caller: &Caller,
        ask: &Ask,
        resolution: &Resolution,
        (tables, tariff): (&Tables, Option<&Tariff>),
        now: Now,
    ) -> Result<Option<Hold>, Denial> {
        let Some(funding) = caller.funding.as_ref().filter(|_| !ask.counting) else { return Ok(None) };
        // A key's own time takes the place of the caller's.
        let hour = ask.caching == Marks::FiveMinutes && caller.cache_ttl() == Some(CacheTtl::OneHour);
        let caching = if hour { Marks::Hour } else { ask.caching };
        // What has no price costs nothing that could be counted, but who has nothing left may not run it either.
        let most = tariff.map_or(PicoUsd(1), |tariff| price::most(tariff, resolution, ask, caching));
        let most = self.elsewhere(tables, caller, resolution, ask, caching).fold(most, std::cmp::max);
        self.keys.budgets.hold(funding, most, now).await.map(Some)
    }

    /// The most that the call can cost at each of the other places that it may come to: behind a profile of another geography a
    /// model may cost a tenth more.
    fn elsewhere(
        &self,
        tables: &Tables,
        caller: &Caller,
        resolution: &Resolution,
        ask: &Ask,
        caching: Marks,
    ) -> impl Iterator<Item = PicoUsd> {
        let bound = caller.target();
        let open = move |place: &&Place| bound.is_none_or(|name| *name == *place.target);
        self.config.others.iter().filter(open).filter_map(move |place| {
            let there = self.in_region(tables, resolution, &place.region)?;
            let (tariff, _) = tables.tariff(&there)?;
            Some(price::most(&tariff, &there, ask, caching))
        })
    }
}

impl Policy {
    /// What the name of an admitted request means in another region: the same model, behind a profile of that geography
    /// where there is one. `None` where it would be another model, which the key's lists have not seen.
    pub fn in_region(&self, tables: &Tables, admitted: &Resolution, region: &str) -> Option<Resolution> {
        // An ARN is the same everywhere, or nothing.
        if admitted.upstream_id.starts_with("arn:") {
            return Some(admitted.clone());
        }
        let there = tables.catalog().resolve(&admitted.requested, self.config.scope, region, true).ok()?;
        (there.base_id == admitted.base_id).then_some(there)
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("config", &self.config).finish_non_exhaustive()
    }
}
